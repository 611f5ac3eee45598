use argand_model::{Profile, SampleLabel};

use super::*;
use crate::proto::{put_bytes, put_uint};
use crate::{DecodeLimits, Quantity};

type Bytes = Vec<u8>;

fn uint(field: u32, value: u64) -> Bytes {
    let mut out = Vec::new();
    put_uint(&mut out, field, value);
    out
}

fn int(field: u32, value: i64) -> Bytes {
    uint(field, value.cast_unsigned())
}

fn text(field: u32, text: &[u8]) -> Bytes {
    let mut out = Vec::new();
    put_bytes(&mut out, field, text);
    out
}

fn message(field: u32, fields: &[Bytes]) -> Bytes {
    text(field, &fields.concat())
}

/// A field that no schema knows, of each wire type.
fn unknown() -> Bytes {
    [uint(99, 7), text(98, b"?"), vec![0xA9, 6, 1, 2, 3, 4, 5, 6, 7, 8], vec![0xA5, 6, 1, 2, 3, 4]].concat()
}

/// The fields of a small valid profile by table; tests change them.
#[derive(Clone)]
struct Parts {
    sample_types: Vec<Bytes>,
    samples: Vec<Bytes>,
    mappings: Vec<Bytes>,
    locations: Vec<Bytes>,
    functions: Vec<Bytes>,
    strings: Vec<Bytes>,
    rest: Vec<Bytes>,
}

impl Parts {
    /// Two samples, `main;work` with labels and `main`; `work` was inlined into `loop`.
    fn new() -> Self {
        let strings = [
            "",
            "cpu",
            "nanoseconds",
            "main",
            "work",
            "loop",
            "main.rs",
            "user",
            "ann",
            "size",
            "bytes",
            "/bin/x",
            "b1d",
        ];
        Self {
            sample_types: vec![message(1, &[uint(1, 1), uint(2, 2)])],
            samples: vec![
                message(
                    2,
                    &[
                        text(1, &[2, 1]),
                        text(2, &[10]),
                        message(3, &[uint(1, 7), uint(2, 8)]),
                        message(3, &[uint(1, 9), int(3, -5), uint(4, 10)]),
                    ],
                ),
                message(2, &[uint(1, 1), uint(2, 20)]),
            ],
            mappings: vec![message(
                3,
                &[
                    uint(1, 1),
                    uint(2, 4096),
                    uint(3, 8192),
                    uint(4, 512),
                    uint(5, 11),
                    uint(6, 12),
                    uint(7, 1),
                    uint(10, 1),
                ],
            )],
            locations: vec![
                message(4, &[uint(1, 1), uint(2, 1), uint(3, 4100), message(4, &[uint(1, 1), uint(2, 30)])]),
                message(
                    4,
                    &[uint(1, 2), message(4, &[uint(1, 2), uint(2, 40)]), message(4, &[uint(1, 3)]), uint(5, 1)],
                ),
            ],
            functions: vec![
                message(5, &[uint(1, 1), uint(2, 3), uint(3, 3), uint(4, 6), uint(5, 29)]),
                message(5, &[uint(1, 2), uint(2, 4)]),
                message(5, &[uint(1, 3), uint(2, 5)]),
            ],
            strings: strings.map(|s| text(6, s.as_bytes())).to_vec(),
            rest: vec![
                int(9, 1_700_000_000_000_000_000),
                int(10, 15_000_000_000),
                message(11, &[uint(1, 1), uint(2, 2)]),
                int(12, 100),
                uint(14, 1),
            ],
        }
    }

    fn tables(&self) -> [&[Bytes]; 7] {
        [&self.sample_types, &self.samples, &self.mappings, &self.locations, &self.functions, &self.strings, &self.rest]
    }

    fn bytes(&self) -> Bytes {
        self.tables().concat().concat()
    }

    fn decode(&self) -> Result<Profile, PprofError> {
        decode(&self.bytes(), &PprofOptions::default())
    }

    fn error(&self) -> PprofError {
        self.decode().expect_err("the profile is not valid")
    }

    fn decode_within(&self, change: impl Fn(&mut DecodeLimits)) -> Result<Profile, PprofError> {
        let mut options = PprofOptions::default();
        change(&mut options.limits);
        decode(&self.bytes(), &options)
    }
}

/// A profile as text: one line per sample, root first, with everything that a reader can see.
fn drawn(profile: &Profile) -> Vec<String> {
    let symbols = &profile.symbols;
    let frame = |location: argand_model::LocationId| {
        let lines = symbols
            .lines_of(location)
            .iter()
            .rev()
            .map(|line| format!("{}:{}", symbols.function_name(line.function), line.line));
        lines.collect::<Vec<_>>().join(">")
    };
    let label = |label: &SampleLabel| {
        let SampleLabel { key, text, number, number_unit } = *label;
        format!("{}={}{number}{}", profile.text(key), profile.text(text), profile.text(number_unit))
    };
    (0..profile.samples.len())
        .map(|i| {
            let stack: Vec<_> = profile.samples.stacks.get(i as u32).iter().rev().map(|l| frame(*l)).collect();
            let labels: Vec<_> = profile.samples.labels_of(i).iter().map(label).collect();
            format!("{} {{{}}} {:?}", stack.join(";"), labels.join(","), profile.values_of(i))
        })
        .collect()
}

const DRAWN: [&str; 2] = ["main:30;loop:0>work:40 {user=ann0,size=-5bytes} [10]", "main:30 {} [20]"];

#[test]
fn decodes_every_field() {
    let profile = Parts::new().decode().unwrap();
    assert_eq!(drawn(&profile), DRAWN);
    assert_eq!(
        (profile.time_ns, profile.duration_ns, profile.period),
        (1_700_000_000_000_000_000, 15_000_000_000, 100)
    );
    let value_type = profile.sample_types[0];
    assert_eq!((profile.text(value_type.kind), profile.text(value_type.unit)), ("cpu", "nanoseconds"));
    assert_eq!((profile.period_type, profile.text(profile.default_sample_type)), (value_type, "cpu"));
    let symbols = &profile.symbols;
    let location = symbols.locations[0];
    assert_eq!((location.address, location.is_folded, symbols.locations[1].is_folded), (4100, false, true));
    let mapping = symbols.mappings[location.mapping.index()];
    assert_eq!((mapping.memory_start, mapping.memory_limit, mapping.file_offset), (4096, 8192, 512));
    assert_eq!((profile.text(mapping.filename), profile.text(mapping.build_id)), ("/bin/x", "b1d"));
    assert!(mapping.has_functions && !mapping.has_filenames && !mapping.has_line_numbers && mapping.has_inline_frames);
    let function = symbols.functions[1];
    assert_eq!((profile.text(function.system_name), profile.text(function.filename)), ("main", "main.rs"));
    assert_eq!((function.start_line, symbols.locations[1].mapping.index()), (29, 0));
}

#[test]
fn tables_may_come_in_any_order() {
    let parts = Parts::new();
    let expected = parts.decode().unwrap();
    let mut tables = parts.tables();
    for _ in 0..tables.len() {
        tables.rotate_left(1);
        assert_eq!(decode(&tables.concat().concat(), &PprofOptions::default()), Ok(expected.clone()));
        let mut reversed = tables;
        reversed.reverse();
        assert_eq!(decode(&reversed.concat().concat(), &PprofOptions::default()), Ok(expected.clone()));
    }
    let interleaved: Vec<Bytes> =
        (0..16).flat_map(|i| tables.iter().filter_map(move |table| table.get(i).cloned())).collect();
    assert_eq!(decode(&interleaved.concat(), &PprofOptions::default()), Ok(expected));
}

#[test]
fn unknown_fields_are_skipped_everywhere() {
    let mut parts = Parts::new();
    parts.rest.push(unknown());
    parts.samples[1] = message(2, &[unknown(), uint(1, 1), uint(2, 20), unknown()]);
    parts.locations[0] = message(
        4,
        &[unknown(), uint(1, 1), uint(2, 1), uint(3, 4100), message(4, &[uint(1, 1), unknown(), uint(2, 30)])],
    );
    parts.functions[1] = message(5, &[unknown(), uint(1, 2), uint(2, 4)]);
    assert_eq!(parts.decode(), Parts::new().decode());
}

#[test]
fn numbers_may_be_packed_in_pieces() {
    let mut parts = Parts::new();
    let labels = [message(3, &[uint(1, 7), uint(2, 8)]), message(3, &[uint(1, 9), int(3, -5), uint(4, 10)])];
    parts.samples[0] = message(
        2,
        &[labels[0].clone(), uint(1, 2), text(2, &[10]), text(1, &[]), text(1, &[1]), text(2, &[]), labels[1].clone()],
    );
    assert_eq!(parts.decode(), Parts::new().decode());
}

#[test]
fn the_last_of_repeated_scalars_counts() {
    let mut parts = Parts::new();
    parts.rest.insert(0, int(12, 5));
    parts.rest.insert(0, message(11, &[uint(1, 3), uint(2, 2)]));
    parts.functions[1] = message(5, &[uint(1, 9), uint(1, 2), uint(2, 5), uint(2, 4)]);
    assert_eq!(parts.decode(), Parts::new().decode());
}

#[test]
fn ids_may_be_any_numbers() {
    for high in [0x7F00_0000_1234_u64, u64::MAX, 9] {
        let mut parts = Parts::new();
        let samples = [uint(1, high), uint(1, 5), uint(2, 10)].concat();
        parts.samples = vec![text(2, &samples), message(2, &[uint(1, 5), uint(2, 20)])];
        parts.locations = vec![
            message(4, &[uint(1, 5), uint(2, high), message(4, &[uint(1, 77), uint(2, 30)])]),
            message(4, &[uint(1, high), message(4, &[uint(1, high), uint(2, 40)])]),
        ];
        parts.functions = vec![message(5, &[uint(1, 77), uint(2, 3)]), message(5, &[uint(1, high), uint(2, 4)])];
        parts.mappings = vec![message(3, &[uint(1, high), uint(5, 11)])];
        let profile = parts.decode().unwrap();
        assert_eq!(drawn(&profile), ["main:30;work:40 {} [10]", "main:30 {} [20]"]);
        let mapping = profile.symbols.mappings[profile.symbols.locations[0].mapping.index()];
        assert_eq!(profile.text(mapping.filename), "/bin/x");
    }
}

#[test]
fn profiles_without_samples_and_samples_without_frames_are_fine() {
    let mut parts = Parts::new();
    parts.samples.clear();
    assert!(parts.decode().unwrap().samples.is_empty());
    parts.samples = vec![message(2, &[uint(2, 3)]), message(2, &[text(1, &[]), text(2, &[4])])];
    assert_eq!(drawn(&parts.decode().unwrap()), [" {} [3]", " {} [4]"]);
}

#[test]
fn line_numbers_that_do_not_fit_are_unknown() {
    let mut parts = Parts::new();
    parts.locations[0] = message(4, &[uint(1, 1), message(4, &[uint(1, 1), int(2, -1)])]);
    parts.functions[0] = message(5, &[uint(1, 1), uint(2, 3), int(5, i64::MAX)]);
    let profile = parts.decode().unwrap();
    assert_eq!(drawn(&profile)[1], "main:0 {} [20]");
    assert_eq!(profile.symbols.functions[1].start_line, 0);
}

#[test]
fn inconsistent_profiles_are_refused() {
    let check = |change: &dyn Fn(&mut Parts), expected: &str| {
        let mut parts = Parts::new();
        change(&mut parts);
        assert_eq!(parts.error().to_string(), expected);
    };
    check(&|p| p.sample_types.clear(), "profile has no sample types");
    check(&|p| p.strings.clear(), "profile has no string table");
    check(&|p| p.strings[0] = text(6, b"cpu"), "string table does not start with the empty string");
    check(&|p| p.strings[3] = text(6, b"m\xFFin"), "string 3 is not valid UTF-8");
    check(&|p| p.samples[1] = message(2, &[uint(1, 1)]), "sample 1 has 0 values for 1 sample types");
    check(&|p| p.samples[0] = message(2, &[text(2, &[1, 2])]), "sample 0 has 2 values for 1 sample types");
    check(&|p| p.samples[0] = message(2, &[uint(1, 3), uint(2, 1)]), "reference to location 3, which does not exist");
    check(
        &|p| p.samples[0] = message(2, &[text(1, &[0]), uint(2, 1)]),
        "reference to location 0, which does not exist",
    );
    check(&|p| p.locations[1] = message(4, &[]), "location 1 has id 0");
    check(&|p| p.locations[0] = message(4, &[uint(1, 1), uint(2, 2)]), "reference to mapping 2, which does not exist");
    check(
        &|p| p.locations[0] = message(4, &[uint(1, 1), message(4, &[uint(1, 4)])]),
        "reference to function 4, which does not exist",
    );
    check(
        &|p| p.locations[0] = message(4, &[uint(1, 1), message(4, &[])]),
        "reference to function 0, which does not exist",
    );
    check(&|p| p.functions[2] = message(5, &[uint(2, 5)]), "function 2 has id 0");
}

#[test]
fn every_string_index_is_checked() {
    type Change = fn(&mut Parts, u64);
    let changes: [(&str, Change); 13] = [
        ("sample type", |p, i| p.sample_types[0] = message(1, &[uint(1, i)])),
        ("sample type", |p, i| p.sample_types[0] = message(1, &[uint(2, i)])),
        ("period type", |p, i| p.rest.push(message(11, &[uint(2, i)]))),
        ("default sample type", |p, i| p.rest.push(uint(14, i))),
        ("frame pattern", |p, i| p.rest.push(uint(7, i))),
        ("comment", |p, i| p.rest.push(uint(13, i))),
        ("function name", |p, i| p.functions.push(message(5, &[uint(1, 9), uint(2, i)]))),
        ("function system name", |p, i| p.functions.push(message(5, &[uint(1, 9), uint(3, i)]))),
        ("function file name", |p, i| p.functions.push(message(5, &[uint(1, 9), uint(4, i)]))),
        ("mapping file name", |p, i| p.mappings.push(message(3, &[uint(1, 9), uint(5, i)]))),
        ("label name", |p, i| p.samples.push(message(2, &[uint(2, 1), message(3, &[uint(1, i)])]))),
        ("label value", |p, i| p.samples.push(message(2, &[uint(2, 1), message(3, &[uint(2, i)])]))),
        ("label unit", |p, i| p.samples.push(message(2, &[uint(2, 1), message(3, &[uint(4, i)])]))),
    ];
    for (of, change) in changes {
        for index in [13, u64::from(u32::MAX) + 2, u64::MAX] {
            let mut parts = Parts::new();
            change(&mut parts, index);
            assert_eq!(parts.error(), PprofError::StringIndex { of, index, count: 13 });
        }
        let mut parts = Parts::new();
        change(&mut parts, 12);
        parts.decode().unwrap();
    }
}

#[test]
fn a_character_cut_in_two_strings_is_refused() {
    let mut parts = Parts::new();
    (parts.strings[4], parts.strings[5]) = (text(6, b"\xC3"), text(6, b"\xA4"));
    assert_eq!(parts.error(), PprofError::Utf8 { index: 4 });
}

#[test]
fn functions_without_ids_can_be_repaired() {
    let mut parts = Parts::new();
    parts.functions = [3, 4, 5].map(|name| message(5, &[uint(2, name)])).to_vec();
    assert_eq!(parts.error(), PprofError::ZeroId { entity: Entity::Function, index: 0 });
    let options = PprofOptions { repair_zero_function_ids: true, ..PprofOptions::default() };
    assert_eq!(drawn(&decode(&parts.bytes(), &options).unwrap()), DRAWN);
}

#[test]
fn limits_are_exact() {
    type Change = fn(&mut DecodeLimits, usize);
    let limits: [(Quantity, usize, Change); 9] = [
        (Quantity::Samples, 2, |l, n| l.samples = n),
        (Quantity::LabelsPerSample, 2, |l, n| l.labels_per_sample = n),
        (Quantity::SampleTypes, 1, |l, n| l.sample_types = n),
        (Quantity::Frames, 3, |l, n| l.frames_total = n),
        (Quantity::Strings, 13, |l, n| l.strings = n),
        (Quantity::StringBytes, 58, |l, n| l.string_bytes = n),
        (Quantity::Locations, 2, |l, n| l.locations = n),
        (Quantity::Functions, 3, |l, n| l.functions = n),
        (Quantity::Mappings, 1, |l, n| l.mappings = n),
    ];
    let parts = Parts::new();
    for (quantity, count, set) in limits {
        parts.decode_within(|limits| set(limits, count)).unwrap_or_else(|error| panic!("{quantity:?}: {error}"));
        let error = parts.decode_within(|limits| set(limits, count - 1)).unwrap_err();
        assert_eq!(error, PprofError::Limit(LimitError { quantity, limit: count - 1 }));
    }
    assert!(matches!(
        parts.decode_within(|limits| limits.memory_bytes = 100),
        Err(PprofError::Limit(LimitError { quantity: Quantity::MemoryBytes, limit: 100 }))
    ));
}

#[test]
fn bombs_of_empty_messages_are_refused() {
    for field in [1, 2, 3, 4, 5, 6] {
        let bomb = text(field, b"").repeat(2 << 20);
        assert!(matches!(decode(&bomb, &PprofOptions::default()), Err(PprofError::Limit(_))), "field {field}");
    }
    let mut options = PprofOptions::default();
    options.limits.memory_bytes = 1 << 20;
    let lines = message(4, &[text(4, b"").repeat(1 << 18)]);
    let limit = LimitError { quantity: Quantity::MemoryBytes, limit: 1 << 20 };
    assert_eq!(decode(&lines, &options), Err(PprofError::Limit(limit)));
}

#[test]
fn no_cut_panics_and_few_pass() {
    let bytes = Parts::new().bytes();
    for cut in 0..bytes.len() {
        if let Ok(profile) = decode(&bytes[..cut], &PprofOptions::default()) {
            drawn(&profile);
        }
    }
}

#[test]
fn no_flipped_bit_panics() {
    let bytes = Parts::new().bytes();
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        if let Ok(profile) = decode(&damaged, &PprofOptions::default()) {
            drawn(&profile);
            let again = decode(&encode(&profile), &PprofOptions::default()).expect("encoded profiles are valid");
            assert_eq!(drawn(&again), drawn(&profile));
        }
    }
}

#[test]
fn what_is_decoded_encodes_to_the_same_profile() {
    let profile = Parts::new().decode().unwrap();
    let bytes = encode(&profile);
    let again = decode(&bytes, &PprofOptions::default()).unwrap();
    assert_eq!(drawn(&again), DRAWN);
    assert_eq!(again.symbols.mappings.len(), profile.symbols.mappings.len());
    assert_eq!(
        (again.time_ns, again.duration_ns, again.period),
        (profile.time_ns, profile.duration_ns, profile.period)
    );
    assert_eq!(again.text(again.period_type.unit), "nanoseconds");
    assert_eq!(again.text(again.default_sample_type), "cpu");
    assert_eq!(encode(&again), bytes);
}

#[test]
fn encoding_leaves_out_what_is_unused_and_repeated() {
    let mut profile = Profile::default();
    let strings = &mut profile.symbols.strings;
    let (kind, unit, again) = (strings.push("cpu"), strings.push("ns"), strings.push("cpu"));
    strings.push("unused");
    profile
        .sample_types
        .extend([argand_model::ValueType { kind, unit }, argand_model::ValueType { kind: again, unit }]);
    profile.symbols.push_named_location("unused");
    let main = profile.symbols.push_named_location("main");
    profile.samples.push([main, main], &[1, -2], &[]);
    let decoded = decode(&encode(&profile), &PprofOptions::default()).unwrap();
    assert_eq!(decoded.symbols.strings.iter().collect::<Vec<_>>(), ["", "cpu", "ns", "main"]);
    assert_eq!((decoded.symbols.locations.len(), decoded.symbols.functions.len()), (1, 2));
    assert_eq!(drawn(&decoded), ["main:0;main:0 {} [1, -2]"]);
}

#[test]
fn lines_of_the_unknown_function_are_left_out() {
    let mut profile = Profile::default();
    profile.sample_types.push(argand_model::ValueType::default());
    let line = argand_model::Line::default();
    let location = profile.symbols.push_location(argand_model::MappingId(0), 7, false, &[line]);
    profile.samples.push([location], &[1], &[]);
    let decoded = decode(&encode(&profile), &PprofOptions::default()).unwrap();
    assert_eq!((decoded.symbols.locations[0].address, decoded.symbols.lines.len()), (7, 0));
}

#[test]
fn gzip_wraps_the_same_bytes() {
    let profile = Parts::new().decode().unwrap();
    let limits = crate::inflate::InflateLimits::new(1 << 20);
    assert_eq!(crate::inflate::gunzip(&encode_gzip(&profile), limits).unwrap(), encode(&profile));
}
