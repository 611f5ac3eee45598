use argand_wire::pprof;

use super::*;
use crate::{IngestLimits, RelabelAction, RelabelRule, Relabeling};

const NOW: i64 = 1_700_000_000_000_000_000;

fn params(query: &[(&str, &str)], content_type: &str) -> IngestParams {
    let pairs: Vec<_> = query.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
    IngestParams::parse(&pairs, content_type, NOW).unwrap()
}

fn run(params: &IngestParams, body: LegacyBody<'_>) -> Result<Vec<Upload>, Rejection> {
    let limits = IngestLimits::default();
    let mut next_id = || 1;
    let mut context = Context { limits: &limits, relabel: &Relabeling::default(), now_ns: NOW, next_id: &mut next_id };
    ingest(params, body, &mut context).map(|ingested| ingested.uploads)
}

fn pprof_of(types: &[(&str, &str)], values: &[i64]) -> Profile {
    let mut profile = Profile { time_ns: NOW, ..Profile::default() };
    let strings = &mut profile.symbols.strings;
    profile.sample_types =
        types.iter().map(|(k, u)| ValueType { kind: strings.push(k), unit: strings.push(u) }).collect();
    let main = profile.symbols.push_named_location("main");
    profile.samples.push([main], values, &[]);
    profile
}

fn types_of(uploads: &[Upload]) -> Vec<&str> {
    uploads.iter().flat_map(|u| &u.series).map(|s| s.labels.get("__profile_type__").unwrap()).collect()
}

#[test]
fn folded_text_is_scaled_to_time() {
    let params =
        params(&[("name", "shop.cpu{env=prod}"), ("sampleRate", "50"), ("from", "1699999990"), ("spyName", "rb")], "");
    let uploads = run(&params, LegacyBody::Whole(b"main;parse 7\nmain;render 2\n")).unwrap();
    let part = &uploads[0].series[0];
    assert_eq!(part.value, [140_000_000, 40_000_000]);
    assert_eq!((part.time_ns, part.duration_ns), (NOW - 10_000_000_000, 10_000_000_000));
    for (name, value) in
        [("service_name", "shop"), ("env", "prod"), ("pyroscope_spy", "rb"), ("__name__", "process_cpu")]
    {
        assert_eq!(part.labels.get(name), Some(value));
    }
}

#[test]
fn a_service_tag_moves_the_app_aside() {
    let params = params(&[("name", "shop{service_name=cart,profile_id=abc}")], "");
    let uploads = run(&params, LegacyBody::Whole(b"main 1\n")).unwrap();
    let labels = &uploads[0].series[0].labels;
    assert_eq!(
        (labels.get("service_name"), labels.get("app_name"), labels.get("profile_id")),
        (Some("cart"), Some("shop"), None)
    );
}

#[test]
fn lines_count_one_each() {
    let params = params(&[("name", "shop.inuse_objects"), ("format", "lines")], "");
    let uploads = run(&params, LegacyBody::Whole(b"main;a\nmain;a\nmain;b\n")).unwrap();
    assert_eq!(uploads[0].series[0].value, [2, 1]);
    assert_eq!(types_of(&uploads), ["memory:inuse_objects:count::"]);
}

#[test]
fn unknown_suffixes_and_bad_counts_are_refused() {
    assert!(
        run(&params(&[("name", "shop.nonsense")], ""), LegacyBody::Whole(b"main 1\n"))
            .unwrap_err()
            .message
            .contains("nonsense")
    );
    assert_eq!(
        run(&params(&[("name", "shop")], ""), LegacyBody::Whole(b"main x\n")).unwrap_err().reason,
        Reason::MalformedProfile
    );
}

#[test]
fn the_metric_follows_display_names() {
    let form = params(&[("name", "shop")], "multipart/form-data; boundary=x");
    let upload = |types: &[(&str, &str)], config: Option<&str>| {
        let raw = pprof::encode(&pprof_of(types, &vec![1; types.len()]));
        let body =
            LegacyBody::Pprof { profile: &raw, sample_type_config: config.map(str::as_bytes), has_previous: false };
        run(&form, body).map(|uploads| types_of(&uploads).join(" "))
    };
    let contention = [("contentions", "count"), ("delay", "nanoseconds")];
    let block = r#"{"contentions":{"display-name":"block_count","units":"lock_samples"},"delay":{"display-name":"block_duration"}}"#;
    assert_eq!(upload(&contention, Some(block)).unwrap(), "block:contentions:count:: block:delay:nanoseconds::");
    assert_eq!(upload(&contention, None).unwrap(), "mutex:contentions:count:: mutex:delay:nanoseconds::");
    assert_eq!(
        upload(&[("samples", "count"), ("cpu", "nanoseconds")], None).unwrap(),
        "process_cpu:samples:count:: process_cpu:cpu:nanoseconds::"
    );
    assert_eq!(upload(&[("inuse_space", "bytes")], None).unwrap(), "memory:inuse_space:bytes::");
    assert_eq!(
        upload(&[("sample", "count"), ("wall", "microseconds")], None).unwrap(),
        "wall:sample:count:: wall:wall:microseconds::"
    );
    assert_eq!(upload(&[("made_up", "x")], None).unwrap(), "made_up:made_up:x::");
    assert!(upload(&contention, Some("{")).unwrap_err().message.contains("sample_type_config"));
}

#[test]
fn times_in_1970_are_the_windows() {
    let mut profile = pprof_of(&[("cpu", "nanoseconds")], &[1]);
    profile.time_ns = NOW / 1000; // microseconds
    let raw = pprof::encode_gzip(&profile);
    let params = params(&[("name", "shop"), ("format", "pprof"), ("from", "1699999980")], "");
    let uploads = run(&params, LegacyBody::Whole(&raw)).unwrap();
    assert_eq!(uploads[0].series[0].time_ns, NOW - 20_000_000_000);
}

#[test]
fn python_functions_are_qualified_by_their_file() {
    let mut profile = pprof_of(&[("cpu", "nanoseconds")], &[1]);
    profile.symbols.functions[1].filename = profile.symbols.strings.push("app.py");
    let raw = pprof::encode(&profile);
    let params = params(&[("name", "shop"), ("format", "pprof"), ("spyName", "pyspy")], "");
    let uploads = run(&params, LegacyBody::Whole(&raw)).unwrap();
    assert_eq!(uploads[0].symbols.function_name(argand_model::FunctionId(1)), "app.py main");
}

#[test]
fn previous_profiles_are_refused_with_advice() {
    let body = LegacyBody::Pprof { profile: b"", sample_type_config: None, has_previous: true };
    let error = run(&params(&[("name", "shop")], "multipart/form-data"), body).unwrap_err();
    assert!(error.message.contains("update"), "{error}");
}

#[test]
fn what_is_no_recording_is_refused() {
    let params = params(&[("name", "shop"), ("format", "jfr")], "");
    let error = run(&params, LegacyBody::Whole(b"\0LR\0")).unwrap_err();
    assert_eq!(error.reason, Reason::MalformedProfile);
    assert!(error.message.contains("JFR"), "{error}");
}

#[test]
fn a_metric_that_rules_drop_leaves_the_others() {
    let part = |name: &str, unit: &str| {
        let (frames, weights) = ("[[0]]", "[3]");
        format!(
            r#"{{"type":"sampled","name":"{name}","unit":"{unit}","startValue":0,"endValue":3,"samples":{frames},"weights":{weights}}}"#
        )
    };
    let file = format!(
        r#"{{"$schema":"https://www.speedscope.app/file-format-schema.json","shared":{{"frames":[{{"name":"main"}}]}},"profiles":[{},{}]}}"#,
        part("time", "seconds"),
        part("space", "bytes")
    );
    let drop_wall = RelabelRule::new(RelabelAction::Drop).sources(["__name__"]).matching("wall").unwrap();
    let (limits, relabel) = (IngestLimits::default(), Relabeling { series: vec![drop_wall], ..Relabeling::default() });
    let mut context = Context { limits: &limits, relabel: &relabel, now_ns: NOW, next_id: &mut || 1 };
    let params = params(&[("name", "shop"), ("format", "speedscope")], "");
    let ingested = ingest(&params, LegacyBody::Whole(file.as_bytes()), &mut context).unwrap();
    let types: Vec<_> = ingested.uploads.iter().map(|u| u.series[0].labels.get("__profile_type__")).collect();
    assert_eq!((types, ingested.dropped), (vec![Some("memory:samples:bytes::")], 1));
}
