//! `argand record`: one recording to a file, without a server.

use std::collections::{HashMap, HashSet};
use std::fmt::Write;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::Duration;

use anyhow::{Context, bail};
use argand_model::{Function, FunctionId, Line, LocationId, Mapping, MappingId, Profile, StringId, Symbols, ValueType};
use argand_profiler::{Options, ProcessProfile, Profiler, Targets};
use argand_wire::pprof;

use crate::cli::RecordOptions;

/// How long processes are recorded when nothing is said.
const DEFAULT_DURATION: Duration = Duration::from_secs(10);

/// How often a command is looked at whether it ended.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Profiles on their way from the profiler; it waits for none.
const MAX_PROFILES: usize = 65_536;

pub(crate) fn run(options: &RecordOptions) -> anyhow::Result<()> {
    let format = Format::of(&options.output)?;
    let targets = match (&options.pid, options.command.is_empty()) {
        (pids, true) if !pids.is_empty() => {
            for pid in pids {
                argand_host::comm(*pid).with_context(|| format!("there is no process {pid}"))?;
            }
            Targets::Processes(pids.clone())
        }
        (_, false) => Targets::Children,
        (_, true) => Targets::All,
    };
    // One profile for each process at the end.
    let interval = Duration::from_secs(24 * 3600);
    let profiler_options = Options {
        rate_hz: options.rate,
        interval,
        first_interval: interval,
        targets,
        farewell: None,
        ..Options::default()
    };
    let (output, profiles) = sync_channel(MAX_PROFILES);
    let profiler = Profiler::start(profiler_options, output).context("nothing is recorded")?;
    let watch = profiler.watch();
    let ended = wait(options)?;
    let recording = collect(profiler, &profiles, options.pid.is_empty() && options.command.is_empty());
    let lost: u64 =
        watch.figures().iter().filter(|figure| figure.name.starts_with("lost_")).map(|figure| figure.value).sum();
    if recording.profile.samples.is_empty() {
        bail!("no samples: what was recorded did not use the CPU; record longer, or more often with --rate");
    }
    let bytes = format.encode(&recording.profile);
    write(&options.output, &bytes)?;
    eprintln!(
        "{}: {} samples in {} stacks of {} processes{}",
        options.output.display(),
        recording.samples,
        recording.profile.samples.len(),
        recording.processes,
        if lost > 0 { format!(", {lost} samples lost") } else { String::new() },
    );
    if let Some(status) = ended.filter(|status| !status.success()) {
        eprintln!("the command ended with {status}");
    }
    Ok(())
}

/// What a file is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Pprof,
    Folded,
}

impl Format {
    fn of(path: &Path) -> anyhow::Result<Self> {
        let name = path.to_string_lossy();
        let ends = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        if name == "-" || ends(&[".folded", ".collapsed", ".txt"]) {
            Ok(Self::Folded)
        } else if ends(&[".pb.gz", ".pprof"]) {
            Ok(Self::Pprof)
        } else {
            bail!(
                "cannot write {name}: the formats are pprof (.pb.gz, .pprof) and folded stacks (.folded, or - to print)"
            )
        }
    }

    fn encode(self, profile: &Profile) -> Vec<u8> {
        match self {
            Self::Pprof => pprof::encode_gzip(profile),
            Self::Folded => folded(profile).into_bytes(),
        }
    }
}

/// Runs the command, or waits for the time that was asked for; SIGINT and SIGTERM end the recording.
fn wait(options: &RecordOptions) -> anyhow::Result<Option<std::process::ExitStatus>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        use tokio::signal::unix::{SignalKind, signal};
        let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let mut child = match options.command.split_first() {
            Some((program, arguments)) => {
                let spawned = Command::new(program).args(arguments).spawn();
                Some(Running(spawned.with_context(|| format!("cannot run {program}"))?))
            }
            None => None,
        };
        let duration = options.duration.map(Duration::from).or(child.is_none().then_some(DEFAULT_DURATION));
        let time_is_up = async {
            match duration {
                Some(duration) => tokio::time::sleep(duration).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            status = end_of(&mut child) => status,
            () = time_is_up => Ok(None),
            _ = interrupt.recv() => Ok(None),
            _ = terminate.recv() => Ok(None),
        }
    })
}

/// A command that does not outlive its recording.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

async fn end_of(child: &mut Option<Running>) -> anyhow::Result<Option<std::process::ExitStatus>> {
    let Some(child) = child else { return std::future::pending().await };
    loop {
        if let Some(status) = child.0.try_wait()? {
            return Ok(Some(status));
        }
        tokio::time::sleep(LOOK_EVERY).await;
    }
}

struct Recording {
    profile: Profile,
    samples: i64,
    processes: usize,
}

/// Stops the profiler and merges what it hands out; `name_processes` puts each process below a frame with its name.
fn collect(profiler: Profiler, profiles: &Receiver<ProcessProfile>, name_processes: bool) -> Recording {
    let stopping = std::thread::spawn(move || profiler.stop());
    let mut merged = Merged::default();
    let mut pids = HashSet::new();
    // The channel closes when the profiler has handed out its last profile.
    for process in profiles {
        pids.insert(process.pid);
        let service = process.labels.iter().find(|(name, _)| name == "service_name").map(|(_, value)| value.as_str());
        merged.add(&process.profile, service.filter(|_| name_processes));
    }
    // A panic there has been told.
    let _ = stopping.join();
    let profile = merged.profile;
    let samples = profile.samples.values.iter().sum::<i64>() / profile.period.max(1);
    Recording { profile, samples, processes: pids.len() }
}

fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    if path == Path::new("-") {
        return Ok(std::io::Write::write_all(&mut std::io::stdout(), bytes)?);
    }
    std::fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// `root;…;leaf value`, one line for each different stack of names.
fn folded(profile: &Profile) -> String {
    let mut values: HashMap<String, i64> = HashMap::new();
    for (index, stack) in profile.samples.stacks.iter().enumerate() {
        let mut text = String::new();
        for &location in stack.iter().rev() {
            for line in profile.symbols.lines_of(location).iter().rev() {
                if !text.is_empty() {
                    text.push(';');
                }
                // The separator has no escape.
                text.push_str(&profile.symbols.function_name(line.function).replace(';', ":"));
            }
        }
        *values.entry(text).or_insert(0) += profile.values_of(index)[0];
    }
    let mut lines: Vec<(String, i64)> = values.into_iter().collect();
    lines.sort_unstable();
    lines.iter().fold(String::new(), |mut out, (stack, value)| {
        writeln!(out, "{stack} {value}").expect("writing to a string does not fail");
        out
    })
}

/// Profiles of one type as one.
#[derive(Default)]
struct Merged {
    profile: Profile,
    strings: HashMap<String, StringId>,
    functions: HashMap<Function, FunctionId>,
    mappings: HashMap<Mapping, MappingId>,
    locations: HashMap<(MappingId, u64, Vec<Line>), LocationId>,
}

impl Merged {
    fn add(&mut self, profile: &Profile, root: Option<&str>) {
        let texts: Vec<StringId> = profile.symbols.strings.iter().map(|text| self.string(text)).collect();
        let text = |id: StringId| texts[id.index()];
        let value_type = |from: ValueType| ValueType { kind: text(from.kind), unit: text(from.unit) };
        if self.profile.sample_types.is_empty() {
            self.profile.sample_types = profile.sample_types.iter().copied().map(value_type).collect();
            self.profile.period_type = value_type(profile.period_type);
            self.profile.period = profile.period;
            self.profile.time_ns = profile.time_ns;
            self.profile.duration_ns = profile.duration_ns;
        }
        let Symbols { functions, mappings, .. } = &profile.symbols;
        let functions: Vec<FunctionId> = functions
            .iter()
            .map(|&function| {
                let (name, system_name, filename) =
                    (text(function.name), text(function.system_name), text(function.filename));
                self.function(Function { name, system_name, filename, ..function })
            })
            .collect();
        let mappings: Vec<MappingId> = mappings
            .iter()
            .map(|&mapping| {
                let (filename, build_id) = (text(mapping.filename), text(mapping.build_id));
                self.mapping(Mapping { filename, build_id, ..mapping })
            })
            .collect();
        let locations: Vec<LocationId> = (0..profile.symbols.locations.len())
            .map(|index| {
                let location = profile.symbols.locations[index];
                let lines = profile.symbols.lines_of(LocationId::from_index(index));
                let moved = |line: &Line| Line { function: functions[line.function.index()], line: line.line };
                self.location(mappings[location.mapping.index()], location.address, lines.iter().map(moved).collect())
            })
            .collect();
        let root = root.map(|name| {
            let name = self.string(name);
            let function = self.function(Function { name, ..Function::default() });
            self.location(MappingId(0), 0, vec![Line { function, line: 0 }])
        });
        for (index, stack) in profile.samples.stacks.iter().enumerate() {
            let leaf_first = stack.iter().map(|location| locations[location.index()]).chain(root);
            self.profile.samples.push(leaf_first, profile.values_of(index), &[]);
        }
    }

    fn string(&mut self, text: &str) -> StringId {
        if text.is_empty() {
            return StringId(0);
        }
        if let Some(&known) = self.strings.get(text) {
            return known;
        }
        let id = self.profile.symbols.strings.push(text);
        self.strings.insert(text.to_owned(), id);
        id
    }

    fn function(&mut self, function: Function) -> FunctionId {
        if function == Function::default() {
            return FunctionId(0);
        }
        *self.functions.entry(function).or_insert_with(|| self.profile.symbols.push_function(function))
    }

    fn mapping(&mut self, mapping: Mapping) -> MappingId {
        if mapping == Mapping::default() {
            return MappingId(0);
        }
        *self.mappings.entry(mapping).or_insert_with(|| self.profile.symbols.push_mapping(mapping))
    }

    fn location(&mut self, mapping: MappingId, address: u64, lines: Vec<Line>) -> LocationId {
        let symbols = &mut self.profile.symbols;
        let key = (mapping, address, lines);
        if let Some(&known) = self.locations.get(&key) {
            return known;
        }
        let id = symbols.push_location(mapping, address, false, &key.2);
        self.locations.insert(key, id);
        id
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(stacks: &[(&str, i64)]) -> Profile {
        let mut profile = Profile::default();
        let cpu = profile.symbols.strings.push("cpu");
        profile.sample_types = vec![ValueType { kind: cpu, unit: cpu }];
        for (stack, value) in stacks {
            let names: Vec<&str> = stack.split(';').rev().collect();
            let locations: Vec<_> = names.iter().map(|name| profile.symbols.push_named_location(name)).collect();
            profile.samples.push(locations, &[*value], &[]);
        }
        profile
    }

    #[test]
    fn profiles_merge_with_the_process_as_root() {
        let mut merged = Merged::default();
        merged.add(&drawn(&[("main;work", 1), ("main;a;b", 2)]), Some("one"));
        merged.add(&drawn(&[("main;work", 4)]), Some("two"));
        merged.add(&drawn(&[("main;work", 8)]), Some("two"));
        assert_eq!(folded(&merged.profile), "one;main;a;b 2\none;main;work 1\ntwo;main;work 12\n");
        // What is equal is kept once.
        assert_eq!(merged.profile.symbols.functions.len(), 1 + 6);
        assert_eq!(merged.profile.symbols.locations.len(), 6);
        let again = pprof::decode(&pprof::encode(&merged.profile), &pprof::PprofOptions::default()).unwrap();
        assert_eq!(folded(&again), folded(&merged.profile));
    }

    #[test]
    fn formats_go_by_extension_and_unknown_ones_are_named() {
        assert_eq!(Format::of(Path::new("a.pb.gz")).unwrap(), Format::Pprof);
        assert_eq!(Format::of(Path::new("-")).unwrap(), Format::Folded);
        let error = Format::of(Path::new("a.svg")).unwrap_err().to_string();
        assert!(error.contains("a.svg") && error.contains(".pb.gz"), "{error}");
    }
}
