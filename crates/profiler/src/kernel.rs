//! The kernel side: loading, attaching, rings, counters.

use std::collections::BTreeMap;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::IntoRawFd;

use libbpf_rs::skel::{OpenSkel, SkelBuilder};
use libbpf_rs::{Link, MapCore, MapFlags, MapHandle, OpenObject, PrintLevel};

use crate::memory::{open_cpu_clock, read_plain};
use crate::shared::{Counter, End};
use crate::stats::{Number, Stats};
use crate::{Options, StartError, Targets};

mod skeleton {
    #![allow(clippy::all, clippy::unwrap_used, missing_docs, unsafe_code, unreachable_pub, unused, rust_2018_idioms)]
    include!(concat!(env!("OUT_DIR"), "/profiler.skel.rs"));
}

/// Room for the loaded object.
pub(crate) type Storage = MaybeUninit<OpenObject>;

/// Picks one of the object's maps.
pub(crate) type Choose<'o> = for<'m> fn(&'m skeleton::ProfilerMaps<'o>) -> &'m libbpf_rs::MapMut<'o>;

/// The loaded and attached programs; dropping it detaches them.
pub(crate) struct Kernel<'o> {
    skeleton: skeleton::ProfilerSkel<'o>,
    period_ns: u64,
    clocks: BTreeMap<u32, Link>,
    _links: Vec<Link>,
}

/// Samples that one process may have in a second, on all CPUs together, before its samples are thinned out.
const QUOTA_PER_SECOND: u64 = 2000;
/// Windows of the quota in a second: one has 2^26 ns.
const QUOTA_WINDOWS: u64 = 15;

/// Bytes of the ring of samples for each CPU and Hz, for the 250 ms between two looks and as much again for a late one: half
/// a second of stacks of 60 frames.
const RING_BYTES_PER_SAMPLE: u64 = 1024;

impl<'o> Kernel<'o> {
    /// Loads and attaches everything.
    pub(crate) fn start(storage: &'o mut Storage, options: &Options) -> Result<Self, StartError> {
        libbpf_rs::set_print(Some((PrintLevel::Debug, log)));
        if !std::path::Path::new("/sys/kernel/btf/vmlinux").exists() {
            return Err(StartError::NoBtf);
        }
        let mut open = skeleton::ProfilerSkelBuilder::default().open(storage).map_err(StartError::load)?;
        let period_ns = 1_000_000_000 / u64::from(options.rate_hz.max(1));
        let constants = open.maps.rodata_data.as_deref_mut().expect("the object has constants");
        constants.period_ns = period_ns;
        constants.quota_per_window = (QUOTA_PER_SECOND / QUOTA_WINDOWS) as u32;
        constants.only_targets = options.targets != Targets::All;
        let cpus = online_cpus().len().max(1) as u64;
        let ring = (cpus * u64::from(options.rate_hz) * RING_BYTES_PER_SAMPLE).clamp(256 << 10, 16 << 20);
        open.maps.samples.set_max_entries(ring.next_power_of_two() as u32).map_err(StartError::load)?;
        let skeleton = open.load().map_err(StartError::load)?;

        let mut kernel = Self { skeleton, period_ns, clocks: BTreeMap::new(), _links: Vec::new() };
        kernel.add_targets(&options.targets);
        let programs = &kernel.skeleton.progs;
        for program in [&programs.on_fork, &programs.on_exec, &programs.on_exit] {
            match program.attach() {
                Ok(link) => kernel._links.push(link),
                // Processes are then found by looking from time to time.
                Err(error) => tracing::warn!(program = ?program.name(), %error, "cannot attach"),
            }
        }
        kernel.follow_cpus().map_err(StartError::PerfEvent)?;
        Ok(kernel)
    }

    fn add_targets(&self, targets: &Targets) {
        // The numbers of enum target.
        const SAMPLED: u8 = 1;
        const CHILDREN_ONLY: u8 = 2;
        let own = [std::process::id()];
        let (pids, how) = match targets {
            Targets::All => return,
            Targets::Processes(pids) => (pids.as_slice(), SAMPLED),
            Targets::Children => (own.as_slice(), CHILDREN_ONLY),
        };
        for pid in pids {
            if let Err(error) = self.skeleton.maps.targets.update(&pid.to_ne_bytes(), &[how], MapFlags::ANY) {
                tracing::warn!(pid, %error, "the process is not sampled");
            }
        }
    }

    /// Samples the CPUs that are online now; to be called again from time to time, as CPUs come and go.
    ///
    /// Errors: if no CPU at all can be sampled.
    pub(crate) fn follow_cpus(&mut self) -> io::Result<()> {
        let online = online_cpus();
        // The event of a CPU that went away stays dead when it comes back.
        self.clocks.retain(|cpu, _| online.contains(cpu));
        let mut failed = None;
        for cpu in online {
            if self.clocks.contains_key(&cpu) {
                continue;
            }
            let opened = open_cpu_clock(cpu, self.period_ns).and_then(|event| {
                // The link owns the descriptor from here on.
                let program = &self.skeleton.progs.on_cpu_clock;
                program.attach_perf_event(event.into_raw_fd()).map_err(io::Error::other)
            });
            match opened {
                Ok(link) => {
                    self.clocks.insert(cpu, link);
                }
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if self.clocks.is_empty() => Err(error),
            Some(error) => {
                tracing::warn!(%error, "not all CPUs are sampled");
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// A handle of a map.
    pub(crate) fn map(&self, choose: Choose<'o>) -> io::Result<MapHandle> {
        MapHandle::try_from(choose(&self.skeleton.maps)).map_err(io::Error::other)
    }

    /// Copies the counters of all CPUs.
    pub(crate) fn read_counters(&self, stats: &Stats) {
        let maps = &self.skeleton.maps;
        let sum = |map: &libbpf_rs::MapMut<'_>, key: usize, into: &Number| {
            let per_cpu = map.lookup_percpu(&(key as u32).to_ne_bytes(), MapFlags::ANY).ok().flatten();
            let values = per_cpu.iter().flatten().filter_map(|bytes| read_plain::<u64>(bytes));
            into.set(values.sum());
        };
        for counter in Counter::ALL {
            sum(&maps.counters, counter as usize, &stats.counters[counter as usize]);
        }
        for end in End::ALL {
            sum(&maps.ends, end as usize, &stats.ends[end as usize]);
        }
    }
}

/// libbpf's messages; what matters comes back as an error, too.
fn log(level: PrintLevel, message: String) {
    let message = message.trim_end();
    match level {
        PrintLevel::Warn => tracing::debug!(target: "libbpf", "{message}"),
        _ => tracing::trace!(target: "libbpf", "{message}"),
    }
}

/// The CPUs that run, from a list such as `0-3,6`.
fn online_cpus() -> Vec<u32> {
    let text = std::fs::read_to_string("/sys/devices/system/cpu/online").unwrap_or_else(|_| "0".to_owned());
    parse_cpus(&text)
}

fn parse_cpus(text: &str) -> Vec<u32> {
    /// More than any kernel is built for.
    const MAX_CPUS: usize = 8192;
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.trim().parse::<u32>().ok()?..=last.trim().parse().ok()?)
    };
    text.split(',').filter_map(range).flatten().take(MAX_CPUS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_cpus_are_read() {
        assert_eq!(parse_cpus("0-3,6\n"), [0, 1, 2, 3, 6]);
        assert_eq!(parse_cpus("0\n"), [0]);
        assert_eq!(parse_cpus("x,2-1,4294967295"), [4_294_967_295]);
    }
}
