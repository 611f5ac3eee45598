//! `/metrics` of a running server, as Prometheus reads it.

use std::collections::BTreeMap;

use crate::http;
use crate::proto::{Profile, PushSeries, push_request};
use crate::server::Server;

/// One line `name{labels} value`.
struct Point {
    name: String,
    labels: String,
    value: f64,
}

/// Families with their types, and all points. Panics where the text breaks a rule of OpenMetrics.
fn parse(text: &str) -> (BTreeMap<String, String>, Vec<Point>) {
    assert!(text.ends_with("# EOF\n"), "the end is marked");
    let (mut types, mut points) = (BTreeMap::new(), Vec::new());
    for line in text.lines().filter(|line| *line != "# EOF") {
        if let Some(declared) = line.strip_prefix("# TYPE ") {
            let (name, kind) = declared.split_once(' ').expect("a type has a name");
            assert_eq!(types.insert(name.to_owned(), kind.to_owned()), None, "{name} is declared once");
        } else if !line.starts_with('#') {
            let (series, value) = line.rsplit_once(' ').expect("a point has a value");
            let (name, labels) = series.split_once('{').unwrap_or((series, ""));
            let value = value.parse().unwrap_or_else(|_| panic!("{line}: no number"));
            points.push(Point { name: name.to_owned(), labels: labels.to_owned(), value });
        }
    }
    for Point { name, .. } in &points {
        let suffixes = ["", "_total", "_bucket", "_sum", "_count", "_info"];
        let family = suffixes.iter().find_map(|suffix| types.get_key_value(name.strip_suffix(suffix)?));
        let (family, kind) = family.unwrap_or_else(|| panic!("{name} belongs to no declared family"));
        let suffix = &name[family.len()..];
        let allowed: &[&str] = match kind.as_str() {
            "gauge" => &[""],
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            "info" => &["_info"],
            other => panic!("{family} has the unknown type {other}"),
        };
        assert!(allowed.contains(&suffix), "{name} is no point of a {kind}");
    }
    (types, points)
}

#[test]
fn metrics_are_open_metrics_and_cover_the_process_and_the_store() {
    let server = Server::start();
    let push = push_request(&[PushSeries::cpu("shop", Profile::cpu_of(&["work", "main"], 10).encode())]);
    let reply = http::post(&server.url("/push.v1.PusherService/Push"), "application/proto", &push);
    assert_eq!(reply.expect("an answer comes").status, 200);
    let reply = http::get(&server.url("/metrics")).expect("metrics are there");
    assert!(reply.content_type().starts_with("application/openmetrics-text"), "{}", reply.content_type());
    let (types, points) = parse(&reply.text());
    for (family, kind) in [
        ("argand_build", "info"),
        ("argand_request_duration_seconds", "histogram"),
        ("argand_store_log_sync_seconds", "histogram"),
        ("argand_store_flush_seconds", "histogram"),
        ("argand_store_committed_profiles", "counter"),
        ("process_cpu_seconds", "counter"),
        ("process_resident_memory_bytes", "gauge"),
        ("process_open_fds", "gauge"),
        ("process_start_time_seconds", "gauge"),
    ] {
        assert_eq!(types.get(family).map(String::as_str), Some(kind), "{family}");
    }
    let of = |name: &str| points.iter().filter(|point| point.name == name).collect::<Vec<_>>();
    let syncs = of("argand_store_log_sync_seconds_bucket");
    assert!(syncs.is_sorted_by(|one, next| one.value <= next.value), "buckets are cumulative");
    let last = syncs.last().expect("there are buckets");
    assert!(last.labels.contains("+Inf") && last.value >= 1.0, "a push is synced: {} {}", last.labels, last.value);
    assert!(of("process_resident_memory_bytes")[0].value > 1e6);
    assert!(of("process_start_time_seconds")[0].value > 1.6e9);
}

#[test]
fn prometheus_may_ask_for_its_own_format() {
    let server = Server::start();
    let accept = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6,*/*";
    let reply = http::send("GET", &server.url("/metrics"), &[("accept", accept)], b"").expect("metrics are there");
    assert!(reply.content_type().starts_with("application/vnd.google.protobuf"), "{}", reply.content_type());
    assert!(!reply.body.is_empty());
}
