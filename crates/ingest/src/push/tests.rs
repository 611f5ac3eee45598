use argand_model::ValueType;

use super::*;
use crate::{RelabelRule, Relabeling};

const NOW: i64 = 1_700_000_000_000_000_000;

fn raw(time_ns: i64) -> Vec<u8> {
    let mut profile = Profile { time_ns, ..Profile::default() };
    let strings = &mut profile.symbols.strings;
    profile.sample_types = vec![ValueType { kind: strings.push("cpu"), unit: strings.push("nanoseconds") }];
    let main = profile.symbols.push_named_location("main.(*List[int]).Push");
    profile.samples.push([main], &[10], &[]);
    pprof::encode(&profile)
}

fn run(labels: &[(&str, &str)], raw: &[u8], id: &str, rules: &[RelabelRule]) -> Result<Option<Upload>, Rejection> {
    let pairs: Vec<_> = labels.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect();
    let limits = IngestLimits::default();
    let relabel = Relabeling { series: rules.to_vec(), ..Relabeling::default() };
    let mut next_id = || 1;
    push(&pairs, raw, id, &mut Context { limits: &limits, relabel: &relabel, now_ns: NOW, next_id: &mut next_id })
}

#[test]
fn a_service_without_a_name_gets_one() {
    let upload = run(&[("__name__", "process_cpu")], &raw(NOW), "", &[]).unwrap().unwrap();
    assert_eq!((upload.service_name(), upload.idempotency_key), ("unknown_service", None));
}

#[test]
fn times_outside_the_window_are_refused() {
    let reason = |time_ns| run(&[("__name__", "x")], &raw(time_ns), "", &[]).map_err(|e| e.reason);
    const HOUR: i64 = 3_600_000_000_000;
    assert_eq!(reason(NOW - HOUR - 1_000_000_000), Err(Reason::NotInIngestionWindow));
    assert_eq!(reason(NOW + HOUR), Err(Reason::NotInIngestionWindow));
    assert!(reason(NOW - HOUR + 1_000_000_000).is_ok());
    assert_eq!(run(&[("__name__", "x")], &raw(0), "", &[]).unwrap().unwrap().series[0].time_ns, NOW);
}

#[test]
fn the_senders_id_makes_a_retry_recognisable() {
    let key = |id: &str, service: &str| {
        run(&[("__name__", "x"), ("service_name", service)], &raw(NOW), id, &[]).unwrap().unwrap().idempotency_key
    };
    assert_eq!(key("a", "shop"), key("a", "shop"));
    assert_ne!(key("a", "shop"), key("b", "shop"));
    assert_ne!(key("a", "shop"), key("a", "cart"));
}

#[test]
fn relabel_rules_see_the_series_and_may_drop_it() {
    use crate::RelabelAction::{Drop, LabelDrop};
    let drop = RelabelRule::new(Drop).sources(["env"]).matching("test").unwrap();
    let labels = [("__name__", "x"), ("env", "test"), ("pod", "1")];
    assert_eq!(run(&labels, &raw(NOW), "", &[drop]).unwrap_err().reason, Reason::DroppedByRelabelRules);
    let strip = RelabelRule::new(LabelDrop).matching("pod|env").unwrap();
    let upload = run(&labels, &raw(NOW), "", &[strip]).unwrap().unwrap();
    assert_eq!(upload.series[0].labels.get("pod"), None);
}

#[test]
fn rules_may_drop_one_sample_type_or_all_of_them() {
    use crate::RelabelAction::{Drop, Replace};
    let mut profile = Profile { time_ns: NOW, ..Profile::default() };
    let strings = &mut profile.symbols.strings;
    let bytes = strings.push("bytes");
    profile.sample_types =
        ["alloc_space", "inuse_space"].map(|kind| ValueType { kind: strings.push(kind), unit: bytes }).into();
    let main = profile.symbols.push_named_location("main");
    profile.samples.push([main], &[10, 20], &[]);
    let pairs = [("__name__".to_owned(), "memory".to_owned())];
    let types_left = |sample_types: Vec<RelabelRule>| {
        let (limits, relabel) = (IngestLimits::default(), Relabeling { sample_types, ..Relabeling::default() });
        let mut context = Context { limits: &limits, relabel: &relabel, now_ns: NOW, next_id: &mut || 1 };
        let upload = push(&pairs, &pprof::encode(&profile), "", &mut context).map_err(|rejection| rejection.reason)?;
        let series = upload.map(|upload| upload.series).unwrap_or_default();
        Ok(series.iter().map(|s| s.labels.get("__profile_type__").unwrap_or("").to_owned()).collect::<Vec<_>>())
    };
    let drop = |pattern| RelabelRule::new(Drop).sources(["__type__", "__unit__"]).matching(pattern).unwrap();
    assert_eq!(types_left(vec![drop("alloc_.*;bytes")]), Ok(vec!["memory:inuse_space:bytes::".to_owned()]));
    assert_eq!(types_left(vec![drop(".*;bytes")]), Err(Reason::DroppedByRelabelRules));
    let nameless = RelabelRule::new(Replace).target("__name__").replacement("a:b").check().unwrap();
    assert_eq!(types_left(vec![nameless]), Err(Reason::InvalidLabels));
}

#[test]
fn relabel_rules_run_once() {
    use crate::RelabelAction::Replace;
    let longer = RelabelRule::new(Replace).sources(["env"]).target("env").replacement("$1-x").check().unwrap();
    let upload = run(&[("__name__", "x"), ("env", "test")], &raw(NOW), "", &[longer]).unwrap().unwrap();
    assert_eq!(upload.series[0].labels.get("env"), Some("test-x"));
}

#[test]
fn as_many_labels_as_the_limit_are_taken() {
    let names: Vec<String> = (0..28).map(|i| format!("l{i}")).collect();
    let mut labels = vec![("__name__", "x"), ("service_name", "shop")];
    labels.extend(names.iter().map(|name| (name.as_str(), "v")));
    assert!(run(&labels, &raw(NOW), "", &[]).is_ok());
}

#[test]
fn go_names_lose_their_type_arguments() {
    let name_for = |spy| {
        let upload = run(&[("__name__", "x"), ("pyroscope_spy", spy)], &raw(NOW), "", &[]).unwrap().unwrap();
        upload.symbols.function_name(argand_model::FunctionId(1)).to_owned()
    };
    assert_eq!(name_for("gospy"), "main.(*List).Push");
    assert_eq!(name_for("javaspy"), "main.(*List[int]).Push");
}

#[test]
fn what_cannot_be_decoded_says_what_it_is() {
    let reason = |bytes: &[u8]| run(&[("__name__", "x")], bytes, "", &[]).unwrap_err().reason;
    assert_eq!(reason(b"\x1f\x8bgarbage"), Reason::MalformedProfile);
    assert_eq!(reason(b"no protobuf"), Reason::MalformedProfile);
    assert_eq!(reason(&vec![0x12; 5 << 20]), Reason::ProfileSizeLimit);
    let empty_samples = [0x12, 0x00].repeat(20_000);
    assert_eq!(reason(&empty_samples), Reason::SamplesLimit);
}
