//! Which nodes of a tree become bars of a flame graph, and in which order.

use hashbrown::HashMap;

use crate::Names;
use crate::call_tree::{Children, ROOT_NAME};

/// Name of the bar that stands for children too small to show.
const OTHER_NAME: &str = "other";

/// A tree to lay out. Shape: as [`crate::CallTree`]; `weight` of a node is at least that of each child.
pub(crate) struct Source<'a> {
    pub(crate) parent: &'a [u32],
    pub(crate) name: &'a [u32],
    pub(crate) names: &'a Names,
    pub(crate) weight: &'a [i64],
}

/// What a bar shows.
#[derive(Clone, Copy, Debug)]
enum Content {
    /// A node of the source.
    Node(u32),
    /// The folded children of the kept node in this row.
    Folded(u32),
}

/// Bars in pre-order: children bytewise by name, `other` last.
#[derive(Debug)]
pub(crate) struct Bars {
    /// Texts, in the order in which a walk that visits the last child first meets them; the first is `total`.
    pub(crate) names: Vec<String>,
    /// Number of children of each bar.
    pub(crate) child_count: Vec<u32>,
    /// Index into `names`.
    pub(crate) name: Vec<u32>,
    content: Vec<Content>,
    /// Row of the kept parent and node, for each node that was folded into `other`.
    folded: Vec<(u32, u32)>,
    row_count: usize,
}

/// In place of a row: the node is not kept.
const NO_ROW: u32 = u32::MAX;

/// Lays out the nodes that weigh at least as much as the `max_nodes` largest (the root not counted; 0: all).
///
/// The others are folded into one child `other` per parent, as are all nodes of that name. Nodes without weight are
/// left out.
pub(crate) fn lay_out(source: &Source<'_>, max_nodes: usize) -> Bars {
    let Source { parent, name, names, weight } = *source;
    let least = least_weight(&weight[1..], max_nodes);
    let mut row = vec![NO_ROW; parent.len()];
    row[0] = 0;
    let mut kept = vec![0u32];
    let mut folded: Vec<(u32, u32)> = Vec::new();
    for i in 1..parent.len() {
        let parent_row = row[parent[i] as usize];
        if parent_row == NO_ROW || weight[i] <= 0 {
            continue;
        }
        if weight[i] >= least && names.get(name[i]) != OTHER_NAME {
            row[i] = kept.len() as u32;
            kept.push(i as u32);
        } else {
            folded.push((parent_row, i as u32));
        }
    }
    let mut has_folded = vec![false; kept.len()];
    folded.iter().for_each(|&(row, _)| has_folded[row as usize] = true);
    let parent_row: Vec<u32> = kept.iter().map(|&node| row[parent[node as usize] as usize]).collect();
    let mut children = Children::new(&parent_row);
    let rank = name_ranks(source, &kept);
    children.sort_by_key(|row| rank[name[kept[row as usize] as usize] as usize]);
    let mut bars = Bars {
        names: vec![ROOT_NAME.to_owned()],
        child_count: Vec::with_capacity(kept.len()),
        name: Vec::with_capacity(kept.len()),
        content: Vec::with_capacity(kept.len()),
        folded,
        row_count: kept.len(),
    };
    let name_of = NameOrder::walk(source, &kept, &children, &has_folded, &mut bars.names);
    let mut pending = vec![Content::Node(0)]; // rows here, nodes in the bars
    while let Some(content) = pending.pop() {
        match content {
            Content::Node(row) => {
                let own_children = children.of(row);
                let has_other = has_folded[row as usize];
                bars.push(Content::Node(kept[row as usize]), own_children.len() as u32 + u32::from(has_other));
                bars.name.push(if row == 0 { 0 } else { name_of.node(name[kept[row as usize] as usize]) });
                pending.extend(has_other.then_some(Content::Folded(row)));
                pending.extend(own_children.iter().rev().map(|&child| Content::Node(child)));
            }
            Content::Folded(row) => {
                bars.push(Content::Folded(row), 0);
                bars.name.push(name_of.other);
            }
        }
    }
    bars
}

/// Smallest weight that is still shown: that of the `max_nodes`-th largest, or 0 when all fit.
fn least_weight(weights: &[i64], max_nodes: usize) -> i64 {
    if max_nodes == 0 || weights.len() <= max_nodes {
        return 0;
    }
    let mut weights = weights.to_vec();
    let (_, nth, _) = weights.select_nth_unstable_by(max_nodes - 1, |a, b| b.cmp(a));
    *nth
}

impl Bars {
    fn push(&mut self, content: Content, child_count: u32) {
        self.content.push(content);
        self.child_count.push(child_count);
    }

    /// Values of the bars from the columns of the source: `own` is shown for a node itself, and of what was folded the
    /// sum of `total`.
    pub(crate) fn column(&self, own: &[i64], total: &[i64]) -> Vec<i64> {
        let mut folded = vec![0i64; self.row_count];
        for &(row, node) in &self.folded {
            let sum = &mut folded[row as usize];
            *sum = sum.saturating_add(total[node as usize]);
        }
        let value = |content: &Content| match *content {
            Content::Node(node) => own[node as usize],
            Content::Folded(row) => folded[row as usize],
        };
        self.content.iter().map(value).collect()
    }
}

/// Place of each used name in bytewise order.
fn name_ranks(source: &Source<'_>, kept: &[u32]) -> Vec<u32> {
    let mut used = vec![false; source.names.len()];
    kept.iter().for_each(|&node| used[source.name[node as usize] as usize] = true);
    let mut ids: Vec<u32> = (0..used.len() as u32).filter(|&id| used[id as usize]).collect();
    ids.sort_unstable_by_key(|&id| source.names.get(id));
    let mut rank = vec![0u32; used.len()];
    (0u32..).zip(&ids).for_each(|(place, &id)| rank[id as usize] = place);
    rank
}

/// Ids of names in the flame graph.
struct NameOrder {
    of: HashMap<u32, u32>,
    other: u32,
}

impl NameOrder {
    /// Numbers the names in the order of a depth-first walk that visits the last child first.
    fn walk(
        source: &Source<'_>,
        kept: &[u32],
        children: &Children,
        has_folded: &[bool],
        texts: &mut Vec<String>,
    ) -> Self {
        let mut order = Self { of: HashMap::new(), other: 0 };
        let mut pending = vec![0u32];
        while let Some(row) = pending.pop() {
            let name = source.name[kept[row as usize] as usize];
            if row != 0 && !order.of.contains_key(&name) {
                let text = source.names.get(name);
                let id = if text == ROOT_NAME { 0 } else { push_name(texts, text) };
                order.of.insert(name, id);
            }
            // The bar `other` has no children and is the last child, so it comes right after its parent.
            if has_folded[row as usize] && order.other == 0 {
                order.other = push_name(texts, OTHER_NAME);
            }
            pending.extend(children.of(row));
        }
        order
    }

    fn node(&self, name: u32) -> u32 {
        self.of[&name]
    }
}

fn push_name(texts: &mut Vec<String>, text: &str) -> u32 {
    texts.push(text.to_owned());
    texts.len() as u32 - 1
}
