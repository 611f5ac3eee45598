//! Building programs, profiling them, and reading the result.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use argand_model::Profile;
use argand_profiler::{End, Figure, Options, Profiler, StartError, Targets};
use tempfile::TempDir;

pub(crate) fn skipped(test: &str, missing: &str) {
    println!("SKIPPED {test}: {missing}");
}

pub(crate) struct Program {
    _folder: TempDir,
    pub(crate) path: PathBuf,
}

impl Program {
    pub(crate) fn command(&self) -> Command {
        Command::new(&self.path)
    }
}

pub(crate) enum Built {
    Program(Program),
    NoCompiler,
}

/// Compiles a program of `tests/programs`.
pub(crate) fn gcc(source: &str, flags: &[&str]) -> Built {
    compile("gcc", source, |command, source, output| {
        command.args(flags).arg(source).arg("-o").arg(output).arg("-lpthread").arg("-lm");
    })
}

pub(crate) fn compile(compiler: &str, source: &str, arguments: impl FnOnce(&mut Command, &str, &str)) -> Built {
    let folder = TempDir::new().expect("a temporary folder can be made");
    let path = folder.path().join(source.split('.').next().expect("a name"));
    let mut command = Command::new(compiler);
    let source = format!("{}/tests/programs/{source}", env!("CARGO_MANIFEST_DIR"));
    arguments(&mut command, &source, &path.to_string_lossy());
    match command.status() {
        Err(_) => Built::NoCompiler,
        Ok(status) => {
            assert!(status.success(), "{command:?}");
            Built::Program(Program { _folder: folder, path })
        }
    }
}

/// Stacks as text, root first, with their values in ns.
#[derive(Debug, Default)]
pub(crate) struct Folded {
    pub(crate) stacks: BTreeMap<String, i64>,
    pub(crate) ends: Vec<(End, u64)>,
    pub(crate) figures: Vec<Figure>,
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
    // Stacks of the first second are cut short until the tables are there.
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(1) {
        profiles.recv().expect("the profiler runs");
    }
    std::thread::sleep(Duration::from_secs(3));
    let mut folded = Folded { figures: profiler.figures(), ends: profiler.ends(), ..Folded::default() };
    profiler.stop();
    for profile in profiles {
        folded.add(&profile.profile);
    }
    Some(folded)
}
