use super::*;

fn symbols() -> Symbols {
    let mut symbols = Symbols::default();
    let [name, system_name, filename, build_id] =
        ["größe()", "_Zgroesse", "a.cc", "6f1c"].map(|text| symbols.strings.push(text));
    let main = symbols.push_function(Function { name, system_name, filename, start_line: 40 });
    let other = symbols.push_function(Function { name: system_name, start_line: u32::MAX, ..Function::default() });
    let mapping = symbols.push_mapping(Mapping {
        memory_start: u64::MAX - 5,
        memory_limit: 3,
        file_offset: 1 << 63,
        filename,
        build_id,
        has_functions: true,
        has_inline_frames: true,
        ..Mapping::default()
    });
    symbols.push_location(
        mapping,
        u64::MAX,
        true,
        &[Line { function: other, line: 0 }, Line { function: main, line: 39 }],
    );
    symbols.push_location(MappingId(0), 0, false, &[]);
    symbols.push_location(mapping, 12, false, &[Line { function: FunctionId(0), line: u32::MAX }]);
    symbols
}

fn encoded() -> Vec<u8> {
    encode(&symbols(), &mut Encoder::new(3))
}

#[test]
fn tables_round_trip() {
    assert_eq!(decode(&encoded()), Ok(symbols()));
    assert_eq!(decode(&encode(&Symbols::default(), &mut Encoder::new(3))), Ok(Symbols::default()));
}

#[test]
fn every_reference_is_checked_after_any_damage() {
    let good = encoded();
    for at in 0..good.len() {
        for byte in 0..=255 {
            let mut bytes = good.clone();
            bytes[at] = byte;
            let Ok(symbols) = decode(&bytes) else { continue };
            let strings = symbols.strings.len();
            assert!(
                symbols
                    .functions
                    .iter()
                    .all(|f| [f.name, f.system_name, f.filename].iter().all(|s| s.index() < strings))
            );
            assert!(symbols.mappings.iter().all(|m| m.filename.index() < strings && m.build_id.index() < strings));
            assert!(symbols.locations.iter().all(|l| l.mapping.index() < symbols.mappings.len()));
            assert!(symbols.lines.iter().all(|l| l.function.index() < symbols.functions.len()));
            assert!(
                (0..symbols.locations.len()).all(|l| symbols.lines_of(argand_model::LocationId(l as u32)).len() < 9)
            );
        }
    }
}

#[test]
fn counts_beyond_the_limits_are_refused() {
    let mut bytes = Vec::new();
    put_varint(&mut bytes, limit::SYMBOLS + 1);
    assert_eq!(decode(&bytes), Err("count exceeds its limit"));
}
