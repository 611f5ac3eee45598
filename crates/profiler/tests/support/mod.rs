//! Building programs, profiling them, and reading the result.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use argand_model::Profile;
use argand_profiler::{End, Figure, Options, ProcessProfile, Profiler, StartError, Targets};
use tempfile::TempDir;

fn skipped(test: &str, missing: &str) {
    println!("SKIPPED {test}: {missing}");
}

pub(crate) struct Program {
    _folder: TempDir,
    path: PathBuf,
}

impl Program {
    pub(crate) fn command(&self) -> Command {
        Command::new(&self.path)
    }
}

/// Compiles a C program of `tests/programs`. `None`, and told, without gcc.
pub(crate) fn gcc(test: &str, source: &str, flags: &[&str]) -> Option<Program> {
    compile(test, "gcc", source, |command, source, output| {
        command.args(flags).args([source, "-o", output, "-lpthread"]);
    })
}

/// Compiles a Rust program with optimisations and without debug information.
pub(crate) fn cargo_less_rust(test: &str, source: &str) -> Option<Program> {
    compile(test, "rustc", source, |command, source, output| {
        command.args(["-O", "--edition", "2024", source, "-o", output]);
    })
}

/// Compiles a program of `tests/programs`. `None`, and told, without the compiler.
pub(crate) fn compile(
    test: &str,
    compiler: &str,
    source: &str,
    arguments: impl FnOnce(&mut Command, &str, &str),
) -> Option<Program> {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let path = folder.path().join(source.split('.').next().expect("a name"));
    let mut command = Command::new(compiler);
    let source = format!("{}/tests/programs/{source}", env!("CARGO_MANIFEST_DIR"));
    arguments(&mut command, &source, &path.to_string_lossy());
    let Ok(status) = command.status() else {
        skipped(test, &format!("{compiler} is missing"));
        return None;
    };
    assert!(status.success(), "{command:?}");
    Some(Program { _folder: folder, path })
}

/// Stacks as text, root first, with their values in ns.
#[derive(Default)]
pub(crate) struct Folded {
    pub(crate) stacks: BTreeMap<String, i64>,
    pub(crate) ends: Vec<(End, u64)>,
    pub(crate) figures: Vec<Figure>,
    pub(crate) processes: usize,
}

/// The heaviest stacks, for messages of failed tests.
impl std::fmt::Debug for Folded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut stacks: Vec<_> = self.stacks.iter().collect();
        stacks.sort_by_key(|(_, value)| std::cmp::Reverse(**value));
        for (stack, value) in stacks.iter().take(25) {
            let short: String = stack.chars().take(600).collect();
            writeln!(f, "{} ms {short}", **value / 1_000_000)?;
        }
        write!(f, "{:?}", self.ends)
    }
}

impl Folded {
    pub(crate) fn add(&mut self, profile: &Profile) {
        for (index, stack) in profile.samples.stacks.iter().enumerate() {
            let mut names = Vec::new();
            for &location in stack.iter().rev() {
                for line in profile.symbols.lines_of(location).iter().rev() {
                    names.push(profile.symbols.function_name(line.function));
                }
            }
            *self.stacks.entry(names.join(";")).or_insert(0) += profile.values_of(index)[0];
        }
    }

    /// A figure of the profiler about itself.
    pub(crate) fn figure(&self, name: &str) -> u64 {
        self.figures.iter().find(|figure| figure.name == name).expect("there is such a figure").value
    }

    /// Share of the value whose stacks fulfil a condition.
    pub(crate) fn share(&self, condition: impl Fn(&str) -> bool) -> f64 {
        let sum =
            |stacks: &mut dyn Iterator<Item = (&String, &i64)>| stacks.map(|(_, value)| *value).sum::<i64>() as f64;
        sum(&mut self.stacks.iter().filter(|(stack, _)| condition(stack))) / sum(&mut self.stacks.iter()).max(1.0)
    }
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Runs a command under the profiler for some seconds. `None`, and told, where there is no root or BPF.
pub(crate) fn profile(test: &str, command: &mut Command) -> Option<Folded> {
    let child = command.stdout(Stdio::null()).spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let child = Running(child);
    let options = Options {
        rate_hz: 499,
        interval: Duration::from_secs(1),
        first_interval: Duration::from_secs(1),
        targets: Targets::Processes(vec![child.0.id()]),
        ..Options::default()
    };
    let (output, profiles) = sync_channel(1024);
    let profiler = match Profiler::start(options, output) {
        Ok(profiler) => profiler,
        Err(StartError::Setup(error)) => panic!("{error}"),
        Err(error) => {
            skipped(test, &error.to_string());
            return None;
        }
    };
    warm_up(&profiler, &profiles);
    take_samples(&profiler, SAMPLES);
    let mut folded = Folded { figures: profiler.watch().figures(), ends: profiler.watch().ends(), ..Folded::default() };
    profiler.stop();
    let mut pids = BTreeSet::new();
    for profile in profiles {
        pids.insert(profile.pid);
        folded.add(&profile.profile);
    }
    folded.processes = pids.len();
    Some(folded)
}

/// Enough that a share of 0.7 has a standard deviation of 0.012.
const SAMPLES: u64 = 1500;

/// Waits until so many samples were taken; a busy machine gives them slowly.
fn take_samples(profiler: &Profiler, count: u64) {
    let taken = || {
        let figures = profiler.watch().figures();
        figures.iter().find(|figure| figure.name == "samples").expect("samples are counted").value
    };
    let enough = taken() + count;
    for _ in 0..600 {
        if taken() >= enough {
            return;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Stacks are cut short until what they need was read: waits until nothing more is.
fn warm_up(profiler: &Profiler, profiles: &Receiver<ProcessProfile>) {
    let read = || -> u64 {
        let figures = profiler.watch().figures();
        figures.iter().filter(|f| ["pages_loaded", "pages_empty"].contains(&f.name)).map(|f| f.value).sum()
    };
    let mut before = 0;
    for _ in 0..30 {
        std::thread::sleep(Duration::from_millis(2500));
        while profiles.try_recv().is_ok() {}
        let now = read();
        if now > 0 && now == before {
            break;
        }
        before = now;
    }
    // The interval that is under way still has stacks of before.
    profiles.recv().expect("the profiler runs");
}
