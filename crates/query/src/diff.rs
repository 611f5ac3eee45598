//! Two call trees side by side.

use crate::bars::{Source, lay_out};
use crate::call_tree::Trie;
use crate::flamegraph::{advance, walk};
use crate::{CallTree, QueryError};

/// Two call trees aligned to the union of their nodes.
///
/// Shape: as [`crate::FlameGraph`], with two columns each for self value and total; 0 where a side lacks a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlameGraphDiff {
    /// Function names; the first is `total`.
    pub names: Vec<String>,
    /// Number of children of each bar.
    pub child_count: Vec<u32>,
    /// Index into `names`.
    pub name: Vec<u32>,
    /// Self values of the left tree.
    pub left_self: Vec<i64>,
    /// Totals of the left tree.
    pub left_total: Vec<i64>,
    /// Self values of the right tree.
    pub right_self: Vec<i64>,
    /// Totals of the right tree.
    pub right_total: Vec<i64>,
}

impl FlameGraphDiff {
    /// Aligns two trees and keeps the nodes whose larger total is at least that of the `max_nodes`-th largest; 0 keeps
    /// all. Errors: [`QueryError::NegativeValue`].
    pub fn new(left: &CallTree, right: &CallTree, max_nodes: usize) -> Result<Self, QueryError> {
        let mut all_values = [left, right].into_iter().flat_map(|tree| tree.self_value.iter().chain(&tree.total));
        if let Some(&negative) = all_values.find(|&&value| value < 0) {
            return Err(QueryError::NegativeValue(negative));
        }
        let mut names = left.names.clone();
        let mut trie = Trie::new(left.name[0]);
        let left_node = place(left, &(0..names.len() as u32).collect::<Vec<_>>(), &mut trie);
        let name_of: Vec<u32> = right.names.iter().map(|name| names.intern(name)).collect();
        let right_node = place(right, &name_of, &mut trie);

        let column = |values: &[i64], node: &[u32]| {
            let mut column = vec![0i64; trie.len()];
            node.iter().zip(values).for_each(|(&node, &value)| column[node as usize] = value);
            column
        };
        let left_total = column(&left.total, &left_node);
        let right_total = column(&right.total, &right_node);
        let weight: Vec<i64> = left_total.iter().zip(&right_total).map(|(&l, &r)| l.max(r)).collect();
        let (parent, name) = trie.columns();
        let parent = parent.as_slice();
        let bars = lay_out(&Source { parent, name: &name, names: &names, weight: &weight }, max_nodes);
        Ok(Self {
            left_self: bars.column(&column(&left.self_value, &left_node), &left_total),
            left_total: bars.column(&left_total, &left_total),
            right_self: bars.column(&column(&right.self_value, &right_node), &right_total),
            right_total: bars.column(&right_total, &right_total),
            names: bars.names,
            child_count: bars.child_count,
            name: bars.name,
        })
    }

    /// Number of bars, at least 1.
    #[allow(clippy::len_without_is_empty)] // bar 0 always exists
    pub fn len(&self) -> usize {
        self.name.len()
    }

    /// Sum of the left tree.
    pub fn left_ticks(&self) -> i64 {
        self.left_total[0]
    }

    /// Sum of the right tree.
    pub fn right_ticks(&self) -> i64 {
        self.right_total[0]
    }

    /// Sum of both trees; saturates.
    pub fn total(&self) -> i64 {
        self.left_ticks().saturating_add(self.right_ticks())
    }

    /// Largest self value of any bar on either side, the root aside.
    pub fn max_self(&self) -> i64 {
        self.left_self[1..].iter().chain(&self.right_self[1..]).copied().max().unwrap_or(0)
    }

    /// Bars by depth as Pyroscope sends them: left x, left total, left self, right x, right total, right self, name
    /// index. Each x is stored as the distance from the end of the bar before on the level, on its side.
    pub fn levels(&self) -> Vec<Vec<i64>> {
        let mut levels: Vec<Level> = Vec::new();
        walk(&self.child_count, |bar, depth, parent: Option<&mut (i64, i64)>| {
            if levels.len() == depth {
                levels.push(Level::default());
            }
            let (left_total, right_total) = (self.left_total[bar], self.right_total[bar]);
            let own = |column: &[i64]| if bar == 0 { 0 } else { column[bar] };
            let (left_self, right_self) = (own(&self.left_self), own(&self.right_self));
            let (left, right) = parent.map_or((0, 0), |(left_next, right_next)| {
                (advance(left_next, left_total), advance(right_next, right_total))
            });
            let level = &mut levels[depth];
            let left_gap = left.saturating_sub(level.left_end);
            let right_gap = right.saturating_sub(level.right_end);
            let name = i64::from(self.name[bar]);
            level.values.extend([left_gap, left_total, left_self, right_gap, right_total, right_self, name]);
            level.left_end = left.saturating_add(left_total);
            level.right_end = right.saturating_add(right_total);
            (left.saturating_add(left_self), right.saturating_add(right_self))
        });
        levels.into_iter().map(|level| level.values).collect()
    }
}

/// One level of bars with the ends of its last bar.
#[derive(Default)]
struct Level {
    values: Vec<i64>,
    left_end: i64,
    right_end: i64,
}

/// Puts the nodes of `tree` into `trie`; returns where each went.
fn place(tree: &CallTree, name_of: &[u32], trie: &mut Trie) -> Vec<u32> {
    let mut node_of = vec![0u32; tree.len()];
    for i in 1..tree.len() {
        node_of[i] = trie.child(node_of[tree.parent[i] as usize], name_of[tree.name[i] as usize]);
    }
    node_of
}

#[cfg(test)]
mod tests;
