//! Native programs with a known call tree, profiled from outside as they run.
//!
//! They need root and BPF, and the compiler of their language; without, they say `SKIPPED`.

mod support;

use support::{Folded, Program, cargo_less_rust, compile, gcc, profile};

/// Most of what is sampled must reach the outermost frame.
const COMPLETE: f64 = 0.98;
/// How far a share may be from the truth: four standard deviations of 1,500 samples.
const TOLERANCE: f64 = 0.05;

fn check_complete(folded: &Folded) {
    let complete = folded.share(|stack| !stack.starts_with("[not unwound further"));
    assert!(complete > COMPLETE, "{complete}: {folded:?}");
    for lost in ["lost_ring_full", "lost_nested", "samples_invalid", "profiles_dropped", "events_lost"] {
        assert_eq!(folded.figure(lost), 0, "{lost}");
    }
}

/// The three functions below `work` have their shares of what is below it.
fn check_shares(folded: &Folded, prefix: &str) {
    let work = folded.share(|stack| has(stack, &format!("{prefix}work")));
    assert!(work > 0.95, "{work}: {folded:?}");
    for (name, expected) in [("seventy", 0.7), ("twenty", 0.2), ("ten", 0.1)] {
        let path = format!("{prefix}work;{prefix}{name};{prefix}burn");
        let share = folded.share(|stack| stack.contains(&path)) / work;
        assert!((share - expected).abs() < TOLERANCE, "{name} has {share}: {folded:?}");
    }
}

fn has(stack: &str, function: &str) -> bool {
    stack.split(';').any(|frame| frame == function)
}

/// Profiles the program of `shares.*` and compares with what it does.
fn check_tree(test: &str, program: Option<Program>, prefix: &str, path_to_work: &str) {
    let Some(program) = program else { return };
    let Some(folded) = profile(test, &mut program.command()) else { return };
    check_complete(&folded);
    check_shares(&folded, prefix);
    let below = folded.share(|stack| stack.contains(path_to_work));
    assert!(below > 0.95, "{below}: {folded:?}");
}

const RECURSION: &str = "main;descend;descend;descend;descend;descend;descend;descend;descend;work";

#[test]
fn c_without_frame_pointers() {
    let test = "c_without_frame_pointers";
    check_tree(
        test,
        gcc(test, "shares.c", &["-O2", "-fomit-frame-pointer", "-fno-optimize-sibling-calls"]),
        "",
        RECURSION,
    );
}

#[test]
fn c_with_frame_pointers_in_a_static_program() {
    let test = "c_with_frame_pointers_in_a_static_program";
    check_tree(test, gcc(test, "shares.c", &["-O1", "-fno-omit-frame-pointer", "-static"]), "", RECURSION);
}

#[test]
fn stripped_c_is_unwound_by_eh_frame_alone() {
    let test = "stripped_c_is_unwound_by_eh_frame_alone";
    let flags = ["-O2", "-fomit-frame-pointer", "-fno-optimize-sibling-calls", "-s"];
    let Some(program) = gcc(test, "shares.c", &flags) else { return };
    let Some(folded) = profile(test, &mut program.command()) else { return };
    check_complete(&folded);
    // Nothing names its functions, but the frames are there: main, eight calls, work, one of three, burn.
    let depth = |stack: &str| stack.split(';').filter(|frame| frame.starts_with("shares+0x")).count();
    let full = folded.share(|stack| depth(stack) == 1 + 1 + 8 + 3);
    assert!(full > 0.95, "{full}: {folded:?}");
}

#[test]
fn rust_names_are_readable() {
    let test = "rust_names_are_readable";
    check_tree(test, cargo_less_rust(test, "shares.rs"), "shares::tree::", "shares::tree::work");
}

#[test]
fn go() {
    let test = "go";
    let program = compile(test, "go", "shares.go", |command, source, output| {
        command.args(["build", "-o", output, source]).env("GOFLAGS", "-mod=mod").env("GO111MODULE", "off");
    });
    check_tree(test, program, "main.", "runtime.goexit;main.main.func1;main.work");
}

#[test]
fn stripped_go() {
    let test = "stripped_go";
    let program = compile(test, "go", "shares.go", |command, source, output| {
        command.args(["build", "-ldflags", "-s -w", "-o", output, source]).env("GO111MODULE", "off");
    });
    check_tree(test, program, "main.", "main.main.func1;main.work");
}

/// Runs `situations WHERE` and checks that most of its stacks contain the path.
fn check_situation(test: &str, place: &str, path: &str) -> Option<Folded> {
    let program = gcc(test, "situations.c", &["-O2", "-fomit-frame-pointer", "-fno-optimize-sibling-calls"])?;
    let folded = profile(test, program.command().arg(place))?;
    let share = folded.share(|stack| stack.contains(path));
    assert!(share > 0.95, "{share} have {path}: {folded:?}");
    Some(folded)
}

#[test]
fn a_signal_handler_stands_above_what_it_interrupted() {
    let test = "a_signal_handler_stands_above_what_it_interrupted";
    if let Some(folded) = check_situation(test, "handler", "in_handler;burn") {
        let whole = folded.share(|stack| {
            stack
                .find("main;first;second;third;interrupted;")
                .is_some_and(|at| stack[at..].contains(";in_handler;burn"))
        });
        assert!(whole > 0.95, "{whole}: {folded:?}");
        check_complete(&folded);
    }
}

#[test]
fn a_system_call_has_the_kernel_above_the_caller() {
    let test = "a_system_call_has_the_kernel_above_the_caller";
    if let Some(folded) = check_situation(test, "syscall", "main;first;second;third;in_syscall;") {
        check_complete(&folded);
        let kernel = folded.share(|stack| has(stack, "do_syscall_64") && has(stack, "vfs_read"));
        assert!(kernel > 0.9, "{kernel}: {folded:?}");
    }
}

#[test]
fn the_vdso_has_names_and_callers() {
    let test = "the_vdso_has_names_and_callers";
    if let Some(folded) = check_situation(test, "vdso", "main;first;second;third;in_vdso") {
        check_complete(&folded);
        // Most of the time is in the vDSO itself, under whichever of its two names the symbol table prefers.
        let vdso = folded.share(|stack| stack.rsplit(';').next().is_some_and(|leaf| leaf.contains("clock_gettime")));
        assert!(vdso > 0.3, "{vdso}: {folded:?}");
    }
}

#[test]
fn frames_of_unknown_size_are_unwound() {
    let test = "frames_of_unknown_size_are_unwound";
    if let Some(folded) = check_situation(test, "alloca", "main;first;second;third;in_alloca;burn") {
        check_complete(&folded);
    }
}

#[test]
fn a_callback_has_the_library_between() {
    let test = "a_callback_has_the_library_between";
    if let Some(folded) = check_situation(test, "callback", "main;first;second;third;in_callback;") {
        check_complete(&folded);
        let between = folded.share(|stack| stack.ends_with("compare;burn") && has(stack, "qsort_r"));
        assert!(between > 0.8, "{between}: {folded:?}");
    }
}

#[test]
fn three_hundred_frames_are_kept() {
    let test = "three_hundred_frames_are_kept";
    let path = format!("main;first;second;third{};burn", ";deep".repeat(301));
    if let Some(folded) = check_situation(test, "deep", &path) {
        check_complete(&folded);
    }
}

#[test]
fn what_is_deeper_keeps_its_leaf_and_says_so() {
    let test = "what_is_deeper_keeps_its_leaf_and_says_so";
    let leaf = format!("{};burn", ";deep".repeat(400));
    if let Some(folded) = check_situation(test, "bottomless", &leaf) {
        let told = folded.share(|stack| stack.starts_with("[not unwound further: deeper than a record holds];deep"));
        assert!(told > 0.95, "{told}: {folded:?}");
    }
}

#[test]
fn forked_children_have_stacks_however_short_they_live() {
    let test = "forked_children_have_stacks_however_short_they_live";
    if let Some(folded) = check_situation(test, "child", "main;first;second;third;in_child") {
        let child = folded.share(|stack| stack.contains("main;first;second;third;in_child;burn"));
        assert!(child > 0.85, "{child}: {folded:?}");
        assert!(folded.processes > 100, "{}", folded.processes);
    }
}

#[test]
fn many_threads_are_one_process() {
    let test = "many_threads_are_one_process";
    if let Some(folded) = check_situation(test, "threads", "thread;burn") {
        check_complete(&folded);
        assert_eq!(folded.processes, 1, "{folded:?}");
    }
}
