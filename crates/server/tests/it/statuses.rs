//! The status matrix that clients of the reference server rely on.

use http::Method;
use serde_json::{Value, json};

use crate::harness::*;

const METHODS: [&str; 12] = [
    "ProfileTypes",
    "LabelNames",
    "LabelValues",
    "Series",
    "SelectMergeStacktraces",
    "SelectMergeSpanProfile",
    "SelectMergeProfile",
    "SelectSeries",
    "SelectHeatmap",
    "Diff",
    "GetProfileStats",
    "AnalyzeQuery",
];

fn path(method: &str) -> String {
    format!("/querier.v1.QuerierService/{method}")
}

/// A request that every check accepts.
fn good(method: &str) -> Value {
    let merge = json!({"profile_typeID": CPU, "label_selector": "{}", "start": NOW_MS - 1000, "end": NOW_MS});
    match method {
        "ProfileTypes" | "LabelNames" | "Series" => json!({"start": NOW_MS - 1000, "end": NOW_MS}),
        "LabelValues" => json!({"name": "a", "start": NOW_MS - 1000, "end": NOW_MS}),
        "Diff" => json!({"left": merge, "right": merge}),
        "SelectSeries" => with(merge, "step", json!(15)),
        "SelectHeatmap" => with(with(merge, "step", json!(15)), "queryType", json!("HEATMAP_QUERY_TYPE_INDIVIDUAL")),
        "GetProfileStats" | "AnalyzeQuery" => json!({}),
        _ => merge,
    }
}

fn with(mut request: Value, field: &str, value: Value) -> Value {
    request[field] = value;
    request
}

async fn check(server: &TestServer, method: &str, body: Value, status: u16) {
    let answer = server.post(&path(method), "application/json", body.to_string()).await;
    assert_eq!(answer.status, status, "{method} {body}: {}", answer.text());
    if status == 400 {
        assert_eq!(answer.code(), "invalid_argument");
    }
}

#[tokio::test]
async fn good_requests() {
    let server = start().await;
    for method in METHODS {
        check(&server, method, good(method), 200).await;
    }
}

#[tokio::test]
async fn transport() {
    let server = start().await;
    for path in METHODS
        .map(path)
        .into_iter()
        .chain(["/push.v1.PusherService/Push".into(), "/settings.v1.SettingsService/Get".into()])
    {
        for method in [Method::GET, Method::PUT, Method::DELETE] {
            let answer =
                server.send(request(method.clone(), &path, &[("content-type", "application/json")], "{}")).await;
            assert_eq!(answer.status, 405, "{method} {path}");
        }
        assert_eq!(server.post(&path, "text/plain", "{}").await.status, 415, "{path}");
        assert_eq!(server.post(&path, "application/json", "").await.code(), "invalid_argument", "{path}");
        assert_eq!(server.post(&path, "application/json", "{\"a\":").await.code(), "invalid_argument", "{path}");
    }
}

#[tokio::test]
async fn time_ranges() {
    let server = start_with_policy(|_, policy| policy.limits.query.max_length_ms = 24 * 3_600_000).await;
    for method in [
        "LabelNames",
        "LabelValues",
        "Series",
        "SelectMergeStacktraces",
        "SelectMergeProfile",
        "SelectSeries",
        "SelectHeatmap",
    ] {
        check(&server, method, with(with(good(method), "start", json!(0)), "end", json!(0)), 400).await;
        check(&server, method, with(good(method), "start", json!(NOW_MS + 1)), 400).await;
        check(&server, method, with(good(method), "start", json!("soon")), 400).await;
        check(&server, method, with(good(method), "start", json!((NOW_MS - 1000).to_string())), 200).await;
        check(&server, method, with(good(method), "start", json!(NOW_MS - 25 * 3_600_000)), 400).await;
        check(&server, method, with(with(good(method), "start", json!(1000)), "end", json!(4000)), 200).await;
    }
    check(&server, "ProfileTypes", json!({}), 200).await;
    check(&server, "ProfileTypes", json!({"start": -5, "end": -3}), 200).await;
    check(&server, "ProfileTypes", json!({"start": 1000, "end": 4000}), 200).await;
    check(&server, "ProfileTypes", json!({"start": 5, "end": 3}), 400).await;
    check(&server, "ProfileTypes", json!({"start": "soon"}), 400).await;
}

#[tokio::test]
async fn selectors_and_types() {
    let server = start().await;
    for method in
        ["SelectMergeStacktraces", "SelectMergeSpanProfile", "SelectMergeProfile", "SelectSeries", "SelectHeatmap"]
    {
        for selector in ["", "{", "{a=}", "{a=~\"(\"}"] {
            check(&server, method, with(good(method), "label_selector", json!(selector)), 400).await;
        }
        for profile_type in ["", "process_cpu", "a:b:c:d"] {
            check(&server, method, with(good(method), "profile_typeID", json!(profile_type)), 400).await;
        }
        check(&server, method, with(good(method), "profile_typeID", json!("no:such:type::")), 200).await;
        check(&server, method, with(good(method), "label_selector", json!("{no=\"such\"}")), 200).await;
    }
    for method in ["LabelNames", "LabelValues", "Series"] {
        check(&server, method, with(good(method), "matchers", json!(["{a="])), 400).await;
        check(&server, method, with(good(method), "matchers", json!(["{a=\"1\"}", "{}"])), 200).await;
    }
    check(&server, "LabelValues", with(good("LabelValues"), "name", json!("")), 400).await;
}

#[tokio::test]
async fn sizes_and_steps() {
    let server = start().await;
    for method in ["SelectMergeStacktraces", "SelectMergeSpanProfile"] {
        check(&server, method, with(good(method), "maxNodes", json!(-1)), 400).await;
        check(&server, method, with(good(method), "maxNodes", json!(1_048_577)), 400).await;
        check(&server, method, with(good(method), "maxNodes", json!("1048576")), 200).await;
    }
    for method in ["SelectSeries", "SelectHeatmap"] {
        check(&server, method, with(good(method), "step", json!(0)), 400).await;
        check(&server, method, with(good(method), "step", json!(0.0009)), 400).await;
        check(&server, method, with(good(method), "step", json!(0.001)), 200).await;
        check(&server, method, with(good(method), "limit", json!(-1)), 400).await;
    }
    check(&server, "SelectHeatmap", with(good("SelectHeatmap"), "start", json!(NOW_MS)), 400).await;
    check(&server, "SelectHeatmap", with(good("SelectHeatmap"), "queryType", json!(0)), 400).await;
    check(&server, "SelectHeatmap", with(good("SelectHeatmap"), "exemplarType", json!("EXEMPLAR_TYPE_SPAN")), 400)
        .await;
}

#[tokio::test]
async fn ids_of_spans_traces_and_profiles() {
    let server = start().await;
    let merge = good("SelectMergeStacktraces");
    for (field, bad, fine) in [
        ("spanSelector", "${__span.tags}", "00f067aa0ba902b7"),
        ("traceIdSelector", "00f067aa0ba902b7", "4bf92f3577b34da6a3ce929d0e0e4736"),
        ("profileIdSelector", "nope", "7c9e6679-7425-40de-944b-e07fc1f90ae7"),
    ] {
        check(&server, "SelectMergeStacktraces", with(merge.clone(), field, json!([bad])), 400).await;
        check(&server, "SelectMergeStacktraces", with(merge.clone(), field, json!([fine])), 200).await;
    }
    let both = with(merge, "spanSelector", json!(["00f067aa0ba902b7"]));
    let both = with(both, "traceIdSelector", json!(["4bf92f3577b34da6a3ce929d0e0e4736"]));
    check(&server, "SelectMergeStacktraces", both, 400).await;
}

#[tokio::test]
async fn differences_need_two_sides() {
    let server = start().await;
    for missing in ["left", "right"] {
        let mut request = good("Diff");
        request.as_object_mut().unwrap().remove(missing);
        check(&server, "Diff", request, 400).await;
    }
}

#[tokio::test]
async fn newer_front_ends() {
    let server = start().await;
    let merge = good("SelectMergeStacktraces");
    check(&server, "SelectMergeStacktraces", with(merge.clone(), "format", json!("PROFILE_FORMAT_SANDWICH")), 200)
        .await;
    check(&server, "SelectMergeStacktraces", with(merge.clone(), "sandwichFunction", json!("f")), 200).await;
    check(&server, "SelectMergeStacktraces", with(merge.clone(), "format", json!(99)), 501).await;
    check(&server, "SelectMergeStacktraces", with(merge, "async", json!({"type": "ASYNC_QUERY_TYPE_FORCE"})), 501)
        .await;
    let spans = with(good("SelectSeries"), "exemplarType", json!("EXEMPLAR_TYPE_SPAN"));
    check(&server, "SelectSeries", spans, 501).await;
    for service in ["settings.v1.RecordingRulesService/ListRecordingRules", "vcs.v1.VCSService/GithubApp"] {
        assert_eq!(server.rpc(service, json!({})).await.status, 501);
    }
    assert_eq!(server.rpc("no.such.Service/Call", json!({})).await.status, 404);
    assert_eq!(server.rpc("querier.v1.QuerierService/NoSuch", json!({})).await.status, 404);
}

#[tokio::test]
async fn render() {
    let server = start().await;
    let good = format!("/pyroscope/render?query={CPU}%7B%7D&from=now-1h");
    for (path, status) in [
        (good.clone(), 200),
        (format!("{good}&aggregation=median&maxNodes=many&format=xml"), 200),
        (format!("{good}&until=0"), 400),
        (format!("{good}&maxNodes=-1"), 400),
        (format!("/pyroscope/render?query={CPU}%7B%7D&from=0"), 400),
        ("/pyroscope/render?from=now-1h".into(), 400),
        ("/pyroscope/render?from=now-1h&query=%7Ba%3D%22b%22%7D".into(), 400),
        (format!("{}&from=later", good.replace("&from=now-1h", "")), 400),
        ("/pyroscope/label-values".into(), 400),
        ("/pyroscope/label-values?label=__name__".into(), 200),
        (format!("/pyroscope/render-diff?leftQuery={CPU}%7B%7D&leftFrom=now-1h"), 400),
        (
            format!(
                "/pyroscope/render-diff?leftQuery={CPU}%7B%7D&rightQuery=a:b:c::%7B%7D&leftFrom=now-1h&rightFrom=now-1h"
            ),
            400,
        ),
        (
            format!(
                "/pyroscope/render-diff?leftQuery={CPU}%7B%7D&rightQuery={CPU}%7B%7D&leftFrom=now-1h&rightFrom=now-1h"
            ),
            200,
        ),
    ] {
        let answer = server.get(&path).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text());
    }
    for path in ["/pyroscope/render", "/pyroscope/render-diff", "/pyroscope/label-values"] {
        assert_eq!(server.post(path, "", "").await.status, 405, "{path}");
    }
}

#[tokio::test]
async fn accept_headers_must_parse() {
    let server = start().await;
    let body = good("LabelNames").to_string();
    let headers = [("content-type", "application/json"), ("accept", "*/*; =")];
    assert_eq!(server.send(request(Method::POST, &path("LabelNames"), &headers, body)).await.status, 400);
}
