//! What Go's profiles need: names without type arguments, stacks that the runtime cut short made whole.

use std::borrow::Cow;

use argand_model::{Labels, LocationId, Profile, Stacks};
use hashbrown::HashMap;

use crate::strings;

/// Whether the profile comes from a Go program.
pub(crate) fn is_go(profile: &Profile, labels: &Labels) -> bool {
    if let Some(spy) = labels.get("pyroscope_spy") {
        return spy == "gospy";
    }
    let symbols = &profile.symbols;
    symbols
        .functions
        .iter()
        .any(|f| symbols.strings.get(f.name) == "runtime.goexit" || symbols.strings.get(f.name) == "runtime.main")
}

/// Removes type arguments from function names and completes cut stacks.
pub(crate) fn repair(profile: &mut Profile) {
    strings::rename_functions(profile, |name, _| match without_type_arguments(name) {
        Cow::Borrowed(_) => None,
        Cow::Owned(changed) => Some(changed),
    });
    if let Some(completed) = completed(&profile.samples.stacks) {
        profile.samples.stacks = completed;
    }
}

/// `pkg.(*List[go.shape.int]).Push` becomes `pkg.(*List).Push`; brackets may nest.
fn without_type_arguments(name: &str) -> Cow<'_, str> {
    if !name.contains('[') {
        return Cow::Borrowed(name);
    }
    let mut depth = 0usize;
    let mut kept = String::with_capacity(name.len());
    for character in name.chars() {
        match character {
            '[' => depth += 1,
            ']' if depth > 0 => depth -= 1,
            _ if depth == 0 => kept.push(character),
            _ => {}
        }
    }
    // Brackets that never close belong to a name that is no generic one.
    if depth == 0 { Cow::Owned(kept) } else { Cow::Borrowed(name) }
}

/// Shortest stack that the runtime may have cut: its limits are 32 (heap, later 128) and 64 (CPU) frames.
const CUT_DEPTH: usize = 24;
/// Frames at the root side by which a cut stack is recognised in a whole one.
const OVERLAP: usize = 16;

/// Go's runtime keeps only the leaf side of deep stacks. A stack of at least [`CUT_DEPTH`] frames whose [`OVERLAP`]
/// outermost frames stand, in this order, further from the root of another deep stack is taken to be cut there, and
/// gets the other's outer frames. The longest completion wins; among equals the first, so the result is deterministic.
///
/// `None` where no stack is cut.
fn completed(stacks: &Stacks) -> Option<Stacks> {
    let deep: Vec<&[LocationId]> = stacks.iter().filter(|s| s.len() >= CUT_DEPTH).collect();
    // Outermost frames of each deep stack -> the longest known continuation towards the root.
    let mut roots: HashMap<&[LocationId], &[LocationId]> = deep.iter().map(|s| (outermost(s), &s[..0])).collect();
    // A stack that repeats its own outermost frames further in is recursion, which says nothing of where it began.
    for stack in &deep {
        if windows(stack).any(|(window, _)| window == outermost(stack)) {
            roots.remove(outermost(stack));
        }
    }
    for stack in &deep {
        for (window, rest) in windows(stack) {
            if let Some(continuation) = roots.get_mut(window).filter(|known| rest.len() > known.len()) {
                *continuation = rest;
            }
        }
    }
    if roots.values().all(|continuation| continuation.is_empty()) {
        return None;
    }
    let mut completed = Stacks::default();
    for stack in stacks.iter() {
        completed.push(whole(stack, &roots));
    }
    Some(completed)
}

fn outermost(stack: &[LocationId]) -> &[LocationId] {
    &stack[stack.len() - OVERLAP..]
}

/// Every run of [`OVERLAP`] frames with what lies between it and the root, at least one frame.
fn windows(stack: &[LocationId]) -> impl Iterator<Item = (&[LocationId], &[LocationId])> {
    (OVERLAP..stack.len()).map(|end| (&stack[end - OVERLAP..end], &stack[end..]))
}

/// Follows continuations until the root is reached; each step may lead into another cut stack.
fn whole(stack: &[LocationId], roots: &HashMap<&[LocationId], &[LocationId]>) -> Vec<LocationId> {
    /// More steps than any real chain of cut stacks, so that recursion in the program cannot loop us.
    const STEPS: usize = 8;
    let mut whole = stack.to_vec();
    for _ in 0..STEPS {
        if whole.len() < CUT_DEPTH {
            break;
        }
        match roots.get(outermost(&whole)) {
            Some(continuation) if !continuation.is_empty() => whole.extend_from_slice(continuation),
            _ => break,
        }
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn type_arguments_go_even_nested() {
        assert_eq!(without_type_arguments("a.(*Tree[go.shape.struct { X []uint8; y.Z[int] }]).Next"), "a.(*Tree).Next");
        assert_eq!(without_type_arguments("main.func1"), "main.func1");
        assert_eq!(without_type_arguments("odd[name"), "odd[name");
    }

    fn stacks(lists: &[std::ops::Range<u32>]) -> Stacks {
        let mut stacks = Stacks::default();
        for list in lists {
            stacks.push(list.clone().map(LocationId));
        }
        stacks
    }

    #[test]
    fn a_cut_stack_gets_the_outer_frames_of_a_whole_one() {
        assert_eq!(completed(&stacks(&[0..32, 8..50])), Some(stacks(&[0..50, 8..50])));
    }

    #[test]
    fn short_or_unrelated_stacks_stay() {
        assert_eq!(completed(&stacks(&[0..20, 100..140, 4..30])), None);
    }

    #[test]
    fn recursion_ends() {
        let mut stacks = Stacks::default();
        stacks.push(std::iter::repeat_n(LocationId(1), 64));
        assert_eq!(completed(&stacks), None);
    }
}
