//! Merges a selection into one pprof-like profile, with lines, addresses and mappings.

use argand_model::{
    DatasetError, Dictionary, Function, FunctionId, Line, Location, LocationId, Mapping, MappingId, Profile,
    ProfileType, StringId, Symbols, TimeRange, ValueType,
};
use hashbrown::HashMap;

use crate::accumulate::{WeightedTree, accumulate};
use crate::call_tree::Trie;
use crate::{Control, Filter, Names, Part, Partial, QueryError, Selection};

/// How to shorten stacks for Go's profile-guided optimisation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GoPgo {
    /// Frames to keep from the leaf on; 0 keeps all.
    pub keep_locations: u32,
    /// Whether stacks that differ only in the line of their leaf become one.
    pub aggregate_callees: bool,
}

/// Sums all rows that count by location, over all datasets; equal locations of different datasets become one.
///
/// Yields one sample type, that of `profile_type`, without sample labels; the time is the end of `range`. Nothing
/// selected yields `Profile::default()`, which has no sample type. Errors: [`QueryError::Cancelled`].
pub fn export_pprof(
    selection: &Selection,
    filter: &Filter,
    profile_type: &ProfileType,
    go_pgo: Option<GoPgo>,
    range: TimeRange,
    control: &Control<'_>,
) -> Result<Partial<Profile>, QueryError> {
    let mut damaged = selection.damaged.clone();
    let mut symbols = SymbolMerger::default();
    let mut trie = Trie::new(u32::MAX);
    for part in filter.narrow(selection) {
        add_part(&part, filter, go_pgo, control, &mut symbols, &mut trie, &mut damaged)?;
    }
    let has_samples = (0..trie.len() as u32).any(|node| trie.value(node) > 0);
    let value = if has_samples { profile(&trie, symbols, profile_type, range) } else { Profile::default() };
    Ok(Partial { value, damaged })
}

fn add_part(
    part: &Part,
    filter: &Filter,
    go_pgo: Option<GoPgo>,
    control: &Control<'_>,
    symbols: &mut SymbolMerger,
    trie: &mut Trie,
    damaged: &mut Vec<DatasetError>,
) -> Result<(), QueryError> {
    control.check()?;
    let dictionary = match part.dataset.dictionary() {
        Ok(dictionary) => dictionary,
        Err(error) => {
            damaged.push(error);
            return Ok(());
        }
    };
    let tree = accumulate(part, &dictionary, filter, control, damaged)?;
    let mut translation = Translation::new(&dictionary.symbols, symbols);
    match go_pgo {
        None => add_whole_stacks(&tree, &dictionary, &mut translation, trie),
        Some(go_pgo) => add_leaves(&tree, &dictionary, go_pgo, &mut translation, trie),
    }
    Ok(())
}

fn add_whole_stacks(tree: &WeightedTree, dictionary: &Dictionary, translation: &mut Translation<'_>, trie: &mut Trie) {
    let totals = tree.totals();
    let mut node_of = vec![0u32; tree.stack.len()];
    trie.add(0, tree.value[0]);
    for i in (1..tree.stack.len()).filter(|&i| totals[i] > 0) {
        let location = translation.location(dictionary.stacks.location[tree.stack[i].index()]);
        node_of[i] = trie.child(node_of[tree.parent[i] as usize], location.0);
        trie.add(node_of[i], tree.value[i]);
    }
}

fn add_leaves(
    tree: &WeightedTree,
    dictionary: &Dictionary,
    go_pgo: GoPgo,
    translation: &mut Translation<'_>,
    trie: &mut Trie,
) {
    let keep = if go_pgo.keep_locations == 0 { usize::MAX } else { go_pgo.keep_locations as usize };
    for i in (0..tree.stack.len()).filter(|&i| tree.value[i] > 0) {
        let mut path: Vec<LocationId> = dictionary.stacks.leaf_first(tree.stack[i]).take(keep).collect();
        for (depth, location) in path.iter_mut().enumerate() {
            *location = match depth {
                0 if go_pgo.aggregate_callees => translation.location_without_line(*location),
                _ => translation.location(*location),
            };
        }
        let node = path.iter().rev().fold(0, |parent, location| trie.child(parent, location.0));
        trie.add(node, tree.value[i]);
    }
}

fn profile(trie: &Trie, mut symbols: SymbolMerger, profile_type: &ProfileType, range: TimeRange) -> Profile {
    let mut text = |text: &str| symbols.text(text);
    let sample_type = ValueType { kind: text(&profile_type.sample_type), unit: text(&profile_type.sample_unit) };
    let period_type = ValueType { kind: text(&profile_type.period_type), unit: text(&profile_type.period_unit) };
    let mut profile = Profile {
        sample_types: vec![sample_type],
        symbols: symbols.into_symbols(),
        time_ns: range.end_ns,
        duration_ns: range.end_ns.saturating_sub(range.start_ns),
        period_type,
        period: match profile_type.name.as_str() {
            "process_cpu" => 1_000_000_000,
            "memory" => 524_288,
            _ => 1,
        },
        default_sample_type: sample_type.kind,
        ..Profile::default()
    };
    for node in (0..trie.len() as u32).filter(|&node| trie.value(node) > 0) {
        let path = std::iter::successors(Some(node), |&at| Some(trie.parent(at)));
        let leaf_first = path.take_while(|&at| at != 0).map(|at| LocationId(trie.key(at)));
        profile.samples.push(leaf_first, &[trie.value(node)], &[]);
    }
    profile
}

/// Symbol tables in which equal entries are one.
struct SymbolMerger {
    symbols: Symbols,
    texts: Names,
    functions: HashMap<Function, FunctionId>,
    mappings: HashMap<Mapping, MappingId>,
    /// By the location without the place of its lines, and its lines.
    locations: HashMap<(Location, Box<[Line]>), LocationId>,
}

impl Default for SymbolMerger {
    fn default() -> Self {
        Self {
            symbols: Symbols::default(),
            texts: Names::default(),
            functions: HashMap::from_iter([(Function::default(), FunctionId(0))]),
            mappings: HashMap::from_iter([(Mapping::default(), MappingId(0))]),
            locations: HashMap::new(),
        }
    }
}

impl SymbolMerger {
    fn text(&mut self, text: &str) -> StringId {
        if text.is_empty() { StringId(0) } else { StringId(self.texts.intern(text) + 1) }
    }

    fn location(&mut self, mapping: MappingId, address: u64, is_folded: bool, lines: Box<[Line]>) -> LocationId {
        let Self { symbols, locations, .. } = self;
        let key = Location { mapping, address, is_folded, lines_start: 0, lines_len: 0 };
        *locations
            .entry((key, lines))
            .or_insert_with_key(|(_, lines)| symbols.push_location(mapping, address, is_folded, lines))
    }

    fn into_symbols(self) -> Symbols {
        Symbols { strings: self.texts.into_table(), ..self.symbols }
    }
}

/// Translates the ids of one dictionary to those of the merged tables, each location once.
struct Translation<'a> {
    from: &'a Symbols,
    to: &'a mut SymbolMerger,
    locations: Vec<Option<LocationId>>,
}

impl<'a> Translation<'a> {
    fn new(from: &'a Symbols, to: &'a mut SymbolMerger) -> Self {
        Self { from, to, locations: vec![None; from.locations.len()] }
    }

    fn location(&mut self, id: LocationId) -> LocationId {
        if let Some(known) = self.locations[id.index()] {
            return known;
        }
        let Location { mapping, address, is_folded, .. } = self.from.locations[id.index()];
        let lines = self.lines(id);
        let mapping = self.mapping(mapping);
        let merged = self.to.location(mapping, address, is_folded, lines);
        self.locations[id.index()] = Some(merged);
        merged
    }

    /// The location's functions without saying where in them.
    fn location_without_line(&mut self, id: LocationId) -> LocationId {
        let lines = self.lines(id);
        if lines.is_empty() {
            return self.location(id);
        }
        let Location { mapping, is_folded, .. } = self.from.locations[id.index()];
        let mapping = self.mapping(mapping);
        let lines = lines.iter().map(|&Line { function, .. }| Line { function, line: 0 }).collect();
        self.to.location(mapping, 0, is_folded, lines)
    }

    fn lines(&mut self, id: LocationId) -> Box<[Line]> {
        let from = self.from;
        from.lines_of(id)
            .iter()
            .map(|&Line { function, line }| Line { function: self.function(function), line })
            .collect()
    }

    fn function(&mut self, id: FunctionId) -> FunctionId {
        let Function { name, system_name, filename, start_line } = self.from.functions[id.index()];
        let [name, system_name, filename] =
            [name, system_name, filename].map(|t| self.to.text(self.from.strings.get(t)));
        let function = Function { name, system_name, filename, start_line };
        let SymbolMerger { functions, symbols, .. } = &mut *self.to;
        *functions.entry(function).or_insert_with(|| symbols.push_function(function))
    }

    fn mapping(&mut self, id: MappingId) -> MappingId {
        let mapping = self.from.mappings[id.index()];
        let [filename, build_id] = [mapping.filename, mapping.build_id].map(|t| self.to.text(self.from.strings.get(t)));
        let mapping = Mapping { filename, build_id, ..mapping };
        let SymbolMerger { mappings, symbols, .. } = &mut *self.to;
        *mappings.entry(mapping).or_insert_with(|| symbols.push_mapping(mapping))
    }
}

#[cfg(test)]
mod tests;
