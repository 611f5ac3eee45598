//! Real programs under their language's unmodified Pyroscope SDK: what they did must be what the server shows.
//!
//! Every program of `tests/clients` splits its work 70/20/10 over three functions.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::http;
use crate::process::Process;
use crate::query::{self, CPU, FlameGraph, eventually};
use crate::server::Server;

/// CPU time that a program works for.
const WORK: Duration = Duration::from_secs(12);
/// A busy machine gives the program a small part of a core.
const ENDS_WITHIN: Duration = Duration::from_secs(240);
/// The program's last upload is answered before it ends; this is for a slow machine.
const VISIBLE_WITHIN: Duration = Duration::from_secs(10);
/// More than eight hundred samples of 10 ms: three standard deviations are below 5 points.
const SHARE_TOLERANCE_POINTS: f64 = 6.0;
/// The setup script's answer when the machine lacks the runtime.
const RUNTIME_IS_MISSING: i32 = 77;
const NS_PER_SECOND: i64 = 1_000_000_000;

#[test]
fn go_sdk() {
    let Some(client) = Client::set_up("go") else { return };
    let server = Server::start();
    let app = "client.go";
    client.run(&server, app, &mut Command::new(client.path("client")));

    let cpu = client.visible(&server, app, CPU);
    assert_split(&cpu);
    let samples = flame(&server, app, "process_cpu:samples:count:cpu:nanoseconds");
    assert_eq!(cpu.total, samples.total * (NS_PER_SECOND / 100), "a sample is a period of 100 Hz");
    assert_has_types(
        &server,
        &[
            "block:contentions:count:contentions:count",
            "block:delay:nanoseconds:contentions:count",
            "goroutines:goroutine:count:goroutine:count",
            "memory:alloc_objects:count:space:bytes",
            "memory:alloc_space:bytes:space:bytes",
            "memory:inuse_objects:count:space:bytes",
            "memory:inuse_space:bytes:space:bytes",
            "mutex:contentions:count:contentions:count",
            "mutex:delay:nanoseconds:contentions:count",
        ],
    );
    assert_seen(&server, app, "memory:inuse_space:bytes:space:bytes", "main.allocateRecords");
    assert_seen(&server, app, "mutex:delay:nanoseconds:contentions:count", "main.contend.func1");
    assert_seen(&server, app, "block:delay:nanoseconds:contentions:count", "main.contend.func1");

    let labels = labels_of(&server, app, CPU);
    assert_label(&labels, "stage", "test");
    assert_label(&labels, "pyroscope_spy", "gospy");
    assert_label(&labels, "otel.scope.name", "com.grafana.pyroscope/go");
    assert!(!labels.contains_key("__session_id__"), "all processes of a host have one session id: {labels:?}");
    assert_labelled_work(&server, app, &cpu);
}

#[test]
fn rust_sdk() {
    let Some(client) = Client::set_up("rust") else { return };
    let server = Server::start();
    let app = "client-rust";
    client.run(&server, app, &mut Command::new(client.path("release/argand-client-rust")));

    let cpu = client.visible(&server, app, CPU);
    assert_split(&cpu);
    let labels = labels_of(&server, app, CPU);
    assert_label(&labels, "stage", "test");
    assert_label(&labels, "process.runtime.name", "rust");
    assert_labelled_work(&server, app, &cpu);
}

#[test]
fn java_agent() {
    let Some(client) = Client::set_up("java") else { return };
    let server = Server::start();
    let app = "client/java";
    let mut java = Command::new("java");
    java.arg(format!("-javaagent:{}", client.path("agent.jar").display()))
        .arg("-jar")
        .arg(client.path("client.jar"))
        .env("PYROSCOPE_UPLOAD_INTERVAL", "3s")
        .env("PYROSCOPE_PROFILER_ALLOC", "64k")
        .env("PYROSCOPE_LABELS", "stage=test");
    client.run(&server, app, &mut java);

    let cpu = client.visible(&server, app, CPU);
    assert_split(&cpu);
    assert!(cpu.weight_of(|name| name == "clients/Client.heavySeventy") > 0, "Java functions have their class");
    assert_has_types(
        &server,
        &["memory:alloc_in_new_tlab_objects:count:space:bytes", "memory:alloc_in_new_tlab_bytes:bytes:space:bytes"],
    );
    assert_seen(&server, app, "memory:alloc_in_new_tlab_bytes:bytes:space:bytes", "clients/Client.allocateRecord");
    let labels = labels_of(&server, app, CPU);
    assert_label(&labels, "stage", "test");
    assert_label(&labels, "jfr_event", "itimer");
    assert_label(&labels, "pyroscope_spy", "javaspy");
    assert!(labels.contains_key("process.runtime.version"), "values with blanks and + arrive: {labels:?}");
}

#[test]
fn node_sdk() {
    let Some(client) = Client::set_up("node") else { return };
    let server = Server::start();
    let app = "client-node";
    client.run(&server, app, Command::new("node").arg(client.path("main.js")));

    let wall_type = "wall:wall:nanoseconds:wall:nanoseconds";
    let wall = client.visible(&server, app, wall_type);
    assert_split(&wall);
    assert!(wall.weight_of(|name| name.contains("main.js:heavySeventy:")) > 0, "names are path:function:line");
    assert_has_types(
        &server,
        &[
            "memory:inuse_objects:count:inuse_space:bytes",
            "memory:inuse_space:bytes:inuse_space:bytes",
            "wall:samples:count:wall:nanoseconds",
        ],
    );
    // The CPU time comes inside the wall profile; the server's relabel rules decide which name it is stored under.
    let types = query::profile_types(&server);
    let cpu_type = types.iter().find(|id| id.ends_with(":cpu:nanoseconds:wall:nanoseconds"));
    assert_split(&flame(&server, app, cpu_type.unwrap_or_else(|| panic!("no CPU type among {types:?}"))));

    let labels = labels_of(&server, app, wall_type);
    assert_label(&labels, "stage", "test");
    assert_label(&labels, "pyroscope_spy", "nodespy");
    assert_labelled_work_of(&server, app, wall_type, &wall);
}

/// Nothing configured but the server's address, the name and memory profiling: visible within 15 s of the start.
#[test]
fn python_sdk_in_fastapi() {
    const UPLOAD_INTERVAL: Duration = Duration::from_secs(10);
    const FIRST_SIGHT: Duration = Duration::from_secs(15);
    const DRIVEN_AT_LEAST: Duration = Duration::from_secs(19);

    let Some(client) = Client::set_up("python-fastapi") else { return };
    let server = Server::start();
    let app = "client-python";
    let mut application = Application::start(
        Command::new(client.path("venv/bin/python"))
            .arg(client.source().join("app.py"))
            .env("PYROSCOPE_SERVER_ADDRESS", server.base_url())
            .env("PYROSCOPE_APPLICATION_NAME", app),
    );
    let started = Instant::now();
    let first_sight = thread::scope(|scope| {
        let load = scope.spawn(|| application.drive(DRIVEN_AT_LEAST, WORK));
        let first_sight = eventually("a first CPU profile", FIRST_SIGHT + VISIBLE_WITHIN, || {
            let graph = flame(&server, app, CPU);
            (graph.weight_of(|name| name.contains("heavy_seventy")) > 0).then(|| started.elapsed())
        });
        load.join().expect("the application answers");
        first_sight
    });
    assert!(first_sight <= FIRST_SIGHT, "seen only after {first_sight:?} (the SDK uploads every {UPLOAD_INTERVAL:?})");
    application.stop();

    assert_split(&flame(&server, app, CPU));
    assert_has_types(
        &server,
        &[
            "memory:alloc_objects:count:space:bytes",
            "memory:alloc_space:bytes:space:bytes",
            "memory:inuse_objects:count:space:bytes",
            "memory:inuse_space:bytes:space:bytes",
        ],
    );
    assert_seen(&server, app, "memory:inuse_space:bytes:space:bytes", "allocate_mebibyte");
    let labels = labels_of(&server, app, CPU);
    assert_label(&labels, "process.runtime.name", "cpython");
    assert_label(&labels, "otel.scope.name", "com.grafana.pyroscope/python");
    assert_eq!(query::label_values(&server, "service_name", "{}").into_iter().collect::<Vec<_>>(), [app]);
}

/// A client program, built, with the machine to itself among the clients of this test run.
struct Client {
    name: &'static str,
    built: PathBuf,
    _turn: MutexGuard<'static, ()>,
}

impl Client {
    /// Builds the program if need be. None, told on stderr, if this machine lacks its runtime.
    fn set_up(name: &'static str) -> Option<Self> {
        static TURN: Mutex<()> = Mutex::new(());
        // A failed test before us has left nothing half done that matters.
        let turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
        let built = std::env::var_os("ARGAND_CLIENTS_DIR").map_or_else(|| root().join("target/clients"), PathBuf::from);
        let output = Command::new("bash")
            .arg(root().join("scripts/setup-clients.sh"))
            .arg(name)
            .env("ARGAND_CLIENTS_DIR", &built)
            .output()
            .expect("bash runs the setup script");
        let told = String::from_utf8_lossy(&output.stdout);
        if output.status.code() == Some(RUNTIME_IS_MISSING) {
            eprint!("{told}");
            return None;
        }
        assert!(output.status.success(), "setting up {name}: {told}{}", String::from_utf8_lossy(&output.stderr));
        Some(Self { name, built: built.join(name), _turn: turn })
    }

    fn path(&self, file: &str) -> PathBuf {
        self.built.join(file)
    }

    fn source(&self) -> PathBuf {
        root().join("tests/clients").join(self.name)
    }

    /// Runs the program to its end against the server.
    fn run(&self, server: &Server, app: &str, command: &mut Command) {
        let log_path = server.scratch().join("client.log");
        let log = File::create(&log_path).expect("the scratch folder can be written");
        command
            .env("PYROSCOPE_SERVER_ADDRESS", server.base_url())
            .env("PYROSCOPE_APPLICATION_NAME", app)
            .env("WORK_CPU_SECONDS", WORK.as_secs().to_string())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file handle can be cloned"))
            .stderr(log);
        let status = Process::spawn(command).wait(ENDS_WITHIN);
        let log = || fs::read_to_string(&log_path).unwrap_or_default();
        assert!(status.is_some_and(|status| status.success()), "{} ended with {status:?}: {}", self.name, log());
    }

    /// The flame graph of one type of time, once it is there, with about the time that was worked. The start and
    /// the end of a program may be unseen by its SDK, and waiting for a core is work to a wall clock.
    fn visible(&self, server: &Server, app: &str, profile_type: &str) -> FlameGraph {
        let graph = eventually(&format!("{profile_type} of {}", self.name), VISIBLE_WITHIN, || {
            Some(flame(server, app, profile_type)).filter(|graph| graph.total > 0)
        });
        let worked = graph.weight_of(|name| function(name).is_some()) as f64 / NS_PER_SECOND as f64;
        let share_seen = worked / WORK.as_secs_f64();
        let most = if profile_type == CPU { 1.2 } else { f64::INFINITY };
        assert!((0.4..=most).contains(&share_seen), "{worked} s of work in a program that worked for {WORK:?}");
        graph
    }
}

/// The FastAPI application while it serves.
struct Application {
    process: Process,
    url: String,
}

impl Application {
    fn start(command: &mut Command) -> Self {
        let mut process = Process::spawn(command.stdout(Stdio::piped()));
        let mut line = String::new();
        let stdout = process.child.stdout.take().expect("stdout is piped");
        BufReader::new(stdout).read_line(&mut line).expect("the application says where it listens");
        let address = line.trim().strip_prefix("listening on ").unwrap_or_else(|| panic!("it said {line:?}"));
        Self { url: format!("http://{address}"), process }
    }

    /// Asks for work again and again, for a time by the clock and for some CPU time.
    fn drive(&self, clock: Duration, cpu: Duration) {
        let (end, slice) = (Instant::now() + clock, Duration::from_millis(300));
        let work = format!("/work?cpu_milliseconds={}", slice.as_millis());
        let mut worked = Duration::ZERO;
        while Instant::now() < end || worked < cpu {
            worked += slice;
            for path in [work.as_str(), "/remember"] {
                let reply = eventually("an answer of the application", Duration::from_secs(20), || {
                    http::get(&format!("{}{path}", self.url)).ok()
                });
                assert_eq!(reply.status, 200, "{path}: {}", reply.text());
            }
        }
    }

    /// Ends it as a supervisor does; the SDK then sends what it has.
    fn stop(&mut self) {
        self.process.terminate();
        self.process.wait(ENDS_WITHIN).expect("the application ends when asked to");
    }
}

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

fn selector(app: &str) -> String {
    format!("{{service_name=\"{app}\"}}")
}

fn flame(server: &Server, app: &str, profile_type: &str) -> FlameGraph {
    query::flame_graph(server, profile_type, &selector(app))
}

/// Which of the three functions a name is, in any language's style.
fn function(name: &str) -> Option<&'static str> {
    let plain = name.replace('_', "").to_ascii_lowercase();
    ["heavyseventy", "middletwenty", "lightten"].into_iter().find(|function| plain.contains(function))
}

fn assert_split(graph: &FlameGraph) {
    let weight = |wanted: &str| graph.weight_of(|name| function(name) == Some(wanted)) as f64;
    let weights = [("heavyseventy", 70.0), ("middletwenty", 20.0), ("lightten", 10.0)]
        .map(|(name, expected)| (name, expected, weight(name)));
    let sum: f64 = weights.iter().map(|(_, _, weight)| weight).sum();
    for (name, expected, weight) in weights {
        let share = 100.0 * weight / sum;
        assert!(
            (share - expected).abs() <= SHARE_TOLERANCE_POINTS,
            "{name} has {share:.1} %, not {expected}: {weights:?}"
        );
    }
}

/// The work ran under the label `endpoint`, so nearly all of it must be found by that label.
fn assert_labelled_work(server: &Server, app: &str, all: &FlameGraph) {
    assert_labelled_work_of(server, app, CPU, all);
}

fn assert_labelled_work_of(server: &Server, app: &str, profile_type: &str, all: &FlameGraph) {
    let labelled =
        query::flame_graph(server, profile_type, &format!("{{service_name=\"{app}\", endpoint=\"/orders\"}}"));
    let work = |graph: &FlameGraph| graph.weight_of(|name| function(name).is_some());
    let (found, expected) = (work(&labelled), work(all));
    assert!(found > expected * 9 / 10, "{found} of {expected} under the label");
}

fn assert_has_types(server: &Server, wanted: &[&str]) {
    let types = query::profile_types(server);
    let missing: Vec<_> = wanted.iter().filter(|id| !types.contains(**id)).collect();
    assert!(missing.is_empty(), "missing {missing:?} among {types:?}");
}

fn assert_seen(server: &Server, app: &str, profile_type: &str, function: &str) {
    let graph = flame(server, app, profile_type);
    assert!(graph.weight_of(|name| name == function) > 0, "no {function} in {profile_type}: {:?}", graph.folded());
}

fn labels_of(server: &Server, app: &str, profile_type: &str) -> BTreeMap<String, String> {
    let selector = format!("{{service_name=\"{app}\", __profile_type__=\"{profile_type}\"}}");
    query::series(server, &selector).into_iter().next().expect("a type that has a flame graph has a series")
}

fn assert_label(labels: &BTreeMap<String, String>, name: &str, value: &str) {
    assert_eq!(labels.get(name).map(String::as_str), Some(value), "{labels:?}");
}
