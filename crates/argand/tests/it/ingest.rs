//! Profiles in over HTTP, gRPC and gRPC-Web: what is taken, what is refused and with which status.

use std::io::Write as _;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};

use crate::grpc::{self, Outcome};
use crate::http;
use crate::proto::{Profile, PushSeries, Sample, now_ns, push_request};
use crate::query::{self, CPU, Range, flame_graph};
use crate::server::Server;

const PUSH: &str = "/push.v1.PusherService/Push";
const PROTO: &str = "application/proto";
const JSON: &str = "application/json";
const INVALID_ARGUMENT: u32 = 3;

/// One request and the status that must answer it.
struct Case {
    method: &'static str,
    path: String,
    content_type: &'static str,
    body: Vec<u8>,
    status: u16,
}

fn case(
    method: &'static str,
    path: impl Into<String>,
    content_type: &'static str,
    body: impl Into<Vec<u8>>,
    status: u16,
) -> Case {
    Case { method, path: path.into(), content_type, body: body.into(), status }
}

/// Sends every case, then tells all that went wrong at once. The server must be alive afterwards.
fn check(server: &Server, cases: &[Case]) {
    let mut wrong = Vec::new();
    for case in cases {
        let headers = [("content-type", case.content_type)];
        let headers = if case.content_type.is_empty() { &[][..] } else { &headers };
        let got = match http::send(case.method, &server.url(&case.path), headers, &case.body) {
            Ok(reply) if reply.status == case.status => continue,
            Ok(reply) => format!("{} {}", reply.status, reply.text()),
            Err(error) => error.to_string(),
        };
        let Case { method, path, content_type, status, .. } = case;
        let body = String::from_utf8_lossy(&case.body[..case.body.len().min(200)]);
        wrong.push(format!("{method} {path} ({content_type}) {body:?}: {got} instead of {status}"));
    }
    assert_eq!(http::get(&server.url("/ready")).expect("the server lives").status, 200);
    assert!(wrong.is_empty(), "{} of {} wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

#[test]
fn queries_answer_the_known_statuses() {
    let server = Server::start();
    let rpcs = [
        "ProfileTypes",
        "LabelNames",
        "LabelValues",
        "Series",
        "SelectMergeStacktraces",
        "SelectMergeProfile",
        "SelectMergeSpanProfile",
        "SelectSeries",
        "SelectHeatmap",
        "Diff",
        "GetProfileStats",
    ];
    let mut cases = Vec::new();
    for rpc in rpcs {
        let path = format!("/querier.v1.QuerierService/{rpc}");
        cases.push(case("GET", &path, JSON, "", 405));
        cases.push(case("PUT", &path, JSON, "{}", 405));
        cases.push(case("POST", &path, "text/plain", "{}", 415));
        cases.push(case("POST", &path, JSON, "", 400));
        cases.push(case("POST", &path, JSON, "{broken", 400));
    }
    let now_ms = now_ns() / 1_000_000;
    let (start, end) = (now_ms - 60_000, now_ms);
    let mut rpc = |method: &str, request: Value, status: u16| {
        let path = format!("/querier.v1.QuerierService/{method}");
        cases.push(case("POST", path, JSON, request.to_string(), status));
    };
    rpc("ProfileTypes", json!({}), 200);
    rpc("ProfileTypes", json!({"start": -10, "end": -5}), 200);
    rpc("ProfileTypes", json!({"start": "1000", "end": "4000"}), 200);
    rpc("ProfileTypes", json!({"start": end, "end": start}), 400);
    rpc("ProfileTypes", json!({"start": "soon", "end": end}), 400);
    rpc("ProfileTypes", json!({"start": start, "end": end, "newer_field": {"a": [1]}}), 200);
    for metadata in ["LabelNames", "Series"] {
        rpc(metadata, json!({}), 400);
        rpc(metadata, json!({"start": start, "end": end}), 200);
        rpc(metadata, json!({"start": end, "end": start}), 400);
        rpc(metadata, json!({"start": start, "end": end, "matchers": ["{a=\"b\""]}), 400);
        rpc(metadata, json!({"start": start, "end": end, "matchers": ["{a=~\"(\"}"]}), 400);
    }
    rpc("LabelValues", json!({"name": "", "start": start, "end": end}), 400);
    rpc("LabelValues", json!({"name": "service_name"}), 400);
    rpc("LabelValues", json!({"name": "no_such_label", "start": start, "end": end}), 200);

    let select = |changes: Value| {
        let mut request = json!({"profileTypeID": CPU, "labelSelector": "{}", "start": start, "end": end, "step": 15});
        for (key, value) in changes.as_object().expect("changes are an object") {
            request[key] = value.clone();
        }
        request
    };
    for method in ["SelectMergeStacktraces", "SelectMergeProfile", "SelectSeries"] {
        rpc(method, select(json!({})), 200);
        rpc(method, select(json!({"profileTypeID": "made:up:profile:type:here"})), 200);
        rpc(method, select(json!({"labelSelector": "{no_such=\"label\"}"})), 200);
        rpc(method, select(json!({"start": 0, "end": 0})), 400);
        rpc(method, select(json!({"start": end, "end": start})), 400);
        rpc(method, select(json!({"start": "soon"})), 400);
        rpc(method, select(json!({"labelSelector": ""})), 400);
        rpc(method, select(json!({"labelSelector": "{a="})), 400);
        rpc(method, select(json!({"profileTypeID": ""})), 400);
        rpc(method, select(json!({"profileTypeID": "process_cpu:cpu"})), 400);
    }
    rpc("SelectMergeStacktraces", select(json!({"maxNodes": -1})), 400);
    rpc("SelectMergeStacktraces", select(json!({"maxNodes": "1048577"})), 400);
    rpc("SelectMergeStacktraces", select(json!({"maxNodes": "1048576"})), 200);
    rpc("SelectMergeStacktraces", select(json!({"profileTypeID": format!("{CPU}:delta")})), 200);
    rpc("SelectSeries", select(json!({"step": 0})), 400);
    rpc("SelectSeries", select(json!({"step": 0.0001})), 400);
    let heatmap = |changes: Value| {
        let mut request = select(changes);
        request["queryType"] = json!("HEATMAP_QUERY_TYPE_INDIVIDUAL");
        request
    };
    rpc("SelectHeatmap", heatmap(json!({})), 200);
    rpc("SelectHeatmap", heatmap(json!({"step": 0})), 400);
    rpc("Diff", json!({"left": select(json!({}))}), 400);
    rpc("Diff", json!({"right": select(json!({}))}), 400);
    rpc("Diff", json!({"left": select(json!({})), "right": select(json!({}))}), 200);
    check(&server, &cases);
}

#[test]
fn the_older_query_api_answers_the_known_statuses() {
    let server = Server::start();
    let query = http::escape(&format!("{CPU}{{service_name=\"nobody\"}}"));
    let render = |parameters: &str, status| case("GET", format!("/pyroscope/render?{parameters}"), "", "", status);
    check(
        &server,
        &[
            render("from=now-1h&until=now", 400),
            render("query=%7Bservice_name%3D%22nobody%22%7D&from=now-1h&until=now", 400),
            render(&format!("query={query}&from=0&until=0"), 400),
            render(&format!("query={query}&from=now-1h&until=now"), 200),
            render(
                &format!("query={query}&from=now-1h&until=now&aggregation=median&maxNodes=many&format=painting"),
                200,
            ),
            case("POST", format!("/pyroscope/render?query={query}"), "", "x", 405),
            case("POST", "/pyroscope/render-diff", "", "x", 405),
            case("GET", "/pyroscope/label-values", "", "", 400),
            case("GET", "/pyroscope/label-values?label=service_name", "", "", 200),
        ],
    );
}

#[test]
fn pushes_answer_the_known_statuses() {
    let server = Server::start();
    let good = || Profile::cpu_of(&["leaf", "main"], 7).encode();
    let push = |series: &[PushSeries<'_>]| push_request(series);
    let labelled = |labels: &[(&'static str, &'static str)]| {
        push(&[PushSeries { labels: labels.to_vec(), profiles: vec![good()], id: "" }])
    };
    let time_shifted = |shift_s: i64| {
        let time_ns = now_ns().checked_add_signed(shift_s * 1_000_000_000).expect("a small shift");
        push(&[PushSeries::cpu("old", Profile { time_ns, ..Profile::cpu_of(&["leaf"], 1) }.encode())])
    };
    let many_labels: Vec<String> = (0..64).map(|number| format!("label_{number}")).collect();
    let mut many: Vec<(&str, &str)> = many_labels.iter().map(|name| (name.as_str(), "x")).collect();
    many.push(("__name__", "process_cpu"));
    let long_value = "v".repeat(3000);
    let long = [("__name__", "process_cpu"), ("service_name", "long"), ("key", &*long_value)];
    check(
        &server,
        &[
            case("POST", PUSH, PROTO, push(&[PushSeries::cpu("good", good())]), 200),
            case("POST", PUSH, PROTO, push(&[PushSeries::cpu("good", gzip(&good()))]), 200),
            case("POST", PUSH, "application/x-www-form-urlencoded", "a=b", 415),
            case("POST", PUSH, "text/plain", push(&[PushSeries::cpu("good", good())]), 415),
            case("GET", PUSH, PROTO, "", 405),
            case("POST", PUSH, PROTO, "", 400),
            case("POST", PUSH, JSON, "{}", 400),
            case("POST", PUSH, JSON, "{", 400),
            case("POST", PUSH, JSON, r#"{"series":[{"samples":[{"rawProfile":"not base64!"}]}]}"#, 400),
            case("POST", PUSH, PROTO, push(&[]), 400),
            case(
                "POST",
                PUSH,
                PROTO,
                push(&[PushSeries { labels: vec![("__name__", "process_cpu")], profiles: vec![], id: "" }]),
                400,
            ),
            case("POST", PUSH, PROTO, [0xff; 40], 400),
            case("POST", PUSH, PROTO, push(&[PushSeries::cpu("bad", vec![0xff; 40])]), 400),
            case("POST", PUSH, PROTO, push(&[PushSeries::cpu("bad", good()[..20].to_vec())]), 400),
            case("POST", PUSH, PROTO, push(&[PushSeries::cpu("bad", gzip(&good())[..30].to_vec())]), 400),
            case("POST", PUSH, PROTO, push(&[PushSeries::cpu("bad", gzip(b"no profile at all"))]), 400),
            case("POST", PUSH, PROTO, labelled(&[("service_name", "no_metric_name")]), 400),
            case("POST", PUSH, PROTO, labelled(&[("__name__", "process_cpu"), ("a", "1"), ("a", "2")]), 400),
            case("POST", PUSH, PROTO, labelled(&[("__name__", "process_cpu"), ("", "empty")]), 400),
            case("POST", PUSH, PROTO, push(&[PushSeries { labels: many, profiles: vec![good()], id: "" }]), 400),
            case(
                "POST",
                PUSH,
                PROTO,
                push(&[PushSeries { labels: long.to_vec(), profiles: vec![good()], id: "" }]),
                400,
            ),
            case("POST", PUSH, PROTO, time_shifted(-2 * 3600), 400),
            case("POST", PUSH, PROTO, time_shifted(3600), 400),
            case("POST", PUSH, PROTO, time_shifted(-600), 200),
            case(
                "POST",
                PUSH,
                PROTO,
                labelled(&[("__name__", "process_cpu"), ("otel.scope.name", "a/b (c) + \u{e9}")]),
                200,
            ),
        ],
    );
    let refused = query::label_values(&server, "service_name", "{}");
    assert!(!refused.contains("bad") && !refused.contains("no_metric_name"), "refused data is not stored: {refused:?}");
}

#[test]
fn ingest_answers_the_known_statuses() {
    let server = Server::start();
    let good = || Profile::cpu_of(&["leaf", "main"], 7).encode();
    let ingest = |parameters: &str, content_type, body: Vec<u8>, status| {
        case("POST", format!("/ingest?{parameters}"), content_type, body, status)
    };
    const BYTES: &str = "application/octet-stream";
    const MULTIPART: &str = "multipart/form-data; boundary=XX";
    let with_prev = [part("profile", &good()), part("prev_profile", &good()), b"--XX--\r\n".to_vec()].concat();
    check(
        &server,
        &[
            ingest("name=app&format=pprof", BYTES, good(), 200),
            ingest("name=app&format=pprof", BYTES, gzip(&good()), 200),
            ingest("name=app", MULTIPART, multipart(&[("profile", &gzip(&good()))]), 200),
            case("POST", "//ingest?name=app&format=pprof", BYTES, good(), 200),
            case("POST", "/pyroscope/ingest?name=app&format=pprof", BYTES, good(), 200),
            ingest("name=app.cpu", "text/plain", b"main;leaf 3\n".to_vec(), 200),
            ingest("name=app&format=lines", "text/plain", b"main;leaf\nmain;leaf\n".to_vec(), 200),
            ingest("name=app.unheard_of", "text/plain", b"main;leaf 3\n".to_vec(), 400),
            ingest("name=app", "text/plain", b"main;leaf three\n".to_vec(), 400),
            ingest("format=pprof", BYTES, good(), 400),
            ingest("name=&format=pprof", BYTES, good(), 400),
            ingest("name=%7Ba%3Db%7D&format=pprof", BYTES, good(), 400),
            ingest("name=app%7Ba%3Db&format=pprof", BYTES, good(), 400),
            ingest("name=app%22quoted&format=pprof", BYTES, good(), 400),
            ingest("name=app%7B__name__%3Dx%7D&format=pprof", BYTES, good(), 400),
            case("GET", "/ingest?name=app&format=pprof", BYTES, "", 405),
            ingest("name=bad&format=pprof", BYTES, vec![0xff; 40], 422),
            ingest("name=bad&format=pprof", BYTES, gzip(&good())[..30].to_vec(), 422),
            ingest("name=bad&format=jfr", BYTES, b"FLR\0 and then nothing of use".to_vec(), 422),
            ingest("name=bad", MULTIPART, with_prev, 422),
            ingest("name=bad", MULTIPART, multipart(&[("something", &good())]), 422),
        ],
    );
    assert!(!query::label_values(&server, "service_name", "{}").contains("bad"), "refused data is not stored");
}

#[test]
fn a_bad_series_does_not_stop_its_siblings() {
    let server = Server::start();
    let good = |name| PushSeries::cpu(name, Profile::cpu_of(&["leaf"], 5).encode());
    let request = push_request(&[good("first"), PushSeries::cpu("bad", b"garbage".to_vec()), good("last")]);
    let reply = http::post(&server.url(PUSH), PROTO, &request).expect("an answer comes");
    assert_eq!(reply.status, 400, "{}", reply.text());
    assert_eq!(reply.json()["code"], "invalid_argument");
    assert!(reply.json()["message"].is_string());
    let stored = query::label_values(&server, "service_name", "{}");
    assert_eq!(stored.iter().map(String::as_str).collect::<Vec<_>>(), ["first", "last"]);
}

#[test]
fn what_goes_in_comes_out() {
    let server = Server::start();
    let samples = vec![
        Sample::new(&["parse", "handle", "main"], 30),
        Sample::new(&["write", "handle", "main"], 12).label("endpoint", "/a"),
        Sample::new(&["main"], 8),
        Sample::new(&["fib", "fib", "fib", "main"], 50),
    ];
    let request = push_request(&[PushSeries::cpu("shop", Profile::cpu(samples).encode())]);
    let reply = http::post(&server.url(PUSH), PROTO, &gzip(&request));
    assert_ne!(reply.expect("an answer comes").status, 200, "a gzipped body needs its Content-Encoding");
    let headers = [("content-type", PROTO), ("content-encoding", "gzip")];
    let reply = http::send("POST", &server.url(PUSH), &headers, &gzip(&request)).expect("an answer comes");
    assert_eq!((reply.status, reply.body.len()), (200, 0), "{}", reply.text());

    let graph = flame_graph(&server, CPU, "{service_name=\"shop\"}");
    let expected = [("main", 8), ("main;fib;fib;fib", 50), ("main;handle;parse", 30), ("main;handle;write", 12)];
    assert_eq!(graph.folded(), expected.map(|(path, weight)| (path.to_owned(), weight)).into());
    assert_eq!((graph.total, graph.weight_of(|name| name == "fib")), (100, 50));
    assert_eq!(query::rendered(&server, &format!("{CPU}{{service_name=\"shop\"}}")), graph);

    let labelled = flame_graph(&server, CPU, "{service_name=\"shop\", endpoint=\"/a\"}");
    assert_eq!(labelled.folded(), [("main;handle;write".to_owned(), 12)].into());
    assert_eq!(flame_graph(&server, CPU, "{service_name=~\"sho.\", endpoint=\"\"}").total, 88);
    assert_eq!(flame_graph(&server, CPU, "{service_name=\"nobody\"}").total, 0);
}

/// Replicas have equal labels, and the SDKs round the start to ten seconds: idle ones can send the same profile.
#[test]
fn equal_profiles_of_replicas_add_up() {
    let server = Server::start();
    let profile = Profile::cpu_of(&["leaf"], 5).encode();
    for id in ["6ba7b810-9dad-41d1-80b4-00c04fd430c8", "6ba7b811-9dad-41d1-80b4-00c04fd430c8"] {
        let series = PushSeries { id, ..PushSeries::cpu("replicas", profile.clone()) };
        assert_eq!(
            http::post(&server.url(PUSH), PROTO, &push_request(&[series])).expect("an answer comes").status,
            200
        );
    }
    assert_eq!(flame_graph(&server, CPU, "{service_name=\"replicas\"}").total, 10);
}

#[test]
fn an_upload_sent_again_counts_once() {
    let mut server = Server::start();
    let id = "6ba7b812-9dad-41d1-80b4-00c04fd430c8";
    let series = PushSeries { id, ..PushSeries::cpu("retry", Profile::cpu_of(&["leaf"], 5).encode()) };
    let request = push_request(&[series]);
    for _ in 0..2 {
        assert_eq!(http::post(&server.url(PUSH), PROTO, &request).expect("an answer comes").status, 200);
    }
    server.kill();
    server.restart();
    assert_eq!(http::post(&server.url(PUSH), PROTO, &request).expect("an answer comes").status, 200);
    assert_eq!(flame_graph(&server, CPU, "{service_name=\"retry\"}").total, 5);
}

#[test]
fn text_profiles_scale_by_their_sample_rate() {
    let server = Server::start();
    let url = server.url("/ingest?name=folded.cpu%7Bregion%3Deu%7D&sampleRate=50&spyName=rbspy");
    let reply = http::post(&url, "text/plain", b"main;leaf 3\nmain 2\n").expect("an answer comes");
    assert_eq!((reply.status, reply.body.len()), (200, 0), "{}", reply.text());
    let graph = flame_graph(&server, CPU, "{service_name=\"folded\", region=\"eu\", pyroscope_spy=\"rbspy\"}");
    assert_eq!(graph.total, 5 * 20_000_000, "five samples of 50 Hz are 100 ms");
    assert_eq!(graph.weight_of(|name| name.ends_with("leaf")), 3 * 20_000_000);
}

#[test]
fn series_sum_what_was_pushed() {
    let server = Server::start();
    for (service, value) in [("a", 5), ("a", 6), ("b", 7)] {
        let request = push_request(&[PushSeries::cpu(service, Profile::cpu_of(&["leaf"], value).encode())]);
        assert_eq!(http::post(&server.url(PUSH), PROTO, &request).expect("an answer comes").status, 200);
    }
    let Range { start_ms, end_ms } = Range::recent();
    let request = json!({"profileTypeID": CPU, "labelSelector": "{}", "start": start_ms, "end": end_ms, "step": 60,
        "groupBy": ["service_name"]});
    let reply = query::rpc(&server, "SelectSeries", &request);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let sums: Vec<(String, f64)> = reply.json()["series"]
        .as_array()
        .expect("series come as a list")
        .iter()
        .map(|series| {
            let service = series["labels"][0]["value"].as_str().expect("grouped by one label").to_owned();
            let points = series["points"].as_array().expect("points come as a list");
            (service, points.iter().map(|point| point["value"].as_f64().unwrap_or(0.0)).sum())
        })
        .collect();
    assert_eq!(sums, [("a".to_owned(), 11.0), ("b".to_owned(), 7.0)]);
}

#[test]
fn grpc_and_grpc_web_push() {
    let server = Server::start();
    let request = |value| push_request(&[PushSeries::cpu("grpc", Profile::cpu_of(&["leaf"], value).encode())]);
    let accepted = Outcome { status: 0, message: Some(Vec::new()) };
    assert_eq!(grpc::call(server.address(), PUSH, &request(5)), accepted);
    assert_eq!(grpc::call_web(&server.url(PUSH), &request(6)), accepted);
    assert_eq!(flame_graph(&server, CPU, "{service_name=\"grpc\"}").total, 11);

    let bad = push_request(&[PushSeries::cpu("bad", b"garbage".to_vec())]);
    assert_eq!(grpc::call(server.address(), PUSH, &bad).status, INVALID_ARGUMENT);
    assert_eq!(grpc::call_web(&server.url(PUSH), &bad).status, INVALID_ARGUMENT);
}

#[test]
fn a_small_body_that_inflates_to_a_huge_one_is_refused() {
    let server = Server::start();
    let mut bomb = GzEncoder::new(Vec::new(), Compression::best());
    let zeros = vec![0; 1 << 20];
    for _ in 0..512 {
        bomb.write_all(&zeros).expect("memory can be written");
    }
    let bomb = bomb.finish().expect("memory can be written");
    let pushed = push_request(&[PushSeries::cpu("bomb", bomb.clone())]);
    check(
        &server,
        &[
            case("POST", PUSH, PROTO, pushed, 400),
            case("POST", "/ingest?name=bomb&format=pprof", "application/octet-stream", bomb, 422),
        ],
    );
}

#[test]
fn a_refusal_is_prompt() {
    let server = Server::start();
    let started = std::time::Instant::now();
    let deep = format!("{{\"series\":{}", "[".repeat(1 << 20));
    let reply = http::post(&server.url(PUSH), JSON, deep.as_bytes()).expect("an answer comes");
    assert_eq!(reply.status, 400);
    assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).expect("memory can be written");
    encoder.finish().expect("memory can be written")
}

fn part(name: &str, content: &[u8]) -> Vec<u8> {
    let head = format!("--XX\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\r\n");
    [head.as_bytes(), content, b"\r\n"].concat()
}

fn multipart(parts: &[(&str, &[u8])]) -> Vec<u8> {
    let mut body: Vec<u8> = parts.iter().flat_map(|(name, content)| part(name, content)).collect();
    body.extend_from_slice(b"--XX--\r\n");
    body
}
