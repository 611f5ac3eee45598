//! Foreign bytes: truncated, flipped, cyclic, huge.

use super::writer::{Chunk, Class, Encoding, Field, Layout, Out, Recorder, Value, id};
use super::{STACK, draw, drawn, losses, recorder_with_stack};
use crate::{JfrError, LabelsSnapshot, Limits, Loss, Options, Recording, decode};

const LIVE: &str = "memory live/count objects/count";

fn try_decode(bytes: &[u8]) -> Result<Recording, JfrError> {
    decode(bytes, &LabelsSnapshot::default(), &Options::default())
}

/// A small chunk with one live object per stack, of as many stacks as asked for.
fn live_objects(is_compressed: bool, stack_count: u32) -> Chunk {
    let mut recorder = Recorder::new(is_compressed, Encoding::Utf8, 1);
    let events = ["profiler.LiveObject", "jdk.ActiveSetting"];
    recorder.chunk.classes.retain(|class| class.id < id::FIRST_EVENT || events.contains(&&*class.name));
    for line in 0..stack_count as i32 {
        let stack = recorder.stack(&[("shop/Cart", "add", line), ("shop/Main", "main", 3)]);
        recorder.event("profiler.LiveObject", &[("stackTrace", Value::Number(stack))]);
    }
    recorder.setting("event", "itimer");
    recorder.finish(2)
}

fn total(recording: &Recording) -> i64 {
    recording.profiles.iter().flat_map(|p| &p.profile.samples.values).sum()
}

#[test]
fn no_recordings_at_all() {
    assert_eq!(try_decode(&[]).unwrap_err(), JfrError::Empty);
    let mut bytes = live_objects(true, 1).write();
    for length in [1, 4, 67] {
        assert_eq!(try_decode(&bytes[..length]).unwrap_err(), JfrError::NotARecording);
    }
    bytes[0] = 0;
    assert_eq!(try_decode(&bytes).unwrap_err(), JfrError::NotARecording);
}

#[test]
fn truncation_at_every_byte_keeps_what_is_in_front() {
    for is_compressed in [true, false] {
        let chunk = live_objects(is_compressed, 3).write();
        let bytes = [&chunk[..], &chunk[..]].concat();
        for length in 1..bytes.len() {
            match try_decode(&bytes[..length]) {
                Ok(recording) => {
                    let whole_chunks = (length / chunk.len()) as i64;
                    assert!((3 * whole_chunks..=6).contains(&total(&recording)), "{length}");
                    let is_cut = length % chunk.len() != 0;
                    assert_eq!(recording.losses.iter().next().is_some(), is_cut, "{length}");
                }
                Err(error) => assert!(length < chunk.len(), "{length}: {error}"),
            }
        }
    }
}

#[test]
fn a_chunk_that_lost_its_end_gives_the_events_whose_constants_are_there() {
    // Metadata first, as async-profiler has them.
    let (bytes, Layout { metadata, events, .. }) = live_objects(true, 3).write_with_layout();
    let metadata_bytes = &bytes[metadata..];
    let mut moved = [&bytes[..68], metadata_bytes, &bytes[68..metadata]].concat();
    let shift = |moved: &mut [u8], at: usize, by: u64| {
        let position = u64::from_be_bytes(moved[at..at + 8].try_into().unwrap()) + by;
        moved[at..at + 8].copy_from_slice(&position.to_be_bytes());
    };
    shift(&mut moved, 16, metadata_bytes.len() as u64);
    moved[24..32].copy_from_slice(&68u64.to_be_bytes());
    assert_eq!(total(&try_decode(&moved).unwrap()), 3);
    let in_events = events[2] + metadata_bytes.len();
    let recording = try_decode(&moved[..in_events + 3]).unwrap();
    let expected = [(Loss::TruncatedChunk, 1), (Loss::Constants, 1), (Loss::EventList, 1), (Loss::MissingStack, 2)];
    assert_eq!(losses(&recording), expected);
}

#[test]
fn flipped_bits_do_no_harm() {
    for is_compressed in [true, false] {
        let chunk = live_objects(is_compressed, 2).write();
        for at in 0..chunk.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = chunk.clone();
                bytes[at] ^= flip;
                if let Ok(recording) = try_decode(&bytes) {
                    assert!(recording.profiles.iter().all(|p| p.profile.samples.len() <= 3));
                }
            }
        }
    }
}

#[test]
fn bytes_behind_the_last_chunk_are_counted() {
    let bytes = [live_objects(true, 3).write(), b"garbage".repeat(20)].concat();
    let recording = try_decode(&bytes).unwrap();
    assert_eq!((total(&recording), losses(&recording)), (3, vec![(Loss::TrailingBytes, 1)]));
}

#[test]
fn an_unreadable_chunk_leaves_the_others() {
    let good = live_objects(true, 3).write();
    let (mut bad, layout) = live_objects(false, 3).write_with_layout();
    bad[layout.metadata + 4] = 9;
    let recording = try_decode(&[&bad[..], &good[..], &bad[..]].concat()).unwrap();
    assert_eq!((total(&recording), losses(&recording)), (3, vec![(Loss::Chunk, 2)]));
    let error = try_decode(&bad).unwrap_err();
    assert!(matches!(error, JfrError::Unreadable { what: "metadata are not where the header says", .. }), "{error}");
}

/// Decodes a chunk after `change` to its bytes.
fn changed(is_compressed: bool, change: impl FnOnce(&mut [u8], &Layout)) -> Recording {
    let (mut bytes, layout) = live_objects(is_compressed, 3).write_with_layout();
    change(&mut bytes, &layout);
    try_decode(&bytes).unwrap()
}

#[test]
fn chains_of_checkpoints_must_lead_back() {
    // Fixed integers: size 4, type 8, start 8, duration 8, delta 8.
    for delta in [1, 64, i64::MAX, i64::MIN, -1, -100_000] {
        let recording = changed(false, |bytes, layout| {
            let at = layout.checkpoints[1] + 28;
            bytes[at..at + 8].copy_from_slice(&delta.to_be_bytes());
        });
        assert_eq!(recording.losses.count(Loss::Constants), 1, "{delta}");
    }
    // Into itself from behind: the second one says that the first is the second.
    let recording = changed(false, |bytes, layout| {
        let header_at = 16;
        bytes[header_at..header_at + 8].copy_from_slice(&(layout.checkpoints[0] as u64).to_be_bytes());
        let at = layout.checkpoints[0] + 28;
        let to_second = (layout.checkpoints[1] - layout.checkpoints[0]) as i64;
        bytes[at..at + 8].copy_from_slice(&to_second.to_be_bytes());
    });
    assert_eq!(recording.losses.count(Loss::Constants), 1);
}

#[test]
fn an_event_of_size_zero_ends_the_events() {
    let recording = changed(false, |bytes, layout| bytes[layout.events[1]..][..4].fill(0));
    assert_eq!((total(&recording), losses(&recording)), (1, vec![(Loss::EventList, 1)]));
}

#[test]
fn huge_counts_are_refused_before_anything_is_reserved() {
    // Number of pools, and of constants of the first one.
    for offset in [37, 49] {
        let recording = changed(false, |bytes, layout| {
            let at = layout.checkpoints[1] + offset;
            bytes[at..at + 4].fill(0x7f);
        });
        assert!(recording.losses.count(Loss::Constants) > 0, "{offset}");
    }
    let mut recorder = Recorder::new(true, Encoding::Utf8, 1);
    let mut frames = Out::new(true);
    frames.byte(0).int(u32::MAX).long(1).int(1).int(1);
    let endless = recorder.constant(id::STACK_TRACE, frames.bytes);
    recorder.event("profiler.LiveObject", &[("stackTrace", Value::Number(endless))]);
    let recording = try_decode(&recorder.finish(1).write()).unwrap();
    assert_eq!(losses(&recording), [(Loss::Constants, 1), (Loss::MissingStack, 1)]);
}

#[test]
fn texts_that_refer_to_themselves_end() {
    let mut recorder = Recorder::new(true, Encoding::Constant, 1);
    let mut itself = Out::new(true);
    itself.byte(2).long(1);
    assert_eq!(recorder.constant(id::STRING, itself.bytes), 1);
    let mut symbol = Out::new(true);
    symbol.byte(2).long(1);
    assert_eq!(recorder.constant(id::SYMBOL, symbol.bytes), 1);
    let mut method = Out::new(true);
    method.long(1).long(1).byte(0);
    assert_eq!(recorder.constant(id::METHOD, method.bytes), 1);
    let mut stack = Out::new(true);
    stack.byte(0).int(1).long(1).int(5).int(0);
    let stack = recorder.constant(id::STACK_TRACE, stack.bytes);
    recorder.event("profiler.LiveObject", &[("stackTrace", Value::Number(stack))]);
    let recording = try_decode(&recorder.finish(1).write()).unwrap();
    assert_eq!(draw(&recording), drawn(&[(LIVE, &[(".:5", &[1])])]));
}

/// Adds a field of a type to the live objects, in front of all others, and one object.
fn with_first_field(class: u64, extra: impl IntoIterator<Item = Class>) -> Vec<u8> {
    let (mut recorder, stack) = recorder_with_stack();
    recorder.event("profiler.LiveObject", &[("stackTrace", stack)]);
    let mut chunk = recorder.finish(1);
    let live = chunk.classes.iter_mut().find(|class| class.name == "profiler.LiveObject").unwrap();
    live.fields.insert(0, field("extra", class));
    chunk.classes.extend(extra);
    chunk.write()
}

fn field(name: &str, class: u64) -> Field {
    Field { name: name.to_owned(), class, is_constant: false, is_array: false }
}

fn class(id: u64, fields: Vec<Field>) -> Class {
    Class { id, name: format!("type{id}"), fields }
}

#[test]
fn types_that_contain_themselves_make_their_events_unreadable() {
    let recording = try_decode(&with_first_field(900, [class(900, vec![field("a", 900), field("b", 900)])])).unwrap();
    assert_eq!(losses(&recording), [(Loss::Event, 1)]);
    let recording = try_decode(&with_first_field(12_345, [])).unwrap();
    assert_eq!(losses(&recording), [(Loss::Event, 1)]);
}

#[test]
fn types_without_fields_take_no_bytes() {
    let recording = try_decode(&with_first_field(900, [class(900, vec![])])).unwrap();
    assert_eq!((draw(&recording), losses(&recording)), (drawn(&[(LIVE, &[(STACK, &[1])])]), vec![]));
}

#[test]
fn nested_types_without_bytes_exhaust_the_steps_and_not_the_time() {
    // 50^10 empty values in one event.
    let nested = |id| class(id, (0..50).map(|_| field("x", id + 1)).collect());
    let classes = (900..910).map(nested).chain([class(910, vec![])]);
    let error = try_decode(&with_first_field(900, classes)).unwrap_err();
    assert!(matches!(error, JfrError::Limit { what: "steps", .. }), "{error}");
}

#[test]
fn every_limit_is_enforced() {
    let bytes = live_objects(true, 20).write();
    let refused = |limits: Limits| {
        let options = Options { limits, ..Options::default() };
        match decode(&bytes, &LabelsSnapshot::default(), &options) {
            Err(JfrError::Limit { what, limit }) => (what, limit),
            other => panic!("{other:?}"),
        }
    };
    let all = Limits::default();
    assert_eq!(refused(Limits { events: 20, ..all }), ("events", 20));
    assert_eq!(refused(Limits { constants: 10, ..all }), ("constants", 10));
    assert_eq!(refused(Limits { frames: 39, ..all }), ("stack frames", 39));
    assert_eq!(refused(Limits { name_bytes: 20, ..all }), ("bytes of function names", 20));
    assert_eq!(refused(Limits { labels: 59, ..all }), ("sample labels", 59));
    assert_eq!(refused(Limits { memory_bytes: 4000, ..all }), ("bytes of memory for a chunk", 4000));
    let exact = Limits { events: 21, frames: 40, name_bytes: 27, labels: 60, ..all };
    let options = Options { limits: exact, ..Options::default() };
    assert_eq!(total(&decode(&bytes, &LabelsSnapshot::default(), &options).unwrap()), 20);
}
