//! Finding equal symbols and stacks: how many uploads come to share one dictionary.

use std::hash::BuildHasher;
use std::sync::Arc;

use argand_model::{
    Dictionary, Function, FunctionId, Line, Location, LocationId, Mapping, MappingId, StackId, Stacks, StringId,
    Symbols,
};
use hashbrown::{DefaultHashBuilder, HashTable};
use twox_hash::XxHash3_128;

/// A dictionary that grows, with tables to find what it has.
///
/// Ids depend only on the order of what was interned, never on hashes.
pub(crate) struct Interner {
    /// Shared with readers: whoever adds to it while a reader holds it copies it first.
    dictionary: Arc<Dictionary>,
    strings: HashTable<StringId>,
    functions: HashTable<FunctionId>,
    mappings: HashTable<MappingId>,
    locations: HashTable<Known<LocationId>>,
    nodes: HashTable<StackId>,
    stacks: HashTable<Known<StackId>>,
    hasher: DefaultHashBuilder,
    seed: [u64; 2],
}

/// A location or a whole stack by the 128-bit hash of its content, so that a known one is found without looking at
/// what it consists of.
///
/// Equal hashes count as equal content. A sender who finds a collision in spite of the seed mixes up profiles of its
/// own service only.
struct Known<Id> {
    hash: Hash,
    id: Id,
}

impl Interner {
    /// `seed` should be unknown to clients.
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

    /// Adds those stacks of an upload that are `used`, and what symbols they need; returns the node of each stack,
    /// the empty stack for those that are not used.
    pub(crate) fn intern_stacks(
        &mut self,
        symbols: &Symbols,
        stacks: &Stacks,
        used: impl Iterator<Item = u32>,
    ) -> Vec<StackId> {
        let (mut is_used, mut is_place_used) = (vec![false; stacks.len()], vec![false; symbols.locations.len()]);
        for stack in used {
            if !std::mem::replace(&mut is_used[stack as usize], true) {
                stacks.get(stack).iter().for_each(|location| is_place_used[location.index()] = true);
            }
        }
        let locations = self.intern_locations(symbols, &is_place_used);
        let mut frames = Vec::new();
        // All hashes first: the lookups, which miss the caches, then do not wait for each other.
        let mut hash = |(stack, is_used): (&[LocationId], &bool)| match is_used {
            true => hash_bytes(self.seed, translate(stack, &locations, &mut frames).as_flattened()),
            false => EMPTY,
        };
        let hashes: Vec<Hash> = stacks.iter().zip(&is_used).map(&mut hash).collect();
        let mut intern = |((stack, is_used), hash): ((&[LocationId], bool), Hash)| match is_used {
            true => self.stack(hash, || stack.iter().rev().map(|location| locations[location.index()])),
            false => StackId(0),
        };
        stacks.iter().zip(is_used).zip(hashes).map(&mut intern).collect()
    }

    /// Adds all stacks of another dictionary; returns the node of each of its nodes.
    pub(crate) fn intern_dictionary(&mut self, other: &Dictionary) -> Vec<StackId> {
        let locations = self.intern_locations(&other.symbols, &vec![true; other.symbols.locations.len()]);
        let mut nodes = vec![StackId(0); other.stacks.len()];
        for i in 1..nodes.len() {
            let parent = nodes[other.stacks.parent[i].index()];
            nodes[i] = self.node(parent, locations[other.stacks.location[i].index()]);
        }
        nodes
    }

    /// Adds the locations that are used; returns the location of each location, any for those that are not used.
    ///
    /// All of them before the stacks, in their order: that is the order of what they refer to in memory.
    fn intern_locations(&mut self, symbols: &Symbols, is_used: &[bool]) -> Vec<LocationId> {
        let mut hashes = SymbolHashes::new(self.seed, symbols);
        let mut hash = |(index, &is_used): (usize, &bool)| match is_used {
            true => hashes.location(symbols, LocationId::from_index(index)),
            false => EMPTY,
        };
        let hashes: Vec<Hash> = is_used.iter().enumerate().map(&mut hash).collect();
        let mut intern = |(index, hash): (usize, Hash)| {
            if !is_used[index] {
                return LocationId(0);
            }
            match self.locations.find(hash.0, |known| known.hash == hash) {
                Some(known) => known.id,
                None => self.new_location(hash, symbols, LocationId::from_index(index)),
            }
        };
        hashes.into_iter().enumerate().map(&mut intern).collect()
    }

    fn new_location(&mut self, hash: Hash, symbols: &Symbols, location: LocationId) -> LocationId {
        let lines = symbols.lines_of(location).iter();
        let lines: Vec<Line> =
            lines.map(|line| Line { function: self.function(symbols, line.function), line: line.line }).collect();
        let Location { mapping, address, is_folded, .. } = symbols.locations[location.index()];
        let mapping = self.mapping(symbols, mapping);
        let id = Arc::make_mut(&mut self.dictionary).symbols.push_location(mapping, address, is_folded, &lines);
        self.locations.insert_unique(hash.0, Known { hash, id }, |known| known.hash.0);
        id
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

    fn function(&mut self, symbols: &Symbols, function: FunctionId) -> FunctionId {
        let Function { name, system_name, filename, start_line } = symbols.functions[function.index()];
        let [name, system_name, filename] =
            [name, system_name, filename].map(|text| self.string(symbols.strings.get(text)));
        let function = Function { name, system_name, filename, start_line };
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

    fn mapping(&mut self, symbols: &Symbols, mapping: MappingId) -> MappingId {
        let mapping = symbols.mappings[mapping.index()];
        let [filename, build_id] =
            [mapping.filename, mapping.build_id].map(|text| self.string(symbols.strings.get(text)));
        let mapping = Mapping { filename, build_id, ..mapping };
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

    /// `root_first` gives the locations of the stack that `hash` stands for.
    fn stack<I: Iterator<Item = LocationId>>(&mut self, hash: Hash, root_first: impl FnOnce() -> I) -> StackId {
        if let Some(known) = self.stacks.find(hash.0, |known| known.hash == hash) {
            return known.id;
        }
        let id = root_first().fold(StackId(0), |parent, location| self.node(parent, location));
        self.stacks.insert_unique(hash.0, Known { hash, id }, |known| known.hash.0);
        id
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

/// A stack in translated locations, as bytes; `frames` is a buffer.
fn translate<'f>(stack: &[LocationId], locations: &[LocationId], frames: &'f mut Vec<[u8; 4]>) -> &'f [[u8; 4]] {
    frames.clear();
    frames.extend(stack.iter().map(|location| locations[location.index()].0.to_le_bytes()));
    frames
}

/// 128 bits.
type Hash = (u64, u64);

/// Stands where no hash is needed.
const EMPTY: Hash = (0, 0);

fn hash_bytes(seed: [u64; 2], bytes: &[u8]) -> Hash {
    let hash = XxHash3_128::oneshot_with_seed(seed[0], bytes);
    (hash as u64, (hash >> 64) as u64 ^ seed[1])
}

/// Two independent 64-bit hashes of pairs of words by folded multiplication.
struct Mix {
    seed: [u64; 2],
    state: Hash,
}

impl Mix {
    fn new(seed: [u64; 2]) -> Self {
        Self { seed, state: (seed[0], seed[1]) }
    }

    #[inline]
    fn add(mut self, (a, b): Hash) -> Self {
        let fold = |a: u64, b: u64| {
            let product = u128::from(a) * u128::from(b);
            product as u64 ^ (product >> 64) as u64
        };
        let (seed, state) = (self.seed, self.state);
        self.state = (fold(a ^ state.0, b ^ seed[1]), fold(a ^ seed[0], b.rotate_left(29) ^ state.1));
        self
    }
}

/// Hashes of the entries of symbol tables by their content, independent of ids; made when first asked for.
struct SymbolHashes {
    seed: [u64; 2],
    functions: Vec<Option<Hash>>,
    mappings: Vec<Option<Hash>>,
}

impl SymbolHashes {
    fn new(seed: [u64; 2], symbols: &Symbols) -> Self {
        Self { seed, functions: vec![None; symbols.functions.len()], mappings: vec![None; symbols.mappings.len()] }
    }

    fn location(&mut self, symbols: &Symbols, location: LocationId) -> Hash {
        let Location { mapping, address, is_folded, .. } = symbols.locations[location.index()];
        let head = Mix::new(self.seed).add(self.mapping(symbols, mapping)).add((address, u64::from(is_folded)));
        let lines = symbols.lines_of(location).iter();
        lines.fold(head, |mix, line| mix.add(self.function(symbols, line.function)).add((line.line.into(), 1))).state
    }

    fn function(&mut self, symbols: &Symbols, function: FunctionId) -> Hash {
        let seed = self.seed;
        *self.functions[function.index()].get_or_insert_with(|| {
            let Function { name, system_name, filename, start_line } = symbols.functions[function.index()];
            let text = |id| hash_bytes(seed, symbols.strings.get(id).as_bytes());
            Mix::new(seed).add(text(name)).add(text(system_name)).add(text(filename)).add((start_line.into(), 0)).state
        })
    }

    fn mapping(&mut self, symbols: &Symbols, mapping: MappingId) -> Hash {
        let seed = self.seed;
        *self.mappings[mapping.index()].get_or_insert_with(|| {
            let Mapping { memory_start, memory_limit, file_offset, filename, build_id, .. } =
                symbols.mappings[mapping.index()];
            let Mapping { has_functions, has_filenames, has_line_numbers, has_inline_frames, .. } =
                symbols.mappings[mapping.index()];
            let text = |id| hash_bytes(seed, symbols.strings.get(id).as_bytes());
            let flags = [has_functions, has_filenames, has_line_numbers, has_inline_frames];
            let flags = flags.iter().fold(0, |bits, &flag| bits << 1 | u64::from(flag));
            let place = [(memory_start, memory_limit), (file_offset, flags)];
            place.into_iter().fold(Mix::new(seed).add(text(filename)).add(text(build_id)), Mix::add).state
        })
    }
}

#[cfg(test)]
mod tests;
