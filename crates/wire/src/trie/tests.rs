use super::*;
use crate::LimitError;
use crate::drawn::drawn;
use crate::proto::put_varint;

const SAMPLES: Measure<'_> = Measure { kind: "samples", unit: "count", scale: 1 };

fn bytes(nodes: &[(&[u8], u64, u64)]) -> Vec<u8> {
    let mut out = Vec::new();
    for &(fragment, value, children) in nodes {
        put_varint(&mut out, fragment.len() as u64);
        out.extend_from_slice(fragment);
        put_varint(&mut out, value);
        put_varint(&mut out, children);
    }
    out
}

fn decode_small(bytes: &[u8]) -> Result<Profile, FormatError> {
    decode(bytes, SAMPLES, &DecodeLimits::default())
}

fn small() -> Vec<u8> {
    bytes(&[(b"", 0, 2), (b"main;w", 0, 2), (b"ork", 5, 1), (b";alloc", 300, 0), (b"ait", 7, 0), (b"gc", 2, 0)])
}

#[test]
fn keys_are_joined_stacks() {
    assert_eq!(drawn(&decode_small(&small()).unwrap()), ["main;work 5", "main;work;alloc 300", "main;wait 7", "gc 2"]);
}

#[test]
fn fragments_may_cut_separators_and_characters() {
    let cut = bytes(&[(b"a", 1, 2), (b";b\xC3", 0, 2), (b"\xA4;c", 2, 0), (b"\xB6", 3, 0), (b";", 4, 0)]);
    assert_eq!(drawn(&decode_small(&cut).unwrap()), ["a 1", "a;bä;c 2", "a;bö 3", "a; 4"]);
}

#[test]
fn a_prefix_that_is_a_stack_of_its_own_keeps_its_value() {
    let nested = bytes(&[(b"foo", 1, 1), (b"bar;x", 2, 1), (b"y", 3, 0)]);
    assert_eq!(drawn(&decode_small(&nested).unwrap()), ["foo 1", "foobar;x 2", "foobar;xy 3"]);
}

#[test]
fn the_empty_key_is_the_empty_stack() {
    assert_eq!(drawn(&decode_small(&bytes(&[(b"", 4, 0)])).unwrap()), [" 4"]);
    assert!(decode_small(&[]).unwrap().samples.is_empty());
}

#[test]
fn names_have_to_be_utf8_in_the_end() {
    let error = decode_small(&bytes(&[(b"a\xC3", 1, 0)])).unwrap_err();
    assert_eq!(error.to_string(), "damaged trie at byte 5: name is not valid UTF-8");
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
fn a_chain_of_growing_names_is_refused() {
    let grow = |count: usize| {
        let mut nodes = vec![(b"a".as_slice(), 1, 1); count];
        nodes.push((b"a", 1, 0));
        decode_small(&bytes(&nodes))
    };
    let limits = DecodeLimits::default();
    let too_many = |quantity, limit| Err(FormatError::Limit(LimitError { quantity, limit }));
    assert_eq!(grow(10_000), too_many(Quantity::StringBytes, limits.string_bytes));
    let silent = bytes(&[&vec![(b"a".as_slice(), 0, 1); 100_000][..], &[(b"a", 1, 0)]].concat());
    assert_eq!(decode_small(&silent), too_many(Quantity::Depth, limits.depth));
}

#[test]
fn looking_up_one_long_name_again_and_again_is_refused() {
    let long = vec![b'a'; 1 << 16];
    let limits = DecodeLimits { string_bytes: 1 << 16, ..DecodeLimits::default() };
    let with_children = |count: usize| {
        let mut nodes = vec![(long.as_slice(), 0, count as u64)];
        nodes.extend(vec![(b";".as_slice(), 1, 0); count]);
        decode(&bytes(&nodes), SAMPLES, &limits)
    };
    assert_eq!(with_children(LOOKUPS_PER_STRING_BYTE).unwrap().samples.values, [LOOKUPS_PER_STRING_BYTE as i64]);
    let limit = LimitError { quantity: Quantity::StringBytes, limit: LOOKUPS_PER_STRING_BYTE << 16 };
    assert_eq!(with_children(LOOKUPS_PER_STRING_BYTE + 1), Err(FormatError::Limit(limit)));
}
