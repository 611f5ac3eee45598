use proptest::prelude::*;

use super::*;

fn column_of(values: &[u64]) -> Vec<u8> {
    let mut out = Vec::new();
    Encoder::new(3).integers(&mut out, values.iter().copied());
    out
}

proptest! {
    #[test]
    fn integers_round_trip(values: Vec<u64>) {
        let bytes = column_of(&values);
        let mut decoder = Decoder::new(&bytes);
        prop_assert_eq!(decoder.integers(&mut Scratch::new(), values.len(), Ok), Ok(values));
        prop_assert_eq!(decoder.end(), Ok(()));
    }

    #[test]
    fn planes_round_trip(values: Vec<u64>, bits in 0u32..64) {
        let values: Vec<u64> = values.into_iter().map(|value| value >> bits).collect();
        let mut bytes = Vec::new();
        Encoder::new(3).planes(&mut bytes, &values);
        let mut decoder = Decoder::new(&bytes);
        let mut decoded = vec![1];
        prop_assert_eq!(decoder.planes_into(&mut Scratch::new(), values.len(), &mut decoded), Ok(()));
        prop_assert_eq!(decoded, values);
        prop_assert_eq!(decoder.end(), Ok(()));
    }

    #[test]
    fn zigzag_round_trips(value: i64) {
        prop_assert_eq!(unzigzag(zigzag(value)), value);
    }

    #[test]
    fn references_round_trip_in_any_order(ids in prop::collection::vec(1u32..50, 0..100)) {
        let (mut encode, mut decode) = (Fresh::new(1), Fresh::new(1));
        for id in ids {
            prop_assert_eq!(decode.decode(encode.encode(id), 50), Ok(id));
        }
    }

    #[test]
    fn any_bytes_are_safe_to_decode(bytes: Vec<u8>, count in 0usize..300) {
        let _ = Decoder::new(&bytes).integers(&mut Scratch::new(), count, Ok);
        let _ = Decoder::new(&bytes).planes_into(&mut Scratch::new(), count, &mut Vec::new());
        let _ = Decoder::new(&bytes).text();
    }
}

#[test]
fn first_uses_in_order_cost_a_zero() {
    let mut fresh = Fresh::new(1);
    assert_eq!([1, 2, 1, 3, 0].map(|id| fresh.encode(id)), [0, 0, 2, 0, 1]);
    assert!(Fresh::new(1).decode(0, 1).is_err());
}

#[test]
fn repeated_values_are_compressed() {
    let bytes = column_of(&[77; 10_000]);
    assert!(bytes.len() < 50, "{} bytes", bytes.len());
}

#[test]
fn integers_above_64_bits_are_refused() {
    let mut bytes = [0xFF; 10];
    bytes[9] = 1;
    assert_eq!(Decoder::new(&bytes).varint(), Ok(u64::MAX));
    bytes[9] = 2;
    assert!(Decoder::new(&bytes).varint().is_err());
    assert!(Decoder::new(&bytes[..9]).varint().is_err());
}

#[test]
fn a_count_that_the_column_cannot_hold_is_refused_before_inflating() {
    let bytes = column_of(&[0; 1_000]);
    for count in [999, 1_001, 99, usize::MAX] {
        assert!(Decoder::new(&bytes).integers(&mut Scratch::new(), count, Ok).is_err(), "{count}");
    }
    let mut claims_a_tebibyte = Vec::new();
    put_varint(&mut claims_a_tebibyte, 1 << 40);
    put_bytes(&mut claims_a_tebibyte, b"x");
    assert!(Decoder::new(&claims_a_tebibyte).column(&mut Scratch::new(), 0..=u64::MAX).is_err());
}
