use argand_model::{Function, Line, Mapping, MappingId, ValueType};

use super::*;
use crate::{IngestLimits, Relabeling};

/// Frames root first, one value per sample type, labels.
type Drawn<'a> = (&'a str, &'a [i64], &'a [(&'a str, &'a str)]);

/// Draws a profile: `name=value` labels after `|`, frames root first, then one value per sample type.
fn profile(types: &[&str], samples: &[Drawn<'_>]) -> Profile {
    let mut profile = Profile { time_ns: 7, duration_ns: 10, ..Profile::default() };
    profile.sample_types =
        types.iter().map(|kind| ValueType { kind: profile.symbols.strings.push(kind), unit: StringId(0) }).collect();
    let mut known: HashMap<String, LocationId> = HashMap::new();
    for (stack, values, labels) in samples {
        let frames: Vec<LocationId> = stack
            .split(';')
            .rev()
            .filter(|frame| !frame.is_empty())
            .map(|frame| *known.entry(frame.to_owned()).or_insert_with(|| profile.symbols.push_named_location(frame)))
            .collect();
        let labels: Vec<SampleLabel> = labels
            .iter()
            .map(|(key, text)| SampleLabel {
                key: crate::strings::find_or_push(&mut profile.symbols.strings, key),
                text: crate::strings::find_or_push(&mut profile.symbols.strings, text),
                number: 0,
                number_unit: StringId(0),
            })
            .collect();
        profile.samples.push(frames, values, &labels);
    }
    profile
}

fn series() -> Labels {
    Labels::new([("__name__", "process_cpu"), ("service_name", "shop"), ("__delta__", "false")])
}

fn run(profile: &Profile) -> Result<Option<Upload>, Rejection> {
    let mut ids = 0;
    let mut next_id = || {
        ids += 1;
        ids
    };
    let limits = IngestLimits { stack_depth: 3, symbol_length_bytes: 8, ..IngestLimits::default() };
    normalise(
        profile.clone(),
        &series(),
        &mut Context { limits: &limits, relabel: &Relabeling::default(), now_ns: 7, next_id: &mut next_id },
    )
}

/// One line per row: selected labels, then the stack root first, then the value.
fn lines(upload: &Upload) -> Vec<String> {
    let mut lines = Vec::new();
    for part in &upload.series {
        for (row, &stack) in part.stack.iter().enumerate() {
            let frames: Vec<&str> = upload
                .stacks
                .get(stack)
                .iter()
                .rev()
                .map(|&l| {
                    upload.symbols.lines_of(l).first().map_or("?", |line| upload.symbols.function_name(line.function))
                })
                .collect();
            let shown = part.labels.retain(|n| !n.starts_with("__") && n != "service_name");
            let kind = part.labels.get("__type__").unwrap();
            lines.push(format!("{kind} {shown} {} {}", frames.join(";"), part.value[row]));
        }
    }
    lines
}

#[test]
fn equal_stacks_merge_and_useless_samples_go() {
    let sent = profile(&["cpu"], &[("a;b", &[1], &[]), ("a", &[0], &[]), ("a;b", &[2], &[]), ("a", &[-1], &[])]);
    assert_eq!(lines(&run(&sent).unwrap().unwrap()), ["cpu {} a;b 3"]);
}

#[test]
fn nothing_left_is_no_upload() {
    assert_eq!(run(&profile(&["cpu"], &[("a", &[0], &[])])).unwrap(), None);
    assert_eq!(run(&profile(&["cpu"], &[])).unwrap(), None);
}

#[test]
fn each_sample_type_is_a_series_with_its_own_rows() {
    let sent = profile(&["objects", "space"], &[("a", &[1, 10], &[]), ("b", &[0, 20], &[])]);
    let upload = run(&sent).unwrap().unwrap();
    assert_eq!(lines(&upload), ["objects {} a 1", "space {} a 10", "space {} b 20"]);
    assert_eq!(upload.series[1].labels.get("__profile_type__"), Some("process_cpu:space:::"));
    assert_eq!(upload.series[1].labels.get("__service_name__"), Some("shop"));
    assert_eq!(upload.series[1].labels.get("__delta__"), None);
    assert_ne!(upload.series[0].id, upload.series[1].id);
}

#[test]
fn text_labels_split_and_a_series_label_wins() {
    let labels: &[(&str, &str)] = &[("route", "/cart"), ("service_name", "other")];
    let sent = profile(&["cpu"], &[("a", &[1], labels), ("a", &[2], &[("empty", "")]), ("a", &[4], &[])]);
    let upload = run(&sent).unwrap().unwrap();
    assert_eq!(lines(&upload), ["cpu {route=\"/cart\"} a 1", "cpu {} a 6"]);
    assert_eq!(upload.service_name(), "shop");
}

#[test]
fn span_and_trace_ids_stay_beside_the_rows() {
    let trace = "0123456789abcdef0123456789abcdef";
    let with_ids: &[(&str, &str)] = &[("span_id", "00000000000000ff"), ("trace_id", trace)];
    let samples: &[Drawn<'_>] = &[
        ("a", &[1], with_ids),
        ("a", &[2], &[("profile_id", "00000000000000ff")]),
        ("a", &[4], &[("span_id", "not one")]),
    ];
    let upload = run(&profile(&["cpu"], samples)).unwrap().unwrap();
    let part = &upload.series[0];
    assert_eq!(part.span_id, [255, 255, 0]);
    assert_eq!(part.trace_id, [0x0123_4567_89ab_cdef_0123_4567_89ab_cdef, 0, 0]);
    assert_eq!(part.value, [1, 2, 4]);
    assert_eq!(upload.series.len(), 1, "ids make no series");
}

#[test]
fn deep_stacks_keep_the_root_side_and_long_names_their_end() {
    let sent = profile(&["cpu"], &[("root;a;b;leaf", &[1], &[]), ("a_name_too_long", &[1], &[])]);
    assert_eq!(lines(&run(&sent).unwrap().unwrap()), ["cpu {} root;a;b 1", "cpu {} too_long 1"]);
}

#[test]
fn places_that_say_nothing_leave_the_stack() {
    let mut sent = profile(&["cpu"], &[]);
    let nowhere = sent.symbols.push_location(MappingId(0), 0, false, &[]);
    let main = sent.symbols.push_named_location("main");
    sent.samples.push([nowhere, main], &[5], &[]);
    sent.samples.push([nowhere], &[6], &[]);
    assert_eq!(lines(&run(&sent).unwrap().unwrap()), ["cpu {} main 5", "cpu {}  6"]);
}

#[test]
fn resolved_mappings_lose_their_addresses() {
    let mut sent = profile(&["cpu"], &[]);
    let resolved = Mapping { memory_start: 1, memory_limit: 9, has_functions: true, ..Mapping::default() };
    let (resolved, raw) = (
        sent.symbols.push_mapping(resolved),
        sent.symbols.push_mapping(Mapping { memory_start: 4, ..Mapping::default() }),
    );
    let function = sent.symbols.push_function(Function::default());
    let symbolised = sent.symbols.push_location(resolved, 17, false, &[Line { function, line: 3 }]);
    let address_only = sent.symbols.push_location(raw, 18, false, &[]);
    sent.samples.push([symbolised, address_only], &[1], &[]);
    let upload = run(&sent).unwrap().unwrap();
    let addresses: Vec<u64> =
        upload.stacks.get(0).iter().map(|l| upload.symbols.locations[l.index()].address).collect();
    assert_eq!(addresses, [0, 18]);
    assert_eq!(upload.symbols.mappings[1].memory_limit, 0);
    assert_eq!(upload.symbols.mappings[2].memory_start, 4);
}

#[test]
fn wall_profiles_with_cpu_time_become_cpu_profiles() {
    let sent = profile(&["wall", "cpu"], &[("a", &[9, 1], &[])]);
    let wall = series().with("__name__", "wall");
    let limits = IngestLimits::default();
    let mut next_id = || 1;
    let mut context = Context { limits: &limits, relabel: &Relabeling::default(), now_ns: 7, next_id: &mut next_id };
    let upload = normalise(sent, &wall, &mut context).unwrap().unwrap();
    let types: Vec<_> = upload.series.iter().map(|s| s.labels.get("__profile_type__").unwrap()).collect();
    assert_eq!(types, ["wall:wall:::", "process_cpu:cpu:::"]);
}

#[test]
fn names_that_break_profile_types_are_refused() {
    for kind in ["alloc-space", "a:b", ""] {
        assert_eq!(
            run(&profile(&[kind], &[("a", &[1], &[])])).unwrap_err().reason,
            Reason::MalformedProfile,
            "{kind:?}"
        );
    }
}

#[test]
fn too_many_promoted_labels_are_refused() {
    let names: Vec<String> = (0..40).map(|i| format!("label{i}")).collect();
    let labels: Vec<(&str, &str)> = names.iter().map(|n| (n.as_str(), "x")).collect();
    assert_eq!(run(&profile(&["cpu"], &[("a", &[1], &labels)])).unwrap_err().reason, Reason::MaxLabelNamesPerSeries);
}

#[test]
fn sums_saturate() {
    let sent = profile(&["cpu"], &[("a", &[i64::MAX], &[]), ("a", &[1], &[])]);
    assert_eq!(lines(&run(&sent).unwrap().unwrap()), [format!("cpu {{}} a {}", i64::MAX)]);
}
