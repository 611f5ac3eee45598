use super::*;
use crate::drawn::drawn;
use crate::{LimitError, Quantity};

const SAMPLES: Measure<'_> = Measure { kind: "samples", unit: "count", scale: 1 };

fn bytes(nodes: &[(&str, u64, u64)]) -> Vec<u8> {
    let mut out = Vec::new();
    for &(name, value, children) in nodes {
        write_node(&mut out, name, value, children);
    }
    out
}

fn small() -> Vec<u8> {
    bytes(&[("", 0, 2), ("main", 1, 2), ("wörk", 5, 1), ("alloc", 300, 0), ("idle", 7, 0), ("gc", 2, 0)])
}

fn decode_small(bytes: &[u8]) -> Result<Profile, FormatError> {
    decode(bytes, SAMPLES, &DecodeLimits::default())
}

#[test]
fn nodes_are_frames() {
    let expected = ["main 1", "main;wörk 5", "main;wörk;alloc 300", "main;idle 7", "gc 2"];
    assert_eq!(drawn(&decode_small(&small()).unwrap()), expected);
}

#[test]
fn the_layout_is_fixed() {
    assert_eq!(bytes(&[("", 0, 1), ("ab", 300, 0)]), [0, 0, 1, 2, b'a', b'b', 0xAC, 2, 0]);
}

#[test]
fn a_root_with_a_name_is_a_frame_and_one_with_a_value_the_empty_stack() {
    assert_eq!(drawn(&decode_small(&bytes(&[("main", 2, 1), ("", 3, 0)])).unwrap()), ["main 2", "main; 3"]);
    assert_eq!(drawn(&decode_small(&bytes(&[("", 4, 0)])).unwrap()), [" 4"]);
}

#[test]
fn siblings_of_one_name_add_up() {
    assert_eq!(drawn(&decode_small(&bytes(&[("", 0, 2), ("a", 1, 0), ("a", 2, 0)])).unwrap()), ["a 3"]);
}

#[test]
fn hardly_any_bytes_are_the_empty_tree() {
    for bytes in [[].as_slice(), &[0], &[0, 0, 0]] {
        assert!(decode_small(bytes).unwrap().samples.is_empty());
    }
}

#[test]
fn damage_is_refused_with_its_place() {
    let error = |bytes: &[u8]| decode_small(bytes).unwrap_err().to_string();
    assert_eq!(error(&[&small()[..], &[0]].concat()), "damaged tree at byte 39: bytes after the last node");
    assert_eq!(error(&[0, 0, 9, 0, 0, 0]), "damaged tree at byte 3: more children than the rest can hold");
    assert_eq!(error(&[0, 0, 1, 9, 0, 0]), "damaged tree at byte 4: name is longer than the rest");
    assert_eq!(error(&[0, 0, 1, 1, 0xFF, 1, 0]), "damaged tree at byte 7: name is not valid UTF-8");
    assert_eq!(error(&[0, 0, 1, 1, b'a', 1, 0x80]), "damaged tree at byte 6: the bytes end early");
    assert_eq!(error(&bytes(&[("", u64::MAX, 0)])), "values exceed 63 bits");
}

#[test]
fn every_cut_is_refused_and_no_flipped_bit_panics() {
    let bytes = small();
    for cut in 2..bytes.len() {
        assert!(decode_small(&bytes[..cut]).is_err(), "cut at {cut}");
    }
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let _ = decode_small(&damaged).map(|profile| drawn(&profile));
    }
}

#[test]
fn a_chain_of_values_is_refused_before_its_stacks_are_written() {
    let mut chain = bytes(&[("", 0, 1)]);
    for _ in 0..9_999 {
        write_node(&mut chain, "f", 1, 1);
    }
    write_node(&mut chain, "f", 1, 0);
    let limit = DecodeLimits::default().frames_total;
    assert_eq!(decode_small(&chain), Err(FormatError::Limit(LimitError { quantity: Quantity::Frames, limit })));
}

#[test]
fn depth_is_limited() {
    let mut chain = bytes(&[("", 0, 1)]);
    for _ in 0..100_000 {
        write_node(&mut chain, "f", 0, 1);
    }
    write_node(&mut chain, "f", 1, 0);
    let limit = DecodeLimits::default().depth;
    assert_eq!(decode_small(&chain), Err(FormatError::Limit(LimitError { quantity: Quantity::Depth, limit })));
}
