//! The stack tree, and which of its nodes rows refer to.
//!
//! Nodes come depth first, parents before children. A node says how many levels above the node before it its parent
//! lies (mostly 0: a chain), and which of the callees seen so far of its caller's location it is. Call graphs are
//! sparse, so both are small numbers that repeat.

use argand_model::{LocationId, StackId, StackTree};
use hashbrown::HashMap;

use super::limit;
use crate::codec::{Decoded, Decoder, Encoder, Fresh, Scratch, as_u32, put_varint};

/// Whether every node directly follows its parent or a descendant of a sibling.
pub(crate) fn is_depth_first(tree: &StackTree) -> bool {
    levels_up(tree).all(|levels| levels.is_some())
}

/// Panics when the tree is not [depth first](is_depth_first).
pub(crate) fn encode(tree: &StackTree, encoder: &mut Encoder) -> Vec<u8> {
    let mut rank_of: HashMap<(Option<LocationId>, LocationId), u64> = HashMap::new();
    let mut callee_count: HashMap<Option<LocationId>, u64> = HashMap::new();
    let mut ranks = Vec::with_capacity(tree.len());
    let mut new_callees = Vec::new();
    let mut fresh = Fresh::new(0);
    for node in 1..tree.len() {
        let caller = Some(tree.parent[node]).filter(|parent| parent.0 > 0).map(|parent| tree.location[parent.index()]);
        let location = tree.location[node];
        let rank = rank_of.entry((caller, location)).or_insert(0);
        ranks.push(*rank);
        if *rank == 0 {
            let count = callee_count.entry(caller).or_insert(0);
            *count += 1;
            *rank = *count;
            new_callees.push(fresh.encode(location.0));
        }
    }
    let mut out = Vec::new();
    put_varint(&mut out, ranks.len() as u64);
    put_varint(&mut out, new_callees.len() as u64);
    encoder.integers(&mut out, levels_up(tree).map(|levels| levels.expect("the order was checked")));
    encoder.integers(&mut out, ranks);
    encoder.integers(&mut out, new_callees);
    out
}

pub(crate) fn decode(bytes: &[u8], location_count: usize) -> Decoded<StackTree> {
    let scratch = &mut Scratch::new();
    let mut section = Decoder::new(bytes);
    let node_count = section.count(limit::NODES)?;
    let new_callee_count = section.count(node_count as u64)?;

    let mut path = vec![0u32];
    let mut next = 1u32;
    let mut parent = vec![StackId(0)];
    section.integers_into(scratch, node_count, &mut parent, |levels| {
        let kept =
            (path.len() as u64).checked_sub(levels).filter(|&kept| kept > 0).ok_or("a node lies above the root")?;
        path.truncate(kept as usize);
        let parent = path[kept as usize - 1];
        path.push(next);
        next += 1;
        Ok(StackId(parent))
    })?;

    let ranks = section.integers(scratch, node_count, as_u32)?;
    let mut fresh = Fresh::new(0);
    let mut new_callees = section
        .integers(scratch, new_callee_count, |code| fresh.decode(code, location_count).map(LocationId))?
        .into_iter();
    section.end()?;

    let root_context = location_count;
    let mut callees: Vec<Vec<LocationId>> = vec![Vec::new(); location_count + 1];
    let mut location = Vec::with_capacity(node_count + 1);
    location.push(LocationId(0));
    for (&parent, rank) in parent[1..].iter().zip(ranks) {
        let context = if parent.0 == 0 { root_context } else { location[parent.index()].index() };
        let known = &mut callees[context];
        location.push(match rank {
            0 => {
                let callee = new_callees.next().ok_or("too few callees")?;
                known.push(callee);
                callee
            }
            rank => *known.get(rank as usize - 1).ok_or("a callee that was not seen before")?,
        });
    }
    if new_callees.next().is_some() {
        return Err("too many callees");
    }
    Ok(StackTree { parent, location })
}

/// For each node but the root: how many levels above the node before it its parent lies; `None` where it does not.
fn levels_up(tree: &StackTree) -> impl Iterator<Item = Option<u64>> {
    let mut path = vec![StackId(0)];
    (1..tree.len()).map(move |node| {
        let at = path.iter().rposition(|&on_path| on_path == tree.parent[node])?;
        let levels = path.len() - 1 - at;
        path.truncate(at + 1);
        path.push(StackId::from_index(node));
        Some(levels as u64)
    })
}

/// Nodes that rows refer to, ascending.
pub(crate) fn leaves_of(rows: &[StackId], node_count: usize) -> Vec<StackId> {
    let mut used = vec![false; node_count];
    rows.iter().for_each(|leaf| used[leaf.index()] = true);
    (0u32..).zip(used).filter(|&(_, used)| used).map(|(node, _)| StackId(node)).collect()
}

pub(crate) fn encode_leaves(leaves: &[StackId], encoder: &mut Encoder) -> Vec<u8> {
    let mut out = Vec::new();
    put_varint(&mut out, leaves.len() as u64);
    let before = std::iter::once(0).chain(leaves.iter().map(|leaf| leaf.0 + 1));
    encoder.integers(&mut out, leaves.iter().zip(before).map(|(leaf, before)| u64::from(leaf.0 - before)));
    out
}

/// Whether the nodes exist is checked against the tree, where both are needed.
pub(crate) fn decode_leaves(bytes: &[u8]) -> Decoded<Vec<StackId>> {
    let mut section = Decoder::new(bytes);
    let count = section.count(limit::NODES)?;
    let mut next = 0u64;
    let leaves = section.integers(&mut Scratch::new(), count, |gap| {
        let leaf = next.checked_add(gap).filter(|&leaf| leaf <= limit::NODES).ok_or("leaf out of range")?;
        next = leaf + 1;
        Ok(StackId(leaf as u32))
    })?;
    section.end()?;
    Ok(leaves)
}

#[cfg(test)]
mod tests;
