//! Stacks of addresses to profiles with names.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError};
use std::time::UNIX_EPOCH;

use argand_host::{ProcessFacts, service_name};
use argand_model::{Function, FunctionId, Line, LocationId, Mapping, MappingId, Profile, StringId, ValueType};
use hashbrown::HashMap;

use crate::aggregate::{RawFrame, RawStack};
use crate::files::Binary;
use crate::names::{Names, SourceFrame};
use crate::processes::{Code, ProcessKey};
use crate::sampler::{Batch, ProcessBatch};
use crate::shared::{End, FRAME_RETURN_ADDRESS, Frame};
use crate::stats::Stats;
use crate::{Options, ProcessProfile};

/// Names functions and builds profiles, on its own thread: reading symbols takes long the first time.
pub(crate) struct Symbolizer {
    options: Options,
    output: SyncSender<ProcessProfile>,
    names: Names,
    stats: Arc<Stats>,
}

impl Symbolizer {
    pub(crate) fn new(
        options: Options,
        output: SyncSender<ProcessProfile>,
        stop: Arc<AtomicBool>,
        stats: Arc<Stats>,
    ) -> Self {
        let names = Names::new(stop, options.farewell, stats.clone());
        Self { options, output, names, stats }
    }

    /// Makes profiles until no more batches can come.
    pub(crate) fn serve(mut self, batches: &Receiver<Batch>) {
        while let Ok(batch) = batches.recv() {
            self.names.begin_batch();
            for process in &batch.processes {
                let profile = self.profile(&batch, process);
                self.stats.profiles.add(1);
                match self.output.try_send(profile) {
                    Ok(()) => {}
                    Err(TrySendError::Full(_)) => self.stats.profiles_dropped.add(1),
                    Err(TrySendError::Disconnected(_)) => return,
                }
            }
        }
    }

    fn profile(&mut self, batch: &Batch, process: &ProcessBatch) -> ProcessProfile {
        let mut builder = Builder::new(batch, process, 1_000_000_000 / u64::from(self.options.rate_hz.max(1)));
        let mut stacks: Vec<(&RawStack, u64)> =
            process.samples.stacks.iter().map(|(stack, value)| (stack, *value)).collect();
        // The same samples make the same profile, whatever the order of the table.
        stacks.sort_unstable_by(|a, b| a.0.cmp(b.0));
        for (stack, value) in stacks {
            builder.add(stack, value, &mut self.names);
        }
        ProcessProfile {
            pid: process.key.pid,
            metric: "process_cpu",
            labels: labels(process, &self.options.hostname),
            profile: builder.profile,
        }
    }
}

/// What is known of a process as labels.
fn labels(process: &ProcessBatch, hostname: &str) -> Vec<(String, String)> {
    let mut labels: Vec<(String, String)> = Vec::new();
    let mut put = |name: &str, value: &str| {
        if !value.is_empty() {
            labels.push((name.to_owned(), value.to_owned()));
        }
    };
    let fallback;
    let facts = match (&process.facts, process.key == ProcessKey::KERNEL) {
        (Some(facts), false) => facts.as_ref(),
        (_, is_kernel) => {
            let comm = if is_kernel { "kernel" } else { &process.samples.comm };
            fallback = ProcessFacts { comm: comm.to_owned(), ..ProcessFacts::default() };
            &fallback
        }
    };
    let service = service_name(facts);
    put("service_name", &service.name);
    put("service_namespace", service.namespace.as_deref().unwrap_or_default());
    put("hostname", hostname);
    put("comm", &facts.comm);
    put("exe", &facts.exe);
    put("container_id", facts.cgroup.container_id.as_deref().unwrap_or_default());
    put("k8s_pod_uid", facts.cgroup.pod_uid.as_deref().unwrap_or_default());
    labels
}

/// A place in the code within one profile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Place {
    Kernel(u64),
    /// File number and svma.
    File(u32, u64),
    /// Avma in memory without a file, or in none that is known.
    Memory(u64),
    End(Option<End>),
}

struct Builder<'b> {
    batch: &'b Batch,
    code: &'b Code,
    profile: Profile,
    locations: HashMap<Place, LocationId>,
    strings: HashMap<String, StringId>,
    functions: HashMap<(StringId, StringId), FunctionId>,
    mappings: HashMap<u32, MappingId>,
    leaf_first: Vec<LocationId>,
}

impl<'b> Builder<'b> {
    fn new(batch: &'b Batch, process: &'b ProcessBatch, period_ns: u64) -> Self {
        let mut profile = Profile {
            time_ns: batch.start.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64),
            duration_ns: batch.duration.as_nanos() as i64,
            period: period_ns as i64,
            ..Profile::default()
        };
        let strings = &mut profile.symbols.strings;
        let cpu = ValueType { kind: strings.push("cpu"), unit: strings.push("nanoseconds") };
        (profile.sample_types, profile.period_type) = (vec![cpu], cpu);
        Self {
            batch,
            code: &process.code,
            profile,
            locations: HashMap::new(),
            strings: HashMap::new(),
            functions: HashMap::new(),
            mappings: HashMap::new(),
            leaf_first: Vec::new(),
        }
    }

    fn add(&mut self, stack: &RawStack, value: u64, names: &mut Names) {
        let mut leaf_first = std::mem::take(&mut self.leaf_first);
        leaf_first.clear();
        for (depth, &address) in stack.kernel().iter().enumerate() {
            // All but the innermost are return addresses; an interrupted function is in none.
            leaf_first.push(self.location(Place::Kernel(address - u64::from(depth > 0)), names));
        }
        for frame in stack.user() {
            if let Some(place) = self.place(frame) {
                leaf_first.push(self.location(place, names));
            }
        }
        match stack.end() {
            Some(End::Root | End::NoUser | End::ZeroFramePointer) => {}
            end => leaf_first.push(self.location(Place::End(end), names)),
        }
        self.profile.samples.push(leaf_first.iter().copied(), &[i64::try_from(value).unwrap_or(i64::MAX)], &[]);
        self.leaf_first = leaf_first;
    }

    fn place(&self, frame: RawFrame<'_>) -> Option<Place> {
        let is_return_address = frame.flags & FRAME_RETURN_ADDRESS != 0;
        let address = frame.payload.first()?.wrapping_sub(is_return_address.into());
        if frame.kind == Frame::Native as u8 && self.batch.binaries.contains_key(&frame.data) {
            return Some(Place::File(frame.data, address));
        }
        // What was not known when the sample was taken may be known now.
        let after = self.code.partition_point(|code| code.start <= address);
        let code = after.checked_sub(1).map(|at| &self.code[at]).filter(|code| address < code.end);
        match code.and_then(|code| Some((code.binary.as_ref()?, code.bias))) {
            Some((binary, bias)) if frame.kind == Frame::Address as u8 => {
                Some(Place::File(binary.number, address.wrapping_sub(bias)))
            }
            _ => Some(Place::Memory(address)),
        }
    }

    fn binary(&self, number: u32) -> Option<Arc<Binary>> {
        let mapped = || self.code.iter().filter_map(|code| code.binary.as_ref()).find(|binary| binary.number == number);
        self.batch.binaries.get(&number).or_else(mapped).cloned()
    }

    fn location(&mut self, place: Place, names: &mut Names) -> LocationId {
        if let Some(&known) = self.locations.get(&place) {
            return known;
        }
        let (mapping, address, frames) = match place {
            Place::Kernel(address) => (MappingId(0), address, names.kernel(address)),
            Place::File(number, svma) => match self.binary(number) {
                Some(binary) => (self.mapping(&binary), svma, names.native(&binary, svma)),
                None => (MappingId(0), svma, one("[unknown file]")),
            },
            Place::Memory(avma) => (MappingId(0), avma, Names::memory()),
            Place::End(Some(end)) => (MappingId(0), 0, one(&format!("[not unwound further: {}]", end.help()))),
            Place::End(None) => (MappingId(0), 0, one("[more different stacks than are kept]")),
        };
        let lines: Vec<Line> = frames.iter().map(|frame| self.line(frame)).collect();
        let id = self.profile.symbols.push_location(mapping, address, false, &lines);
        self.locations.insert(place, id);
        id
    }

    fn line(&mut self, frame: &SourceFrame) -> Line {
        let (name, filename) = (self.string(&frame.function), self.string(&frame.file));
        let function = match self.functions.get(&(name, filename)) {
            Some(&known) => known,
            None => {
                let function = Function { name, filename, start_line: frame.start_line, ..Function::default() };
                let id = self.profile.symbols.push_function(function);
                self.functions.insert((name, filename), id);
                id
            }
        };
        Line { function, line: frame.line }
    }

    fn string(&mut self, text: &str) -> StringId {
        if text.is_empty() {
            return StringId(0);
        }
        match self.strings.get(text) {
            Some(&known) => known,
            None => {
                let id = self.profile.symbols.strings.push(text);
                self.strings.insert(text.to_owned(), id);
                id
            }
        }
    }

    fn mapping(&mut self, binary: &Binary) -> MappingId {
        if let Some(&known) = self.mappings.get(&binary.number) {
            return known;
        }
        let build_id: String = binary.build_id.iter().map(|byte| format!("{byte:02x}")).collect();
        let mapping = Mapping {
            filename: self.string(&binary.path),
            build_id: self.string(&build_id),
            has_functions: true,
            has_filenames: true,
            has_line_numbers: true,
            has_inline_frames: true,
            ..Mapping::default()
        };
        let id = self.profile.symbols.push_mapping(mapping);
        self.mappings.insert(binary.number, id);
        id
    }
}

fn one(name: &str) -> Arc<[SourceFrame]> {
    Arc::from([SourceFrame::named(name)])
}
