//! Samples of all chunks, merged, and the profiles that they make up.

use std::hash::BuildHasher;

use argand_model::{
    Function, FunctionId, Line, LocationId, Mapping, MappingId, Profile, SampleLabel, Stacks, StringId, StringTable,
    Symbols, ValueType,
};
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use crate::budget::Budget;
use crate::cursor::Fault;
use crate::{LabelsSnapshot, Losses, MetricProfile, Options, Recording};

/// What a profile is about. In the order of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Block,
    AllocInNewTlab,
    AllocOutsideTlab,
    AllocSample,
    Live,
    Malloc,
    Mutex,
    Cpu,
    Wall,
}

/// Names of a [`Kind`].
struct Names {
    metric: &'static str,
    /// Name and unit of each value.
    sample_types: &'static [(&'static str, &'static str)],
    period_type: (&'static str, &'static str),
}

impl Kind {
    const ALL: [Self; 9] = [
        Self::Block,
        Self::AllocInNewTlab,
        Self::AllocOutsideTlab,
        Self::AllocSample,
        Self::Live,
        Self::Malloc,
        Self::Mutex,
        Self::Cpu,
        Self::Wall,
    ];

    fn names(self) -> Names {
        const CONTENTIONS: &[(&str, &str)] = &[("contentions", "count"), ("delay", "nanoseconds")];
        let names = |metric, sample_types, period_type| Names { metric, sample_types, period_type };
        match self {
            Self::Block => names("block", CONTENTIONS, ("block", "count")),
            Self::AllocInNewTlab => names(
                "memory",
                &[("alloc_in_new_tlab_objects", "count"), ("alloc_in_new_tlab_bytes", "bytes")],
                ("space", "bytes"),
            ),
            Self::AllocOutsideTlab => names(
                "memory",
                &[("alloc_outside_tlab_objects", "count"), ("alloc_outside_tlab_bytes", "bytes")],
                ("space", "bytes"),
            ),
            Self::AllocSample => names(
                "memory",
                &[("alloc_sample_objects", "count"), ("alloc_sample_bytes", "bytes")],
                ("space", "bytes"),
            ),
            Self::Live => names("memory", &[("live", "count")], ("objects", "count")),
            Self::Malloc => names("memory", &[("malloc_objects", "count"), ("malloc_bytes", "bytes")], ("", "")),
            Self::Mutex => names("mutex", CONTENTIONS, ("mutex", "count")),
            Self::Cpu => names("process_cpu", &[("cpu", "nanoseconds")], ("cpu", "nanoseconds")),
            Self::Wall => names("wall", &[("wall", "nanoseconds")], ("wall", "nanoseconds")),
        }
    }
}

/// Index of a distinct stack of a recording.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StackIndex(u32);

/// What a sample belongs to besides its stack. Context and span name are numbers of the labels part; 0 means none,
/// as the empty text does for the thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Origin {
    pub(crate) context: u64,
    pub(crate) span: u64,
    pub(crate) span_name: u64,
    pub(crate) thread: StringId,
}

/// Memory of a sample in its profile besides stack and labels: values, ends, and the text of a span id of its own.
const ROW_BYTES: usize = 160;

/// Samples of one kind; those that agree in stack and origin are one.
type Samples = HashMap<(StackIndex, Origin), [i64; 2]>;

/// Collects the samples of a recording.
pub(crate) struct Builder<'a> {
    pub(crate) options: &'a Options,
    pub(crate) budget: &'a Budget,
    pub(crate) losses: Losses,
    /// Value of the setting `event` so far.
    pub(crate) jfr_event: String,
    /// Names of functions and threads.
    names: DistinctTexts,
    /// Function name and line of each location.
    locations: Vec<(StringId, u32)>,
    location_ids: HashMap<(StringId, u32), LocationId>,
    stacks: DistinctStacks,
    samples: [Samples; Kind::ALL.len()],
}

impl<'a> Builder<'a> {
    pub(crate) fn new(options: &'a Options, budget: &'a Budget) -> Self {
        Self {
            options,
            budget,
            losses: Losses::default(),
            jfr_event: String::new(),
            names: DistinctTexts::default(),
            locations: Vec::new(),
            location_ids: HashMap::new(),
            stacks: DistinctStacks::default(),
            samples: Default::default(),
        }
    }

    /// The id of a function's or thread's name.
    pub(crate) fn name(&mut self, name: &str) -> Result<StringId, Fault> {
        self.names.id(name, self.budget)
    }

    pub(crate) fn location(&mut self, function: StringId, line: u32) -> Result<LocationId, Fault> {
        if let Some(&id) = self.location_ids.get(&(function, line)) {
            return Ok(id);
        }
        self.budget.memory.take(4 * size_of::<(StringId, u32)>())?;
        let id = LocationId::from_index(self.locations.len());
        self.locations.push((function, line));
        self.location_ids.insert((function, line), id);
        Ok(id)
    }

    /// Adds a stack, leaf first.
    pub(crate) fn stack(&mut self, locations: &[LocationId]) -> Result<StackIndex, Fault> {
        self.stacks.index(locations, self.budget)
    }

    /// Adds the values of a sample, as many as `kind` has sample types.
    pub(crate) fn sample(
        &mut self,
        kind: Kind,
        stack: StackIndex,
        origin: Origin,
        values: [i64; 2],
    ) -> Result<(), Fault> {
        let samples = &mut self.samples[kind as usize];
        if let Some(sums) = samples.get_mut(&(stack, origin)) {
            *sums = [sums[0].saturating_add(values[0]), sums[1].saturating_add(values[1])];
            return Ok(());
        }
        self.budget.memory.take(3 * size_of::<(StackIndex, Origin, [i64; 2])>())?;
        samples.insert((stack, origin), values);
        Ok(())
    }

    pub(crate) fn finish(mut self, labels: &LabelsSnapshot<'_>) -> Result<Recording, Fault> {
        let mut profiles = Vec::new();
        for kind in Kind::ALL {
            let samples = std::mem::take(&mut self.samples[kind as usize]);
            if !samples.is_empty() {
                profiles
                    .push(MetricProfile { metric: kind.names().metric, profile: self.profile(kind, samples, labels)? });
            }
        }
        Ok(Recording { profiles, jfr_event: self.jfr_event, losses: self.losses })
    }

    fn profile(&self, kind: Kind, samples: Samples, labels: &LabelsSnapshot<'_>) -> Result<Profile, Fault> {
        let Names { sample_types, period_type, .. } = kind.names();
        let mut writer = Writer::new(self);
        let mut profile = Profile {
            sample_types: sample_types.iter().map(|&names| writer.value_type(names)).collect(),
            period_type: writer.value_type(period_type),
            time_ns: self.options.time_ns,
            duration_ns: self.options.duration_ns,
            ..Profile::default()
        };
        let mut rows: Vec<_> = samples.into_iter().collect();
        rows.sort_unstable_by_key(|&(key, _)| key);
        for ((stack, origin), values) in rows {
            let stack = self.stacks.get(stack);
            let label_count = labels.label_count(origin.context) + 3;
            self.budget.labels.take(label_count)?;
            self.budget.memory.take(size_of_val(stack) + label_count * size_of::<SampleLabel>() + ROW_BYTES)?;
            let labels = writer.labels(origin, labels);
            let locations: Vec<LocationId> = stack.iter().map(|&location| writer.location(location)).collect();
            profile.samples.push(locations, &values[..sample_types.len()], &labels);
        }
        profile.symbols = writer.symbols;
        Ok(profile)
    }
}

/// Writes the symbols that one profile needs.
struct Writer<'a> {
    recording: &'a Builder<'a>,
    symbols: Symbols,
    mapping: MappingId,
    texts: HashMap<String, StringId>,
    functions: HashMap<StringId, FunctionId>,
    /// By location of the recording.
    locations: Vec<Option<LocationId>>,
}

impl<'a> Writer<'a> {
    fn new(recording: &'a Builder<'a>) -> Self {
        let mut symbols = Symbols::default();
        let mapping = symbols.push_mapping(Mapping { has_functions: true, ..Mapping::default() });
        let locations = vec![None; recording.locations.len()];
        Self { recording, symbols, mapping, texts: HashMap::new(), functions: HashMap::new(), locations }
    }

    fn location(&mut self, location: LocationId) -> LocationId {
        if let Some(written) = self.locations[location.index()] {
            return written;
        }
        let (name, line) = self.recording.locations[location.index()];
        let function = *self.functions.entry(name).or_insert_with(|| {
            let name = self.symbols.strings.push(self.recording.names.table.get(name));
            self.symbols.push_function(Function { name, ..Function::default() })
        });
        let written = self.symbols.push_location(self.mapping, 0, false, &[Line { function, line }]);
        self.locations[location.index()] = Some(written);
        written
    }

    /// Labels of the context, and those of span and thread where they have no such label.
    fn labels(&mut self, origin: Origin, snapshot: &LabelsSnapshot<'_>) -> Vec<SampleLabel> {
        let mut labels = snapshot.labels(origin.context);
        let span = format!("{:016x}", origin.span);
        let span_name = snapshot.text(origin.span_name).filter(|_| origin.span_name != 0).unwrap_or_default();
        let thread_name = self.recording.names.table.get(origin.thread);
        if origin.span != 0 {
            labels.retain(|&(name, _)| name != "profile_id");
            labels.push(("profile_id", &span));
        }
        if !span_name.is_empty() {
            labels.retain(|&(name, _)| name != "span_name");
            labels.push(("span_name", span_name));
        }
        if !thread_name.is_empty() && labels.iter().all(|&(name, _)| name != "thread_name") {
            labels.push(("thread_name", thread_name));
        }
        let label = |(key, text)| SampleLabel {
            key: self.text(key),
            text: self.text(text),
            number: 0,
            number_unit: StringId(0),
        };
        labels.into_iter().map(label).collect()
    }

    fn value_type(&mut self, (kind, unit): (&str, &str)) -> ValueType {
        ValueType { kind: self.text(kind), unit: self.text(unit) }
    }

    /// The id of a text other than a function name.
    fn text(&mut self, text: &str) -> StringId {
        if text.is_empty() {
            return StringId(0);
        }
        if let Some(&id) = self.texts.get(text) {
            return id;
        }
        let id = self.symbols.strings.push(text);
        self.texts.insert(text.to_owned(), id);
        id
    }
}

/// Texts by id, each once.
#[derive(Default)]
struct DistinctTexts {
    table: StringTable,
    ids: HashTable<StringId>,
    hasher: DefaultHashBuilder,
}

impl DistinctTexts {
    fn id(&mut self, text: &str, budget: &Budget) -> Result<StringId, Fault> {
        if text.is_empty() {
            return Ok(StringId(0));
        }
        let Self { table, ids, hasher } = self;
        let hash = hasher.hash_one(text);
        if let Some(&id) = ids.find(hash, |&id| table.get(id) == text) {
            return Ok(id);
        }
        budget.name_bytes.take(text.len())?;
        budget.memory.take(2 * text.len() + 32)?;
        let id = table.push(text);
        ids.insert_unique(hash, id, |&id| hasher.hash_one(table.get(id)));
        Ok(id)
    }
}

/// Stacks by index, each once.
#[derive(Default)]
struct DistinctStacks {
    table: Stacks,
    indexes: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl DistinctStacks {
    fn index(&mut self, locations: &[LocationId], budget: &Budget) -> Result<StackIndex, Fault> {
        let Self { table, indexes, hasher } = self;
        let hash = hasher.hash_one(locations);
        if let Some(&index) = indexes.find(hash, |&index| table.get(index) == locations) {
            return Ok(StackIndex(index));
        }
        budget.memory.take(2 * size_of_val(locations) + 32)?;
        let index = table.push(locations.iter().copied());
        indexes.insert_unique(hash, index, |&index| hasher.hash_one(table.get(index)));
        Ok(StackIndex(index))
    }

    fn get(&self, stack: StackIndex) -> &[LocationId] {
        self.table.get(stack.0)
    }
}
