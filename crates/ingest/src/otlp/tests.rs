use argand_wire::proto::{put_bytes, put_uint};

use super::*;
use crate::{IngestLimits, RelabelAction, RelabelRule, Relabeling};

const NOW: i64 = 1_700_000_000_000_000_000;
const STRINGS: [&str; 9] = ["", "samples", "count", "cpu", "nanoseconds", "main", "off_cpu", "events", "thread.name"];

fn uint(field: u32, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_uint(&mut out, field, value);
    out
}

fn message(field: u32, parts: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, field, &parts.concat());
    out
}

fn text(field: u32, text: &str) -> Vec<u8> {
    message(field, &[text.as_bytes().to_vec()])
}

fn attribute(key: &str, value: &str) -> Vec<u8> {
    message(1, &[text(1, key), message(2, &[text(1, value)])])
}

/// A profile of one sample of `main`, by string indexes of its types, taken now.
fn profile(sample_type: [u64; 2], period_type: [u64; 2], value: u64) -> Vec<u8> {
    let time = [vec![3 << 3 | 1], NOW.to_le_bytes().to_vec()].concat();
    let types = |field, [kind, unit]: [u64; 2]| message(field, &[uint(1, kind), uint(2, unit)]);
    let sample = message(2, &[uint(1, 1), uint(2, 1), uint(4, value)]);
    message(2, &[types(1, sample_type), types(5, period_type), uint(6, 20), time, sample])
}

fn request(resource: &[Vec<u8>], profiles: &[Vec<u8>]) -> Vec<u8> {
    let mut tables: Vec<Vec<u8>> = STRINGS.iter().map(|string| text(5, string)).collect();
    tables.extend([
        message(3, &[]),
        message(3, &[uint(1, 5)]),
        message(2, &[]),
        message(2, &[message(3, &[uint(1, 1)])]),
        message(7, &[]),
        message(7, &[uint(1, 1)]),
        message(6, &[]),
        message(6, &[uint(1, 8), message(2, &[text(1, "worker")])]),
    ]);
    [message(1, &[message(1, resource), message(2, profiles)]), message(2, &tables)].concat()
}

const CPU: [[u64; 2]; 2] = [[1, 2], [3, 4]];

fn run(bytes: &[u8], rules: Vec<RelabelRule>) -> Result<Exported, Rejection> {
    let (limits, relabel) = (IngestLimits::default(), Relabeling { series: rules, ..Relabeling::default() });
    export(bytes, &mut Context { limits: &limits, relabel: &relabel, now_ns: NOW, next_id: &mut || 1 })
}

fn only(bytes: &[u8]) -> Upload {
    let exported = run(bytes, Vec::new()).unwrap();
    assert_eq!((exported.uploads.len(), exported.rejections.len()), (1, 0), "{:?}", exported.rejections);
    exported.uploads.into_iter().next().unwrap()
}

#[test]
fn cpu_samples_become_time() {
    let upload = only(&request(&[], &[profile(CPU[0], CPU[1], 3)]));
    let series = &upload.series[0];
    assert_eq!(series.labels.get("__profile_type__"), Some("process_cpu:cpu:nanoseconds:cpu:nanoseconds"));
    assert_eq!((series.total(), series.time_ns, series.duration_ns), (60, NOW, DEFAULT_DURATION_NS));
    assert_eq!(series.labels.get("thread.name"), Some("worker"), "a sample's texts are labels");
    assert_eq!(series.labels.get("__otel__"), Some("true"));
}

#[test]
fn other_profiles_keep_their_types() {
    let type_of = |bytes: &[u8]| only(bytes).series[0].labels.get("__profile_type__").unwrap().to_owned();
    assert_eq!(type_of(&request(&[], &[profile([6, 4], [0, 0], 1)])), "off_cpu:off_cpu:nanoseconds::");
    assert_eq!(type_of(&request(&[], &[profile([7, 2], [5, 2], 1)])), "main:events:count:main:count");
}

#[test]
fn services_are_named_by_what_there_is() {
    let service =
        |resource: &[Vec<u8>]| only(&request(resource, &[profile(CPU[0], CPU[1], 1)])).service_name().to_owned();
    let executable = attribute("process.executable.name", "shopd");
    assert_eq!(service(&[]), "unknown_service");
    assert_eq!(service(std::slice::from_ref(&executable)), "unknown_service:shopd");
    assert_eq!(service(&[executable, attribute("service.name", "shop")]), "shop");
    let upload = only(&request(&[attribute("a", "1"), attribute("a", "2")], &[profile(CPU[0], CPU[1], 1)]));
    assert_eq!(upload.series[0].labels.get("a"), Some("1"), "the first counts");
}

#[test]
fn a_profile_without_a_name_leaves_the_others() {
    let exported = run(&request(&[], &[profile([7, 2], [0, 0], 1), profile(CPU[0], CPU[1], 1)]), Vec::new()).unwrap();
    assert_eq!(exported.uploads.len(), 1);
    let [rejection] = exported.rejections.as_slice() else { panic!("{:?}", exported.rejections) };
    assert_eq!(rejection.reason, Reason::MalformedProfile);
    assert!(rejection.message.contains("events") && rejection.message.contains("period type"), "{rejection}");
}

#[test]
fn rules_see_the_labels_and_may_drop_a_profile() {
    let drop = RelabelRule::new(RelabelAction::Drop).sources(["service_name"]).matching("shop").unwrap();
    let bytes = request(&[attribute("service.name", "shop")], &[profile(CPU[0], CPU[1], 1)]);
    let exported = run(&bytes, vec![drop]).unwrap();
    assert_eq!(exported.uploads, []);
    assert_eq!(exported.rejections[0].reason, Reason::DroppedByRelabelRules);
}

#[test]
fn a_repeated_request_is_recognised() {
    let bytes = request(&[], &[profile(CPU[0], CPU[1], 1), profile(CPU[0], CPU[1], 1)]);
    let keys = |bytes: &[u8]| -> Vec<_> {
        run(bytes, Vec::new()).unwrap().uploads.iter().map(|upload| upload.idempotency_key).collect()
    };
    let first = keys(&bytes);
    assert_eq!(first, keys(&bytes));
    assert_ne!(first[0], first[1]);
    assert_ne!(first[0], keys(&request(&[], &[profile(CPU[0], CPU[1], 2)]))[0]);
}

#[test]
fn what_is_no_request_is_refused() {
    let error = run(b"\xff", Vec::new()).unwrap_err();
    assert_eq!(error.reason, Reason::MalformedProfile);
    assert!(error.message.contains("OTLP"), "{error}");
}
