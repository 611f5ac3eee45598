use argand_model::Upload;

use super::*;
use crate::fixture::{CPU, selection, upload};

fn export(uploads: &[Upload], filter: &Filter, go_pgo: Option<GoPgo>) -> Profile {
    let profile_type = CPU.parse().unwrap();
    let range = TimeRange { start_ns: 2_000, end_ns: 12_000 };
    export_pprof(&selection(uploads), filter, &profile_type, go_pgo, range, &Control::default()).unwrap().value
}

/// Stacks root first with values; a location shows as `function:line+inlined:line`.
fn samples(profile: &Profile) -> Vec<String> {
    let line = |line: &Line| format!("{}:{}", profile.symbols.function_name(line.function), line.line);
    let location = |&id: &LocationId| match profile.symbols.lines_of(id) {
        [] => format!("{:#x}", profile.symbols.locations[id.index()].address),
        lines => lines.iter().rev().map(line).collect::<Vec<_>>().join("+"),
    };
    let stack =
        |i: usize| profile.samples.stacks.get(i as u32).iter().rev().map(location).collect::<Vec<_>>().join(";");
    let mut samples: Vec<String> =
        (0..profile.samples.len()).map(|i| format!("{} {}", stack(i), profile.values_of(i)[0])).collect();
    samples.sort();
    samples
}

#[test]
fn equal_locations_of_different_datasets_are_one() {
    let uploads = [upload("main;a+b 1 \n main;c 2"), upload("start;c 8 \n main;c 4 \n main;@0x1f 16")];
    let profile = export(&uploads, &Filter::default(), None);
    assert_eq!(samples(&profile), ["main:7;0x1f 16", "main:7;a:7+b:7 1", "main:7;c:7 6", "start:7;c:7 8"]);
    assert_eq!(profile.symbols.locations.len(), 5);
    assert_eq!(profile.symbols.functions.len(), 1 + 5, "the unknown function, and main, a, b, c, start");
}

#[test]
fn locations_that_differ_stay_apart() {
    let mut other_line = upload("main;c 4");
    other_line.symbols.lines[1].line = 8;
    let profile = export(&[upload("main;c 2"), other_line], &Filter::default(), None);
    assert_eq!(samples(&profile), ["main:7;c:7 2", "main:8;c:7 4"]);
}

#[test]
fn mappings_and_function_details_stay() {
    let mut upload = upload("main 2");
    let [filename, build_id, source] = ["/bin/shop", "abcd", "main.go"].map(|text| upload.symbols.strings.push(text));
    let mapping = Mapping { memory_start: 0x1000, filename, build_id, has_functions: true, ..Mapping::default() };
    let mapping = upload.symbols.push_mapping(mapping);
    upload.symbols.locations[0].mapping = mapping;
    upload.symbols.locations[0].address = 0x1234;
    upload.symbols.functions[1].filename = source;
    upload.symbols.functions[1].start_line = 3;
    let profile = export(&[upload.clone(), upload], &Filter::default(), None);
    let [location] = profile.symbols.locations[..] else { panic!("one location") };
    let mapping = profile.symbols.mappings[location.mapping.index()];
    assert_eq!((profile.text(mapping.filename), profile.text(mapping.build_id)), ("/bin/shop", "abcd"));
    assert_eq!((location.address, mapping.memory_start, mapping.has_functions), (0x1234, 0x1000, true));
    let function = profile.symbols.functions[1];
    assert_eq!((profile.text(function.filename), function.start_line), ("main.go", 3));
    assert_eq!(profile.symbols.mappings.len(), 2);
}

#[test]
fn the_header_follows_the_profile_type() {
    let profile = export(&[upload("main 2")], &Filter::default(), None);
    let kind = profile.sample_types[0];
    assert_eq!((profile.text(kind.kind), profile.text(kind.unit)), ("cpu", "nanoseconds"));
    assert_eq!((profile.text(profile.period_type.kind), profile.period), ("cpu", 1_000_000_000));
    assert_eq!((profile.time_ns, profile.duration_ns), (12_000, 10_000));
    assert_eq!(profile.text(profile.default_sample_type), "cpu");

    let period = |id: &str| {
        let everything = selection(&[upload("main 2")]);
        let (filter, control) = (Filter::default(), Control::default());
        let profile = export_pprof(&everything, &filter, &id.parse().unwrap(), None, TimeRange::ALL, &control).unwrap();
        (profile.value.period, profile.value.duration_ns)
    };
    assert_eq!(period("memory:alloc_space:bytes:space:bytes"), (524_288, i64::MAX));
    assert_eq!(period("off_cpu:off_cpu:nanoseconds::"), (1, i64::MAX));
}

#[test]
fn no_data_is_an_empty_profile() {
    assert_eq!(export(&[], &Filter::default(), None), Profile::default());
    let elsewhere = Filter { call_site: vec!["elsewhere".into()], ..Filter::default() };
    assert_eq!(export(&[upload("main 2")], &elsewhere, None), Profile::default());
}

#[test]
fn filters_apply() {
    let filter = Filter { call_site: vec!["main".into(), "a".into()], ..Filter::default() };
    assert_eq!(
        samples(&export(&[upload("main;a 1 \n main;a;b 2 \n main;c 4")], &filter, None)),
        ["main:7;a:7 1", "main:7;a:7;b:7 2"]
    );
}

#[test]
fn go_pgo_keeps_the_leaf_side() {
    let stacks = [upload("main;a;b;c 1 \n start;a;b;c 2 \n c 4")];
    let keep = |keep_locations| Some(GoPgo { keep_locations, aggregate_callees: false });
    assert_eq!(samples(&export(&stacks, &Filter::default(), keep(2))), ["b:7;c:7 3", "c:7 4"]);
    assert_eq!(samples(&export(&stacks, &Filter::default(), keep(0))).len(), 3);
}

#[test]
fn go_pgo_merges_lines_of_the_leaf() {
    let mut other_line = upload("main;a 4");
    other_line.symbols.lines[0].line = 9; // of the leaf, which is pushed first
    let stacks = [upload("main;a 1 \n main;@0x5 2"), other_line];
    let go_pgo = |aggregate_callees| Some(GoPgo { keep_locations: 5, aggregate_callees });
    assert_eq!(
        samples(&export(&stacks, &Filter::default(), go_pgo(false))),
        ["main:7;0x5 2", "main:7;a:7 1", "main:7;a:9 4"]
    );
    assert_eq!(samples(&export(&stacks, &Filter::default(), go_pgo(true))), ["main:7;0x5 2", "main:7;a:0 5"]);
}
