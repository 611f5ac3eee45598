//! Native programs with a known call tree, profiled from outside as they run.

mod support;

use argand_profiler::End;
use support::{Built, gcc, profile, skipped};

#[test]
fn shares_and_recursion_of_a_program_without_frame_pointers() {
    let name = "shares_and_recursion_of_a_program_without_frame_pointers";
    let Built::Program(program) = gcc("shares.c", &["-O2", "-fomit-frame-pointer"]) else {
        return skipped(name, "gcc");
    };
    let Some(folded) = profile(name, &mut program.command()) else { return };
    let complete = folded.share(|stack| !stack.starts_with("[not unwound further"));
    assert!(complete > 0.98, "{complete}: {folded:#?}");
    for lost in ["lost_ring_full", "lost_nested", "samples_invalid", "profiles_dropped"] {
        assert_eq!(folded.figure(lost), 0, "{lost}");
    }
    let roots: u64 = folded.ends.iter().filter(|(end, _)| *end == End::Root).map(|(_, count)| count).sum();
    assert!(roots > 100, "{:?}", folded.ends);
}
