//! Finding equal symbols and stacks: how many uploads come to share one dictionary.

use std::hash::BuildHasher;
use std::sync::Arc;

use argand_model::{
    Dictionary, Function, FunctionId, Line, Location, LocationId, Mapping, MappingId, StackId, Stacks, StringId,
    Symbols,
};
use hashbrown::{DefaultHashBuilder, HashTable};

/// A dictionary that grows, with tables to find what it has.
///
/// Ids depend only on the order of what was interned, never on hashes.
pub(crate) struct Interner {
    /// Shared with readers: whoever adds to it while a reader holds it copies it first.
    dictionary: Arc<Dictionary>,
    strings: HashTable<StringId>,
    functions: HashTable<FunctionId>,
    mappings: HashTable<MappingId>,
    locations: HashTable<LocationId>,
    nodes: HashTable<StackId>,
    stacks: HashTable<KnownStack>,
    hasher: DefaultHashBuilder,
    seed: [u64; 2],
}

/// A whole stack by its 128-bit hash, so that a known one is found without walking the tree.
struct KnownStack {
    hash: u64,
    check: u64,
    node: StackId,
}

impl Interner {
    /// `seed` must be unknown to clients: two stacks with the same hash would become one.
    pub(crate) fn new(seed: [u64; 2]) -> Self {
        let mut interner = Self {
            dictionary: Arc::default(),
            strings: HashTable::new(),
            functions: HashTable::new(),
            mappings: HashTable::new(),
            locations: HashTable::new(),
            nodes: HashTable::new(),
            stacks: HashTable::new(),
            hasher: DefaultHashBuilder::default(),
            seed,
        };
        let Interner { dictionary, hasher, strings, functions, mappings, .. } = &mut interner;
        let Symbols { functions: function_table, mappings: mapping_table, .. } = &dictionary.symbols;
        strings.insert_unique(hasher.hash_one(""), StringId(0), |_| 0);
        functions.insert_unique(hasher.hash_one(function_table[0]), FunctionId(0), |_| 0);
        mappings.insert_unique(hasher.hash_one(mapping_table[0]), MappingId(0), |_| 0);
        interner
    }

    /// What was interned so far.
    pub(crate) fn dictionary(&self) -> &Arc<Dictionary> {
        &self.dictionary
    }

    /// The dictionary alone.
    pub(crate) fn into_dictionary(self) -> Arc<Dictionary> {
        self.dictionary
    }

    /// Heap memory in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.dictionary.memory_bytes()
            + self.strings.allocation_size()
            + self.functions.allocation_size()
            + self.mappings.allocation_size()
            + self.locations.allocation_size()
            + self.nodes.allocation_size()
            + self.stacks.allocation_size()
    }

    /// Adds the stacks of an upload; returns the node of each.
    pub(crate) fn intern_stacks(&mut self, symbols: &Symbols, stacks: &Stacks) -> Vec<StackId> {
        let locations = self.intern_symbols(symbols);
        let mut root_first = Vec::new();
        let intern = |stack: &[LocationId]| {
            root_first.clear();
            root_first.extend(stack.iter().rev().map(|location| locations[location.index()]));
            self.stack(&root_first)
        };
        stacks.iter().map(intern).collect()
    }

    /// Adds all stacks of another dictionary; returns the node of each of its nodes.
    pub(crate) fn intern_dictionary(&mut self, other: &Dictionary) -> Vec<StackId> {
        let locations = self.intern_symbols(&other.symbols);
        let mut nodes = vec![StackId(0); other.stacks.len()];
        for i in 1..nodes.len() {
            let parent = nodes[other.stacks.parent[i].index()];
            nodes[i] = self.node(parent, locations[other.stacks.location[i].index()]);
        }
        nodes
    }

    /// Adds symbols; returns the location of each location.
    fn intern_symbols(&mut self, symbols: &Symbols) -> Vec<LocationId> {
        let strings: Vec<StringId> = symbols.strings.iter().map(|text| self.string(text)).collect();
        let functions: Vec<FunctionId> = symbols
            .functions
            .iter()
            .map(|function| {
                self.function(Function {
                    name: strings[function.name.index()],
                    system_name: strings[function.system_name.index()],
                    filename: strings[function.filename.index()],
                    start_line: function.start_line,
                })
            })
            .collect();
        let mappings: Vec<MappingId> = symbols
            .mappings
            .iter()
            .map(|mapping| {
                self.mapping(Mapping {
                    filename: strings[mapping.filename.index()],
                    build_id: strings[mapping.build_id.index()],
                    ..*mapping
                })
            })
            .collect();
        let mut lines: Vec<Line> = Vec::new();
        (0..symbols.locations.len())
            .map(|i| {
                let id = LocationId::from_index(i);
                let location = symbols.locations[i];
                lines.clear();
                let translate = |line: &Line| Line { function: functions[line.function.index()], line: line.line };
                lines.extend(symbols.lines_of(id).iter().map(translate));
                self.location(mappings[location.mapping.index()], location.address, location.is_folded, &lines)
            })
            .collect()
    }

    fn string(&mut self, text: &str) -> StringId {
        let hash = self.hasher.hash_one(text);
        let known = &self.dictionary.symbols.strings;
        if let Some(&id) = self.strings.find(hash, |&id| known.get(id) == text) {
            return id;
        }
        let strings = &mut Arc::make_mut(&mut self.dictionary).symbols.strings;
        let id = strings.push(text);
        self.strings.insert_unique(hash, id, |&id| self.hasher.hash_one(strings.get(id)));
        id
    }

    fn function(&mut self, function: Function) -> FunctionId {
        let hash = self.hasher.hash_one(function);
        let known = &self.dictionary.symbols.functions;
        if let Some(&id) = self.functions.find(hash, |id| known[id.index()] == function) {
            return id;
        }
        let symbols = &mut Arc::make_mut(&mut self.dictionary).symbols;
        let id = symbols.push_function(function);
        self.functions.insert_unique(hash, id, |id| self.hasher.hash_one(symbols.functions[id.index()]));
        id
    }

    fn mapping(&mut self, mapping: Mapping) -> MappingId {
        let hash = self.hasher.hash_one(mapping);
        let known = &self.dictionary.symbols.mappings;
        if let Some(&id) = self.mappings.find(hash, |id| known[id.index()] == mapping) {
            return id;
        }
        let symbols = &mut Arc::make_mut(&mut self.dictionary).symbols;
        let id = symbols.push_mapping(mapping);
        self.mappings.insert_unique(hash, id, |id| self.hasher.hash_one(symbols.mappings[id.index()]));
        id
    }

    fn location(&mut self, mapping: MappingId, address: u64, is_folded: bool, lines: &[Line]) -> LocationId {
        let hash = self.hasher.hash_one((mapping, address, is_folded, lines));
        let known = &self.dictionary.symbols;
        let is_equal = |&id: &LocationId| {
            let Location { mapping: m, address: a, is_folded: f, .. } = known.locations[id.index()];
            (m, a, f) == (mapping, address, is_folded) && known.lines_of(id) == lines
        };
        if let Some(&id) = self.locations.find(hash, is_equal) {
            return id;
        }
        let symbols = &mut Arc::make_mut(&mut self.dictionary).symbols;
        let id = symbols.push_location(mapping, address, is_folded, lines);
        self.locations.insert_unique(hash, id, |&id| {
            let Location { mapping, address, is_folded, .. } = symbols.locations[id.index()];
            self.hasher.hash_one((mapping, address, is_folded, symbols.lines_of(id)))
        });
        id
    }

    fn stack(&mut self, root_first: &[LocationId]) -> StackId {
        let (hash, check) = stack_hash(self.seed, root_first);
        if let Some(known) = self.stacks.find(hash, |known| (known.hash, known.check) == (hash, check)) {
            return known.node;
        }
        let node = root_first.iter().fold(StackId(0), |parent, &location| self.node(parent, location));
        self.stacks.insert_unique(hash, KnownStack { hash, check, node }, |known| known.hash);
        node
    }

    fn node(&mut self, parent: StackId, location: LocationId) -> StackId {
        let hash = self.hasher.hash_one((parent, location));
        let known = &self.dictionary.stacks;
        let is_equal = |id: &StackId| (known.parent[id.index()], known.location[id.index()]) == (parent, location);
        if let Some(&id) = self.nodes.find(hash, is_equal) {
            return id;
        }
        let stacks = &mut Arc::make_mut(&mut self.dictionary).stacks;
        let id = stacks.push(parent, location);
        self.nodes.insert_unique(hash, id, |id| {
            self.hasher.hash_one((stacks.parent[id.index()], stacks.location[id.index()]))
        });
        id
    }
}

/// Two independent 64-bit hashes of a stack by folded multiplication.
fn stack_hash(seed: [u64; 2], locations: &[LocationId]) -> (u64, u64) {
    // Digits of pi: odd, without pattern.
    const FACTORS: [u64; 2] = [0x243F_6A88_85A3_08D3, 0x1319_8A2E_0370_7345];
    let fold = |a: u64, b: u64| {
        let product = u128::from(a) * u128::from(b);
        product as u64 ^ (product >> 64) as u64
    };
    let len = locations.len() as u64;
    let mut state = [seed[0] ^ len, seed[1] ^ len];
    for location in locations {
        let word = u64::from(location.0) << 17 | 1;
        state = [fold(state[0] ^ word, FACTORS[0]), fold(state[1].rotate_left(29) ^ word, FACTORS[1])];
    }
    (state[0], state[1])
}

#[cfg(test)]
mod tests;
