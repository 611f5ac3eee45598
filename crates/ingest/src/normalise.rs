//! A decoded profile becomes an upload: cleaned, split by label set and sample type.

use std::hash::BuildHasher;

use argand_model::{
    Function, FunctionId, Labels, Line, LocationId, Mapping, MappingId, Profile, SampleLabel, SeriesProfile, Stacks,
    StringId, Symbols, Upload, name,
};
use hashbrown::{DefaultHashBuilder, HashMap, HashTable, hash_map::Entry};

use crate::{Context, Reason, Rejection, labels};

/// Turns `profile` into what the store commits, or `None` where nothing is left of it.
///
/// Series labels must be validated; the profile's time is taken as it is. Samples with a negative value or with
/// zeros only are dropped, equal ones merged, text labels promoted to series labels, span and trace ids kept
/// beside the rows. Errors: labels that exceed the limits once promoted, names that a profile type cannot hold,
/// relabel rules that drop every sample type.
pub(crate) fn normalise(
    profile: &Profile,
    series: &Labels,
    context: &mut Context<'_>,
) -> Result<Option<Upload>, Rejection> {
    let types = sample_types(profile)?;
    let grouped = Grouped::of(profile, context.limits.stack_depth);
    let mut upload = Upload { stacks: grouped.stacks, ..Upload::default() };
    let mut is_dropped = false;
    for group in &grouped.groups {
        let promoted = promote(profile, series, &group.labels);
        labels::validate(&promoted, context.limits)?;
        for (index, sample_type) in types.iter().enumerate() {
            let part = group.rows_of_type(index, types.len());
            if part.stack.is_empty() {
                continue;
            }
            let Some(named) = context.relabel.of_sample_type(&promoted, sample_type.kind, sample_type.unit) else {
                is_dropped = true;
                continue;
            };
            if !context.relabel.sample_types.is_empty() {
                labels::validate(&named, context.limits)?;
            }
            let labels = identity(&labels::storable(&named), sample_type);
            let (time_ns, duration_ns) = (profile.time_ns, profile.duration_ns);
            upload.series.push(SeriesProfile { labels, id: (context.next_id)(), time_ns, duration_ns, ..part });
        }
    }
    if upload.series.is_empty() {
        let dropped = || Rejection::new(Reason::DroppedByRelabelRules, format!("relabel rules drop all of {series}"));
        return if is_dropped { Err(dropped()) } else { Ok(None) };
    }
    upload.symbols = Compaction::new(&profile.symbols, context.limits.symbol_length_bytes).run(&mut upload.stacks);
    Ok(Some(upload))
}

/// One value column of a profile in words.
struct SampleType<'a> {
    kind: &'a str,
    unit: &'a str,
    period_kind: &'a str,
    period_unit: &'a str,
}

fn sample_types(profile: &Profile) -> Result<Vec<SampleType<'_>>, Rejection> {
    let refuse = |message| Err(Rejection::new(Reason::MalformedProfile, message));
    let (period_kind, period_unit) = (profile.text(profile.period_type.kind), profile.text(profile.period_type.unit));
    let mut types = Vec::with_capacity(profile.sample_types.len());
    for value_type in &profile.sample_types {
        let (kind, unit) = (profile.text(value_type.kind), profile.text(value_type.unit));
        if kind.contains('-') {
            return refuse(format!("sample type {kind:?} contains a dash: use an underscore"));
        }
        if let Some(part) = [kind, unit, period_kind, period_unit].into_iter().find(|p| p.contains(':')) {
            return refuse(format!("{part:?} contains a colon, which separates the parts of a profile type"));
        }
        if kind.is_empty() {
            return refuse("a sample type has no name".to_owned());
        }
        types.push(SampleType { kind, unit, period_kind, period_unit });
    }
    Ok(types)
}

/// Adds the derived labels that name a stored series.
fn identity(labels: &Labels, sample_type: &SampleType<'_>) -> Labels {
    let SampleType { kind, unit, period_kind, period_unit } = sample_type;
    let series_name = labels.get(name::NAME).unwrap_or("").to_owned();
    let service = labels.get(name::SERVICE_NAME).unwrap_or("").to_owned();
    let profile_type = format!("{series_name}:{kind}:{unit}:{period_kind}:{period_unit}");
    let derived = [
        (name::PROFILE_TYPE, profile_type.as_str()),
        (name::TYPE, kind),
        (name::UNIT, unit),
        (name::PERIOD_TYPE, period_kind),
        (name::PERIOD_UNIT, period_unit),
        (name::SERVICE_NAME_PRIVATE, service.as_str()),
    ];
    Labels::new(labels.iter().chain(derived.into_iter().filter(|(_, value)| !value.is_empty())))
}

/// Series labels plus the sample labels of one group; a series label of the same name wins.
fn promote(profile: &Profile, series: &Labels, group: &[(StringId, StringId)]) -> Labels {
    if group.is_empty() {
        return series.clone();
    }
    let promoted = group.iter().map(|&(key, value)| (profile.text(key), profile.text(value)));
    Labels::new(promoted.chain(series.iter()))
}

/// Rows that share a set of text labels.
#[derive(Default)]
struct Group {
    labels: Vec<(StringId, StringId)>,
    rows: HashMap<(u32, u64, u128), usize>,
    stack: Vec<u32>,
    span_id: Vec<u64>,
    trace_id: Vec<u128>,
    /// One number per sample type and row, row by row.
    values: Vec<i64>,
}

impl Group {
    fn add(&mut self, stack: u32, span: u64, trace: u128, values: &[i64]) {
        match self.rows.entry((stack, span, trace)) {
            Entry::Occupied(row) => {
                let at = row.get() * values.len();
                for (sum, value) in self.values[at..].iter_mut().zip(values) {
                    *sum = sum.saturating_add(*value);
                }
            }
            Entry::Vacant(row) => {
                row.insert(self.stack.len());
                self.stack.push(stack);
                self.span_id.push(span);
                self.trace_id.push(trace);
                self.values.extend_from_slice(values);
            }
        }
    }

    /// The rows with a value of the given type; id columns stay empty where no row has one.
    fn rows_of_type(&self, index: usize, width: usize) -> SeriesProfile {
        let mut part = SeriesProfile::default();
        let rows = self.values.chunks_exact(width).map(|values| values[index]).enumerate();
        for (row, value) in rows.filter(|&(_, value)| value != 0) {
            part.stack.push(self.stack[row]);
            part.value.push(value);
            part.span_id.push(self.span_id[row]);
            part.trace_id.push(self.trace_id[row]);
        }
        if part.span_id.iter().all(|&id| id == 0) {
            part.span_id = Vec::new();
        }
        if part.trace_id.iter().all(|&id| id == 0) {
            part.trace_id = Vec::new();
        }
        part
    }
}

/// The samples of a profile, grouped by label set, with distinct stacks.
struct Grouped {
    stacks: Stacks,
    groups: Vec<Group>,
}

impl Grouped {
    fn of(profile: &Profile, depth_limit: usize) -> Self {
        let keys = LabelKeys::of(profile);
        let has_place = |location: LocationId| {
            let place = &profile.symbols.locations[location.index()];
            place.lines_len > 0 || place.address != 0
        };
        let all_placed = (0..profile.symbols.locations.len()).all(|i| has_place(LocationId::from_index(i)));
        let hasher = DefaultHashBuilder::default();
        let mut grouped = Self { stacks: Stacks::default(), groups: Vec::new() };
        let mut known: HashTable<u32> = HashTable::with_capacity(profile.samples.len());
        let mut group_of: HashMap<Vec<(StringId, StringId)>, usize> = HashMap::new();
        let mut kept: Vec<LocationId> = Vec::new();
        for index in 0..profile.samples.len() {
            let values = profile.values_of(index);
            if values.iter().any(|&v| v < 0) || values.iter().all(|&v| v == 0) {
                continue;
            }
            let sent = profile.samples.stacks.get(index as u32);
            let placed: &[LocationId] = if all_placed {
                sent
            } else {
                kept.clear();
                kept.extend(sent.iter().copied().filter(|&l| has_place(l)));
                &kept
            };
            let stack = &placed[placed.len().saturating_sub(depth_limit)..];
            let hash = hasher.hash_one(stack);
            let stacks = &mut grouped.stacks;
            let stack = match known.find(hash, |&known| stacks.get(known) == stack) {
                Some(&known) => known,
                None => {
                    let added = stacks.push(stack.iter().copied());
                    known.insert_unique(hash, added, |&s| hasher.hash_one(stacks.get(s)));
                    added
                }
            };
            let (labels, span, trace) = keys.split(profile, profile.samples.labels_of(index));
            let group = *group_of.entry(labels).or_insert_with_key(|labels| {
                grouped.groups.push(Group { labels: labels.clone(), ..Group::default() });
                grouped.groups.len() - 1
            });
            grouped.groups[group].add(stack, span, trace, values);
        }
        grouped
    }
}

/// Which label keys of a profile carry span and trace ids.
struct LabelKeys {
    span: Vec<StringId>,
    trace: Vec<StringId>,
}

impl LabelKeys {
    fn of(profile: &Profile) -> Self {
        let mut keys = Self { span: Vec::new(), trace: Vec::new() };
        for label in &profile.samples.labels {
            let ids = match profile.text(label.key) {
                "span_id" | "profile_id" => &mut keys.span,
                "trace_id" => &mut keys.trace,
                _ => continue,
            };
            if !ids.contains(&label.key) {
                ids.push(label.key);
            }
        }
        keys
    }

    /// Text labels (sorted, the last of equal keys wins), span id and trace id of a sample; numeric ones go.
    fn split(&self, profile: &Profile, labels: &[SampleLabel]) -> (Vec<(StringId, StringId)>, u64, u128) {
        let (mut text, mut span, mut trace) = (Vec::new(), 0, 0);
        for label in labels {
            if self.span.contains(&label.key) {
                span = hexadecimal(profile.text(label.text), 16).map_or(span, |id| id as u64);
            } else if self.trace.contains(&label.key) {
                trace = hexadecimal(profile.text(label.text), 32).unwrap_or(trace);
            } else if !profile.text(label.text).is_empty() && !profile.text(label.key).is_empty() {
                text.push((label.key, label.text));
            }
        }
        text.sort_by_key(|&(key, _)| key);
        text.dedup_by(|later, earlier| {
            let same = later.0 == earlier.0;
            if same {
                *earlier = *later;
            }
            same
        });
        (text, span, trace)
    }
}

fn hexadecimal(text: &str, digits: usize) -> Option<u128> {
    let valid = text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    valid.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

/// Copies what stacks refer to into fresh tables, so that nothing unused is stored.
struct Compaction<'a> {
    from: &'a Symbols,
    to: Symbols,
    symbol_length_bytes: usize,
    strings: Vec<Option<StringId>>,
    functions: Vec<Option<FunctionId>>,
    mappings: Vec<Option<MappingId>>,
    locations: Vec<Option<LocationId>>,
}

impl<'a> Compaction<'a> {
    fn new(from: &'a Symbols, symbol_length_bytes: usize) -> Self {
        let mut compaction = Self {
            from,
            to: Symbols::default(),
            symbol_length_bytes,
            strings: vec![None; from.strings.len()],
            functions: vec![None; from.functions.len()],
            mappings: vec![None; from.mappings.len()],
            locations: vec![None; from.locations.len()],
        };
        compaction.strings[0] = Some(StringId(0));
        compaction.functions[0] = Some(FunctionId(0));
        compaction.mappings[0] = Some(MappingId(0));
        compaction
    }

    fn run(mut self, stacks: &mut Stacks) -> Symbols {
        let mut translated = Stacks::default();
        for stack in stacks.iter() {
            translated.push(stack.iter().map(|&location| self.location(location)));
        }
        *stacks = translated;
        self.to
    }

    fn location(&mut self, id: LocationId) -> LocationId {
        if let Some(done) = self.locations[id.index()] {
            return done;
        }
        let place = self.from.locations[id.index()];
        let lines: Vec<Line> = self.from.lines_of(id).to_vec();
        let lines: Vec<Line> =
            lines.into_iter().map(|l| Line { function: self.function(l.function), line: l.line }).collect();
        // Where the sender resolved names, addresses only keep equal places apart.
        let resolved = !lines.is_empty() && self.from.mappings[place.mapping.index()].has_functions;
        let address = if resolved { 0 } else { place.address };
        let mapping = self.mapping(place.mapping);
        let added = self.to.push_location(mapping, address, place.is_folded, &lines);
        self.locations[id.index()] = Some(added);
        added
    }

    fn function(&mut self, id: FunctionId) -> FunctionId {
        if let Some(done) = self.functions[id.index()] {
            return done;
        }
        let function = self.from.functions[id.index()];
        let copy = Function {
            name: self.string(function.name),
            system_name: self.string(function.system_name),
            filename: self.string(function.filename),
            start_line: function.start_line,
        };
        let added = self.to.push_function(copy);
        self.functions[id.index()] = Some(added);
        added
    }

    fn mapping(&mut self, id: MappingId) -> MappingId {
        if let Some(done) = self.mappings[id.index()] {
            return done;
        }
        let mapping = self.from.mappings[id.index()];
        let named =
            Mapping { filename: self.string(mapping.filename), build_id: self.string(mapping.build_id), ..mapping };
        let copy = match mapping.has_functions {
            true => Mapping { memory_start: 0, memory_limit: 0, file_offset: 0, ..named },
            false => named,
        };
        let added = self.to.push_mapping(copy);
        self.mappings[id.index()] = Some(added);
        added
    }

    fn string(&mut self, id: StringId) -> StringId {
        if let Some(done) = self.strings[id.index()] {
            return done;
        }
        let added = self.to.strings.push(ending(self.from.strings.get(id), self.symbol_length_bytes));
        self.strings[id.index()] = Some(added);
        added
    }
}

/// The last bytes of `text`, at most `limit` and whole characters.
fn ending(text: &str, limit: usize) -> &str {
    let mut start = text.len().saturating_sub(limit);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    &text[start..]
}

#[cfg(test)]
mod tests;
