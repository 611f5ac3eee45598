use std::fmt::Write as _;

use argand_model::LocationId;

use super::*;
use crate::DecodeLimits;
use crate::proto::{put_bytes, put_uint, put_varint};

type Bytes = Vec<u8>;

fn uint(field: u32, value: u64) -> Bytes {
    let mut out = Vec::new();
    put_uint(&mut out, field, value);
    out
}

fn message(field: u32, parts: &[Bytes]) -> Bytes {
    let mut out = Vec::new();
    put_bytes(&mut out, field, &parts.concat());
    out
}

fn text(field: u32, text: &str) -> Bytes {
    message(field, &[text.as_bytes().to_vec()])
}

fn packed(field: u32, values: &[u64]) -> Bytes {
    let mut content = Vec::new();
    values.iter().for_each(|&value| put_varint(&mut content, value));
    message(field, &[content])
}

fn fixed64(field: u32, values: &[u64]) -> Bytes {
    message(field, &[values.iter().flat_map(|value| value.to_le_bytes()).collect()])
}

fn fixed64_alone(field: u32, value: u64) -> Bytes {
    [vec![(field << 3 | 1) as u8], value.to_le_bytes().to_vec()].concat()
}

fn string_value(value: &str) -> Bytes {
    text(1, value)
}

/// An attribute of a resource or a scope.
fn attribute(key: &str, value: &[Bytes]) -> Bytes {
    message(1, &[text(1, key), message(2, value)])
}

const STRINGS: [&str; 13] = [
    "",
    "samples",
    "count",
    "cpu",
    "nanoseconds",
    "main",
    "work",
    "inlined",
    "/bin/shop",
    "process.executable.build_id.gnu",
    "thread.name",
    "service.name",
    "from a string",
];

/// Tables that all tests share. Stacks: 1 is `work` (with `inlined` in it) under `main`, 2 is a bare address.
fn dictionary() -> Bytes {
    let mut parts: Vec<Bytes> = STRINGS.iter().map(|string| text(5, string)).collect();
    let attribute = |key: u64, value: Bytes| message(6, &[uint(1, key), message(2, &[value])]);
    parts.extend([
        message(6, &[]),
        attribute(9, string_value("abc123")),
        attribute(10, string_value("worker")),
        attribute(11, string_value("cart")),
        attribute(10, uint(3, 7)),
        attribute(10, uint(8, 12)),
        attribute(10, message(5, &[message(1, &[string_value("only one")])])),
        message(1, &[]),
        message(1, &[uint(1, 0x1000), uint(2, 0x2000), uint(3, 0x10), uint(4, 8), packed(5, &[1])]),
        message(3, &[]),
        message(3, &[uint(1, 5)]),
        message(3, &[uint(1, 6), uint(3, 8), uint(4, 40)]),
        message(3, &[uint(1, 7)]),
        message(2, &[]),
        message(2, &[uint(2, 0x11), message(3, &[uint(1, 1), uint(2, 3)])]),
        message(2, &[uint(2, 0x22), message(3, &[uint(1, 3), uint(2, 9)]), message(3, &[uint(1, 2)])]),
        message(2, &[uint(1, 1), uint(2, 0x1234)]),
        message(7, &[]),
        message(7, &[packed(1, &[2, 1])]),
        message(7, &[packed(1, &[3])]),
        message(4, &[]),
        message(4, &[message(1, &[(0..16).collect()]), message(2, &[(1..9).collect()])]),
    ]);
    message(2, &parts)
}

/// A sample: stack, attributes, values.
fn sample(stack: u64, attributes: &[u64], values: &[u64]) -> Bytes {
    message(2, &[uint(1, stack), packed(2, attributes), packed(4, values)])
}

fn profile(samples: &[Bytes]) -> Bytes {
    let types = [message(1, &[uint(1, 1), uint(2, 2)]), message(5, &[uint(1, 3), uint(2, 4)])];
    let times = [fixed64_alone(3, 1_000), uint(4, 50), uint(6, 10)];
    message(2, &[types.concat(), times.concat(), samples.concat()])
}

fn resource_profiles(resource: &[Bytes], scope: &[Bytes], profiles: &[Bytes]) -> Bytes {
    let scope: Vec<Bytes> = scope.iter().map(|pair| [vec![3 << 3 | 2], pair[1..].to_vec()].concat()).collect();
    message(1, &[message(1, resource), message(2, &[message(1, &scope), profiles.concat()])])
}

fn request(profiles: &[Bytes]) -> Bytes {
    [resource_profiles(&[], &[], profiles), dictionary()].concat()
}

fn within(bytes: &[u8], limits: &DecodeLimits) -> Result<Vec<String>, OtlpError> {
    let mut lines = Vec::new();
    decode(bytes, limits, |part| {
        draw(&part, &mut lines);
        Ok::<_, OtlpError>(())
    })?;
    Ok(lines)
}

/// Lines `service types time+duration period` and, per sample, `stack root first {labels} value`.
fn lines(bytes: &[u8]) -> Result<Vec<String>, OtlpError> {
    within(bytes, &DecodeLimits::default())
}

fn draw(part: &ServiceProfile<'_>, lines: &mut Vec<String>) {
    let profile = &part.profile;
    let word = |id| profile.text(id);
    let (sample_type, period_type) = (profile.sample_types[0], profile.period_type);
    let mut head = format!("{:?}", part.service.unwrap_or("-"));
    part.attributes.iter().for_each(|(key, value)| write!(head, " {key}={value}").unwrap());
    write!(head, " {}/{}", word(sample_type.kind), word(sample_type.unit)).unwrap();
    write!(head, " {}/{}", word(period_type.kind), word(period_type.unit)).unwrap();
    lines.push(format!("{head} {}+{} per {}", profile.time_ns, profile.duration_ns, profile.period));
    for index in 0..profile.samples.len() {
        let stack = profile.samples.stacks.get(index as u32).iter().rev().map(|&id| frame(profile, id));
        let mut line = stack.collect::<Vec<_>>().join(";");
        for label in profile.samples.labels_of(index) {
            write!(line, " {}={}", word(label.key), word(label.text)).unwrap();
        }
        lines.push(format!("{line} {}", profile.values_of(index)[0]));
    }
}

fn frame(profile: &Profile, id: LocationId) -> String {
    let symbols = &profile.symbols;
    let location = symbols.locations[id.index()];
    let names = symbols.lines_of(id).iter().rev().map(|line| {
        let function = symbols.functions[line.function.index()];
        format!("{}:{}@{}", profile.text(function.name), line.line, profile.text(function.filename))
    });
    let names = names.collect::<Vec<_>>().join(">");
    let mapping = symbols.mappings[location.mapping.index()];
    match location.mapping.0 {
        0 => names,
        _ => {
            let (file, build) = (profile.text(mapping.filename), profile.text(mapping.build_id));
            let place = format!("{:x}-{:x}+{:x}", mapping.memory_start, mapping.memory_limit, mapping.file_offset);
            format!("{names}{file}({build}) {place} {:x} {}", location.address, mapping.has_functions)
        }
    }
}

#[test]
fn everything_that_counts_is_read() {
    let samples = [
        sample(1, &[2], &[3, 4]),
        message(2, &[uint(1, 2), uint(3, 1), fixed64(5, &[1, 2, 3])]),
        message(2, &[uint(1, 1), fixed64_alone(5, 9)]),
    ];
    let ids = "trace_id=000102030405060708090a0b0c0d0e0f span_id=0102030405060708";
    let expected = [
        "\"-\" samples/count cpu/nanoseconds 1000+50 per 10".to_owned(),
        "main:3@;work:0@/bin/shop>inlined:9@ thread.name=worker 7".to_owned(),
        format!("/bin/shop(abc123) 1000-2000+10 1234 false {ids} 3"),
        "main:3@;work:0@/bin/shop>inlined:9@ 1".to_owned(),
    ];
    assert_eq!(lines(&request(&[profile(&samples)])).unwrap(), expected);
}

#[test]
fn texts_are_labels_and_numbers_are_not() {
    let drawn = lines(&request(&[profile(&[sample(1, &[4, 5, 6], &[1])])])).unwrap();
    assert!(drawn[1].ends_with(" thread.name=from a string thread.name=only one 1"), "{drawn:?}");
}

#[test]
fn samples_come_apart_by_their_service() {
    let drawn = lines(&request(&[profile(&[sample(1, &[3], &[1]), sample(1, &[], &[2]), sample(2, &[3], &[4])])]));
    let drawn = drawn.unwrap();
    let heads: Vec<&str> = drawn.iter().filter_map(|line| line.split_once(" samples/").map(|(head, _)| head)).collect();
    assert_eq!(heads, ["\"-\"", "\"cart\""]);
    let values: Vec<&str> = drawn.iter().filter_map(|line| line.rsplit(' ').next()).collect();
    assert_eq!(values, ["10", "2", "10", "1", "4"]);
}

#[test]
fn attributes_of_the_resource_come_before_those_of_the_scope() {
    let resource = [
        attribute("a", &[string_value("x")]),
        attribute("pid", &[uint(3, 66)]),
        attribute("list", &[message(5, &[message(1, &[string_value("one")])])]),
        attribute("two", &[message(5, &[message(1, &[string_value("1")]), message(1, &[string_value("2")])])]),
        attribute("flag", &[uint(2, 1)]),
        message(1, &[uint(3, 10), message(2, &[uint(8, 12)])]),
    ];
    let scope = [attribute("a", &[string_value("y")])];
    let bytes = [resource_profiles(&resource, &scope, &[profile(&[sample(1, &[], &[1])])]), dictionary()].concat();
    let head = &lines(&bytes).unwrap()[0];
    assert!(head.starts_with("\"-\" a=x pid=66 list=one thread.name=from a string a=y samples"), "{head}");
}

#[test]
fn every_profile_has_symbols_of_its_own() {
    let one = profile(&[sample(1, &[], &[1])]);
    let drawn = lines(&request(&[one.clone(), profile(&[sample(2, &[], &[1])]), one])).unwrap();
    assert_eq!(drawn.len(), 6);
    assert_eq!(drawn[..2], drawn[4..], "what is used again is copied again");
    let mut sizes = Vec::new();
    decode(&request(&[profile(&[sample(2, &[], &[1])])]), &DecodeLimits::default(), |part| {
        sizes.push((part.profile.symbols.functions.len(), part.profile.symbols.locations.len()));
        Ok::<_, OtlpError>(())
    })
    .unwrap();
    assert_eq!(sizes, [(1, 1)], "the null function, and the one location that is used");
}

#[test]
fn tables_may_be_missing_or_come_in_pieces_and_first() {
    let empty = resource_profiles(&[], &[], &[message(2, &[sample(0, &[], &[5])])]);
    assert_eq!(lines(&empty).unwrap(), ["\"-\" / / 0+0 per 0", " 5"]);
    let whole = request(&[profile(&[sample(1, &[2], &[3])])]);
    let first = [dictionary(), resource_profiles(&[], &[], &[profile(&[sample(1, &[2], &[3])])])].concat();
    assert_eq!(lines(&first).unwrap(), lines(&whole).unwrap());
    let pieces = [
        message(2, &[text(5, ""), text(5, "kind")]),
        message(2, &[text(5, "unit")]),
        resource_profiles(&[], &[], &[message(2, &[message(1, &[uint(1, 1), uint(2, 2)]), sample(0, &[], &[1])])]),
    ];
    assert_eq!(lines(&pieces.concat()).unwrap()[0], "\"-\" kind/unit / 0+0 per 0");
}

#[test]
fn what_points_outside_of_a_table_is_refused() {
    let with = |part: Bytes| [message(2, &[part]), dictionary()].concat();
    let negative = u64::MAX;
    for (bytes, what) in [
        (request(&[profile(&[sample(3, &[], &[1])])]), "stack of a sample"),
        (request(&[profile(&[sample(negative, &[], &[1])])]), "stack of a sample"),
        (request(&[profile(&[sample(1, &[7], &[1])])]), "attribute of a sample"),
        (request(&[profile(&[message(2, &[uint(3, 2)])])]), "link of a sample"),
        (request(&[message(2, &[message(1, &[uint(1, 13)])])]), "type"),
        (request(&[message(2, &[message(5, &[uint(2, 13)])])]), "unit"),
        (with(message(7, &[packed(1, &[9])])), "location of a stack"),
        (with(message(2, &[uint(1, 9)])), "mapping of a location"),
        (with(message(2, &[message(3, &[uint(1, 9)])])), "function of a line"),
        (with(message(3, &[uint(1, 99)])), "function name"),
        (with(message(1, &[uint(4, 99)])), "mapping file name"),
        (with(message(1, &[packed(5, &[9])])), "attribute of a mapping"),
        (with(message(6, &[uint(1, 99)])), "attribute name"),
        (with(message(6, &[message(2, &[uint(8, 99)])])), "attribute value"),
    ] {
        match lines(&bytes).unwrap_err() {
            OtlpError::Reference { what: told, .. } => assert_eq!(told, what),
            other => panic!("{what}: {other}"),
        }
    }
    assert_eq!(lines(&message(2, &[message(5, &[vec![0xFF]])])), Err(OtlpError::Utf8 { what: "string" }));
}

#[test]
fn limits_hold() {
    let three = request(&[profile(&[sample(1, &[2, 2], &[1]), sample(1, &[], &[1]), sample(1, &[], &[1])])]);
    let refused = |change: fn(&mut DecodeLimits)| {
        let mut limits = DecodeLimits::default();
        change(&mut limits);
        match within(&three, &limits).unwrap_err() {
            OtlpError::Limit(error) => error.quantity,
            other => panic!("{other}"),
        }
    };
    assert_eq!(refused(|limits| limits.samples = 2), Quantity::Samples);
    assert_eq!(refused(|limits| limits.labels_per_sample = 1), Quantity::LabelsPerSample);
    assert_eq!(refused(|limits| limits.strings = STRINGS.len() - 1), Quantity::Strings);
    assert_eq!(refused(|limits| limits.string_bytes = 60), Quantity::StringBytes);
    assert_eq!(refused(|limits| limits.locations = 3), Quantity::Locations);
    assert_eq!(refused(|limits| limits.functions = 3), Quantity::Functions);
    assert_eq!(refused(|limits| limits.mappings = 1), Quantity::Mappings);
    assert_eq!(refused(|limits| limits.frames_total = 5), Quantity::Frames);
    assert_eq!(refused(|limits| limits.memory_bytes = 1_000), Quantity::MemoryBytes);
}

#[test]
fn many_small_profiles_cannot_multiply_the_tables() {
    let long = "f".repeat(1 << 20);
    let tables = message(
        2,
        &[
            text(5, ""),
            text(5, &long),
            message(3, &[]),
            message(3, &[uint(1, 1)]),
            message(2, &[]),
            message(2, &[message(3, &[uint(1, 1)])]),
            message(7, &[]),
            message(7, &[packed(1, &[1; 100_000])]),
        ],
    );
    // Not drawn: a drawing has every name in full.
    let decode_bomb = |profiles: usize, samples: usize| {
        let profile = message(2, &vec![sample(1, &[], &[1]); samples]);
        let bytes = [resource_profiles(&[], &[], &vec![profile; profiles]), tables.clone()].concat();
        decode(&bytes, &DecodeLimits::default(), |_| Ok::<_, OtlpError>(()))
    };
    assert_eq!(decode_bomb(2, 2), Ok(()));
    assert!(matches!(decode_bomb(1_000, 1), Err(OtlpError::Limit(_))), "a name of a megabyte, a thousand times");
    assert!(matches!(decode_bomb(1, 1_000), Err(OtlpError::Limit(_))), "a deep stack, a thousand times");
}

#[test]
fn no_cut_and_no_flipped_bit_panics() {
    let samples = [sample(1, &[2, 3], &[3, 4]), message(2, &[uint(1, 2), uint(3, 1), fixed64(5, &[1, 2])])];
    let resource = [attribute("a", &[message(5, &[message(1, &[string_value("one")])])])];
    let bytes = [resource_profiles(&resource, &[], &[profile(&samples)]), dictionary()].concat();
    assert!(lines(&bytes).is_ok());
    for end in 0..bytes.len() {
        let _ = lines(&bytes[..end]);
    }
    let mut flipped = bytes.clone();
    for at in 0..bytes.len() {
        for bit in 0..8 {
            flipped[at] ^= 1 << bit;
            let _ = lines(&flipped);
            flipped[at] = bytes[at];
        }
    }
}

const JSON: &str = r#"{
    "resourceProfiles": [{
        "resource": {"attributes": [{"key": "pid", "value": {"intValue": "66"}},
            {"key": "list", "value": {"arrayValue": {"values": [{"stringValue": "one"}]}}}], "droppedAttributesCount": 1},
        "scopeProfiles": [{"scope": {"name": "n"}, "profiles": [{
            "sampleType": {"typeStrindex": 1, "unit_strindex": 2}, "periodType": null, "period": -1,
            "timeUnixNano": "1000", "durationNano": 50, "profileId": "ff", "original_payload": "AA==",
            "samples": [{"stackIndex": 1, "values": ["-3", 4.0], "linkIndex": 1}, {"timestampsUnixNano": ["1", 2]}]}]}]
    }],
    "dictionary": {
        "stringTable": ["", "kind", "unit", "main \u00e9"], "mappingTable": [{}], "functionTable": [{}, {"nameStrindex": 3}],
        "locationTable": [{}, {"lines": [{"functionIndex": 1, "line": 7}]}], "stackTable": [{}, {"locationIndices": [1]}],
        "linkTable": [{}, {"traceId": "000102030405060708090a0B0c0d0e0f", "spanId": "0102030405060708"}], "newer": [[{}]]
    }
}"#;

#[test]
fn json_is_the_same_in_words() {
    let expected = [
        "\"-\" pid=66 list=one kind/unit / 1000+50 per -1",
        "main é:7@ trace_id=000102030405060708090a0b0c0d0e0f span_id=0102030405060708 1",
        " 2",
    ];
    assert_eq!(lines(&transcode(JSON.as_bytes()).unwrap()).unwrap(), expected);
}

#[test]
fn bad_json_is_named_with_its_place() {
    for (json, words) in [
        ("", "EOF"),
        ("[]", "ExportProfilesServiceRequest"),
        ("{} {}", "trailing"),
        (r#"{"resourceProfiles": 1}"#, "resourceProfiles"),
        (r#"{"dictionary": {"stringTable": [1]}}"#, "stringTable"),
        (r#"{"dictionary": {"stringTable": [["a"]]}}"#, "stringTable"),
        (r#"{"dictionary": {"locationTable": [{"address": "many"}]}}"#, "address"),
        (r#"{"dictionary": {"locationTable": [{"address": 1.5}]}}"#, "address"),
        (r#"{"dictionary": {"linkTable": [{"traceId": "xyz"}]}}"#, "hexadecimal"),
    ] {
        let error = transcode(json.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(words) && error.contains("line"), "{json}: {error}");
    }
    for end in 0..JSON.len() {
        if let Some(cut) = JSON.get(..end) {
            assert!(transcode(cut.as_bytes()).is_err());
        }
    }
}
