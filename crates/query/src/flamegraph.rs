//! Flame graphs: a call tree cut to a size that can be shown, and its encodings.

use crate::CallTree;
use crate::bars::{Source, lay_out};

/// A call tree for showing.
///
/// Shape: columns of equal length in pre-order, children bytewise by name; bar 0 is the root, named `total`. The
/// children that were too small are folded into one last child `other`, whose self value is its total.
/// Units: values in the unit of the profile type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlameGraph {
    /// Function names; the first is `total`. The others stand in the order in which a walk that visits the last child
    /// first meets them, which is what the reference server sends.
    pub names: Vec<String>,
    /// Number of children of each bar.
    pub child_count: Vec<u32>,
    /// Index into `names`.
    pub name: Vec<u32>,
    /// Value of the stacks that end in the bar.
    pub self_value: Vec<i64>,
    /// Value of the stacks that end in the bar or above it.
    pub total: Vec<i64>,
}

impl Default for FlameGraph {
    fn default() -> Self {
        Self::new(&CallTree::default(), 0)
    }
}

impl FlameGraph {
    /// Largest `max_nodes` that a request may ask for.
    pub const MAX_NODES_LIMIT: usize = 1 << 20;

    /// Shows the nodes of `tree` whose total is at least that of its `max_nodes`-th largest (the root not counted);
    /// 0 shows all. Totals stay exact. Equal totals may make the result somewhat larger than asked for.
    pub fn new(tree: &CallTree, max_nodes: usize) -> Self {
        let CallTree { parent, name, self_value, total, names } = tree;
        let bars = lay_out(&Source { parent, name, names, weight: total }, max_nodes);
        Self {
            self_value: bars.column(self_value, total),
            total: bars.column(total, total),
            names: bars.names,
            child_count: bars.child_count,
            name: bars.name,
        }
    }

    /// Number of bars, at least 1.
    #[allow(clippy::len_without_is_empty)] // bar 0 always exists
    pub fn len(&self) -> usize {
        self.name.len()
    }

    /// Value of all stacks together.
    pub fn grand_total(&self) -> i64 {
        self.total[0]
    }

    /// Largest self value of any bar, the root aside.
    pub fn max_self(&self) -> i64 {
        self.self_value[1..].iter().copied().max().unwrap_or(0)
    }

    /// Bars by depth as Pyroscope sends them: x offset, total, self, name index, bar after bar by ascending x.
    ///
    /// The offset is stored as the distance from the end of the bar before on the level. The root's self is shown as 0.
    pub fn levels(&self) -> Vec<Vec<i64>> {
        let mut levels: Vec<Level> = Vec::new();
        walk(&self.child_count, |bar, depth, parent: Option<&mut i64>| {
            if levels.len() == depth {
                levels.push(Level::default());
            }
            let own = if bar == 0 { 0 } else { self.self_value[bar] };
            let start = parent.map_or(0, |next| advance(next, self.total[bar]));
            levels[depth].push(start, &[self.total[bar], own, i64::from(self.name[bar])]);
            start.saturating_add(own)
        });
        levels.into_iter().map(|level| level.values).collect()
    }

    /// The bytes of `application/vnd.argand.flame`.
    ///
    /// `AFG1`, then LEB128 varints: number of names, each with its length and bytes; number of bars; the columns child
    /// count, name index and self value. A little-endian CRC-32C of everything before ends it.
    pub fn to_binary(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(16 + self.len() * 6 + self.names.iter().map(|n| n.len() + 2).sum::<usize>());
        out.extend_from_slice(b"AFG1");
        put_varint(&mut out, self.names.len() as u64);
        for name in &self.names {
            put_bytes(&mut out, name.as_bytes());
        }
        put_varint(&mut out, self.len() as u64);
        self.child_count.iter().for_each(|&count| put_varint(&mut out, count.into()));
        self.name.iter().for_each(|&name| put_varint(&mut out, name.into()));
        self.self_value.iter().for_each(|&value| put_varint(&mut out, value.max(0) as u64));
        let checksum = crc32c::crc32c(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    /// The bytes of Pyroscope's tree format; empty for an empty graph.
    ///
    /// Per node: varint length of the name, name, varint self value, varint number of children; the nameless root
    /// first, then always the last child of the latest node that still lacks some.
    pub fn to_tree_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        if self.len() == 1 && self.total[0] == 0 {
            return out;
        }
        let size = subtree_sizes(&self.child_count);
        let mut pending = vec![0usize];
        while let Some(bar) = pending.pop() {
            let name = if bar == 0 { "" } else { &self.names[self.name[bar] as usize] };
            put_bytes(&mut out, name.as_bytes());
            put_varint(&mut out, self.self_value[bar].max(0) as u64);
            put_varint(&mut out, self.child_count[bar].into());
            let children = std::iter::successors(Some(bar + 1), |&child| Some(child + size[child] as usize));
            pending.extend(children.take(self.child_count[bar] as usize));
        }
        out
    }
}

/// Calls `visit(bar, depth, state of the parent)` in pre-order; what it returns is the bar's own state.
pub(crate) fn walk<S>(child_count: &[u32], mut visit: impl FnMut(usize, usize, Option<&mut S>) -> S) {
    let mut open: Vec<(S, u32)> = Vec::new(); // bars on the path with the number of children to come
    for (bar, &children) in child_count.iter().enumerate() {
        while open.pop_if(|(_, left)| *left == 0).is_some() {}
        let depth = open.len();
        let parent = open.last_mut().map(|(state, left)| {
            *left -= 1;
            state
        });
        let state = visit(bar, depth, parent);
        open.push((state, children));
    }
}

/// Takes `width` off the front of the room that starts at `next`; returns where it started.
pub(crate) fn advance(next: &mut i64, width: i64) -> i64 {
    std::mem::replace(next, next.saturating_add(width))
}

/// Number of bars at and below each.
fn subtree_sizes(child_count: &[u32]) -> Vec<u32> {
    let mut size = vec![1u32; child_count.len()];
    for bar in (0..child_count.len()).rev() {
        let mut child = bar + 1;
        for _ in 0..child_count[bar] {
            size[bar] += size[child];
            child += size[child] as usize;
        }
    }
    size
}

/// One level of bars with the end of its last bar.
#[derive(Default)]
struct Level {
    values: Vec<i64>,
    end: i64,
}

impl Level {
    /// Appends a bar; `rest` begins with its width.
    fn push(&mut self, start: i64, rest: &[i64]) {
        self.values.push(start.saturating_sub(self.end));
        self.values.extend_from_slice(rest);
        self.end = start.saturating_add(rest[0]);
    }
}

fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

#[cfg(test)]
mod tests;
