//! The one order of a dataset that the writer takes: what makes blocks small.

use std::sync::Arc;

use argand_model::{
    Dictionary, Function, FunctionId, Labels, Line, LocationId, Mapping, MappingId, MemoryDataset, ProfileTable,
    StackId, StackTree, StringId, Symbols,
};
use hashbrown::HashMap;

/// Sorts a dataset and compacts its dictionary, as [`crate::BlockWriter::add`] asks for.
///
/// Series are ordered by their labels, profiles by series, time and id, rows by stack, span and trace; rows that agree
/// in all three are added up. Nodes come depth first, symbols in order of their first use; entries that are equal
/// become one, and unused ones go.
///
/// Panics when ids of `dataset` point out of their tables or its columns differ in length.
pub fn sort_dataset(dataset: MemoryDataset) -> MemoryDataset {
    let MemoryDataset { service_name, series, profiles, dictionary, stack, value, span_id, trace_id } = dataset;
    let (dictionary, new_stack) = compact(&dictionary, &stack);
    let (series, new_series) = sort_series(&series);
    let series_of = |profile: usize| new_series[profiles.series[profile] as usize];

    let mut order: Vec<usize> = (0..profiles.len()).collect();
    order.sort_by_key(|&profile| (series_of(profile), profiles.time_ns[profile], profiles.id[profile]));

    let mut sorted = ProfileTable::default();
    let mut rows = Rows::default();
    let mut of_profile: Vec<Row> = Vec::new();
    for profile in order {
        of_profile.clear();
        of_profile.extend(profiles.rows(profile).map(|row| row as usize).map(|row| Row {
            stack: new_stack[stack[row].index()],
            span_id: span_id.get(row).copied().unwrap_or(0),
            trace_id: trace_id.get(row).copied().unwrap_or(0),
            value: value[row],
        }));
        of_profile.sort_by_key(Row::key);
        rows.push_profile(&of_profile);
        sorted.series.push(series_of(profile));
        sorted.time_ns.push(profiles.time_ns[profile]);
        sorted.duration_ns.push(profiles.duration_ns[profile]);
        sorted.total.push(profiles.total[profile]);
        sorted.id.push(profiles.id[profile]);
        sorted.row_end.push(rows.stack.len() as u32);
    }
    MemoryDataset {
        service_name,
        series,
        profiles: Arc::new(sorted),
        dictionary: Arc::new(dictionary),
        stack: rows.stack,
        value: rows.value,
        span_id: if rows.span_id.iter().any(|&id| id != 0) { rows.span_id } else { Vec::new() },
        trace_id: if rows.trace_id.iter().any(|&id| id != 0) { rows.trace_id } else { Vec::new() },
    }
}

struct Row {
    stack: StackId,
    span_id: u64,
    trace_id: u128,
    value: i64,
}

impl Row {
    fn key(&self) -> (StackId, u64, u128) {
        (self.stack, self.span_id, self.trace_id)
    }
}

#[derive(Default)]
struct Rows {
    stack: Vec<StackId>,
    value: Vec<i64>,
    span_id: Vec<u64>,
    trace_id: Vec<u128>,
}

impl Rows {
    /// Appends the sorted rows of a profile; equal ones become one.
    fn push_profile(&mut self, rows: &[Row]) {
        for same in rows.chunk_by(|a, b| a.key() == b.key()) {
            self.stack.push(same[0].stack);
            self.value.push(same.iter().fold(0, |sum: i64, row| sum.saturating_add(row.value)));
            self.span_id.push(same[0].span_id);
            self.trace_id.push(same[0].trace_id);
        }
    }
}

/// Distinct series in order of their labels, and the new index of each old one.
fn sort_series(series: &[Labels]) -> (Vec<Labels>, Vec<u32>) {
    let mut sorted = series.to_vec();
    sorted.sort_unstable();
    sorted.dedup();
    let new_index = |labels| sorted.binary_search(labels).expect("all series are there") as u32;
    let new_series = series.iter().map(new_index).collect();
    (sorted, new_series)
}

/// A dictionary of what `rows` use, and for each old stack that they use the new one.
fn compact(dictionary: &Dictionary, rows: &[StackId]) -> (Dictionary, Vec<StackId>) {
    let (merged, merged_of) = merge_equal(dictionary, rows);
    let mut symbols = Interner::new(&merged.symbols);
    let mut stacks = StackTree::default();
    let mut new_of = vec![StackId(0); merged.stacks.len()];
    for node in depth_first(&merged.stacks) {
        let location = symbols.location(merged.stacks.location[node]);
        new_of[node] = stacks.push(new_of[merged.stacks.parent[node].index()], location);
    }
    let new_stack = merged_of.into_iter().map(|node| new_of[node.index()]).collect();
    (Dictionary { symbols: symbols.to, stacks }, new_stack)
}

/// Keeps what `rows` use, once; gives for each old stack that they use the kept one.
fn merge_equal(dictionary: &Dictionary, rows: &[StackId]) -> (Dictionary, Vec<StackId>) {
    let old = &dictionary.stacks;
    let used = used_nodes(old, rows);
    let mut symbols = Interner::new(&dictionary.symbols);
    let mut stacks = StackTree::default();
    let mut node_of: HashMap<(StackId, LocationId), StackId> = HashMap::new();
    let mut merged_of = vec![StackId(0); old.len()];
    for node in (1..old.len()).filter(|&node| used[node]) {
        let key = (merged_of[old.parent[node].index()], symbols.location(old.location[node]));
        merged_of[node] = *node_of.entry(key).or_insert_with(|| stacks.push(key.0, key.1));
    }
    (Dictionary { symbols: symbols.to, stacks }, merged_of)
}

/// Nodes that rows refer to, and their ancestors.
fn used_nodes(tree: &StackTree, rows: &[StackId]) -> Vec<bool> {
    let mut used = vec![false; tree.len()];
    rows.iter().for_each(|leaf| used[leaf.index()] = true);
    for node in (1..tree.len()).rev() {
        if used[node] {
            used[tree.parent[node].index()] = true;
        }
    }
    used
}

/// Nodes but the root in depth-first order, children by location.
fn depth_first(tree: &StackTree) -> Vec<usize> {
    let mut by_parent: Vec<usize> = (1..tree.len()).collect();
    by_parent.sort_unstable_by_key(|&node| (tree.parent[node], tree.location[node]));
    let mut children_start = vec![0usize; tree.len() + 1];
    by_parent.iter().for_each(|&node| children_start[tree.parent[node].index() + 1] += 1);
    for node in 0..tree.len() {
        children_start[node + 1] += children_start[node];
    }
    let mut order = Vec::with_capacity(by_parent.len());
    let mut open = vec![0usize];
    while let Some(node) = open.pop() {
        if node > 0 {
            order.push(node);
        }
        open.extend(by_parent[children_start[node]..children_start[node + 1]].iter().rev());
    }
    order
}

/// Copies symbols from one table to another in order of first use; equal entries become one.
struct Interner<'a> {
    from: &'a Symbols,
    to: Symbols,
    strings: HashMap<&'a str, StringId>,
    functions: HashMap<Function, FunctionId>,
    mappings: HashMap<Mapping, MappingId>,
    locations: HashMap<(MappingId, u64, bool, Vec<Line>), LocationId>,
    /// New id of each old location that was asked for.
    location_of: Vec<Option<LocationId>>,
}

impl<'a> Interner<'a> {
    fn new(from: &'a Symbols) -> Self {
        Self {
            from,
            to: Symbols::default(),
            strings: HashMap::from_iter([("", StringId(0))]),
            functions: HashMap::from_iter([(Function::default(), FunctionId(0))]),
            mappings: HashMap::from_iter([(Mapping::default(), MappingId(0))]),
            locations: HashMap::new(),
            location_of: vec![None; from.locations.len()],
        }
    }

    fn location(&mut self, old: LocationId) -> LocationId {
        if let Some(known) = self.location_of[old.index()] {
            return known;
        }
        let location = self.from.locations[old.index()];
        let mapping = self.mapping(location.mapping);
        let lines: Vec<Line> = self
            .from
            .lines_of(old)
            .iter()
            .map(|line| Line { function: self.function(line.function), line: line.line })
            .collect();
        let key = (mapping, location.address, location.is_folded, lines);
        let new = *self.locations.entry(key).or_insert_with_key(|(mapping, address, is_folded, lines)| {
            self.to.push_location(*mapping, *address, *is_folded, lines)
        });
        self.location_of[old.index()] = Some(new);
        new
    }

    fn mapping(&mut self, old: MappingId) -> MappingId {
        let mapping = self.from.mappings[old.index()];
        let filename = self.string(mapping.filename);
        let build_id = self.string(mapping.build_id);
        let mapping = Mapping { filename, build_id, ..mapping };
        *self.mappings.entry(mapping).or_insert_with(|| self.to.push_mapping(mapping))
    }

    fn function(&mut self, old: FunctionId) -> FunctionId {
        let function = self.from.functions[old.index()];
        let name = self.string(function.name);
        let system_name = self.string(function.system_name);
        let filename = self.string(function.filename);
        let function = Function { name, system_name, filename, ..function };
        *self.functions.entry(function).or_insert_with(|| self.to.push_function(function))
    }

    fn string(&mut self, old: StringId) -> StringId {
        let text = self.from.strings.get(old);
        *self.strings.entry(text).or_insert_with(|| self.to.strings.push(text))
    }
}

#[cfg(test)]
mod tests;
