//! Stacks that are known by the names of their frames, on their way to a profile.

use std::hash::BuildHasher;

use argand_model::{
    Function, FunctionId, Line, LocationId, MappingId, Profile, Samples, Stacks, StringId, StringTable, Symbols,
    ValueType,
};
use hashbrown::{DefaultHashBuilder, HashTable};

use crate::limits::{Quantity, check};
use crate::{DecodeLimits, FormatError};

/// What the values of a format without sample types mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Measure<'a> {
    /// Name of the sample type, such as `cpu`.
    pub kind: &'a str,
    /// Unit of the stored values, such as `nanoseconds`.
    pub unit: &'a str,
    /// What one of the format's units is in `unit`.
    pub scale: i64,
}

/// A node of a [`CallTree`]: the stack from the root down to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Node(u32);

/// The empty stack.
pub(crate) const ROOT: Node = Node(0);

/// Collects values by stack; equal stacks become one.
///
/// Shape: columns of equal length; node 0 is the empty stack; `parents[i] < i` for `i > 0`.
pub(crate) struct CallTree<'a> {
    limits: &'a DecodeLimits,
    hasher: DefaultHashBuilder,
    strings: StringTable,
    string_bytes: usize,
    ids: HashTable<u32>,
    parents: Vec<u32>,
    names: Vec<StringId>,
    depths: Vec<u32>,
    values: Vec<i64>,
    children: HashTable<u32>,
}

/// Upper bound of what a node costs: its row and its hash table slot, both twice because they grow by doubling.
const NODE_BYTES: usize = 2 * (4 + 4 + 4 + 8) + 16;
/// Upper bound of what a name costs without its text, in the tree and as entries of the profile.
const NAME_BYTES: usize = 2 * (4 + 8) + 48;

impl<'a> CallTree<'a> {
    pub(crate) fn new(limits: &'a DecodeLimits) -> Self {
        Self {
            limits,
            hasher: DefaultHashBuilder::default(),
            strings: StringTable::default(),
            string_bytes: 0,
            ids: HashTable::new(),
            parents: vec![0],
            names: vec![StringId(0)],
            depths: vec![0],
            values: vec![0],
            children: HashTable::new(),
        }
    }

    /// The id of a frame's name.
    pub(crate) fn name(&mut self, name: &str) -> Result<StringId, FormatError> {
        if name.is_empty() {
            return Ok(StringId(0));
        }
        let Self { hasher, strings, ids, .. } = self;
        let hash = hasher.hash_one(name);
        if let Some(&id) = ids.find(hash, |&id| strings.get(StringId(id)) == name) {
            return Ok(StringId(id));
        }
        self.string_bytes += name.len();
        check(Quantity::StringBytes, self.string_bytes, self.limits.string_bytes.min(u32::MAX as usize))?;
        check(Quantity::Strings, self.strings.len() + 1, self.limits.strings)?;
        self.check_memory(0)?;
        let Self { hasher, strings, ids, .. } = self;
        let id = strings.push(name);
        ids.insert_unique(hash, id.0, |&id| hasher.hash_one(strings.get(StringId(id))));
        Ok(id)
    }

    /// The node below `parent` with a name from [`CallTree::name`].
    pub(crate) fn child(&mut self, parent: Node, name: StringId) -> Result<Node, FormatError> {
        let Self { hasher, parents, names, children, .. } = self;
        let hash = hash_edge(hasher, parent.0, name);
        let same = |&node: &u32| parents[node as usize] == parent.0 && names[node as usize] == name;
        if let Some(&node) = children.find(hash, same) {
            return Ok(Node(node));
        }
        let depth = self.depths[parent.0 as usize] + 1;
        check(Quantity::Depth, depth as usize, self.limits.depth)?;
        self.check_memory(0)?;
        let node = u32::try_from(self.parents.len()).expect("memory is limited to less than 2^32 nodes");
        self.parents.push(parent.0);
        self.names.push(name);
        self.depths.push(depth);
        self.values.push(0);
        let Self { hasher, parents, names, children, .. } = self;
        let rehash = |&node: &u32| hash_edge(hasher, parents[node as usize], names[node as usize]);
        children.insert_unique(hash, node, rehash);
        Ok(Node(node))
    }

    /// The node below `parent` named `name`.
    pub(crate) fn child_named(&mut self, parent: Node, name: &str) -> Result<Node, FormatError> {
        let name = self.name(name)?;
        self.child(parent, name)
    }

    /// The caller of `node`; the root's is the root.
    pub(crate) fn parent(&self, node: Node) -> Node {
        Node(self.parents[node.0 as usize])
    }

    /// The name of a node's frame.
    pub(crate) fn name_of(&self, node: Node) -> StringId {
        self.names[node.0 as usize]
    }

    /// Text of all names together.
    pub(crate) fn string_bytes(&self) -> usize {
        self.string_bytes
    }

    /// Adds to the value of the stack that ends in `node`.
    pub(crate) fn add(&mut self, node: Node, value: i64) -> Result<(), FormatError> {
        let sum = &mut self.values[node.0 as usize];
        *sum = sum.checked_add(value).ok_or(FormatError::Overflow)?;
        Ok(())
    }

    /// A profile with one sample for every stack whose value is not 0, callers before what they called.
    pub(crate) fn into_profile(self, measure: Measure<'_>) -> Result<Profile, FormatError> {
        let samples = self.samples(measure.scale)?;
        let mut symbols = Symbols { strings: self.strings, ..Symbols::default() };
        let name_count = symbols.strings.len();
        symbols.functions.reserve_exact(name_count);
        symbols.locations.reserve_exact(name_count);
        symbols.lines.reserve_exact(name_count);
        for name in 0..name_count {
            let name = StringId::from_index(name);
            let function: FunctionId = symbols.push_function(Function { name, ..Function::default() });
            symbols.push_location(MappingId(0), 0, false, &[Line { function, line: 0 }]);
        }
        let sample_type =
            ValueType { kind: symbols.strings.push(measure.kind), unit: symbols.strings.push(measure.unit) };
        Ok(Profile { sample_types: vec![sample_type], samples, symbols, ..Profile::default() })
    }

    /// Samples whose location ids are the ids of the frames' names.
    fn samples(&self, scale: i64) -> Result<Samples, FormatError> {
        let with_value = || (0..self.values.len()).filter(|&node| self.values[node] != 0);
        let sample_count = with_value().count();
        let frame_count = with_value().fold(0, |sum: usize, node| sum.saturating_add(self.depths[node] as usize));
        check(Quantity::Samples, sample_count, self.limits.samples)?;
        check(Quantity::Frames, frame_count, self.limits.frames_total.min(u32::MAX as usize))?;
        let per_sample = size_of::<i64>() + 2 * size_of::<u32>();
        self.check_memory(frame_count * size_of::<LocationId>() + sample_count * per_sample)?;

        let mut frames = Vec::with_capacity(frame_count);
        let mut ends = Vec::with_capacity(sample_count);
        let mut values = Vec::with_capacity(sample_count);
        for leaf in with_value() {
            let mut node = leaf;
            while node != 0 {
                frames.push(LocationId(self.names[node].0));
                node = self.parents[node] as usize;
            }
            ends.push(frames.len() as u32);
            values.push(self.values[leaf].checked_mul(scale).ok_or(FormatError::Overflow)?);
        }
        let stacks = Stacks::from_columns(frames, ends).expect("every stack ended where the next one starts");
        Ok(Samples { stacks, values, labels: Vec::new(), label_ends: vec![0; sample_count] })
    }

    fn check_memory(&self, more: usize) -> Result<(), FormatError> {
        let used = self.parents.len() * NODE_BYTES + self.strings.len() * NAME_BYTES + 2 * self.string_bytes + more;
        Ok(check(Quantity::MemoryBytes, used, self.limits.memory_bytes)?)
    }
}

fn hash_edge(hasher: &DefaultHashBuilder, parent: u32, name: StringId) -> u64 {
    hasher.hash_one((parent, name))
}
