//! `argand doctor`: what works on this machine, and how to get the rest.

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::bail;
use argand_profiler::{Options, Profiler, Targets};
use serde::Serialize;

use crate::cli::DoctorOptions;
use crate::config;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Outcome {
    /// Works.
    Ok,
    /// Works, but something is worth knowing.
    Warning,
    /// The main job cannot run.
    Failed,
}

#[derive(Debug, Serialize)]
struct Check {
    name: &'static str,
    outcome: Outcome,
    found: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    advice: Option<String>,
}

impl Check {
    fn new(name: &'static str, outcome: Outcome, found: impl Into<String>) -> Self {
        Self { name, outcome, found: found.into(), advice: None }
    }

    fn advise(mut self, advice: impl Into<String>) -> Self {
        self.advice = Some(advice.into());
        self
    }
}

pub(crate) fn run(options: &DoctorOptions) -> anyhow::Result<()> {
    let config = config::load(&options.server)?;
    let mut checks = vec![
        data_directory(&config.store.data_dir),
        listener("main port", &config.server.listen, "--listen"),
        file_descriptors(),
        kernel(),
        agent(),
        kernel_names(),
    ];
    if !config.server.admin_listen.is_empty() {
        checks.insert(2, listener("admin port", &config.server.admin_listen, "--admin-listen"));
    }
    let failed = checks.iter().filter(|check| check.outcome == Outcome::Failed).count();
    if options.json {
        println!("{}", serde_json::to_string_pretty(&serde_json::json!({ "ok": failed == 0, "checks": checks }))?);
    } else {
        print(&checks)?;
    }
    if failed > 0 {
        bail!("{failed} of {} checks failed, see above", checks.len());
    }
    Ok(())
}

fn print(checks: &[Check]) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    for check in checks {
        let mark = match check.outcome {
            Outcome::Ok => "ok     ",
            Outcome::Warning => "warning",
            Outcome::Failed => "FAILED ",
        };
        writeln!(out, "{mark}  {}: {}", check.name, check.found)?;
        if let Some(advice) = &check.advice {
            writeln!(out, "         -> {advice}")?;
        }
    }
    Ok(())
}

/// Writes and syncs a small file beside the data, as a commit does, and times it.
fn data_directory(directory: &Path) -> Check {
    let name = "data directory";
    let existing = directory.ancestors().find(|p| p.exists()).unwrap_or(Path::new("."));
    let existing = if existing.as_os_str().is_empty() { Path::new(".") } else { existing };
    match timed_sync(existing) {
        Ok(took) => {
            let found =
                format!("{} is writable, a commit takes {:.1} ms", directory.display(), took.as_secs_f64() * 1e3);
            match took > Duration::from_millis(100) {
                true => Check::new(name, Outcome::Warning, found)
                    .advise("put --data-dir on a faster disk for quick acknowledgements"),
                false => Check::new(name, Outcome::Ok, found),
            }
        }
        Err(error) => Check::new(name, Outcome::Failed, format!("cannot write in {}: {error}", existing.display()))
            .advise("choose another place with --data-dir"),
    }
}

fn timed_sync(directory: &Path) -> std::io::Result<Duration> {
    let path = directory.join(format!(".argand-doctor-{}", std::process::id()));
    let attempt = || {
        let mut file = fs::File::create(&path)?;
        let start = Instant::now();
        file.write_all(&[0; 4096])?;
        file.sync_data()?;
        Ok(start.elapsed())
    };
    let result = attempt();
    let _ = fs::remove_file(&path);
    result
}

fn listener(name: &'static str, address: &str, flag: &str) -> Check {
    let parsed: SocketAddr = match config::address(flag, address) {
        Ok(parsed) => parsed,
        Err(error) => return Check::new(name, Outcome::Failed, format!("{error:#}")),
    };
    match TcpListener::bind(parsed) {
        Ok(_) => Check::new(name, Outcome::Ok, format!("{address} is free")),
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
            Check::new(name, Outcome::Warning, format!("{address} is in use, perhaps by Argand itself"))
                .advise(format!("stop the other program or choose another address with {flag}"))
        }
        Err(error) => Check::new(name, Outcome::Failed, format!("cannot listen on {address}: {error}"))
            .advise(format!("choose another address with {flag}")),
    }
}

fn file_descriptors() -> Check {
    let name = "file descriptors";
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
    match line.and_then(|rest| rest.split_whitespace().next()) {
        Some(text) => match text.parse::<u64>() {
            Ok(limit) if limit < 4096 => Check::new(name, Outcome::Warning, format!("at most {limit}"))
                .advise("raise the limit for many clients: ulimit -n 65536, or LimitNOFILE= in the unit"),
            _ => Check::new(name, Outcome::Ok, format!("at most {text}")),
        },
        None => Check::new(name, Outcome::Warning, "the limit cannot be read"),
    }
}

fn kernel() -> Check {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let btf = Path::new("/sys/kernel/btf/vmlinux").exists();
    let found = format!("Linux {}, BTF {}", release.trim(), if btf { "present" } else { "absent" });
    Check::new("kernel", Outcome::Ok, found)
}

/// Starts the profiler for a moment: only trying tells what a kernel allows.
fn agent() -> Check {
    let name = "eBPF CPU profiler";
    let (output, _profiles) = std::sync::mpsc::sync_channel(1);
    let options = Options { rate_hz: 1, targets: Targets::Children, ..Options::default() };
    match Profiler::start(options, output) {
        Ok(_) => {
            let mappings = match argand_host::has_procmap_query() {
                true => "PROCMAP_QUERY",
                false => "the text of /proc/PID/maps",
            };
            let found = "perf events on the CPU clock, BTF tracepoints for processes, mappings by ";
            Check::new(name, Outcome::Ok, format!("{found}{mappings}"))
        }
        Err(error) => Check::new(name, Outcome::Warning, format!("{:#}", anyhow::Error::new(error)))
            .advise("until then only programs with an SDK are profiled; as root: sudo argand up"),
    }
}

/// Whether the kernel's functions have names for us.
fn kernel_names() -> Check {
    let name = "names of the kernel";
    let text = fs::read_to_string("/proc/kallsyms").unwrap_or_default();
    match text.lines().next().is_some_and(|line| !line.starts_with("0000000000000000")) {
        true => Check::new(name, Outcome::Ok, "/proc/kallsyms has addresses"),
        false => Check::new(name, Outcome::Warning, "/proc/kallsyms hides addresses: kernel frames have no names")
            .advise("run as root, or with CAP_SYSLOG, and with kernel.kptr_restrict at most 1"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_does_not_exist_yet_is_fine() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(data_directory(&directory.path().join("a/b")).outcome, Outcome::Ok);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0, "nothing is left behind");
    }

    #[test]
    fn a_taken_port_is_a_warning_with_advice() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let check = listener("main port", &taken.local_addr().unwrap().to_string(), "--listen");
        assert_eq!(check.outcome, Outcome::Warning);
        assert!(check.advice.unwrap().contains("--listen"));
    }

    #[test]
    fn a_bad_address_fails() {
        assert_eq!(listener("main port", "nowhere", "--listen").outcome, Outcome::Failed);
    }
}
