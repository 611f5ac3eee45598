use argand_server::StorageError;
use argand_server::proto::types::v1::LabelPair;
use buffa::Message;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::Method;
use serde_json::json;
use std::io::Write;
use std::sync::atomic::Ordering;

use crate::harness::*;

const PUSH: &str = "/push.v1.PusherService/Push";

fn stored_shop() -> Vec<(String, String, String, i64)> {
    vec![("anonymous".into(), "shop".into(), CPU.into(), 4)]
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn connect_with_protobuf() {
    let server = start().await;
    let answer = server.push(&shop_push()).await;
    assert_eq!((answer.status.as_u16(), answer.body.len()), (200, 0));
    assert_eq!(server.stored(), stored_shop());
}

#[tokio::test]
async fn connect_with_json_in_both_spellings() {
    let camel = serde_json::to_string(&shop_push()).unwrap();
    assert!(camel.contains("rawProfile"));
    let original = camel.replace("rawProfile", "raw_profile").replacen('{', "{\"unknown\":[1],", 1);
    for body in [camel, original] {
        let server = start().await;
        let answer = server.post(PUSH, "application/json", body).await;
        assert_eq!((answer.status.as_u16(), answer.text().as_str()), (200, "{}"));
        assert_eq!(server.stored(), stored_shop());
    }
}

#[tokio::test]
async fn a_gzipped_request_of_gzipped_profiles() {
    let server = start().await;
    let push = push_request(vec![series("shop", gzip(&cpu_profile(&[("main", 4)])))]);
    let headers = [("content-type", "application/proto"), ("content-encoding", "gzip")];
    let answer = server.send(request(Method::POST, PUSH, &headers, gzip(&push.encode_to_vec()))).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(server.stored(), stored_shop());
}

#[tokio::test]
async fn grpc_over_cleartext_http2() {
    let server = start().await;
    let body = grpc_frame(&shop_push().encode_to_vec());
    let answer = send_h2(server.address, PUSH, &[("content-type", "application/grpc"), ("te", "trailers")], body).await;
    assert_eq!((answer.status.as_u16(), answer.trailers["grpc-status"].to_str().unwrap()), (200, "0"));
    assert_eq!(answer.body, grpc_frame(&[]));
    assert_eq!(server.stored(), stored_shop());
}

#[tokio::test]
async fn grpc_with_compressed_messages() {
    let server = start().await;
    let mut body = grpc_frame(&gzip(&shop_push().encode_to_vec()));
    body[0] = 1;
    let headers = [("content-type", "application/grpc"), ("te", "trailers"), ("grpc-encoding", "gzip")];
    let answer = send_h2(server.address, PUSH, &headers, body).await;
    assert_eq!(answer.trailers["grpc-status"], "0");
    assert_eq!(server.stored(), stored_shop());
}

#[tokio::test]
async fn a_small_request_cannot_unfold_into_memory() {
    let server = start().await;
    // A million empty series, two bytes each.
    let answer = server.post(PUSH, "application/proto", [0x0a, 0x00].repeat(1 << 20)).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "invalid_argument"));
    assert!(!answer.text().contains("no profiles"), "it was refused while reading: {}", answer.text());
}

#[tokio::test]
async fn a_panic_is_counted_and_the_server_goes_on() {
    let server = start().await;
    server.storage.panics.store(true, Ordering::Relaxed);
    assert_eq!(server.push(&shop_push()).await.code(), "internal");
    server.storage.panics.store(false, Ordering::Relaxed);
    assert_eq!(server.push(&shop_push()).await.status, 200);
    assert!(server.get("/metrics").await.text().contains("argand_request_panics_total 1"));
}

#[tokio::test]
async fn a_full_queue_is_told() {
    let server = start_with(|config| {
        config.ingest.concurrency = 1;
        config.ingest.queue = 0;
    })
    .await;
    let blocked = server.storage.block_appends();
    let push = shop_push();
    let (first, second) = tokio::join!(server.push(&push), async {
        eventually(|| async { server.storage.appends.load(Ordering::Relaxed) == 1 }).await;
        let second = server.push(&push).await;
        drop(blocked);
        second
    });
    assert_eq!((first.status.as_u16(), second.status.as_u16()), (200, 503));
}

#[tokio::test]
async fn grpc_errors_come_in_trailers() {
    let server = start().await;
    let body = grpc_frame(&push_request(vec![]).encode_to_vec());
    let answer = send_h2(server.address, PUSH, &[("content-type", "application/grpc"), ("te", "trailers")], body).await;
    let status = answer.trailers.get("grpc-status").or(answer.headers.get("grpc-status")).unwrap();
    assert_eq!((answer.status.as_u16(), status.to_str().unwrap()), (200, "3"));
}

#[tokio::test]
async fn grpc_web() {
    let server = start().await;
    let answer = server.post(PUSH, "application/grpc-web+proto", grpc_frame(&shop_push().encode_to_vec())).await;
    assert_eq!(answer.status, 200);
    assert!(answer.text().contains("grpc-status: 0"), "{}", answer.text());
    assert_eq!(server.stored(), stored_shop());
}

#[tokio::test]
async fn connect_over_http2_shares_the_port() {
    let server = start().await;
    let headers = [("content-type", "application/proto")];
    assert_eq!(send_h2(server.address, PUSH, &headers, shop_push().encode_to_vec()).await.status, 200);
    assert_eq!(server.stored(), stored_shop());
}

#[tokio::test]
async fn bad_profiles_do_not_stop_good_ones() {
    let server = start().await;
    let good = |service: &str| series(service, cpu_profile(&[("main", 1)]));
    let answer = server.push(&push_request(vec![good("a"), series("b", b"garbage".to_vec()), good("c")])).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "invalid_argument"));
    assert!(answer.text().contains("series 1"), "{}", answer.text());
    assert_eq!(server.stored().iter().map(|row| row.1.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    let metrics = server.get("/metrics").await.text();
    assert!(
        metrics.contains("argand_discarded_samples_total{reason=\"malformed_profile\",tenant=\"anonymous\"} 1"),
        "{metrics}"
    );
    assert!(metrics.contains("argand_received_profiles_total{format=\"pprof\",tenant=\"anonymous\"} 2"), "{metrics}");
}

#[tokio::test]
async fn nothing_to_store_is_a_mistake_of_the_sender() {
    let server = start().await;
    let mut without_samples = series("a", Vec::new());
    without_samples.samples.clear();
    for request in [push_request(vec![]), push_request(vec![without_samples])] {
        assert_eq!(server.push(&request).await.code(), "invalid_argument");
    }
}

#[tokio::test]
async fn refusals_of_the_store_pass_through() {
    let server = start().await;
    for (refusal, status, code) in [
        (StorageError::Unavailable("disk full".into()), 503, "unavailable"),
        (StorageError::Limit("too many series".into()), 429, "resource_exhausted"),
        (StorageError::Failed("secret path".into()), 500, "internal"),
    ] {
        *server.storage.refusal.lock().unwrap() = Some(refusal);
        let answer = server.push(&shop_push()).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (status, code));
        assert!(!answer.text().contains("secret"), "{}", answer.text());
    }
}

#[tokio::test]
async fn a_tenant_over_its_rate_is_refused() {
    let server = start_with_policy(|_, policy| {
        policy.limits.rate_bytes_per_second = 1;
        policy.limits.burst_bytes = 1;
    })
    .await;
    assert_eq!(server.push(&shop_push()).await.status, 200);
    assert_eq!(server.push(&shop_push()).await.code(), "resource_exhausted");
}

#[tokio::test]
async fn doubled_slashes_and_base_paths_reach_the_same_place() {
    let server = start_with(|config| config.base_path = "/prefix/".into()).await;
    for path in
        ["//push.v1.PusherService/Push", "/prefix//push.v1.PusherService/Push", "/prefix/push.v1.PusherService//Push"]
    {
        assert_eq!(server.post(path, "application/proto", shop_push().encode_to_vec()).await.status, 200, "{path}");
    }
    assert_eq!(server.post("//ingest?name=a.cpu", "text/plain", "main 1").await.status, 200);
    assert_eq!(server.stored().len(), 4);
}

#[tokio::test]
async fn the_source_of_a_service_is_kept_with_its_mappings() {
    let server = start().await;
    let mut shop = series("shop", cpu_profile(&[("main;work", 3)]));
    for (name, value) in [("service_repository", "https://example.org/shop"), ("service_git_ref", "v1")] {
        shop.labels.push(LabelPair { name: name.into(), value: value.into(), ..Default::default() });
    }
    assert_eq!(server.push(&push_request(vec![shop])).await.status, 200);
    let selector = "{service_git_ref=\"v1\"}";
    let question = json!({"profile_typeID": CPU, "label_selector": selector, "start": NOW_MS - 60_000, "end": NOW_MS});
    let answer = server.rpc_ok("querier.v1.QuerierService/SelectMergeProfile", question).await;
    let strings = answer["stringTable"].as_array().unwrap();
    let index: usize = answer["mapping"][0]["buildId"].as_str().unwrap().parse().unwrap();
    let link: serde_json::Value = serde_json::from_str(strings[index].as_str().unwrap()).unwrap();
    assert_eq!(link, json!({"repository": "https://example.org/shop", "git_ref": "v1"}));
}
