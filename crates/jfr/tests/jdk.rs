//! A recording that the JDK of this machine makes, against what its own `jfr` tool reads from it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use argand_jfr::{LabelsSnapshot, Loss, Options, Recording, decode};
use serde_json::Value;

const PROGRAM: &str = r#"
import java.util.ArrayList;

public class Work {
    static final Object MONITOR = new Object();
    static volatile long sink;

    static int fib(int n) { return n < 2 ? n : fib(n - 1) + fib(n - 2); }

    static void zähle() { sink += fib(30); }

    static void allocate() {
        ArrayList<byte[]> list = new ArrayList<>();
        for (int i = 0; i < 2000; i++) list.add(new byte[4096]);
        sink += list.size();
    }

    static void contend() {
        synchronized (MONITOR) {
            try { Thread.sleep(30); } catch (InterruptedException e) { throw new RuntimeException(e); }
        }
    }

    public static void main(String[] arguments) throws Exception {
        long end = System.currentTimeMillis() + 2500;
        Runnable[] jobs = { Work::zähle, Work::allocate, Work::contend, Work::contend };
        ArrayList<Thread> threads = new ArrayList<>();
        for (Runnable job : jobs) {
            Thread thread = new Thread(() -> { while (System.currentTimeMillis() < end) job.run(); });
            thread.start();
            threads.add(thread);
        }
        for (Thread thread : threads) thread.join();
    }
}
"#;

/// Event types of the JDK with the field that is summed, and the first sample type of their profile.
const EVENTS: [(&str, &str, &str); 4] = [
    ("jdk.ExecutionSample", "", "cpu"),
    ("jdk.ObjectAllocationSample", "weight", "alloc_sample_objects"),
    ("jdk.JavaMonitorEnter", "duration", "contentions"),
    ("jdk.ThreadPark", "duration", "contentions"),
];

/// Stack, root first, to number of events and sum of the field.
type Stacks = BTreeMap<String, (i64, i64)>;

#[test]
fn a_recording_of_the_jdk_reads_as_its_own_tool_says() {
    // A runtime without compiler cannot start a source file.
    let Some(_) = run(Command::new("javac").arg("-version")) else {
        return;
    };
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("jdk");
    std::fs::create_dir_all(&folder).expect("the target folder is writable");
    let (program, file) = (folder.join("Work.java"), folder.join("work.jfr"));
    std::fs::write(&program, PROGRAM).expect("the target folder is writable");
    let record = format!("-XX:StartFlightRecording:settings=profile,filename={}", file.display());
    let Some(_) = run(Command::new("java").args(["-Dfile.encoding=UTF-8", &record]).arg(&program)) else {
        return;
    };
    let types = EVENTS.map(|(event, _, _)| event).join(",");
    let print = ["print", "--json", "--stack-depth", "2048", "--events", &types];
    let Some(printed) = run(Command::new("jfr").args(print).arg(&file)) else {
        return;
    };
    let printed: Value = serde_json::from_slice(&printed.stdout).expect("the tool prints JSON");
    let expected = stacks_by_event(&printed);
    let bytes = std::fs::read(&file).expect("the recording was written");
    let recording = decode(&bytes, &LabelsSnapshot::default(), &Options::default()).expect("the recording is readable");

    assert!(expected["jdk.ExecutionSample"].keys().any(|stack| stack.contains("Work.zähle")));
    assert!(expected["jdk.JavaMonitorEnter"].keys().any(|stack| stack.contains("Work.contend")));
    for (event, field, sample_type) in EVENTS {
        let mut expected = expected.get(event).cloned().unwrap_or_default();
        expected.remove(""); // events without stack
        let metric = match event {
            "jdk.JavaMonitorEnter" => "mutex",
            "jdk.ThreadPark" => "block",
            "jdk.ObjectAllocationSample" => "memory",
            _ => "process_cpu",
        };
        assert_eq!(stacks_of(&recording, metric, sample_type, field.is_empty()), expected, "{event}");
    }
    assert!(recording.losses.iter().all(|(loss, _)| loss == Loss::MissingStack));
}

/// The output of a command, or `None` and a note where the program does not exist.
fn run(command: &mut Command) -> Option<Output> {
    let program = Path::new(command.get_program()).display().to_string();
    match command.output() {
        Ok(output) => {
            assert!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
            Some(output)
        }
        Err(error) => {
            println!("SKIPPED: {program} cannot be run: {error}");
            None
        }
    }
}

fn stacks_by_event(printed: &Value) -> BTreeMap<String, Stacks> {
    let mut by_event: BTreeMap<String, Stacks> = BTreeMap::new();
    for event in printed["recording"]["events"].as_array().expect("the tool prints a list") {
        let name = event["type"].as_str().expect("events have a type");
        let values = &event["values"];
        let frames = values["stackTrace"]["frames"].as_array().cloned().unwrap_or_default();
        let frame = |frame: &Value| {
            let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
            let method = &frame["method"];
            let line = frame["lineNumber"].as_i64().unwrap_or(0).max(0);
            spelled(&format!("{}.{}", text(&method["type"]["name"]), text(&method["name"])), line)
        };
        let stack = frames.iter().rev().map(frame).collect::<Vec<_>>().join(";");
        let (_, field, _) = EVENTS.into_iter().find(|&(event, _, _)| event == name).expect("only these were asked for");
        let amount = match &values[field] {
            Value::String(duration) => nanoseconds(duration),
            number => number.as_i64().unwrap_or(0),
        };
        let sums = by_event.entry(name.to_owned()).or_default().entry(stack).or_default();
        *sums = (sums.0 + 1, sums.1 + amount);
    }
    by_event
}

fn stacks_of(recording: &Recording, metric: &str, sample_type: &str, is_time: bool) -> Stacks {
    let mut stacks = Stacks::new();
    for profile in recording.profiles.iter().filter(|p| p.metric == metric).map(|p| &p.profile) {
        if profile.text(profile.sample_types[0].kind) != sample_type {
            continue;
        }
        for (index, stack) in profile.samples.stacks.iter().enumerate() {
            let lines = stack.iter().rev().flat_map(|&location| profile.symbols.lines_of(location));
            let frames = lines.map(|l| spelled(profile.symbols.function_name(l.function), l.line.into()));
            let values = profile.values_of(index);
            let count = if is_time { values[0] / 10_000_000 } else { values[0] };
            let sums = stacks.entry(frames.collect::<Vec<_>>().join(";")).or_default();
            *sums = (sums.0 + count, sums.1 + values.get(1).copied().unwrap_or(0));
        }
    }
    stacks
}

/// The tool writes classes with dots, and generated ones with their numbers.
fn spelled(function: &str, line: i64) -> String {
    let function = function.replace('/', ".");
    let (class, method) = function.rsplit_once('.').unwrap_or_default();
    format!("{}.{method}:{line}", class.split("$$Lambda").next().unwrap_or_default())
}

/// `PT1M0.123456789S`
fn nanoseconds(duration: &str) -> i64 {
    let text = duration.strip_prefix("PT").and_then(|text| text.strip_suffix('S')).expect("a duration");
    let (minutes, seconds) = text.split_once('M').unwrap_or(("0", text));
    let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, "0"));
    let number = |text: &str| text.parse::<i64>().expect("a number");
    (number(minutes) * 60 + number(whole)) * 1_000_000_000 + number(&format!("{fraction:0<9}"))
}
