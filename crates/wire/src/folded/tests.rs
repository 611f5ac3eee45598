use super::*;
use crate::drawn::drawn;
use crate::{LimitError, Quantity};

const SAMPLES: Measure<'_> = Measure { kind: "samples", unit: "count", scale: 1 };

fn groups(text: &str) -> Vec<String> {
    drawn(&decode_groups(text.as_bytes(), SAMPLES, &DecodeLimits::default()).unwrap())
}

fn error(text: &[u8]) -> String {
    decode_groups(text, SAMPLES, &DecodeLimits::default()).unwrap_err().to_string()
}

#[test]
fn groups_are_stacks_with_counts() {
    assert_eq!(groups("main;work 3\nmain 2\r\n\nmain;idle 1"), ["main 2", "main;work 3", "main;idle 1"]);
}

#[test]
fn equal_stacks_add_up_and_zeros_vanish() {
    assert_eq!(groups("a;b 3\na 0\nb 0\na;b 4\n"), ["a;b 7"]);
}

#[test]
fn frames_may_hold_blanks_and_be_empty() {
    assert_eq!(groups("operator new (long);;x 3\n 4"), [" 4", "operator new (long);;x 3"]);
}

#[test]
fn lines_without_a_blank_are_skipped() {
    assert_eq!(groups("main;work\nmain 1\n"), ["main 1"]);
}

#[test]
fn bad_counts_and_text_are_refused_with_their_line() {
    assert_eq!(error(b"a 1\na;b x\n"), "line 2: count is not an integer");
    assert_eq!(error(b"a 1.5"), "line 1: count is not an integer");
    assert_eq!(error(b"a -1"), "line 1: count is negative");
    assert_eq!(error(b"a 1\n\n\xFF 1"), "line 3: not valid UTF-8");
    assert_eq!(error(b"a 9223372036854775807\na 1"), "values exceed 63 bits");
}

#[test]
fn lines_count_one_each() {
    let profile = decode_lines(b"main;work\nmain;do work\nmain;work\n", SAMPLES, &DecodeLimits::default()).unwrap();
    assert_eq!(drawn(&profile), ["main;work 2", "main;do work 1"]);
}

#[test]
fn values_are_scaled_to_the_sample_type() {
    let measure = Measure { kind: "cpu", unit: "nanoseconds", scale: 10_000_000 };
    let profile = decode_groups(b"main 3", measure, &DecodeLimits::default()).unwrap();
    assert_eq!(drawn(&profile), ["main 30000000"]);
    let sample_type = profile.sample_types[0];
    assert_eq!((profile.text(sample_type.kind), profile.text(sample_type.unit)), ("cpu", "nanoseconds"));
    assert_eq!(decode_groups(b"main 922337203686", measure, &DecodeLimits::default()), Err(FormatError::Overflow));
}

#[test]
fn limits_are_exact() {
    type Change = fn(&mut DecodeLimits, usize);
    let limits: [(Quantity, usize, Change); 5] = [
        (Quantity::Samples, 2, |l, n| l.samples = n),
        (Quantity::Frames, 5, |l, n| l.frames_total = n),
        (Quantity::Depth, 3, |l, n| l.depth = n),
        (Quantity::Strings, 4, |l, n| l.strings = n),
        (Quantity::StringBytes, 6, |l, n| l.string_bytes = n),
    ];
    for (quantity, count, set) in limits {
        let decode = |count| {
            let mut limits = DecodeLimits::default();
            set(&mut limits, count);
            decode_groups(b"ab;cd;ef 1\nab;cd 1\nab;cd 1", SAMPLES, &limits)
        };
        decode(count).unwrap_or_else(|error| panic!("{quantity:?}: {error}"));
        assert_eq!(decode(count - 1), Err(FormatError::Limit(LimitError { quantity, limit: count - 1 })));
    }
}

#[test]
fn many_repeated_lines_are_one_sample() {
    let profile = decode_lines(&b"main;work\n".repeat(100_000), SAMPLES, &DecodeLimits::default()).unwrap();
    assert_eq!(drawn(&profile), ["main;work 100000"]);
}

#[test]
fn deep_and_wide_text_stays_within_memory() {
    let limits = DecodeLimits { depth: usize::MAX, memory_bytes: 1 << 20, ..DecodeLimits::default() };
    let deep = format!("{} 1", "a;".repeat(1 << 16));
    let wide: String = (0..1 << 14).map(|i| format!("{i} 1\n")).collect();
    for text in [deep, wide] {
        let expected = LimitError { quantity: Quantity::MemoryBytes, limit: 1 << 20 };
        assert_eq!(decode_groups(text.as_bytes(), SAMPLES, &limits), Err(FormatError::Limit(expected)));
    }
}

#[test]
fn no_damage_panics() {
    let text = "main;wörk 3\nmain;idle 12\n".as_bytes();
    for cut in 0..text.len() {
        let _ = decode_groups(&text[..cut], SAMPLES, &DecodeLimits::default()).map(|profile| drawn(&profile));
    }
    for bit in 0..text.len() * 8 {
        let mut damaged = text.to_vec();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let _ = decode_groups(&damaged, SAMPLES, &DecodeLimits::default()).map(|profile| drawn(&profile));
    }
}
