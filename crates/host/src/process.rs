//! Identity of processes.

use std::fs::File;
use std::io::Read;

use crate::Cgroup;

/// Bound on what is read of a command line; longer ones are cut.
const COMMAND_BYTES: u64 = 64 << 10;
/// Bound on what is read of an environment; the kernel allows 2 MiB by default.
const ENVIRONMENT_BYTES: u64 = 256 << 10;
/// Bound on the text of a control group file.
const CGROUP_BYTES: u64 = 16 << 10;

/// Variables that are looked at; nothing else of an environment is kept.
const VARIABLES: [&str; 2] = ["OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"];

/// What is known of a process. Fields are empty where the kernel gave nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessFacts {
    /// Name of the main thread, at most 15 bytes.
    pub comm: String,
    /// Path of the executable in the process's own root; ends in ` (deleted)` if it is.
    pub exe: String,
    /// Command line.
    pub command: Vec<String>,
    /// The variables that name the service, as at the program's start.
    pub environment: Vec<(String, String)>,
    /// Container and unit.
    pub cgroup: Cgroup,
}

impl ProcessFacts {
    /// Reads what `/proc` says now. `None` if there is no such process.
    pub fn read(pid: u32) -> Option<Self> {
        let comm = comm(pid)?;
        let text = |name, limit| {
            let bytes = read_bounded(&format!("/proc/{pid}/{name}"), limit).unwrap_or_default();
            String::from_utf8_lossy(&bytes).into_owned()
        };
        let exe = std::fs::read_link(format!("/proc/{pid}/exe")).map(|path| path.to_string_lossy().into_owned());
        let environment = text("environ", ENVIRONMENT_BYTES)
            .split('\0')
            .filter_map(|entry| entry.split_once('='))
            .filter(|(name, _)| VARIABLES.contains(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let command = text("cmdline", COMMAND_BYTES);
        let command = command.trim_end_matches('\0').split('\0').map(str::to_owned).collect();
        let cgroup = Cgroup::parse(&text("cgroup", CGROUP_BYTES));
        Some(Self { comm, exe: exe.unwrap_or_default(), command, environment, cgroup })
    }

    /// A variable of the environment.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Name of the main thread.
pub fn comm(pid: u32) -> Option<String> {
    let bytes = read_bounded(&format!("/proc/{pid}/comm"), 64)?;
    Some(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}

/// When the process started, in clock ticks (10 ms) since boot.
pub fn start_ticks(pid: u32) -> Option<u64> {
    let bytes = read_bounded(&format!("/proc/{pid}/stat"), 4096)?;
    let text = String::from_utf8_lossy(&bytes);
    // The second field is the name in brackets and may hold anything; the 22nd is the start.
    text.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Pids of all processes that can be seen.
pub fn pids() -> Vec<u32> {
    numbered_entries("/proc")
}

/// Ids of the threads of a process.
pub fn threads_of(pid: u32) -> Vec<u32> {
    numbered_entries(&format!("/proc/{pid}/task"))
}

fn numbered_entries(folder: &str) -> Vec<u32> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}

/// At most `limit` bytes of a file.
fn read_bounded(path: &str, limit: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    // An error half-way (the process ended) leaves what was read.
    let _ = File::open(path).ok()?.take(limit).read_to_end(&mut bytes);
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_known_by_its_command_and_environment() {
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .env("OTEL_SERVICE_NAME", "sleeper")
            .env("SECRET", "not kept")
            .spawn()
            .unwrap();
        // Until exec has happened the child is a copy of this process.
        let facts = loop {
            let facts = ProcessFacts::read(child.id()).unwrap();
            if facts.command.len() == 2 && facts.command[0] == "sleep" {
                break facts;
            }
            std::thread::yield_now();
        };
        let started = start_ticks(child.id());
        let listed = pids().contains(&child.id());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!((facts.comm.as_str(), facts.command[1].as_str()), ("sleep", "60"));
        assert_eq!(facts.environment, [("OTEL_SERVICE_NAME".to_owned(), "sleeper".to_owned())]);
        assert!(started > start_ticks(1) && listed);
        assert_eq!(ProcessFacts::read(child.id()), None);
    }
}
