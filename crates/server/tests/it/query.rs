use std::sync::atomic::Ordering;

use buffa::Message;
use http::Method;
use serde_json::{Value, json};

use argand_server::proto::google::v1 as pprof;

use crate::harness::*;

/// A server that knows `main;work` 3 and `main;rest` 1 of service `shop`.
async fn shop() -> TestServer {
    let server = start().await;
    assert_eq!(server.push(&shop_push()).await.status, 200);
    server
}

fn merge(more: Value) -> Value {
    let mut request = json!({"profile_typeID": CPU, "label_selector": "{service_name=\"shop\"}", "start": NOW_MS - 60_000, "end": NOW_MS});
    more.as_object().unwrap().iter().for_each(|(k, v)| request[k] = v.clone());
    request
}

fn querier(method: &str) -> String {
    format!("querier.v1.QuerierService/{method}")
}

#[tokio::test]
async fn metadata() {
    let server = shop().await;
    let range = json!({"start": NOW_MS - 60_000, "end": NOW_MS});
    let types = server.rpc_ok(&querier("ProfileTypes"), range.clone()).await;
    assert_eq!(
        types,
        json!({"profileTypes": [{"ID": CPU, "name": "process_cpu", "sampleType": "cpu", "sampleUnit": "nanoseconds", "periodType": "cpu", "periodUnit": "nanoseconds"}]})
    );
    let mut values = range.clone();
    values["name"] = json!("service_name");
    assert_eq!(server.rpc_ok(&querier("LabelValues"), values).await, json!({"names": ["shop"]}));
    let names = server.rpc_ok(&querier("LabelNames"), range.clone()).await;
    assert!(names["names"].as_array().unwrap().contains(&json!("__profile_type__")), "{names}");
    let mut series = range;
    series["labelNames"] = json!(["service_name", "__profile_type__"]);
    assert_eq!(
        server.rpc_ok(&querier("Series"), series).await,
        json!({"labelsSet": [{"labels": [{"name": "__profile_type__", "value": CPU}, {"name": "service_name", "value": "shop"}]}]})
    );
    let reads = || server.storage.reads.load(Ordering::Relaxed);
    let reads_before = reads();
    let stats = server.rpc_ok(&querier("GetProfileStats"), json!({})).await;
    assert_eq!(reads(), reads_before, "it costs no reading of profiles, however many there are");
    let time = NOW_MS.to_string();
    assert_eq!(stats, json!({"dataIngested": true, "oldestProfileTime": time, "newestProfileTime": time}));
}

#[tokio::test]
async fn label_names_beyond_ascii_are_for_those_who_ask() {
    let server = start().await;
    let mut one = series("shop", cpu_profile(&[("main", 1)]));
    one.labels.push(argand_server::proto::types::v1::LabelPair {
        name: "otel.scope.name".into(),
        value: "x".into(),
        ..Default::default()
    });
    assert_eq!(server.push(&push_request(vec![one])).await.status, 200);
    let body = json!({"start": NOW_MS - 60_000, "end": NOW_MS}).to_string();
    for (accept, shown) in [("*/*", false), ("*/*; allow-utf8-labelnames=true", true)] {
        for method in ["LabelNames", "Series"] {
            let headers = [("content-type", "application/json"), ("accept", accept)];
            let answer =
                server.send(request(Method::POST, &format!("/{}", querier(method)), &headers, body.clone())).await;
            assert_eq!(answer.text().contains("otel.scope.name"), shown, "{method} {accept}");
        }
    }
}

#[tokio::test]
async fn flame_graphs() {
    let server = shop().await;
    let graph = server.rpc_ok(&querier("SelectMergeStacktraces"), merge(json!({}))).await;
    assert_eq!(
        graph,
        json!({"flamegraph": {
            "names": ["total", "main", "work", "rest"],
            "levels": [
                {"values": ["0", "4", "0", "0"]},
                {"values": ["0", "4", "0", "1"]},
                {"values": ["0", "1", "1", "3", "0", "3", "3", "2"]},
            ],
            "total": "4",
            "maxSelf": "3",
        }})
    );
    let site = json!({"stackTraceSelector": {"callSite": [{"name": "main"}, {"name": "rest"}]}});
    let narrowed = server.rpc_ok(&querier("SelectMergeStacktraces"), merge(site)).await;
    assert_eq!(narrowed["flamegraph"]["total"], "1");
}

#[tokio::test]
async fn an_empty_answer_still_has_a_root() {
    let server = start().await;
    let empty = json!({"flamegraph": {"names": ["total"], "levels": [{"values": ["0", "0", "0", "0"]}]}});
    assert_eq!(server.rpc_ok(&querier("SelectMergeStacktraces"), merge(json!({}))).await, empty);
    let old = merge(json!({"start": 1000, "end": 2000}));
    assert_eq!(server.rpc_ok(&querier("SelectMergeStacktraces"), old).await, empty);
}

#[tokio::test]
async fn other_forms_of_the_same_merge() {
    let server = shop().await;
    let as_format = async |format: &str| {
        server.rpc_ok(&querier("SelectMergeStacktraces"), merge(json!({ "format": format }))).await
    };
    assert!(as_format("PROFILE_FORMAT_DOT").await["dot"].as_str().unwrap().starts_with("digraph"));
    assert!(as_format("PROFILE_FORMAT_TREE").await["tree"].is_string());
    let profile = as_format("PROFILE_FORMAT_PPROF").await["pprof"]["profile"].clone();
    assert_eq!(profile["timeNanos"], json!((NOW_MS * 1_000_000 + 999_999).to_string()));
    let values: i64 = profile["sample"]
        .as_array()
        .unwrap()
        .iter()
        .map(|s| s["value"][0].as_str().unwrap().parse::<i64>().unwrap())
        .sum();
    assert_eq!(values, 4);
    assert_eq!(server.rpc_ok(&querier("SelectMergeProfile"), merge(json!({}))).await, profile);
    let nothing = merge(json!({"label_selector": "{service_name=\"none\"}"}));
    assert_eq!(server.rpc_ok(&querier("SelectMergeProfile"), nothing).await, json!({}));
}

#[tokio::test]
async fn series_over_time() {
    let server = shop().await;
    let request = merge(json!({"step": 15, "groupBy": ["service_name"], "exemplarType": "EXEMPLAR_TYPE_INDIVIDUAL"}));
    let answer = server.rpc_ok(&querier("SelectSeries"), request).await;
    let series = &answer["series"][0];
    assert_eq!(series["labels"], json!([{"name": "service_name", "value": "shop"}]));
    let point = &series["points"][0];
    assert_eq!((&point["timestamp"], &point["value"]), (&json!(NOW_MS.to_string()), &json!(4.0)));
    assert_eq!(point["exemplars"][0]["value"], "4");
    assert_eq!(point["exemplars"][0]["profileId"].as_str().unwrap().len(), 36);
}

#[tokio::test]
async fn heat_maps() {
    let server = shop().await;
    let request = merge(json!({"step": 15, "queryType": "HEATMAP_QUERY_TYPE_INDIVIDUAL"}));
    let answer = server.rpc_ok(&querier("SelectHeatmap"), request).await;
    let slot = &answer["series"][0]["slots"][0];
    assert_eq!((slot["counts"].as_array().unwrap().len(), slot["yMin"].as_array().unwrap().len()), (20, 20));
}

#[tokio::test]
async fn differences() {
    let server = shop().await;
    let left = merge(json!({"label_selector": "{service_name=\"none\"}"}));
    let answer = server.rpc_ok(&querier("Diff"), json!({"left": left, "right": merge(json!({}))})).await;
    let graph = &answer["flamegraph"];
    assert_eq!((&graph["total"], &graph["rightTicks"], &graph["leftTicks"]), (&json!("4"), &json!("4"), &Value::Null));
    assert_eq!(graph["levels"][1]["values"], json!(["0", "0", "0", "0", "4", "0", "1"]));
}

#[tokio::test]
async fn render() {
    let server = shop().await;
    let path = format!(
        "/pyroscope/render?query={CPU}%7Bservice_name%3D%22shop%22%7D&from=now-1m&until=now&groupBy=service_name"
    );
    let answer = server.get_json(&path).await;
    assert_eq!(answer["flamebearer"]["levels"][2], json!([0, 1, 1, 3, 0, 3, 3, 2]));
    assert_eq!(
        answer["metadata"],
        json!({"format": "single", "spyName": "", "sampleRate": 1_000_000_000, "units": "samples", "name": "cpu"})
    );
    let start = (NOW_MS / 1000 - 60) / 15 * 15;
    assert_eq!(answer["timeline"]["startTime"], json!(start));
    assert_eq!(answer["timeline"]["durationDelta"], json!(15));
    let sum: u64 = answer["timeline"]["samples"].as_array().unwrap().iter().map(|v| v.as_u64().unwrap()).sum();
    assert_eq!(sum, 4, "{}", answer["timeline"]);
    assert_eq!(answer["groups"]["shop"], answer["timeline"]);
    assert_eq!((&answer["heatmap"], answer.get("leftTicks")), (&Value::Null, None));
    let dot = server.get(&format!("{path}&format=dot")).await;
    assert!(
        dot.headers["content-type"].to_str().unwrap().starts_with("text/plain") && dot.text().starts_with("digraph")
    );
    let diff = server
        .get_json(&format!(
            "/pyroscope/render-diff?leftQuery={CPU}%7B%7D&leftFrom=now-1m&rightQuery={CPU}%7B%7D&rightFrom=now-1m"
        ))
        .await;
    assert_eq!(
        (&diff["leftTicks"], &diff["rightTicks"], &diff["metadata"]["format"]),
        (&json!(4), &json!(4), &json!("double"))
    );
    assert_eq!(server.get_json("/pyroscope/label-values?label=__name__").await, json!([CPU]));
    assert_eq!(server.get_json("/pyroscope/label-values?label=service_name").await, json!(["shop"]));
    assert_eq!(start_nothing().await, Value::Null);
}

async fn start_nothing() -> Value {
    start().await.get_json("/pyroscope/label-values?label=__name__").await
}

#[tokio::test]
async fn the_api_of_the_user_interface() {
    let server = shop().await;
    let query = format!("query={CPU}%7Bservice_name%3D%22shop%22%7D&from=now-1m&to=now");
    assert_eq!(
        server.get_json("/api/v1/services").await,
        json!({"services": [{"name": "shop", "profile_types": [CPU]}]})
    );
    assert_eq!(server.get_json("/api/v1/profile-types").await["profile_types"][0]["id"], CPU);
    assert_eq!(server.get_json("/api/v1/label-values?name=service_name").await, json!({"values": ["shop"]}));
    assert!(server.get_json("/api/v1/labels").await["labels"].as_array().unwrap().contains(&json!("service_name")));
    let timeline = server.get_json(&format!("/api/v1/timeline?{query}&step=15&group_by=service_name")).await;
    assert_eq!(
        timeline,
        json!({"start": NOW_MS - 60_000, "end": NOW_MS, "step": 15_000, "series": [{"labels": {"service_name": "shop"}, "points": [[NOW_MS, 4.0]]}]})
    );
    let graph = server.get_json(&format!("/api/v1/flamegraph?{query}")).await;
    assert_eq!(
        graph,
        json!({"names": ["total", "main", "work", "rest"], "nodes": {"children": [1, 2, 0, 0], "name": [0, 1, 3, 2], "self": [0, 0, 1, 3]}, "total": 4, "unit": "nanoseconds", "profile_type": CPU})
    );
    let top = server.get_json(&format!("/api/v1/top?{query}&limit=1")).await;
    assert_eq!(top, json!({"total": 4, "unit": "nanoseconds", "functions": [{"name": "work", "self": 3, "total": 3}]}));
    let both = format!(
        "left_query={CPU}%7B%7D&left_from=now-1m&left_to=now&right_query={CPU}%7B%7D&right_from=now-1m&right_to=now"
    );
    let diff = server.get_json(&format!("/api/v1/diff?{both}")).await;
    assert_eq!((&diff["left_total"], &diff["nodes"]["right_self"]), (&json!(4), &json!([0, 0, 1, 3])));
    let answer = server.get(&format!("/api/v1/profile?{query}")).await;
    assert!(answer.headers["content-disposition"].to_str().unwrap().ends_with("process_cpu-cpu.pb.gz\""));
    let mut plain = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(answer.body.as_ref()), &mut plain).unwrap();
    assert_eq!(pprof::Profile::decode_from_slice(&plain).unwrap().sample.len(), 2);
}

#[tokio::test]
async fn a_timeline_ends_with_the_newest_profiles() {
    let server = shop().await;
    let from = NOW_MS - 50_000;
    let timeline =
        server.get_json(&format!("/api/v1/timeline?query={CPU}%7B%7D&from={from}&to={NOW_MS}&step=15")).await;
    assert_eq!((&timeline["start"], &timeline["end"]), (&json!(NOW_MS - 45_000), &json!(NOW_MS)));
    assert_eq!(timeline["series"][0]["points"], json!([[NOW_MS, 4.0]]));
}

#[tokio::test]
async fn flame_graphs_in_binary_form_and_by_tag() {
    let server = shop().await;
    let path = format!("/api/v1/flamegraph?query={CPU}%7B%7D&from=now-1m");
    let get = async |headers: &[(&str, &str)]| server.send(request(Method::GET, &path, headers, "")).await;
    let binary = get(&[("accept", "application/vnd.argand.flame")]).await;
    assert_eq!(&binary.body[..4], b"AFG1");
    assert_eq!(binary.headers["content-type"], "application/vnd.argand.flame");
    assert_eq!(
        (&binary.headers["x-argand-unit"], &binary.headers["x-argand-profile-type"]),
        (&"nanoseconds".parse().unwrap(), &CPU.parse().unwrap())
    );
    let tag = binary.headers["etag"].to_str().unwrap();
    let again = get(&[("accept", "application/vnd.argand.flame"), ("if-none-match", tag)]).await;
    assert_eq!((again.status.as_u16(), again.body.len()), (304, 0));
    let json = get(&[("accept", "application/json"), ("if-none-match", tag)]).await;
    assert_eq!(json.status, 200, "the tag of one form is not that of the other");
}

#[tokio::test]
async fn large_answers_are_compressed_for_those_who_take_it() {
    let server = start().await;
    let frames: Vec<String> = (0..200).map(|i| format!("main;function_{i}")).collect();
    let stacks: Vec<(&str, i64)> = frames.iter().map(|stack| (stack.as_str(), 1)).collect();
    server.push(&push_request(vec![series("shop", cpu_profile(&stacks))])).await;
    let path = format!("/api/v1/flamegraph?query={CPU}%7B%7D&from=now-1m");
    let plain = server.get(&path).await;
    let packed = server.send(request(Method::GET, &path, &[("accept-encoding", "gzip")], "")).await;
    assert_eq!(packed.headers["content-encoding"], "gzip");
    let mut unpacked = Vec::new();
    std::io::Read::read_to_end(&mut flate2::read::GzDecoder::new(packed.body.as_ref()), &mut unpacked).unwrap();
    assert_eq!(unpacked, plain.body);
}
