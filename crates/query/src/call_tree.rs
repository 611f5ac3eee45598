//! Call trees: what merging profiles yields.

use argand_model::{StringId, StringTable};
use hashbrown::{DefaultHashBuilder, HashMap, HashTable};
use std::hash::BuildHasher;

/// Distinct texts by dense id.
#[derive(Clone, Debug, Default)]
pub struct Names {
    texts: StringTable,
    by_text: HashTable<u32>,
    hasher: DefaultHashBuilder,
}

impl Names {
    /// The id of `text`, a new one if it is not there yet.
    pub fn intern(&mut self, text: &str) -> u32 {
        let Self { texts, by_text, hasher } = self;
        let id_hash = |id: &u32| hasher.hash_one(texts.get(StringId(*id + 1)));
        let hash = hasher.hash_one(text);
        match by_text.entry(hash, |id| texts.get(StringId(*id + 1)) == text, id_hash) {
            hashbrown::hash_table::Entry::Occupied(entry) => *entry.get(),
            hashbrown::hash_table::Entry::Vacant(entry) => {
                let id = texts.len() as u32 - 1;
                entry.insert(id);
                texts.push(text);
                id
            }
        }
    }

    /// The text of `id`. Panics when `id` is not of this table.
    pub fn get(&self, id: u32) -> &str {
        self.texts.get(StringId(id + 1)) // entry 0 of the table is its own
    }

    /// Number of texts.
    pub fn len(&self) -> usize {
        self.texts.len() - 1
    }

    /// Whether there is no text.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The texts as a table, after its empty first entry.
    pub(crate) fn into_table(self) -> StringTable {
        self.texts
    }

    /// All texts in order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.texts.iter().skip(1)
    }
}

/// Who calls whom, merged by function name.
///
/// Shape: columns of equal length; node 0 is the root, named `total`; `parent[i] < i` for `i > 0`; no two children of a
/// node share a name, no order of children is promised.
/// Units: values in the unit of the profile type, not negative; sums saturate.
#[derive(Clone, Debug)]
pub struct CallTree {
    /// Caller of each node; the root's is itself.
    pub parent: Vec<u32>,
    /// Index into `names`.
    pub name: Vec<u32>,
    /// Value of the stacks that end in the node.
    pub self_value: Vec<i64>,
    /// Value of the stacks that pass through or end in the node.
    pub total: Vec<i64>,
    /// Function names.
    pub names: Names,
}

/// Name of the root.
pub(crate) const ROOT_NAME: &str = "total";

impl Default for CallTree {
    fn default() -> Self {
        let mut names = Names::default();
        Self::of_trie(Trie::new(names.intern(ROOT_NAME)), names)
    }
}

impl CallTree {
    /// Number of nodes, at least 1.
    #[allow(clippy::len_without_is_empty)] // node 0 always exists
    pub fn len(&self) -> usize {
        self.parent.len()
    }

    /// Value of all stacks together.
    pub fn grand_total(&self) -> i64 {
        self.total[0]
    }

    pub(crate) fn of_trie(trie: Trie, names: Names) -> Self {
        let (parent, name) = trie.columns();
        let self_value = trie.value;
        let total = sums_up(&parent, &self_value);
        Self { parent, name, self_value, total, names }
    }
}

/// Value of each node together with all below it, where parents come first; saturates.
pub(crate) fn sums_up(parent: &[u32], value: &[i64]) -> Vec<i64> {
    let mut total = value.to_vec();
    for i in (1..total.len()).rev() {
        let parent = parent[i] as usize;
        total[parent] = total[parent].saturating_add(total[i]);
    }
    total
}

/// Children of each node of a tree, found by its parent column.
pub(crate) struct Children {
    start: Vec<u32>,
    nodes: Vec<u32>,
}

impl Children {
    /// Shape: `parent[0]` is the root's own; the children of a node stand in ascending order.
    pub(crate) fn new(parent: &[u32]) -> Self {
        let mut start = vec![0u32; parent.len() + 1];
        for &p in &parent[1..] {
            start[p as usize + 1] += 1;
        }
        for i in 1..start.len() {
            start[i] += start[i - 1];
        }
        let mut next = start.clone();
        let mut nodes = vec![0u32; parent.len() - 1];
        for (node, &p) in (1u32..).zip(&parent[1..]) {
            let slot = &mut next[p as usize];
            nodes[*slot as usize] = node;
            *slot += 1;
        }
        Self { start, nodes }
    }

    pub(crate) fn of(&self, node: u32) -> &[u32] {
        &self.nodes[self.start[node as usize] as usize..self.start[node as usize + 1] as usize]
    }

    /// Sorts siblings by a key.
    pub(crate) fn sort_by_key(&mut self, key: impl Fn(u32) -> u32) {
        for bounds in self.start.windows(2) {
            self.nodes[bounds[0] as usize..bounds[1] as usize].sort_unstable_by_key(|&node| key(node));
        }
    }
}

/// A tree that finds a child by a 32-bit key: a function name or a location.
///
/// Shape: `nodes` and `value` of equal length; node 0 is the root; the parent of a node comes before it.
#[derive(Clone, Debug)]
pub(crate) struct Trie {
    nodes: Vec<TrieNode>,
    value: Vec<i64>,
    /// Children beyond the first [`LISTED_CHILDREN`] of their parent, by parent and key.
    more_children: HashMap<u64, u32>,
}

/// Children of a node that are found by walking a list. Most nodes have one or two, and those were touched just before:
/// a list is several times faster than a hash map of millions of nodes, which misses the cache each time.
const LISTED_CHILDREN: u32 = 8;

#[derive(Clone, Copy, Debug)]
struct TrieNode {
    parent: u32,
    key: u32,
    /// 0 for none.
    first_child: u32,
    /// 0 for none.
    next_sibling: u32,
}

impl Trie {
    pub(crate) fn new(root_key: u32) -> Self {
        let root = TrieNode { parent: 0, key: root_key, first_child: 0, next_sibling: 0 };
        Self { nodes: vec![root], value: vec![0], more_children: HashMap::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn parent(&self, node: u32) -> u32 {
        self.nodes[node as usize].parent
    }

    pub(crate) fn key(&self, node: u32) -> u32 {
        self.nodes[node as usize].key
    }

    pub(crate) fn value(&self, node: u32) -> i64 {
        self.value[node as usize]
    }

    /// Parents and keys of all nodes.
    pub(crate) fn columns(&self) -> (Vec<u32>, Vec<u32>) {
        self.nodes.iter().map(|node| (node.parent, node.key)).unzip()
    }

    /// The child of `parent` with `key`, a new one if there is none.
    pub(crate) fn child(&mut self, parent: u32, key: u32) -> u32 {
        let mut last = None;
        let mut listed = 0;
        let mut at = self.nodes[parent as usize].first_child;
        while at != 0 {
            let node = self.nodes[at as usize];
            if node.key == key {
                return at;
            }
            last = Some(at);
            listed += 1;
            at = node.next_sibling;
        }
        let new = u32::try_from(self.nodes.len()).expect("a tree has fewer nodes than its sources have frames");
        if listed < LISTED_CHILDREN {
            match last {
                None => self.nodes[parent as usize].first_child = new,
                Some(sibling) => self.nodes[sibling as usize].next_sibling = new,
            }
        } else {
            let known = *self.more_children.entry(u64::from(parent) << 32 | u64::from(key)).or_insert(new);
            if known != new {
                return known;
            }
        }
        self.nodes.push(TrieNode { parent, key, first_child: 0, next_sibling: 0 });
        self.value.push(0);
        new
    }

    pub(crate) fn add(&mut self, node: u32, value: i64) {
        let slot = &mut self.value[node as usize];
        *slot = slot.saturating_add(value);
    }
}
