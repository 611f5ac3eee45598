//! The pprof codec against a general Protocol Buffers library.

use argand_model::{LocationId, Profile};
use argand_wire::pprof::{PprofOptions, decode, encode};
use proptest::collection::vec;
use proptest::prelude::*;
use prost::Message;

mod oracle;

/// Everything that a reader sees, with ids and string indexes resolved.
#[derive(Debug, PartialEq)]
struct Seen {
    sample_types: Vec<(String, String)>,
    samples: Vec<SeenSample>,
    times: (i64, i64),
    period: (String, String, i64),
    default_sample_type: String,
}

#[derive(Debug, PartialEq)]
struct SeenSample {
    stack: Vec<SeenLocation>,
    values: Vec<i64>,
    labels: Vec<(String, String, i64, String)>,
}

#[derive(Debug, PartialEq)]
struct SeenLocation {
    mapping: Option<(u64, u64, u64, String, String, [bool; 4])>,
    address: u64,
    is_folded: bool,
    lines: Vec<(String, String, String, u32, u32)>,
}

fn seen(profile: &Profile) -> Seen {
    let text = |id| profile.text(id).to_owned();
    let symbols = &profile.symbols;
    let location = |id: LocationId| {
        let location = symbols.locations[id.index()];
        let m = symbols.mappings[location.mapping.index()];
        let flags = [m.has_functions, m.has_filenames, m.has_line_numbers, m.has_inline_frames];
        let mapping = (m.memory_start, m.memory_limit, m.file_offset, text(m.filename), text(m.build_id), flags);
        let line = |line: &argand_model::Line| {
            let f = symbols.functions[line.function.index()];
            (text(f.name), text(f.system_name), text(f.filename), f.start_line, line.line)
        };
        SeenLocation {
            mapping: (location.mapping.0 != 0).then_some(mapping),
            address: location.address,
            is_folded: location.is_folded,
            lines: symbols.lines_of(id).iter().map(line).collect(),
        }
    };
    let sample = |index: usize| SeenSample {
        stack: profile.samples.stacks.get(index as u32).iter().map(|&id| location(id)).collect(),
        values: profile.values_of(index).to_vec(),
        labels: profile
            .samples
            .labels_of(index)
            .iter()
            .map(|l| (text(l.key), text(l.text), l.number, text(l.number_unit)))
            .collect(),
    };
    Seen {
        sample_types: profile.sample_types.iter().map(|t| (text(t.kind), text(t.unit))).collect(),
        samples: (0..profile.samples.len()).map(sample).collect(),
        times: (profile.time_ns, profile.duration_ns),
        period: (text(profile.period_type.kind), text(profile.period_type.unit), profile.period),
        default_sample_type: text(profile.default_sample_type),
    }
}

fn seen_by_oracle(profile: &oracle::Profile) -> Seen {
    let text = |index: i64| profile.string_table[index as usize].clone();
    let number = |line: i64| u32::try_from(line).unwrap_or(0);
    let line = |line: &oracle::Line| {
        let f = profile.function.iter().find(|f| f.id == line.function_id).expect("the function exists");
        (text(f.name), text(f.system_name), text(f.filename), number(f.start_line), number(line.line))
    };
    let mapping = |id: u64| {
        let m = profile.mapping.iter().find(|m| m.id == id).expect("the mapping exists");
        let flags = [m.has_functions, m.has_filenames, m.has_line_numbers, m.has_inline_frames];
        (m.memory_start, m.memory_limit, m.file_offset, text(m.filename), text(m.build_id), flags)
    };
    let location = |id: &u64| {
        let location = profile.location.iter().find(|l| l.id == *id).expect("the location exists");
        SeenLocation {
            mapping: (location.mapping_id != 0).then(|| mapping(location.mapping_id)),
            address: location.address,
            is_folded: location.is_folded,
            lines: location.line.iter().map(line).collect(),
        }
    };
    let sample = |sample: &oracle::Sample| SeenSample {
        stack: sample.location_id.iter().map(location).collect(),
        values: sample.value.clone(),
        labels: sample.label.iter().map(|l| (text(l.key), text(l.str), l.num, text(l.num_unit))).collect(),
    };
    let period_type = profile.period_type.unwrap_or_default();
    Seen {
        sample_types: profile.sample_type.iter().map(|t| (text(t.r#type), text(t.unit))).collect(),
        samples: profile.sample.iter().map(sample).collect(),
        times: (profile.time_nanos, profile.duration_nanos),
        period: (text(period_type.r#type), text(period_type.unit), profile.period),
        default_sample_type: text(profile.default_sample_type),
    }
}

/// Ids as writers choose them: counted, with gaps and out of order, or like addresses.
fn ids(count: usize) -> impl Strategy<Value = Vec<u64>> {
    let sparse = |highest: u64| proptest::collection::hash_set(1..=highest, count).prop_map(Vec::from_iter);
    prop_oneof![Just((1..=count as u64).collect()), sparse(3 * count as u64 + 1), sparse(u64::MAX)]
}

/// One of `ids`, or 0 where there is none to choose from.
fn one_of(ids: &[u64]) -> BoxedStrategy<u64> {
    if ids.is_empty() { Just(0).boxed() } else { proptest::sample::select(ids.to_vec()).boxed() }
}

fn profiles() -> impl Strategy<Value = oracle::Profile> {
    let strings = vec(".{0,12}", 0..12).prop_map(|texts| [vec![String::new()], texts].concat());
    let tables = (0..4usize, 0..6usize, 0..8usize).prop_flat_map(|(m, f, l)| (ids(m), ids(f), ids(l)));
    (strings, 1..4usize, tables).prop_flat_map(|(strings, width, (mappings, functions, locations))| {
        let text = 0..strings.len() as i64;
        let value_type = (text.clone(), text.clone()).prop_map(|(r#type, unit)| oracle::ValueType { r#type, unit });
        (
            vec(value_type.clone(), width),
            vec(sample(text.clone(), &locations, width), 0..8),
            mappings.iter().map(|&id| mapping(text.clone(), id)).collect::<Vec<_>>(),
            locations.iter().map(|&id| location(id, &mappings, &functions)).collect::<Vec<_>>(),
            functions.iter().map(|&id| function(text.clone(), id)).collect::<Vec<_>>(),
            (any::<[i64; 3]>(), proptest::option::of(value_type), vec(text.clone(), 0..3), text),
        )
            .prop_map(move |(sample_type, sample, mapping, location, function, rest)| {
                let ([time_nanos, duration_nanos, period], period_type, comment, default_sample_type) = rest;
                oracle::Profile {
                    sample_type,
                    sample,
                    mapping,
                    location,
                    function,
                    string_table: strings.clone(),
                    drop_frames: 0,
                    keep_frames: 0,
                    time_nanos,
                    duration_nanos,
                    period_type,
                    period,
                    comment,
                    default_sample_type,
                }
            })
    })
}

fn sample(
    text: std::ops::Range<i64>,
    locations: &[u64],
    width: usize,
) -> impl Strategy<Value = oracle::Sample> + use<> {
    let depth = if locations.is_empty() { 0..1 } else { 0..10 };
    let label = (text.clone(), text.clone(), any::<i64>(), text).prop_map(|(key, str, num, num_unit)| oracle::Label {
        key,
        str,
        num,
        num_unit,
    });
    (vec(one_of(locations), depth), vec(any::<i64>(), width), vec(label, 0..3))
        .prop_map(|(location_id, value, label)| oracle::Sample { location_id, value, label })
}

fn mapping(text: std::ops::Range<i64>, id: u64) -> impl Strategy<Value = oracle::Mapping> {
    (any::<[u64; 3]>(), text.clone(), text, any::<[bool; 4]>()).prop_map(move |(range, filename, build_id, has)| {
        let [memory_start, memory_limit, file_offset] = range;
        let [has_functions, has_filenames, has_line_numbers, has_inline_frames] = has;
        oracle::Mapping {
            id,
            memory_start,
            memory_limit,
            file_offset,
            filename,
            build_id,
            has_functions,
            has_filenames,
            has_line_numbers,
            has_inline_frames,
        }
    })
}

fn location(id: u64, mappings: &[u64], functions: &[u64]) -> impl Strategy<Value = oracle::Location> + use<> {
    let lines = if functions.is_empty() { 0..1 } else { 0..4 };
    let line = (one_of(functions), any::<i32>())
        .prop_map(|(function_id, line)| oracle::Line { function_id, line: i64::from(line) });
    (prop_oneof![Just(0), one_of(mappings)], any::<u64>(), vec(line, lines), any::<bool>()).prop_map(
        move |(mapping_id, address, line, is_folded)| oracle::Location { id, mapping_id, address, line, is_folded },
    )
}

fn function(text: std::ops::Range<i64>, id: u64) -> impl Strategy<Value = oracle::Function> {
    (text.clone(), text.clone(), text, any::<i64>()).prop_map(move |(name, system_name, filename, start_line)| {
        oracle::Function { id, name, system_name, filename, start_line }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_decoders_see_the_same(from in profiles()) {
        let profile = decode(&from.encode_to_vec(), &PprofOptions::default()).expect("the profile is valid");
        prop_assert_eq!(seen(&profile), seen_by_oracle(&from));
    }

    #[test]
    fn what_is_encoded_reads_the_same_everywhere(from in profiles()) {
        let profile = decode(&from.encode_to_vec(), &PprofOptions::default()).expect("the profile is valid");
        let bytes = encode(&profile);
        let again = decode(&bytes, &PprofOptions::default()).expect("encoded profiles are valid");
        prop_assert_eq!(seen(&again), seen(&profile));
        let by_oracle = oracle::Profile::decode(bytes.as_slice()).expect("encoded profiles are valid");
        prop_assert_eq!(seen_by_oracle(&by_oracle), seen(&profile));
        prop_assert_eq!(&encode(&again), &bytes, "the form is canonical");
        prop_assert_eq!(&by_oracle.encode_to_vec(), &bytes, "fields are written as others write them");
    }

    #[test]
    fn whatever_decodes_is_also_read_by_the_oracle(mut bytes in profiles().prop_map(|p| p.encode_to_vec()), at: prop::sample::Index, byte: u8) {
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(profile) = decode(&bytes, &PprofOptions::default()) {
            let samples = profile.samples.len();
            seen(&profile);
            let by_oracle = oracle::Profile::decode(bytes.as_slice());
            prop_assert_eq!(by_oracle.map(|p| p.sample.len()), Ok(samples));
        }
    }

    #[test]
    fn foreign_bytes_never_panic(bytes in vec(any::<u8>(), 0..200)) {
        let _ = decode(&bytes, &PprofOptions::default());
    }
}

#[test]
fn a_profile_of_realistic_size_reads_the_same() {
    let from = oracle::busy_service(300, 20);
    let profile = decode(&from.encode_to_vec(), &PprofOptions::default()).expect("the profile is valid");
    assert_eq!(seen(&profile), seen_by_oracle(&from));
}
