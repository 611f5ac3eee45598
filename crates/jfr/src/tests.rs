mod damage;
mod properties;
mod writer;

use std::collections::BTreeMap;

use super::*;
use writer::{Encoding, Out, Recorder, Value, id};

/// `metric sample/unit,… period/unit` of a profile, to values by `label=value,… root;…;leaf`.
type Drawn = BTreeMap<String, BTreeMap<String, Vec<i64>>>;

fn draw(recording: &Recording) -> Drawn {
    let profile = |MetricProfile { metric, profile }: &MetricProfile| {
        let unit = |t: &argand_model::ValueType| format!("{}/{}", profile.text(t.kind), profile.text(t.unit));
        let types: Vec<String> = profile.sample_types.iter().map(unit).collect();
        let mut rows = BTreeMap::new();
        for (index, stack) in profile.samples.stacks.iter().enumerate() {
            let labels = profile.samples.labels_of(index).iter();
            let labels = labels.map(|l| format!("{}={}", profile.text(l.key), profile.text(l.text)));
            let frames = stack.iter().rev().flat_map(|&location| profile.symbols.lines_of(location));
            let frames = frames.map(|l| format!("{}:{}", profile.symbols.function_name(l.function), l.line));
            let row = format!("{} {}", labels.collect::<Vec<_>>().join(","), frames.collect::<Vec<_>>().join(";"));
            let row = row.trim_start().to_owned();
            assert!(rows.insert(row, profile.values_of(index).to_vec()).is_none(), "equal samples are merged");
        }
        (format!("{metric} {} {}", types.join(","), unit(&profile.period_type)), rows)
    };
    recording.profiles.iter().map(profile).collect()
}

/// Labels and stack, and the values.
type Row<'a> = (&'a str, &'a [i64]);

fn drawn(expected: &[(&str, &[Row<'_>])]) -> Drawn {
    let rows = |rows: &[Row<'_>]| rows.iter().map(|(row, values)| ((*row).to_owned(), values.to_vec())).collect();
    expected.iter().map(|(profile, samples)| ((*profile).to_owned(), rows(samples))).collect()
}

fn decode_plain(bytes: &[u8]) -> Recording {
    decode(bytes, &LabelsSnapshot::default(), &Options::default()).expect("the recording is readable")
}

fn losses(recording: &Recording) -> Vec<(Loss, u64)> {
    recording.losses.iter().collect()
}

fn recorder() -> Recorder {
    Recorder::new(true, Encoding::Utf8, 1)
}

/// A recorder and the key of a stack of two frames, drawn as [`STACK`].
fn recorder_with_stack() -> (Recorder, Value<'static>) {
    let mut recorder = recorder();
    let stack = recorder.stack(&[("shop/Cart", "add", 12), ("shop/Main", "main", 3)]);
    (recorder, Value::Number(stack))
}

const STACK: &str = "shop/Main.main:3;shop/Cart.add:12";

const CPU: &str = "process_cpu cpu/nanoseconds cpu/nanoseconds";
const WALL: &str = "wall wall/nanoseconds wall/nanoseconds";
const MUTEX: &str = "mutex contentions/count,delay/nanoseconds mutex/count";

#[test]
fn every_event_type_has_its_profile() {
    let (mut recorder, stack) = recorder_with_stack();
    let runnable = Value::Number(recorder.state("STATE_RUNNABLE"));
    let n = Value::Number;
    recorder.event("jdk.ExecutionSample", &[("stackTrace", stack), ("state", runnable)]);
    recorder.event("profiler.WallClockSample", &[("stackTrace", stack), ("state", runnable), ("samples", n(7))]);
    recorder.event("jdk.ObjectAllocationInNewTLAB", &[("stackTrace", stack), ("tlabSize", n(100))]);
    recorder.event("jdk.ObjectAllocationInNewTLAB", &[("stackTrace", stack), ("tlabSize", n(11))]);
    recorder.event("jdk.ObjectAllocationOutsideTLAB", &[("stackTrace", stack), ("allocationSize", n(1 << 40))]);
    recorder.event("jdk.ObjectAllocationSample", &[("stackTrace", stack), ("weight", n(300))]);
    recorder.event("jdk.JavaMonitorEnter", &[("stackTrace", stack), ("duration", n(400))]);
    recorder.event("jdk.ThreadPark", &[("stackTrace", stack), ("duration", n(500))]);
    recorder.event("profiler.LiveObject", &[("stackTrace", stack), ("allocationSize", n(9))]);
    recorder.event("profiler.Malloc", &[("stackTrace", stack), ("size", n(600)), ("address", n(u64::MAX))]);
    recorder.event("jdk.CPULoad", &[("comment", Value::Text("of no interest"))]);
    let recording = decode_plain(&recorder.finish(1).write());
    assert_eq!(
        draw(&recording),
        drawn(&[
            ("block contentions/count,delay/nanoseconds block/count", &[(STACK, &[1, 500])]),
            ("memory alloc_in_new_tlab_objects/count,alloc_in_new_tlab_bytes/bytes space/bytes", &[(STACK, &[2, 111])]),
            (
                "memory alloc_outside_tlab_objects/count,alloc_outside_tlab_bytes/bytes space/bytes",
                &[(STACK, &[1, 1 << 40])]
            ),
            ("memory alloc_sample_objects/count,alloc_sample_bytes/bytes space/bytes", &[(STACK, &[1, 300])]),
            ("memory live/count objects/count", &[(STACK, &[1])]),
            ("memory malloc_objects/count,malloc_bytes/bytes /", &[(STACK, &[1, 600])]),
            (MUTEX, &[(STACK, &[1, 400])]),
            (CPU, &[(STACK, &[10_000_000])]),
            (WALL, &[(STACK, &[70_000_000])]),
        ])
    );
    assert_eq!((losses(&recording), recording.jfr_event.as_str()), (vec![], ""));
    let metrics: Vec<&str> = recording.profiles.iter().map(|p| p.metric).collect();
    assert!(metrics.is_sorted());
    let profile = &recording.profiles[0].profile;
    assert_eq!((profile.symbols.mappings.len(), profile.symbols.mappings[1].has_functions), (2, true));
}

#[test]
fn both_integer_encodings_and_all_text_encodings_read_the_same() {
    let record = |is_compressed, encoding, first_key| {
        let mut recorder = Recorder::new(is_compressed, encoding, first_key);
        let stack = Value::Number(recorder.stack(&[("Größe", "übe", 1), ("shop/Main", "main", 70_000)]));
        let state = Value::Number(recorder.state("STATE_RUNNABLE"));
        recorder.setting("event", "itimer");
        recorder.event("jdk.ExecutionSample", &[("stackTrace", stack), ("state", state)]);
        recorder.event("jdk.JavaMonitorEnter", &[("stackTrace", stack), ("duration", Value::Number(1 << 33))]);
        decode_plain(&recorder.finish(2).write())
    };
    let stack = "shop/Main.main:70000;Größe.übe:1";
    let expected = drawn(&[(CPU, &[(stack, &[10_000_000])]), (MUTEX, &[(stack, &[1, 1 << 33])])]);
    for is_compressed in [true, false] {
        for encoding in [Encoding::Utf8, Encoding::Utf16, Encoding::Latin1, Encoding::Constant] {
            // The last one needs all nine bytes of a compressed integer.
            for first_key in [1, 1 << 32, u64::MAX - 1000] {
                let recording = record(is_compressed, encoding, first_key);
                assert_eq!(draw(&recording), expected, "{is_compressed} {encoding:?} {first_key}");
                assert_eq!((losses(&recording), recording.jfr_event.as_str()), (vec![], "itimer"));
            }
        }
    }
}

#[test]
fn sleeping_threads_use_no_cpu() {
    let (mut recorder, stack) = recorder_with_stack();
    for state in ["STATE_SLEEPING", "STATE_RUNNABLE", "STATE_DEFAULT"] {
        let state = Value::Number(recorder.state(state));
        recorder.event("jdk.ExecutionSample", &[("stackTrace", stack), ("state", state)]);
    }
    recorder.event("jdk.ExecutionSample", &[("stackTrace", stack), ("state", Value::Number(77))]);
    let recording = decode_plain(&recorder.finish(1).write());
    assert_eq!(draw(&recording), drawn(&[(CPU, &[(STACK, &[20_000_000])])]));
    assert_eq!(losses(&recording), [(Loss::UnknownThreadState, 1)]);
}

#[test]
fn samples_of_the_wall_clock_count_as_wall_and_running_ones_as_cpu() {
    let (mut recorder, stack) = recorder_with_stack();
    let [sleeping, runnable] = ["STATE_SLEEPING", "STATE_RUNNABLE"].map(|name| Value::Number(recorder.state(name)));
    let sample = |recorder: &mut Recorder, state| {
        recorder.event("jdk.ExecutionSample", &[("stackTrace", stack), ("state", state)]);
    };
    let wall_clock = |recorder: &mut Recorder, state, samples| {
        let samples = Value::Number(samples);
        recorder.event("profiler.WallClockSample", &[("stackTrace", stack), ("state", state), ("samples", samples)]);
    };
    sample(&mut recorder, runnable); // before the setting: CPU only
    recorder.setting("interval", "wall");
    recorder.setting("event", "wall");
    sample(&mut recorder, sleeping); // wall only
    sample(&mut recorder, runnable); // both
    wall_clock(&mut recorder, sleeping, 100);
    wall_clock(&mut recorder, runnable, 1000);
    recorder.event("jdk.JavaMonitorEnter", &[("stackTrace", stack), ("duration", Value::Number(5))]);
    recorder.setting("event", "ctimer");
    wall_clock(&mut recorder, runnable, 10_000);
    let options = Options { sample_rate_hz: 1_000_000_000, ..Options::default() };
    let recording = decode(&recorder.finish(1).write(), &LabelsSnapshot::default(), &options).unwrap();
    // The sample count of a wall clock sample must not leak into the count of the event behind it.
    let expected = drawn(&[(CPU, &[(STACK, &[1002])]), (WALL, &[(STACK, &[11_102])]), (MUTEX, &[(STACK, &[1, 5])])]);
    assert_eq!((draw(&recording), recording.jfr_event.as_str()), (expected, "ctimer"));
}

#[test]
fn the_sample_rate_makes_the_value() {
    let (mut recorder, stack) = recorder_with_stack();
    let state = Value::Number(recorder.state("STATE_RUNNABLE"));
    recorder.event("jdk.ExecutionSample", &[("stackTrace", stack), ("state", state)]);
    let bytes = recorder.finish(1).write();
    for (sample_rate_hz, value) in [(100, 10_000_000), (19, 52_631_578), (0, 0)] {
        let options = Options { sample_rate_hz, time_ns: 5, duration_ns: 6, ..Options::default() };
        let recording = decode(&bytes, &LabelsSnapshot::default(), &options).unwrap();
        assert_eq!(draw(&recording), drawn(&[(CPU, &[(STACK, &[value])])]));
        let profile = &recording.profiles[0].profile;
        assert_eq!((profile.time_ns, profile.duration_ns, profile.period), (5, 6, 0));
    }
}

#[test]
fn durations_are_converted_from_ticks() {
    for (ticks_per_second, nanoseconds) in [(1_000_000_000, 2_800_001), (2_800_000_000, 1_000_000), (0, 2_800_001)] {
        let (mut recorder, stack) = recorder_with_stack();
        recorder.event("jdk.JavaMonitorEnter", &[("stackTrace", stack), ("duration", Value::Number(2_800_001))]);
        let mut chunk = recorder.finish(1);
        chunk.ticks_per_second = ticks_per_second;
        assert_eq!(draw(&decode_plain(&chunk.write())), drawn(&[(MUTEX, &[(STACK, &[1, nanoseconds])])]));
    }
}

#[test]
fn chunks_merge_by_what_constants_say_and_not_by_their_keys() {
    let chunk = |first_key, ticks_per_second| {
        let mut recorder = Recorder::new(first_key % 2 == 1, Encoding::Utf8, first_key);
        if first_key == 1 {
            recorder.stack(&[("another/One", "first", 1)]);
        }
        let stack = Value::Number(recorder.stack(&[("shop/Cart", "add", 12), ("shop/Main", "main", 3)]));
        recorder.event("jdk.JavaMonitorEnter", &[("stackTrace", stack), ("duration", Value::Number(1000))]);
        let mut chunk = recorder.finish(3);
        chunk.ticks_per_second = ticks_per_second;
        chunk.write()
    };
    let bytes = [chunk(1, 1_000_000_000), chunk(2, 2_000_000_000), chunk(3, 4_000_000_000)].concat();
    let recording = decode_plain(&bytes);
    assert_eq!((draw(&recording), losses(&recording)), (drawn(&[(MUTEX, &[(STACK, &[3, 1750])])]), vec![]));
    assert_eq!(recording.profiles[0].profile.samples.len(), 1);
}

#[test]
fn lines_that_are_negative_are_unknown() {
    let mut recorder = recorder();
    let stack = Value::Number(recorder.stack(&[("libc.so.6", "read", -1), ("", "no_Java_frame", 0)]));
    recorder.event("profiler.LiveObject", &[("stackTrace", stack)]);
    let expected = drawn(&[("memory live/count objects/count", &[(".no_Java_frame:0;libc.so.6.read:0", &[1])])]);
    assert_eq!(draw(&decode_plain(&recorder.finish(1).write())), expected);
}

#[test]
fn generated_classes_of_several_processes_merge() {
    let mut recorder = recorder();
    for class in ["shop/Cart$$Lambda$12/1067040082", "shop/Cart$$Lambda.0x00007ffa600c4da0"] {
        let stack = Value::Number(recorder.stack(&[(class, "run", 0)]));
        recorder.event("profiler.LiveObject", &[("stackTrace", stack)]);
    }
    let recording = decode_plain(&recorder.finish(1).write());
    let expected = drawn(&[("memory live/count objects/count", &[("shop/Cart$$Lambda_.run:0", &[2])])]);
    assert_eq!(draw(&recording), expected);
    assert_eq!(recording.profiles[0].profile.symbols.functions.len(), 2);
}

/// Entries of a protobuf map with numbers below 128 as keys and values.
fn map_entry(field: u8, key: u8, value: &[u8]) -> Vec<u8> {
    let mut entry = vec![8, key];
    entry.extend_from_slice(value);
    [vec![field << 3 | 2, entry.len() as u8], entry].concat()
}

fn text_entry(key: u8, text: &str) -> Vec<u8> {
    map_entry(2, key, &[vec![0x12, text.len() as u8], text.as_bytes().to_vec()].concat())
}

fn context_entry(key: u8, labels: &[(u8, u8)]) -> Vec<u8> {
    let context: Vec<u8> = labels.iter().flat_map(|&(name, value)| map_entry(1, name, &[0x10, value])).collect();
    map_entry(1, key, &[vec![0x12, context.len() as u8], context].concat())
}

#[test]
fn samples_carry_the_labels_of_their_context_and_span() {
    let message = [
        text_entry(1, "zone"),
        text_entry(2, "eu"),
        text_entry(3, "user"),
        text_entry(4, "anna"),
        text_entry(5, "GET /cart"),
        text_entry(6, "profile_id"),
        text_entry(7, "00000000000000aa"),
        text_entry(8, ""),
        context_entry(1, &[(1, 2), (3, 4), (3, 99), (99, 4), (8, 2)]),
        context_entry(2, &[(6, 7)]),
        context_entry(3, &[]),
    ]
    .concat();
    let labels = LabelsSnapshot::decode(&message).unwrap();
    let (mut recorder, stack) = recorder_with_stack();
    let n = Value::Number;
    for (context, span, span_name) in
        [(0, 0, 0), (1, 0, 0), (1, 0, 0), (1, 0xef, 5), (2, 0, 0), (2, u64::MAX, 0), (3, 0, 99), (42, 0, 5)]
    {
        let fields =
            [("stackTrace", stack), ("contextId", n(context)), ("spanId", n(span)), ("spanName", n(span_name))];
        recorder.event("profiler.LiveObject", &fields);
    }
    let bytes = recorder.finish(1).write();
    let recording = decode(&bytes, &labels, &Options::default()).unwrap();
    let profile = &recording.profiles[0].profile;
    let label_texts = |index| {
        let labels = profile.samples.labels_of(index).iter();
        labels.map(|l| format!("{}={}", profile.text(l.key), profile.text(l.text))).collect::<Vec<_>>().join(",")
    };
    let mut samples: Vec<(String, i64)> =
        (0..profile.samples.len()).map(|i| (label_texts(i), profile.values_of(i)[0])).collect();
    samples.sort();
    let expected = [
        ("", 1),
        ("", 1),
        ("profile_id=00000000000000aa", 1),
        ("profile_id=ffffffffffffffff", 1),
        ("span_name=GET /cart", 1),
        ("user=anna,zone=eu", 2),
        ("user=anna,zone=eu,profile_id=00000000000000ef,span_name=GET /cart", 1),
    ];
    assert_eq!(samples, expected.map(|(labels, count)| (labels.to_owned(), count)));
}

#[test]
fn malformed_labels_are_refused() {
    let damaged = |what, offset| Err(JfrError::Labels { what, offset });
    let decode = |message: &[u8]| LabelsSnapshot::decode(message).map(drop);
    assert_eq!(decode(&[]), Ok(()));
    assert_eq!(decode(&[0x0a]), damaged("message ends early", 0));
    assert_eq!(decode(&[0x0a, 5, 8, 1]), damaged("message ends early", 0));
    assert_eq!(decode(&[0x0b]), damaged("unknown wire type", 0));
    assert_eq!(decode(&[0xff; 12]), damaged("message ends early", 0));
    assert_eq!(decode(&text_entry(1, "x").repeat(3)[..13]), damaged("message ends early", 7));
    let mut not_utf8 = text_entry(1, "x");
    not_utf8[6] = 0xff;
    assert_eq!(decode(&not_utf8), damaged("text is not UTF-8", 6));
    // Unknown fields of all wire types are skipped.
    assert_eq!(decode(&[0x18, 1, 0x21, 0, 0, 0, 0, 0, 0, 0, 0, 0x2d, 0, 0, 0, 0, 0x32, 1, 9]), Ok(()));
}

#[test]
fn thread_names_are_labels_on_request() {
    let mut recorder = recorder();
    let stack = Value::Number(recorder.stack(&[("shop/Cart", "add", 12), ("shop/Main", "main", 3)]));
    let state = Value::Number(recorder.state("STATE_RUNNABLE"));
    for name in ["wörker-1", "wörker-2", ""] {
        let thread = Value::Number(recorder.thread(name));
        recorder.event("jdk.ExecutionSample", &[("stackTrace", stack), ("state", state), ("sampledThread", thread)]);
        recorder.event("profiler.LiveObject", &[("stackTrace", stack), ("eventThread", thread)]);
    }
    let bytes = recorder.finish(1).write();
    let without = drawn(&[(CPU, &[(STACK, &[30_000_000])]), ("memory live/count objects/count", &[(STACK, &[3])])]);
    assert_eq!(draw(&decode_plain(&bytes)), without);
    let options = Options { thread_names: true, ..Options::default() };
    let recording = decode(&bytes, &LabelsSnapshot::default(), &options).unwrap();
    let rows = draw(&recording);
    let keys: Vec<&str> = rows[CPU].keys().map(|row| row.split(' ').next().unwrap()).collect();
    assert_eq!(keys, ["thread_name=os", "thread_name=wörker-1", "thread_name=wörker-2"]);
    assert_eq!(rows["memory live/count objects/count"].len(), 3);
}

#[test]
fn fields_that_a_recording_lacks_are_empty() {
    let (mut recorder, stack) = recorder_with_stack();
    recorder.chunk.classes.iter_mut().filter(|class| class.id >= id::FIRST_EVENT).for_each(|class| {
        class.fields.retain(|f| ["stackTrace", "startTime"].contains(&&*f.name));
    });
    recorder.chunk.classes.retain(|class| class.name != "java.lang.Thread");
    recorder.event("jdk.ObjectAllocationSample", &[("stackTrace", stack)]);
    recorder.event("jdk.ExecutionSample", &[("stackTrace", stack)]);
    let recording = decode_plain(&recorder.finish(1).write());
    let expected = "memory alloc_sample_objects/count,alloc_sample_bytes/bytes space/bytes";
    assert_eq!(draw(&recording), drawn(&[(expected, &[(STACK, &[1, 0])])]));
    assert_eq!(losses(&recording), [(Loss::UnknownThreadState, 1)]);
}

#[test]
fn what_is_missing_is_counted() {
    let (mut recorder, stack) = recorder_with_stack();
    let mut frames = Out::new(true);
    frames.byte(0).int(2).long(999).int(4).int(0).long(1).int(12).int(0);
    let unknown_method = Value::Number(recorder.constant(id::STACK_TRACE, frames.bytes));
    let no_frames = Value::Number(recorder.stack(&[]));
    for stack in [stack, unknown_method, no_frames, Value::Number(0), Value::Number(12_345)] {
        recorder.event("profiler.LiveObject", &[("stackTrace", stack)]);
    }
    let recording = decode_plain(&recorder.finish(1).write());
    let rows: &[Row<'_>] = &[(STACK, &[1]), ("shop/Cart.add:12;[unknown]:4", &[1])];
    assert_eq!(draw(&recording), drawn(&[("memory live/count objects/count", rows)]));
    assert_eq!(losses(&recording), [(Loss::MissingStack, 3), (Loss::UnknownMethod, 1)]);
}

#[test]
fn a_recording_without_samples_is_fine() {
    let recording = decode_plain(&recorder().finish(1).write());
    assert!(recording.profiles.is_empty() && recording.losses.iter().next().is_none());
}
