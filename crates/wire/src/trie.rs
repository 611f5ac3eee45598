//! Stacks as a prefix tree of text: the `trie` format of Pyroscope's `/ingest`.
//!
//! ```text
//! node = varint fragment length, fragment, varint value, varint child count, then its children
//! ```
//!
//! A node's key is all fragments on the path to it, one after the other: a stack whose frames are joined by `;`.
//! Fragments end anywhere, also inside a name or a character.

use argand_model::Profile;

use crate::call_tree::{CallTree, Measure, Node, ROOT};
use crate::limits::{Quantity, check};
use crate::node::NodeReader;
use crate::tree::next_parent;
use crate::{DecodeLimits, FormatError};

/// How far a key got: whole frames and the beginning of the next one.
#[derive(Clone, Copy)]
struct Prefix {
    /// The frames that are complete.
    frames: Node,
    /// Where the next frame starts in the key.
    name_start: usize,
    /// Length of the key.
    len: usize,
}

/// Names are written once for many stacks but looked up for each: the bytes looked up are limited to this many times
/// [`DecodeLimits::string_bytes`].
const LOOKUPS_PER_STRING_BYTE: usize = 64;

/// Decodes a trie.
///
/// Errors: bytes that end early or do not end with the trie, names that are not UTF-8, values of more than 63 bits.
pub fn decode(bytes: &[u8], measure: Measure<'_>, limits: &DecodeLimits) -> Result<Profile, FormatError> {
    let mut reader = NodeReader::new("trie", bytes);
    let mut names = Names { tree: CallTree::new(limits), looked_up: 0, limits };
    if bytes.len() < 2 {
        return names.tree.into_profile(measure);
    }
    let mut open: Vec<(Prefix, u64)> = Vec::new();
    let mut key = Vec::new();
    let mut prefix = Prefix { frames: ROOT, name_start: 0, len: 0 };
    loop {
        let node = reader.node()?;
        key.truncate(prefix.len);
        key.extend_from_slice(node.name);
        while let Some(len) = key[prefix.len..].iter().position(|&byte| byte == b';') {
            let name_end = prefix.len + len;
            prefix.frames = names.child(prefix.frames, &key[prefix.name_start..name_end], &reader)?;
            prefix.name_start = name_end + 1;
            prefix.len = name_end + 1;
        }
        prefix.len = key.len();
        if node.value != 0 {
            let is_empty_stack = key.is_empty();
            let last_name = &key[prefix.name_start..];
            let stack = if is_empty_stack { ROOT } else { names.child(prefix.frames, last_name, &reader)? };
            names.tree.add(stack, node.value)?;
        }
        check(Quantity::Depth, open.len() + 1, limits.depth)?;
        open.push((prefix, node.child_count));
        match next_parent(&mut open) {
            Some(next) => prefix = next,
            None => break,
        }
    }
    reader.finish()?;
    names.tree.into_profile(measure)
}

/// The tree of frames, and how many bytes of names were looked up in it.
struct Names<'a> {
    tree: CallTree<'a>,
    looked_up: usize,
    limits: &'a DecodeLimits,
}

impl Names<'_> {
    fn child(&mut self, parent: Node, name: &[u8], reader: &NodeReader<'_>) -> Result<Node, FormatError> {
        self.looked_up += name.len();
        let limit = self.limits.string_bytes.saturating_mul(LOOKUPS_PER_STRING_BYTE);
        check(Quantity::StringBytes, self.looked_up, limit)?;
        let name = std::str::from_utf8(name).map_err(|_| reader.damaged("name is not valid UTF-8"))?;
        self.tree.child_named(parent, name)
    }
}

#[cfg(test)]
mod tests;
