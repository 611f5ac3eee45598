//! `argand record`, `argand agent` and `argand up` on programs without any SDK. They need root and BPF, and gcc.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::process::Process;
use crate::server::Server;

/// Whether the profiler starts here; tells what is missing if not.
fn can_profile(test: &str) -> bool {
    let output = argand().args(["doctor", "--json"]).output().expect("argand can be run");
    let report: Value = serde_json::from_slice(&output.stdout).expect("doctor --json prints JSON");
    let checks = report["checks"].as_array().expect("there are checks");
    let profiler = checks.iter().find(|check| check["name"] == "eBPF CPU profiler").expect("there is the profiler's");
    if profiler["outcome"] != "ok" {
        println!("SKIPPED {test}: {}", profiler["found"]);
        return false;
    }
    true
}

fn argand() -> Command {
    Command::new(env!("CARGO_BIN_EXE_argand"))
}

/// A program whose time goes to `work_of_the_demo`, under the name `name`.
fn program(test: &str, folder: &TempDir, name: &str) -> Option<PathBuf> {
    let source = folder.path().join("program.c");
    let text = "volatile unsigned long sink;\n\
        __attribute__((noinline)) void work_of_the_demo(void) { for (long i = 0; i < 100000000; i++) sink += i; }\n\
        int main(void) { for (;;) { work_of_the_demo(); sink++; } }\n";
    fs::write(&source, text).expect("a temporary file can be written");
    let path = folder.path().join(name);
    let built = Command::new("gcc").args(["-O2", "-fomit-frame-pointer", "-o"]).arg(&path).arg(&source).status();
    match built {
        Ok(status) => assert!(status.success()),
        Err(_) => {
            println!("SKIPPED {test}: gcc is missing");
            return None;
        }
    }
    Some(path)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn record_names_the_functions_of_a_command() {
    let test = "record_names_the_functions_of_a_command";
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    if !can_profile(test) {
        return;
    }
    let Some(program) = program(test, &folder, "demo") else { return };
    let folded = folder.path().join("demo.folded");
    let mut command = argand();
    command.args(["record", "--rate", "199", "--duration", "3s", "-o"]).arg(&folded).arg("--").arg(&program);
    let output = command.output().expect("argand can be run");
    assert!(output.status.success(), "{}", stderr(&output));
    let text = fs::read_to_string(&folded).expect("the file is written");
    let work: u64 = text
        .lines()
        .filter(|line| line.contains("main;work_of_the_demo "))
        .filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok())
        .sum();
    assert!(work > 100_000_000, "{text}");
}

#[test]
fn record_refuses_what_it_cannot_do_before_it_records() {
    for (arguments, expected) in [
        (&["record", "--all", "-o", "a.svg"][..], ".pb.gz"),
        (&["record", "--pid", "4194304", "-o", "a.folded"], "there is no process 4194304"),
        (&["record", "-o", "a.folded"], "--all"),
        (&["record", "--all", "--rate", "0", "-o", "a.folded"], "--rate"),
    ] {
        let output = argand().args(arguments).output().expect("argand can be run");
        assert!(!output.status.success());
        assert!(stderr(&output).contains(expected), "{}", stderr(&output));
    }
}

#[test]
fn an_agent_pushes_programs_without_an_sdk() {
    let test = "an_agent_pushes_programs_without_an_sdk";
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    if !can_profile(test) {
        return;
    }
    let Some(program) = program(test, &folder, "without-sdk") else { return };
    let server = Server::start();
    let _program = Process::spawn(&mut Command::new(&program));
    let mut agent = argand();
    agent.args(["agent", "--rate", "99", "--interval", "2s", "--server", &server.url("")]);
    let mut agent = Process::spawn(&mut agent);

    let question = [
        "query",
        "profile",
        "--server",
        &server.url(""),
        "--query",
        r#"process_cpu:cpu:nanoseconds:cpu:nanoseconds{service_name="without-sdk",pyroscope_spy="argand"}"#,
    ];
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let output = argand().args(question).output().expect("argand can be run");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if text.contains("main;work_of_the_demo") {
            break;
        }
        assert!(Instant::now() < deadline, "{text} {}", stderr(&output));
        std::thread::sleep(Duration::from_millis(500));
    }
    agent.terminate();
    let status = agent.wait(Duration::from_secs(20)).expect("it ends when it is asked to");
    assert!(status.success());
}
