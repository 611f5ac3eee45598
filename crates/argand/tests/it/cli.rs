//! The commands, as a person or a script uses them: output, files and exit statuses.

use std::ffi::OsStr;
use std::fs;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::proto::{Profile, Sample};
use crate::query::{self, CPU, flame_graph};
use crate::server::{Server, argand};

const DONE: i32 = 0;
const FAILED: i32 = 1;
const WRONG_USAGE: i32 = 2;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Runs a command without input.
fn run<A: AsRef<OsStr>>(arguments: &[A]) -> Output {
    argand().args(arguments).stdin(Stdio::null()).output().expect("the built program can be started")
}

fn status(output: &Output) -> i32 {
    output.status.code().expect("the program ends by itself")
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Runs a command that must succeed and print one JSON value.
fn json_of(arguments: &[&str]) -> Value {
    let output = run(arguments);
    assert_eq!(status(&output), DONE, "{arguments:?}: {}{}", stdout(&output), stderr(&output));
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{arguments:?}: {error}: {}", stdout(&output)))
}

/// A failed command says in one line what is wrong.
fn assert_one_line(output: &Output) {
    let told = stderr(output);
    assert_eq!(told.trim_end().lines().count(), 1, "{told:?}");
}

/// Whether a text occurs in any value, at any depth.
fn mentions(value: &Value, text: &str) -> bool {
    match value {
        Value::String(string) => string.contains(text),
        Value::Array(items) => items.iter().any(|item| mentions(item, text)),
        Value::Object(fields) => fields.iter().any(|(key, item)| key.contains(text) || mentions(item, text)),
        _ => false,
    }
}

/// A server with one pprof and one folded file pushed by the command line.
fn server_with_pushed_files() -> Server {
    let server = Server::start();
    let pprof = server.scratch().join("cpu.pb");
    let samples = vec![Sample::new(&["inner", "outer"], 70_000_000), Sample::new(&["outer"], 30_000_000)];
    fs::write(&pprof, Profile::cpu(samples).encode()).expect("the scratch folder can be written");
    let folded = server.scratch().join("stacks.folded");
    fs::write(&folded, "main;work 3\nmain 1\n").expect("the scratch folder can be written");
    for (file, service) in [(&pprof, "from-pprof"), (&folded, "from-folded")] {
        let output = argand()
            .arg("push")
            .arg(file)
            .args(["--service", service, "--label", "env=test", "--server", &server.base_url()])
            .output()
            .expect("the built program can be started");
        assert_eq!(status(&output), DONE, "{}{}", stdout(&output), stderr(&output));
    }
    server
}

#[test]
fn pushed_files_can_be_queried() {
    let server = server_with_pushed_files();
    let graph = flame_graph(&server, CPU, "{service_name=\"from-pprof\", env=\"test\"}");
    let expected = [("outer", 30_000_000), ("outer;inner", 70_000_000)];
    assert_eq!(graph.folded(), expected.map(|(path, weight)| (path.to_owned(), weight)).into());
    assert!(query::label_values(&server, "service_name", "{env=\"test\"}").contains("from-folded"));
}

#[test]
fn query_prints_json() {
    let server = server_with_pushed_files();
    let (url, selector) = (server.base_url(), format!("{CPU}{{service_name=\"from-pprof\"}}"));
    let query = |what: &str, selector: &str| {
        json_of(&["query", what, "--query", selector, "--from", "now-1h", "--to", "now", "--server", &url, "--json"])
    };
    assert!(mentions(&query("types", "{}"), CPU));
    assert!(mentions(&query("labels", "{}"), "service_name"));
    let top = query("top", &selector);
    assert!(mentions(&top, "inner") && mentions(&top, "outer"), "{top}");
    let series = query("series", &selector).to_string();
    assert!(series.contains("100000000"), "the sum over the stacks is a point: {series}");
    assert!(mentions(&query("profile", &selector), "inner"));
}

#[test]
fn query_writes_a_profile_that_can_be_pushed_again() {
    let server = server_with_pushed_files();
    let (url, file) = (server.base_url(), server.scratch().join("out.pb.gz"));
    let file_text = file.to_str().expect("temporary paths are UTF-8");
    let selector = format!("{CPU}{{service_name=\"from-pprof\"}}");
    let range = ["--from", "now-1h", "--to", "now", "--server", &url];
    let output = run(&[&["query", "profile", "--query", &selector, "-o", file_text], &range[..]].concat());
    assert_eq!(status(&output), DONE, "{}", stderr(&output));
    assert_eq!(fs::read(&file).expect("the file was written")[..2], GZIP_MAGIC);

    let output = run(&["push", file_text, "--service", "again", "--server", &url]);
    assert_eq!(status(&output), DONE, "{}", stderr(&output));
    let first = flame_graph(&server, CPU, "{service_name=\"from-pprof\"}");
    assert_eq!(flame_graph(&server, CPU, "{service_name=\"again\"}").folded(), first.folded());
}

#[test]
fn a_server_that_is_not_there_is_told_in_one_line() {
    let mut server = server_with_pushed_files();
    let (url, file) = (server.base_url(), server.scratch().join("cpu.pb"));
    let file = file.to_str().expect("temporary paths are UTF-8");
    assert!(server.stop().success(), "SIGTERM ends the server with status 0");
    for arguments in [
        vec!["push", file, "--service", "x", "--server", &url],
        vec!["query", "types", "--query", "{}", "--from", "now-1h", "--to", "now", "--server", &url],
    ] {
        let output = run(&arguments);
        assert_eq!(status(&output), FAILED, "{arguments:?}: {}", stderr(&output));
        assert_one_line(&output);
    }
}

#[test]
fn bad_files_and_queries_fail() {
    let server = Server::start();
    let (url, file) = (server.base_url(), server.scratch().join("bad.pb.gz"));
    fs::write(&file, b"this is no profile").expect("the scratch folder can be written");
    let bad_file = file.to_str().expect("temporary paths are UTF-8");
    let no_file = server.scratch().join("absent.pb.gz");
    let no_file = no_file.to_str().expect("temporary paths are UTF-8");
    for arguments in [
        vec!["push", bad_file, "--service", "x", "--server", &url],
        vec!["push", no_file, "--service", "x", "--server", &url],
        vec!["query", "top", "--query", "{broken", "--from", "now-1h", "--to", "now", "--server", &url],
    ] {
        let output = run(&arguments);
        assert_eq!(status(&output), FAILED, "{arguments:?}: {}", stderr(&output));
        assert_one_line(&output);
    }
}

#[test]
fn wrong_usage_is_status_two() {
    for arguments in
        [vec!["unheard-of"], vec!["server", "--unheard-of"], vec!["query", "profile", "--json", "--unheard-of"]]
    {
        assert_eq!(status(&run(&arguments)), WRONG_USAGE, "{arguments:?}");
    }
}

#[test]
fn help_version_and_completions_are_printed() {
    let version = run(&["--version"]);
    assert_eq!(stdout(&version).trim(), concat!("argand ", env!("CARGO_PKG_VERSION")));
    for command in ["up", "server", "push", "query", "doctor", "config"] {
        let help = run(&[command, "--help"]);
        assert_eq!(status(&help), DONE, "{command}: {}", stderr(&help));
        assert!(stdout(&help).contains(command));
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(stdout(&run(&["completions", shell])).contains("argand"), "{shell}");
    }
}

#[test]
fn doctor_tells_as_json() {
    let output = run(&["doctor", "--json"]);
    assert!([DONE, FAILED].contains(&status(&output)), "{}", stderr(&output));
    let report: Value = serde_json::from_slice(&output.stdout).expect("doctor --json prints JSON");
    assert!(report.is_object(), "{report}");
}

#[test]
fn configuration_is_checked_shown_and_described() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::write(&path, text).expect("a temporary file can be written");
        path.to_str().expect("temporary paths are UTF-8").to_owned()
    };
    let good = write("good.yaml", "server:\n  listen: 127.0.0.1:4999\n");
    let unknown = write("unknown.yaml", "server:\n  lisen: 127.0.0.1:4999\n");
    let broken = write("broken.yaml", "server: [\n");

    assert_eq!(status(&run(&["config", "check", "--config", &good])), DONE);
    for bad in [&unknown, &broken] {
        let output = run(&["config", "check", "--config", bad]);
        assert_eq!(status(&output), FAILED, "{bad}");
        assert!(stderr(&output).contains(bad.as_str()), "the message names the file: {}", stderr(&output));
    }
    assert!(json_of(&["config", "schema"]).is_object());

    let show = |listen_in_environment: Option<&str>| {
        let mut command = argand();
        command.args(["config", "show", "--config", &good]);
        command.envs(listen_in_environment.map(|address| ("ARGAND_SERVER__LISTEN", address)));
        stdout(&command.output().expect("the built program can be started"))
    };
    assert!(show(None).contains("127.0.0.1:4999"), "the file is above the default: {}", show(None));
    let shown = show(Some("127.0.0.1:4998"));
    assert!(shown.contains("127.0.0.1:4998"), "the environment is above the file: {shown}");
}
