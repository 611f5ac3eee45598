//! Functions by value, wherever they are called from.

use std::cmp::Reverse;

use crate::CallTree;
use crate::call_tree::Children;

/// A function over all its callers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionRow {
    /// Its name.
    pub name: String,
    /// Value of the stacks that end in it.
    pub self_value: i64,
    /// Value of the stacks that contain it, each once however often it recurs.
    pub total: i64,
}

/// The functions of a tree by descending self value, then total, then name; at most `limit`, 0 for all.
pub fn top(tree: &CallTree, limit: usize) -> Vec<FunctionRow> {
    let mut self_values = vec![0i64; tree.names.len()];
    let mut totals = vec![0i64; tree.names.len()];
    let mut is_on_path = vec![false; tree.names.len()];
    let children = Children::new(&tree.parent);
    let entering = |node: u32| children.of(node).iter().map(|&child| (child, true));
    let mut pending: Vec<(u32, bool)> = entering(0).collect();
    while let Some((node, enters)) = pending.pop() {
        let name = tree.name[node as usize] as usize;
        if !enters {
            is_on_path[name] = false;
            continue;
        }
        self_values[name] = self_values[name].saturating_add(tree.self_value[node as usize]);
        if !is_on_path[name] {
            is_on_path[name] = true;
            totals[name] = totals[name].saturating_add(tree.total[node as usize]);
            pending.push((node, false));
        }
        pending.extend(entering(node));
    }
    let mut ids: Vec<usize> = (0..totals.len()).filter(|&id| totals[id] != 0).collect();
    ids.sort_unstable_by_key(|&id| (Reverse((self_values[id], totals[id])), tree.names.get(id as u32)));
    if limit > 0 {
        ids.truncate(limit);
    }
    let row = |id: usize| FunctionRow {
        name: tree.names.get(id as u32).to_owned(),
        self_value: self_values[id],
        total: totals[id],
    };
    ids.into_iter().map(row).collect()
}

#[cfg(test)]
mod tests;
