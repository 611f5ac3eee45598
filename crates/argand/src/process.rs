//! Numbers of our own process, under the names that every exporter for Prometheus uses.

use std::fs;
use std::time::{SystemTime, UNIX_EPOCH};

use argand_server::{Reading, ReadingValue};
use rustix::param::{clock_ticks_per_second, page_size};

/// What the kernel tells of us now; what it does not tell is left out.
pub(crate) fn readings() -> Vec<Reading> {
    let stat = fs::read_to_string("/proc/self/stat").ok();
    let uptime = fs::read_to_string("/proc/uptime").ok();
    let limits = fs::read_to_string("/proc/self/limits").ok();
    let reading = |name: &str, help: &str, value| Reading { name: name.to_owned(), help: help.to_owned(), value };
    let gauge = |name, help, value: Option<f64>| value.map(|value| reading(name, help, ReadingValue::Gauge(value)));
    let stat = stat.as_deref().and_then(Stat::parse);
    let cpu = stat.as_ref().map(|stat| ReadingValue::FloatCounter(stat.cpu_seconds));
    let open_fds = fs::read_dir("/proc/self/fd").ok().map(|list| list.count().saturating_sub(1) as f64);
    let started = stat.as_ref().and_then(|stat| start_time_seconds(stat.started_seconds, uptime.as_deref()?));
    [
        cpu.map(|cpu| reading("process_cpu_seconds", "User and system processor time", cpu)),
        gauge("process_resident_memory_bytes", "Resident memory", stat.as_ref().map(|stat| stat.resident_bytes)),
        gauge("process_virtual_memory_bytes", "Virtual memory", stat.as_ref().map(|stat| stat.virtual_bytes)),
        gauge("process_threads", "Threads", stat.as_ref().map(|stat| stat.threads)),
        gauge("process_open_fds", "Open file descriptors", open_fds),
        gauge("process_max_fds", "Most file descriptors", limits.as_deref().and_then(max_fds)),
        gauge("process_start_time_seconds", "Start of the process, seconds since the Unix epoch", started),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Fields of `/proc/self/stat`. Source: proc_pid_stat(5).
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_seconds: f64,
    threads: f64,
    /// After the machine's start.
    started_seconds: f64,
    virtual_bytes: f64,
    resident_bytes: f64,
}

impl Stat {
    fn parse(text: &str) -> Option<Self> {
        // The second field is the name in parentheses, which may contain both blanks and parentheses.
        let fields: Vec<&str> = text.rsplit_once(')')?.1.split_whitespace().collect();
        // Numbered from 1 in the manual; the first one here is number 3.
        let field = |number: usize| fields.get(number - 3)?.parse::<f64>().ok();
        let ticks = clock_ticks_per_second() as f64;
        Some(Self {
            cpu_seconds: (field(14)? + field(15)?) / ticks,
            threads: field(20)?,
            started_seconds: field(22)? / ticks,
            virtual_bytes: field(23)?,
            resident_bytes: field(24)? * page_size() as f64,
        })
    }
}

fn start_time_seconds(started_seconds: f64, uptime: &str) -> Option<f64> {
    let up_seconds: f64 = uptime.split_whitespace().next()?.parse().ok()?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs_f64();
    Some(now - up_seconds + started_seconds)
}

fn max_fds(limits: &str) -> Option<f64> {
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_do_not_shift_the_fields() {
        let numbers: Vec<String> = (3..=30).map(|number| number.to_string()).collect();
        let stat = Stat::parse(&format!("7 (a) b) {}", numbers.join(" "))).unwrap();
        assert_eq!((stat.threads, stat.virtual_bytes), (20.0, 23.0));
        assert_eq!(stat.cpu_seconds, 29.0 / clock_ticks_per_second() as f64);
        assert_eq!(Stat::parse("7 (a) S 1"), None);
    }

    #[test]
    fn the_limit_may_be_none() {
        assert_eq!(max_fds("Max open files            1024                 4096                 files"), Some(1024.0));
        assert_eq!(max_fds("Max open files            unlimited            unlimited            files"), None);
    }
}
