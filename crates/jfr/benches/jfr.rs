//! Decoding of a generated recording, in bytes of the recording per second.

use std::hint::black_box;

use argand_jfr::{LabelsSnapshot, Options, decode};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

#[allow(dead_code)] // shared with the tests
#[path = "../src/tests/writer.rs"]
mod writer;

use writer::{Encoding, Recorder, Value};

/// What one upload interval of a busy service looks like: 400 stacks of 60 frames, 20,000 events.
fn recording() -> Vec<u8> {
    let mut recorder = Recorder::new(true, Encoding::Utf8, 1);
    let state = Value::Number(recorder.state("STATE_RUNNABLE"));
    let classes: Vec<String> = (0..300).map(|i| format!("org/example/service{}/Handler{i}", i % 17)).collect();
    let stacks: Vec<u64> = (0..400)
        .map(|stack| {
            let frame = |depth: usize| (&*classes[(stack * 7 + depth * depth) % classes.len()], "handle", depth as i32);
            recorder.stack(&(0..60).map(frame).collect::<Vec<_>>())
        })
        .collect();
    for event in 0..20_000 {
        let stack = Value::Number(stacks[event * event % stacks.len()]);
        if event % 4 == 0 {
            let size = Value::Number(event as u64);
            recorder.event("jdk.ObjectAllocationInNewTLAB", &[("stackTrace", stack), ("tlabSize", size)]);
        } else {
            recorder.event("jdk.ExecutionSample", &[("stackTrace", stack), ("state", state)]);
        }
    }
    recorder.finish(1).write()
}

fn bench(criterion: &mut Criterion) {
    let bytes = recording();
    let mut group = criterion.benchmark_group("jfr");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    let decode_all = || decode(black_box(&bytes), &LabelsSnapshot::default(), &Options::default());
    group.bench_function("decode", |bencher| bencher.iter(decode_all));
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
