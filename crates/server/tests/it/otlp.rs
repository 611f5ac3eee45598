//! OTLP profiles in, over HTTP and gRPC.

use http::Method;
use serde_json::{Value, json};

use crate::harness::*;

const PATH: &str = "/v1development/profiles";
const EXPORT: &str = "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export";
const PROTOBUF: &str = "application/x-protobuf";

/// A CPU profile of service `shop`: `main;work` 3 times at a period of 10 ns.
fn export() -> Value {
    json!({
        "resourceProfiles": [{
            "resource": {"attributes": [{"key": "service.name", "value": {"stringValue": "shop"}}]},
            "scopeProfiles": [{"profiles": [{
                "sampleType": {"typeStrindex": 1, "unitStrindex": 2},
                "periodType": {"typeStrindex": 3, "unitStrindex": 4},
                "period": "10",
                "timeUnixNano": (NOW_MS * 1_000_000).to_string(),
                "samples": [{"stackIndex": 1, "values": ["3"]}],
            }]}],
        }],
        "dictionary": {
            "stringTable": ["", "samples", "count", "cpu", "nanoseconds", "main", "work"],
            "functionTable": [{}, {"nameStrindex": 5}, {"nameStrindex": 6}],
            "locationTable": [{}, {"lines": [{"functionIndex": 1}]}, {"lines": [{"functionIndex": 2}]}],
            "stackTable": [{}, {"locationIndices": [2, 1]}],
            "mappingTable": [{}], "attributeTable": [{}], "linkTable": [{}],
        },
    })
}

fn protobuf(export: &Value) -> Vec<u8> {
    argand_wire::otlp::transcode(export.to_string().as_bytes()).unwrap()
}

fn stored_shop() -> Vec<(String, String, String, i64)> {
    vec![("anonymous".into(), "shop".into(), CPU.into(), 30)]
}

#[tokio::test]
async fn http_takes_protobuf_and_json() {
    let text = export().to_string();
    for (content_type, body) in [
        (PROTOBUF, protobuf(&export())),
        ("application/protobuf", protobuf(&export())),
        ("application/json", text.into_bytes()),
    ] {
        let server = start().await;
        let answer = server.post(PATH, content_type, body).await;
        assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0), "{content_type}: {}", answer.text());
        assert_eq!(answer.headers["content-type"], PROTOBUF);
        assert_eq!(server.stored(), stored_shop(), "{content_type}");
    }
}

#[tokio::test]
async fn http_takes_gzip() {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(&protobuf(&export())).unwrap();
    let server = start().await;
    let headers = [("content-type", PROTOBUF), ("content-encoding", "gzip")];
    let answer = server.send(request(Method::POST, PATH, &headers, encoder.finish().unwrap())).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(server.stored(), stored_shop());
}

#[tokio::test]
async fn grpc_exports_are_stored() {
    let server = start().await;
    let headers = [("content-type", "application/grpc"), ("te", "trailers")];
    let answer = send_h2(server.address, EXPORT, &headers, grpc_frame(&protobuf(&export()))).await;
    assert_eq!((answer.status.as_u16(), answer.trailers["grpc-status"].to_str().unwrap()), (200, "0"));
    assert_eq!(answer.body, grpc_frame(&[]));
    assert_eq!(server.stored(), stored_shop());
    let answer = send_h2(server.address, EXPORT, &headers, grpc_frame(b"\x12\x01\xff")).await;
    assert_eq!(answer.headers.get("grpc-status").or(answer.trailers.get("grpc-status")).unwrap(), "3");
}

#[tokio::test]
async fn refusals_are_plain_text() {
    let server = start_with_policy(|_, policy| policy.limits.max_body_bytes = 5_000).await;
    let mut old = export();
    old["resourceProfiles"][0]["scopeProfiles"][0]["profiles"][0]["timeUnixNano"] = json!("1");
    let mut nameless = export();
    nameless["resourceProfiles"][0]["scopeProfiles"][0]["profiles"][0]["periodType"] = json!({});
    for (content_type, body, status) in [
        ("text/plain", Vec::new(), 415),
        ("", Vec::new(), 415),
        (PROTOBUF, b"\xff".to_vec(), 400),
        ("application/json", b"{".to_vec(), 400),
        (PROTOBUF, protobuf(&old), 400),
        (PROTOBUF, protobuf(&nameless), 400),
        (PROTOBUF, vec![0; 5_001], 413),
    ] {
        let answer = server.post(PATH, content_type, body).await;
        assert_eq!(answer.status, status, "{content_type}: {}", answer.text());
        assert!(answer.headers["content-type"].to_str().unwrap().starts_with("text/plain"), "{status}");
        assert!(!answer.body.is_empty() && !answer.text().starts_with('{'), "{}", answer.text());
    }
    assert_eq!(server.send(request(Method::GET, PATH, &[], "")).await.status, 405);
    assert_eq!(server.stored(), []);
}

#[tokio::test]
async fn one_bad_profile_of_several_leaves_the_others() {
    let mut both = export();
    let profiles = both["resourceProfiles"][0]["scopeProfiles"][0]["profiles"].as_array_mut().unwrap();
    let mut bad = profiles[0].clone();
    bad["periodType"] = json!({});
    profiles.push(bad);
    let server = start().await;
    let answer = server.post(PATH, PROTOBUF, protobuf(&both)).await;
    assert_eq!(answer.status, 400, "{}", answer.text());
    assert_eq!(server.stored(), stored_shop());
}

#[tokio::test]
async fn exports_belong_to_their_tenant() {
    let server = start_with(|config| config.multitenancy = true).await;
    let send = async |headers: &[(&str, &str)]| {
        server.send(request(Method::POST, PATH, headers, protobuf(&export()))).await.status.as_u16()
    };
    assert_eq!(send(&[("content-type", PROTOBUF)]).await, 401);
    assert_eq!(send(&[("content-type", PROTOBUF), ("x-scope-orgid", "team-a")]).await, 200);
    assert_eq!(server.stored()[0].0, "team-a");
}

#[tokio::test]
async fn nobody_is_asked_for_debug_information() {
    let server = start().await;
    let call = async |method: &str, body: Value| {
        server.rpc(&format!("debuginfo.v1alpha1.DebuginfoService/{method}"), body).await
    };
    let asked =
        call("ShouldInitiateUpload", json!({"file": {"gnuBuildId": "abc123", "type": "TYPE_EXECUTABLE_FULL"}})).await;
    assert_eq!(asked.status, 200, "{}", asked.text());
    assert_eq!(asked.json().get("shouldInitiateUpload"), None, "false is left out");
    assert!(asked.json()["reason"].as_str().unwrap().contains("debug information"));
    assert_eq!(call("ListDebuginfo", json!({})).await.json(), json!({}));
    assert_eq!(call("UploadFinished", json!({"gnuBuildId": "abc123"})).await.code(), "not_found");
    let upload =
        server.post("/debuginfo.v1alpha1.DebuginfoService/Upload/abc123", "application/octet-stream", "ELF").await;
    assert_eq!(upload.status, 412);
}
