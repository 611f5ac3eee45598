//! Folded (collapsed) stacks as text: one stack per line, frames from the root joined by `;`.
//!
//! Source: the formats `groups` and `lines` of Pyroscope's `/ingest`; <https://github.com/brendangregg/FlameGraph>.

use argand_model::Profile;

use crate::call_tree::{CallTree, Measure, Node, ROOT};
use crate::{DecodeLimits, FormatError};

/// Decodes lines of `frame;frame;frame count`: the last blank separates stack and count.
///
/// Lines without a blank are skipped. Errors: counts that are no integers or negative, text that is not UTF-8.
pub fn decode_groups(text: &[u8], measure: Measure<'_>, limits: &DecodeLimits) -> Result<Profile, FormatError> {
    decode(text, measure, limits, |line| {
        let Some((stack, count)) = line.rsplit_once(' ') else { return Ok(None) };
        match count.parse::<i64>() {
            Ok(count @ 0..) => Ok(Some((stack.trim_end(), count))),
            Ok(_) => Err("count is negative"),
            Err(_) => Err("count is not an integer"),
        }
    })
}

/// Decodes lines of `frame;frame;frame`, each of which counts 1.
///
/// Errors: text that is not UTF-8.
pub fn decode_lines(text: &[u8], measure: Measure<'_>, limits: &DecodeLimits) -> Result<Profile, FormatError> {
    decode(text, measure, limits, |line| Ok(Some((line, 1))))
}

fn decode(
    text: &[u8],
    measure: Measure<'_>,
    limits: &DecodeLimits,
    parse: impl Fn(&str) -> Result<Option<(&str, i64)>, &'static str>,
) -> Result<Profile, FormatError> {
    let mut tree = CallTree::new(limits);
    for (line, number) in text.split(|&byte| byte == b'\n').zip(1..) {
        let damaged = |reason| FormatError::Line { line: number, reason };
        let line = std::str::from_utf8(line).map_err(|_| damaged("not valid UTF-8"))?.trim_end();
        if line.is_empty() {
            continue;
        }
        if let Some((stack, value)) = parse(line).map_err(damaged)? {
            let node = node_of(&mut tree, stack)?;
            tree.add(node, value)?;
        }
    }
    tree.into_profile(measure)
}

fn node_of(tree: &mut CallTree<'_>, stack: &str) -> Result<Node, FormatError> {
    if stack.is_empty() {
        return Ok(ROOT);
    }
    stack.split(';').try_fold(ROOT, |node, name| tree.child_named(node, name))
}

#[cfg(test)]
mod tests;
