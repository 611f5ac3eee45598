//! Recordings of random events against sums made without a recording.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::writer::{Encoding, Frame, Recorder, Value};
use super::{draw, losses};
use crate::{LabelsSnapshot, Options, decode};

const CLASSES: [&str; 3] = ["shop/Cart", "libjvm.so", "Größe"];
const METHODS: [&str; 3] = ["add", "<init>", "übe"];

/// Class, method and line of each frame.
type Stack = Vec<(usize, usize, i32)>;

#[derive(Clone, Debug)]
struct Sample {
    event: usize,
    stack: usize,
    amount: u64,
    span: u64,
}

#[derive(Clone, Debug)]
struct ChunkPlan {
    is_compressed: bool,
    encoding: Encoding,
    first_key: u64,
    checkpoint_count: usize,
    samples: Vec<Sample>,
}

/// Event, field of the amount, and how its profile is drawn.
const EVENTS: [(&str, &str, &str); 4] = [
    (
        "jdk.ObjectAllocationInNewTLAB",
        "tlabSize",
        "memory alloc_in_new_tlab_objects/count,alloc_in_new_tlab_bytes/bytes space/bytes",
    ),
    ("profiler.Malloc", "size", "memory malloc_objects/count,malloc_bytes/bytes /"),
    ("jdk.JavaMonitorEnter", "duration", "mutex contentions/count,delay/nanoseconds mutex/count"),
    ("jdk.ThreadPark", "duration", "block contentions/count,delay/nanoseconds block/count"),
];

fn frames(stack: &Stack) -> Vec<Frame<'static>> {
    stack.iter().map(|&(class, method, line)| (CLASSES[class], METHODS[method], line)).collect()
}

fn write(stacks: &[Stack], plan: &ChunkPlan) -> Vec<u8> {
    let mut recorder = Recorder::new(plan.is_compressed, plan.encoding, plan.first_key);
    for sample in &plan.samples {
        let (event, field, _) = EVENTS[sample.event];
        let stack = Value::Number(recorder.stack(&frames(&stacks[sample.stack])));
        let (amount, span) = (Value::Number(sample.amount), Value::Number(sample.span));
        recorder.event(event, &[("stackTrace", stack), (field, amount), ("spanId", span)]);
        recorder.event("jdk.CPULoad", &[("comment", Value::Text("between"))]);
    }
    recorder.finish(plan.checkpoint_count).write()
}

fn expected(stacks: &[Stack], plans: &[ChunkPlan]) -> super::Drawn {
    let mut profiles: super::Drawn = BTreeMap::new();
    for sample in plans.iter().flat_map(|plan| &plan.samples) {
        let frames = frames(&stacks[sample.stack]).into_iter().rev();
        let frames: Vec<String> = frames.map(|(class, method, line)| format!("{class}.{method}:{line}")).collect();
        let span = if sample.span == 0 { String::new() } else { format!("profile_id={:016x} ", sample.span) };
        let rows = profiles.entry(EVENTS[sample.event].2.to_owned()).or_default();
        let sums = rows.entry(format!("{span}{}", frames.join(";"))).or_insert_with(|| vec![0, 0]);
        sums[0] += 1;
        sums[1] += sample.amount as i64;
    }
    profiles
}

fn stacks() -> impl Strategy<Value = Vec<Stack>> {
    let frame = (0..CLASSES.len(), 0..METHODS.len(), 0..200_000);
    prop::collection::vec(prop::collection::vec(frame, 1..6), 1..5)
}

fn plan(stack_count: usize) -> impl Strategy<Value = ChunkPlan> {
    let encoding = prop::sample::select(vec![Encoding::Utf8, Encoding::Utf16, Encoding::Latin1, Encoding::Constant]);
    let span = prop_oneof![Just(0), any::<u64>()];
    let sample = (0..EVENTS.len(), 0..stack_count, 0..1u64 << 40, span)
        .prop_map(|(event, stack, amount, span)| Sample { event, stack, amount, span });
    let first_key = prop_oneof![Just(1), Just(1 << 20), (1 << 40)..u64::MAX - 1000];
    (any::<bool>(), encoding, first_key, 1..4usize, prop::collection::vec(sample, 0..20)).prop_map(
        |(is_compressed, encoding, first_key, checkpoint_count, samples)| ChunkPlan {
            is_compressed,
            encoding,
            first_key,
            checkpoint_count,
            samples,
        },
    )
}

fn recordings() -> impl Strategy<Value = (Vec<Stack>, Vec<ChunkPlan>)> {
    stacks().prop_flat_map(|stacks| {
        let plans = prop::collection::vec(plan(stacks.len()), 1..4);
        (Just(stacks), plans)
    })
}

proptest! {
    #[test]
    fn decoded_sums_are_those_of_the_events((stacks, plans) in recordings()) {
        let bytes: Vec<u8> = plans.iter().flat_map(|plan| write(&stacks, plan)).collect();
        let recording = decode(&bytes, &LabelsSnapshot::default(), &Options::default()).unwrap();
        prop_assert_eq!(draw(&recording), expected(&stacks, &plans));
        prop_assert!(losses(&recording).is_empty());
    }

    #[test]
    fn damaged_recordings_do_no_harm(
        (stacks, plans) in recordings(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes: Vec<u8> = plans.iter().flat_map(|plan| write(&stacks, plan)).collect();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        let _ = decode(&bytes, &LabelsSnapshot::default(), &Options { thread_names: true, ..Options::default() });
    }

    #[test]
    fn foreign_labels_do_no_harm(message in prop::collection::vec(any::<u8>(), 0..64)) {
        let _ = LabelsSnapshot::decode(&message);
    }
}
