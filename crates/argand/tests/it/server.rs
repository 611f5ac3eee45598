//! One `argand server` process with its data directory.

use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::http;
use crate::process::Process;

/// The built program.
pub(crate) const ARGAND: &str = env!("CARGO_BIN_EXE_argand");

/// A ready server is quick, a busy test machine is not.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// What the interface promises for SIGTERM, and the same again for a busy test machine.
const STOPPED_WITHIN: Duration = Duration::from_secs(20);
/// Another process can take the free port between our look and the server's bind.
const PORT_TRIES: u32 = 5;
const POLL: Duration = Duration::from_millis(10);
const LOG_TAIL_BYTES: usize = 4000;

/// A running server. Dropping it kills the process and removes the data.
pub(crate) struct Server {
    folder: TempDir,
    arguments: Vec<String>,
    running: Running,
}

struct Running {
    process: Process,
    address: SocketAddr,
}

impl Server {
    /// Starts a server on an empty data directory and waits until it is ready.
    pub(crate) fn start() -> Self {
        Self::start_with(&[])
    }

    /// The same with further command line arguments.
    pub(crate) fn start_with(arguments: &[&str]) -> Self {
        let folder = TempDir::with_prefix("argand-it-").expect("a temporary folder can be made");
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let running = launch(folder.path(), &arguments);
        Self { folder, arguments, running }
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.running.address
    }

    /// `http://host:port`, as a client is configured with it.
    pub(crate) fn base_url(&self) -> String {
        format!("http://{}", self.address())
    }

    /// The address of `path`, which starts with a slash.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base_url())
    }

    /// A folder for the test's own files, removed with the server.
    pub(crate) fn scratch(&self) -> &Path {
        self.folder.path()
    }

    /// Ends the process at once, as a crash does (SIGKILL).
    pub(crate) fn kill(&mut self) {
        self.running.process.kill();
    }

    /// Asks the process to read its configuration again (SIGHUP), and waits until its log has one more line with this.
    pub(crate) fn reload(&self, word: &str) -> String {
        let told = || {
            let log = fs::read_to_string(log_path(self.folder.path())).unwrap_or_default();
            log.lines().filter(|line| line.contains(word)).map(str::to_owned).collect::<Vec<_>>()
        };
        let before = told().len();
        self.running.process.hang_up();
        let deadline = Instant::now() + READY_WITHIN;
        while Instant::now() < deadline {
            if let Some(line) = told().into_iter().nth(before) {
                return line;
            }
            thread::sleep(POLL);
        }
        panic!("the log never said {word:?}");
    }

    /// Starts again on the same data directory, on another port, and waits until it is ready.
    pub(crate) fn restart(&mut self) {
        self.running = launch(self.folder.path(), &self.arguments);
    }

    /// Asks the process to end (SIGTERM) and waits for it.
    pub(crate) fn stop(&mut self) -> ExitStatus {
        self.running.process.terminate();
        self.running.process.wait(STOPPED_WITHIN).unwrap_or_else(|| {
            panic!("the server did not end within {STOPPED_WITHIN:?} of SIGTERM\n{}", log_tail(self.folder.path()))
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("server log:\n{}", log_tail(self.folder.path()));
        }
    }
}

/// A command with nothing of the caller's environment that could configure the program.
pub(crate) fn argand() -> Command {
    let mut command = Command::new(ARGAND);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if ["ARGAND_", "PYROSCOPE_", "OTEL_"].iter().any(|prefix| text.starts_with(prefix)) {
            command.env_remove(&name);
        }
    }
    command
}

fn launch(folder: &Path, arguments: &[String]) -> Running {
    for _ in 0..PORT_TRIES {
        let address = free_address();
        let mut running = Running { process: spawn(folder, address, arguments), address };
        if wait_until_ready(&mut running, folder) {
            return running;
        }
    }
    panic!("the server ended before it was ready, {PORT_TRIES} times\n{}", log_tail(folder));
}

fn spawn(folder: &Path, address: SocketAddr, arguments: &[String]) -> Process {
    let log = File::options().create(true).append(true).open(log_path(folder)).expect("the log can be opened");
    let mut command = argand();
    command
        .arg("server")
        .args(["--listen", &address.to_string(), "--admin-listen", "off", "--self-profile=false", "--data-dir"])
        .arg(folder.join("data"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(log.try_clone().expect("a file handle can be cloned"))
        .stderr(log);
    Process::spawn(&mut command)
}

/// False if the process ended instead, which another process on its port explains.
fn wait_until_ready(running: &mut Running, folder: &Path) -> bool {
    let deadline = Instant::now() + READY_WITHIN;
    let ready = format!("http://{}/ready", running.address);
    while Instant::now() < deadline {
        if running.process.ended().is_some() {
            return false;
        }
        if http::get(&ready).is_ok_and(|reply| reply.status == 200) {
            return true;
        }
        thread::sleep(POLL);
    }
    panic!("the server was not ready within {READY_WITHIN:?}\n{}", log_tail(folder));
}

fn free_address() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| listener.local_addr())
        .expect("the loopback interface has a free port")
}

fn log_path(folder: &Path) -> PathBuf {
    folder.join("server.log")
}

fn log_tail(folder: &Path) -> String {
    let log = fs::read(log_path(folder)).unwrap_or_default();
    String::from_utf8_lossy(&log[log.len().saturating_sub(LOG_TAIL_BYTES)..]).into_owned()
}
