//! Call trees as bytes: the `tree` format of Pyroscope's `/ingest` and of its queries.
//!
//! ```text
//! node = varint name length, name, varint self value, varint child count
//! tree = the nameless root, then every node directly followed by its children's trees
//! ```
//!
//! Readers in use take the parent of the next node from the top of a stack; that is the same order, and it does not
//! matter to them which child comes first. Fewer than 2 bytes are the empty tree.

use argand_model::Profile;

use crate::call_tree::{CallTree, Measure, ROOT};
use crate::node::NodeReader;
use crate::proto::put_varint;
use crate::{DecodeLimits, FormatError};

/// Appends one node; its `child_count` children and their children have to follow.
pub fn write_node(out: &mut Vec<u8>, name: &str, self_value: u64, child_count: u64) {
    put_varint(out, name.len() as u64);
    out.extend_from_slice(name.as_bytes());
    put_varint(out, self_value);
    put_varint(out, child_count);
}

/// Decodes a tree in which every node is a frame, apart from a nameless root.
///
/// Errors: bytes that end early or do not end with the tree, names that are not UTF-8, values of more than 63 bits.
pub fn decode(bytes: &[u8], measure: Measure<'_>, limits: &DecodeLimits) -> Result<Profile, FormatError> {
    let mut tree = CallTree::new(limits);
    let mut reader = NodeReader::new("tree", bytes);
    if bytes.len() < 2 {
        return tree.into_profile(measure);
    }
    let mut open = Vec::new();
    let mut parent = ROOT;
    let mut is_root = true;
    loop {
        let node = reader.node()?;
        let name = std::str::from_utf8(node.name).map_err(|_| reader.damaged("name is not valid UTF-8"))?;
        let at = if is_root && name.is_empty() { ROOT } else { tree.child_named(parent, name)? };
        is_root = false;
        tree.add(at, node.value)?;
        open.push((at, node.child_count));
        match next_parent(&mut open) {
            Some(next) => parent = next,
            None => break,
        }
    }
    reader.finish()?;
    tree.into_profile(measure)
}

/// Takes one child from the innermost open node that still expects one.
pub(crate) fn next_parent<T: Copy>(open: &mut Vec<(T, u64)>) -> Option<T> {
    while let Some((parent, missing)) = open.last_mut() {
        if *missing > 0 {
            *missing -= 1;
            return Some(*parent);
        }
        open.pop();
    }
    None
}

#[cfg(test)]
mod tests;
