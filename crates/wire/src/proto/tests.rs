use super::*;

fn fields(bytes: &[u8]) -> Result<Vec<(u32, Value<'_>)>, ProtoError> {
    let mut reader = Reader::new(bytes);
    std::iter::from_fn(|| reader.field().transpose()).map(|field| field.map(|f| (f.number, f.value))).collect()
}

fn uints(field: Field<'_>) -> Result<Vec<u64>, ProtoError> {
    let mut all = Vec::new();
    field.each_uint(|value| {
        all.push(value);
        Ok::<_, ProtoError>(())
    })?;
    Ok(all)
}

#[test]
fn reads_every_wire_type() {
    let bytes = [0x08, 0x96, 0x01, 0x12, 2, b'h', b'i', 0x1D, 1, 0, 0, 0, 0x21, 2, 0, 0, 0, 0, 0, 0, 0];
    assert_eq!(
        fields(&bytes).unwrap(),
        [(1, Value::Varint(150)), (2, Value::Bytes(b"hi")), (3, Value::Fixed32(1)), (4, Value::Fixed64(2))]
    );
}

#[test]
fn refuses_groups_and_unassigned_wire_types() {
    for wire_type in [3, 4, 6, 7] {
        assert_eq!(fields(&[1 << 3 | wire_type]), Err(ProtoError::UnsupportedWireType { field: 1, wire_type }));
    }
}

#[test]
fn refuses_invalid_field_numbers() {
    assert_eq!(fields(&[0x00, 1]), Err(ProtoError::FieldNumber { tag: 0 }));
    let mut too_high = Vec::new();
    put_varint(&mut too_high, 1 << 32);
    assert_eq!(fields(&too_high), Err(ProtoError::FieldNumber { tag: 1 << 32 }));
}

#[test]
fn varints_round_trip_at_every_length() {
    for bits in 0..64 {
        for value in [1u64 << bits, (1u64 << bits) - 1, u64::MAX >> bits] {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            let mut reader = Reader::new(&bytes);
            assert_eq!((reader.varint(), reader.remaining()), (Ok(value), 0));
            for cut in 0..bytes.len() {
                assert_eq!(Reader::new(&bytes[..cut]).varint(), Err(ProtoError::Truncated));
            }
        }
    }
}

#[test]
fn refuses_varints_beyond_64_bits() {
    assert_eq!(Reader::new(&[0xFF; 11]).varint(), Err(ProtoError::VarintTooLong));
    let mut bit_64 = [0x80; 10];
    bit_64[9] = 2;
    assert_eq!(Reader::new(&bit_64).varint(), Err(ProtoError::VarintTooLong));
    bit_64[9] = 1;
    assert_eq!(Reader::new(&bit_64).varint(), Ok(1 << 63));
}

#[test]
fn a_length_beyond_the_message_is_truncation() {
    assert_eq!(fields(&[0x0A, 2, 0]), Err(ProtoError::Truncated));
    let mut huge = vec![0x0A];
    put_varint(&mut huge, u64::MAX);
    assert_eq!(fields(&huge), Err(ProtoError::Truncated));
}

#[test]
fn repeated_numbers_may_be_packed_or_not() {
    let packed = Field { number: 1, value: Value::Bytes(&[1, 0x96, 0x01, 3]) };
    assert_eq!((packed.uint_count(), uints(packed)), (Ok(3), Ok(vec![1, 150, 3])));
    let single = Field { number: 1, value: Value::Varint(7) };
    assert_eq!((single.uint_count(), uints(single)), (Ok(1), Ok(vec![7])));
    let cut = Field { number: 1, value: Value::Bytes(&[1, 0x96]) };
    assert_eq!((cut.uint_count(), uints(cut)), (Err(ProtoError::Truncated), Err(ProtoError::Truncated)));
    let fixed = Field { number: 1, value: Value::Fixed32(1) };
    assert!(matches!(fixed.uint_count(), Err(ProtoError::WrongWireType { field: 1, .. })));
}

#[test]
fn writes_what_it_reads() {
    let mut bytes = Vec::new();
    put_uint(&mut bytes, 1, 0);
    put_uint(&mut bytes, 2, (-1i64).cast_unsigned());
    put_bytes(&mut bytes, 3, b"");
    let mut reader = Reader::new(&bytes);
    let number = reader.field().unwrap().unwrap();
    assert_eq!((number.number, number.int()), (2, Ok(-1)));
    assert_eq!(reader.field().unwrap().unwrap().bytes(), Ok(b"".as_slice()));
    assert_eq!(reader.field(), Ok(None));
}
