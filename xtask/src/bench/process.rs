//! The measured server as a process of its own.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::http::Connection;

/// A running server, killed when dropped.
pub(crate) struct Server {
    process: Child,
    address: SocketAddr,
    admin: SocketAddr,
    started_in: Duration,
}

impl Server {
    /// Starts on free ports and waits until it is ready.
    pub(crate) fn start(program: &Path, data: &Path, head_size: &str) -> anyhow::Result<Self> {
        let free = || -> anyhow::Result<SocketAddr> { Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?) };
        let (address, admin) = (free()?, free()?);
        let start = Instant::now();
        let process = Command::new(program)
            .args([
                "server",
                "--self-profile=false",
                "--listen",
                &address.to_string(),
                "--admin-listen",
                &admin.to_string(),
            ])
            .arg("--data-dir")
            .arg(data)
            .env("ARGAND_STORE__HEAD_SIZE", head_size)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let mut server = Self { process, address, admin, started_in: Duration::ZERO };
        let deadline = start + Duration::from_secs(300);
        let ready = || Connection::open(address)?.get("/ready", "*/*");
        while !ready().is_ok_and(|answer| answer.status == 200) {
            ensure!(Instant::now() < deadline, "the server is not ready after 300 s");
            std::thread::sleep(Duration::from_millis(5));
        }
        server.started_in = start.elapsed();
        Ok(server)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From the start of the process to the first ready answer.
    pub(crate) fn started_in(&self) -> Duration {
        self.started_in
    }

    /// User and system time so far, of all threads.
    pub(crate) fn cpu_time(&self) -> anyhow::Result<Duration> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.process.id()))?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
        let ticks: u64 =
            fields.get(11).context("utime")?.parse::<u64>()? + fields.get(12).context("stime")?.parse::<u64>()?;
        // Linux reports in USER_HZ, which is 100 on every architecture that we build for.
        Ok(Duration::from_millis(ticks * 10))
    }

    /// Largest resident memory so far.
    pub(crate) fn peak_memory_bytes(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("VmHWM")?;
        Ok(line.trim().trim_end_matches("kB").trim().parse::<u64>()? * 1024)
    }

    /// A verb of the admin port.
    pub(crate) fn admin(&self, verb: &str) -> anyhow::Result<()> {
        let answer = Connection::open(self.admin)?.empty_post(&format!("/{verb}"))?;
        ensure!(answer.status < 300, "{verb} answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
