//! A decoded profile becomes an upload: cleaned, split by label set and sample type.

use std::hash::BuildHasher;

use argand_model::{
    Labels, Location, LocationId, Profile, SampleLabel, SeriesProfile, Stacks, StringId, StringTable, Symbols, Upload,
    name,
};
use hashbrown::hash_table::Entry;
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};

use crate::{Context, Reason, Rejection, labels};

/// Turns `profile` into what the store commits, or `None` where nothing is left of it.
///
/// Series labels must be validated; the profile's time is taken as it is. Samples with a negative value or with
/// zeros only are dropped, equal ones merged, text labels promoted to series labels, span and trace ids kept
/// beside the rows. Errors: labels that exceed the limits once promoted, names that a profile type cannot hold,
/// relabel rules that drop every sample type.
pub(crate) fn normalise(
    mut profile: Profile,
    series: &Labels,
    context: &mut Context<'_>,
) -> Result<Option<Upload>, Rejection> {
    shorten_stacks(&mut profile, context.limits.stack_depth);
    let types = sample_types(&profile)?;
    let mut parts = Vec::new();
    let mut is_dropped = false;
    for group in groups(&profile) {
        let promoted = promote(&profile, series, &group.labels);
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
            parts.push(SeriesProfile { labels, id: (context.next_id)(), time_ns, duration_ns, ..part });
        }
    }
    if parts.is_empty() {
        let dropped = || Rejection::new(Reason::DroppedByRelabelRules, format!("relabel rules drop all of {series}"));
        return if is_dropped { Err(dropped()) } else { Ok(None) };
    }
    let Profile { mut symbols, samples, .. } = profile;
    clean_symbols(&mut symbols, context.limits.symbol_length_bytes);
    Ok(Some(Upload { symbols, stacks: samples.stacks, series: parts, idempotency_key: None }))
}

/// Takes locations that say nothing out of the stacks, and frames beyond `depth_limit` off their leaf side.
fn shorten_stacks(profile: &mut Profile, depth_limit: usize) {
    let says_nothing = |place: &Location| place.lines_len == 0 && place.address == 0;
    let has_place: Vec<bool> = profile.symbols.locations.iter().map(|place| !says_nothing(place)).collect();
    let stacks = &profile.samples.stacks;
    if has_place.iter().all(|&has| has) && stacks.iter().all(|stack| stack.len() <= depth_limit) {
        return;
    }
    let mut shortened = Stacks::default();
    let mut kept: Vec<LocationId> = Vec::new();
    for stack in stacks.iter() {
        kept.clear();
        kept.extend(stack.iter().filter(|location| has_place[location.index()]));
        shortened.push(kept[kept.len().saturating_sub(depth_limit)..].iter().copied());
    }
    profile.samples.stacks = shortened;
}

/// Shortens long strings to their end, and drops addresses where the sender resolved names: there they would only
/// keep equal places apart.
fn clean_symbols(symbols: &mut Symbols, symbol_length_bytes: usize) {
    for mapping in symbols.mappings.iter_mut().filter(|mapping| mapping.has_functions) {
        (mapping.memory_start, mapping.memory_limit, mapping.file_offset) = (0, 0, 0);
    }
    for location in &mut symbols.locations {
        if location.lines_len > 0 && symbols.mappings[location.mapping.index()].has_functions {
            location.address = 0;
        }
    }
    if symbols.strings.iter().any(|text| text.len() > symbol_length_bytes) {
        let mut shortened = StringTable::default();
        for text in symbols.strings.iter().skip(1) {
            shortened.push(ending(text, symbol_length_bytes));
        }
        symbols.strings = shortened;
    }
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
    stack: Vec<u32>,
    span_id: Vec<u64>,
    trace_id: Vec<u128>,
    /// One number per sample type and row, row by row.
    values: Vec<i64>,
}

impl Group {
    fn push(&mut self, stack: u32, span: u64, trace: u128, values: &[i64]) {
        self.stack.push(stack);
        self.span_id.push(span);
        self.trace_id.push(trace);
        self.values.extend_from_slice(values);
    }

    /// Span and trace id of a row.
    fn ids(&self, row: u32) -> (u64, u128) {
        (self.span_id[row as usize], self.trace_id[row as usize])
    }

    fn add_to(&mut self, row: usize, values: &[i64]) {
        for (sum, value) in self.values[row * values.len()..].iter_mut().zip(values) {
            *sum = sum.saturating_add(*value);
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

/// The samples of a profile by label set; of equal stacks the rows name the first.
fn groups(profile: &Profile) -> Vec<Group> {
    let keys = LabelKeys::of(profile);
    let stacks = &profile.samples.stacks;
    let hasher = StackHasher::new();
    let mut known: HashTable<KnownStack> = HashTable::with_capacity(profile.samples.len());
    // Rows that are not the first of their stack, by group, stack, span and trace.
    let mut more_rows: HashMap<(u32, u32, u64, u128), u32> = HashMap::new();
    let mut groups: Vec<Group> = Vec::new();
    let mut group_of: HashMap<Vec<(StringId, StringId)>, u32> = HashMap::new();
    let mut last_group = None;
    for index in 0..profile.samples.len() as u32 {
        let values = profile.values_of(index as usize);
        if values.iter().any(|&v| v < 0) || values.iter().all(|&v| v == 0) {
            continue;
        }
        let (labels, span, trace) = keys.split(profile, profile.samples.labels_of(index as usize));
        let group_index = match last_group {
            Some(last) if groups[last as usize].labels == labels => last,
            _ => *group_of.entry(labels).or_insert_with_key(|labels| {
                groups.push(Group { labels: labels.clone(), ..Group::default() });
                groups.len() as u32 - 1
            }),
        };
        last_group = Some(group_index);
        let group = &mut groups[group_index as usize];
        let next_row = group.stack.len() as u32;

        let stack = stacks.get(index);
        let hash = hasher.hash(stack);
        let is_equal = |other: &KnownStack| other.hash == hash && stacks.get(other.stack) == stack;
        let known = match known.entry(hash, is_equal, |known| known.hash) {
            Entry::Occupied(known) => *known.get(),
            Entry::Vacant(new) => {
                *new.insert(KnownStack { hash, stack: index, group: group_index, row: next_row }).get()
            }
        };
        let is_first_row =
            known.group == group_index && (known.row == next_row || group.ids(known.row) == (span, trace));
        let row = match is_first_row {
            true => known.row,
            false => *more_rows.entry((group_index, known.stack, span, trace)).or_insert(next_row),
        };
        match row == next_row {
            true => group.push(known.stack, span, trace, values),
            false => group.add_to(row as usize, values),
        }
    }
    groups
}

/// A stack that was seen, and the row that it was first seen in.
#[derive(Clone, Copy)]
struct KnownStack {
    hash: u64,
    stack: u32,
    group: u32,
    row: u32,
}

/// Hashes stacks four frames at a time: they are most of a profile. Seeded, so that nobody can prepare collisions.
struct StackHasher {
    seeds: [u64; 2],
}

impl StackHasher {
    fn new() -> Self {
        let random = DefaultHashBuilder::default();
        Self { seeds: [random.hash_one(0), random.hash_one(1)] }
    }

    fn hash(&self, stack: &[LocationId]) -> u64 {
        let [first, second] = self.seeds;
        let fold = |state: u64, [a, b]: [u64; 2]| {
            let product = u128::from(state ^ a) * u128::from(second ^ b);
            product as u64 ^ (product >> 64) as u64
        };
        let pair = |a: LocationId, b: LocationId| u64::from(a.0) << 32 | u64::from(b.0);
        let (fours, rest) = stack.as_chunks::<4>();
        let state = fours.iter().fold(first, |state, &[a, b, c, d]| fold(state, [pair(a, b), pair(c, d)]));
        let state = rest.iter().fold(state, |state, location| fold(state, [location.0.into(), 0]));
        fold(state, [stack.len() as u64, 1])
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
