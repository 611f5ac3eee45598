//! Data of one tenant never reaches another, by whatever route.

use argand_server::{Policy, TenantLimits};
use buffa::Message;
use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use crate::harness::*;

async fn multitenant() -> TestServer {
    start_with(|config| config.multitenancy = true).await
}

/// Method, path, content type and body of every request that reads or writes data of a tenant.
fn requests() -> Vec<(Method, String, &'static str, Bytes)> {
    let merge = json!({"profile_typeID": CPU, "label_selector": "{}", "start": NOW_MS - 60_000, "end": NOW_MS});
    let typed = |more: Value| {
        let mut merge = merge.clone();
        more.as_object().unwrap().iter().for_each(|(k, v)| merge[k] = v.clone());
        merge
    };
    let range = json!({"name": "service_name", "start": NOW_MS - 60_000, "end": NOW_MS});
    let rpc = |method: &str, body: Value| {
        let path = format!("/querier.v1.QuerierService/{method}");
        (Method::POST, path, "application/json", Bytes::from(body.to_string()))
    };
    let get = |path: String| (Method::GET, path, "", Bytes::new());
    let query = format!("{CPU}%7B%7D");
    vec![
        rpc("ProfileTypes", range.clone()),
        rpc("LabelNames", range.clone()),
        rpc("LabelValues", range.clone()),
        rpc("Series", range),
        rpc("SelectMergeStacktraces", merge.clone()),
        rpc("SelectMergeStacktraces", typed(json!({"format": "PROFILE_FORMAT_TREE"}))),
        rpc("SelectMergeStacktraces", typed(json!({"format": "PROFILE_FORMAT_DOT"}))),
        rpc("SelectMergeStacktraces", typed(json!({"format": "PROFILE_FORMAT_PPROF"}))),
        rpc("SelectMergeProfile", merge.clone()),
        rpc("SelectSeries", typed(json!({"step": 15, "groupBy": ["service_name"]}))),
        rpc("SelectHeatmap", typed(json!({"step": 15, "queryType": 1, "groupBy": ["service_name"]}))),
        rpc("Diff", json!({"left": merge, "right": merge})),
        rpc("GetProfileStats", json!({})),
        get(format!("/pyroscope/render?query={query}&from=now-1m&groupBy=service_name")),
        get(format!("/pyroscope/render?query={query}&from=now-1m&format=dot")),
        get(format!("/pyroscope/render-diff?leftQuery={query}&leftFrom=now-1m&rightQuery={query}&rightFrom=now-1m")),
        get("/pyroscope/label-values?label=service_name".into()),
        get("/pyroscope/label-values?label=__name__".into()),
        get("/api/v1/services".into()),
        get("/api/v1/profile-types".into()),
        get("/api/v1/labels".into()),
        get("/api/v1/label-values?name=service_name".into()),
        get(format!("/api/v1/timeline?query={query}&group_by=service_name")),
        get(format!("/api/v1/flamegraph?query={query}")),
        get(format!("/api/v1/top?query={query}")),
        get(format!("/api/v1/diff?left_query={query}&right_query={query}")),
        get(format!("/api/v1/profile?query={query}")),
    ]
}

async fn send(server: &TestServer, tenant: Option<&str>, parts: &(Method, String, &str, Bytes)) -> Answer {
    let (method, path, content_type, body) = parts;
    let mut headers = vec![("content-type", *content_type)];
    headers.extend(tenant.map(|tenant| ("x-scope-orgid", tenant)));
    server.send(request(method.clone(), path, &headers, body.clone())).await
}

async fn push_as(server: &TestServer, tenant: &str, service: &str) -> Answer {
    let push = push_request(vec![series(service, cpu_profile(&[("main;secret", 3)]))]);
    let headers = [("content-type", "application/proto"), ("x-scope-orgid", tenant)];
    server.send(request(Method::POST, "/push.v1.PusherService/Push", &headers, push.encode_to_vec())).await
}

#[tokio::test]
async fn reads_see_their_own_tenant_only() {
    let server = multitenant().await;
    for parts in requests() {
        let name = format!("{} {}", parts.1, String::from_utf8_lossy(&parts.3));
        server.storage.uploads.lock().unwrap().clear();
        let empty = send(&server, Some("other"), &parts).await;
        assert_eq!(empty.status, 200, "{name}: {}", empty.text());
        assert_eq!(push_as(&server, "owner", "secret-service").await.status, 200);
        let own = send(&server, Some("owner"), &parts).await;
        let foreign = send(&server, Some("other"), &parts).await;
        assert_eq!(foreign.body, empty.body, "{name}: data of another tenant shows");
        assert_ne!(own.body, empty.body, "{name}: own data does not show, so the check proves nothing");
        let federated = send(&server, Some("other|owner"), &parts).await;
        let expected = if name.contains("GetProfileStats") { 400 } else { 200 };
        assert_eq!(federated.status, expected, "{name}: {}", federated.text());
        if expected == 200 {
            assert_eq!(federated.body, own.body, "{name}: a federated query sees both");
        }
    }
}

#[tokio::test]
async fn a_tenant_must_be_named_and_well_formed() {
    let server = multitenant().await;
    let writes = vec![
        (
            Method::POST,
            "/push.v1.PusherService/Push".to_owned(),
            "application/proto",
            shop_push().encode_to_vec().into(),
        ),
        (Method::POST, "/ingest?name=a.cpu".to_owned(), "text/plain", "main 1".into()),
        (Method::POST, "/settings.v1.SettingsService/Get".to_owned(), "application/json", "{}".into()),
    ];
    for parts in requests().into_iter().chain(writes.clone()) {
        let answer = send(&server, None, &parts).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (401, "unauthenticated"), "{}", parts.1);
        for bad in ["../other", "..", "a/b", "ä", ""] {
            let answer = send(&server, Some(bad), &parts).await;
            assert_eq!(answer.status, 400, "{} as {bad:?}: {}", parts.1, answer.text());
        }
    }
    for parts in &writes {
        assert_eq!(send(&server, Some("a|b"), parts).await.status, 400, "{}", parts.1);
    }
    assert_eq!(server.stored(), []);
}

#[tokio::test]
async fn writes_go_to_their_tenant() {
    let server = multitenant().await;
    push_as(&server, "a", "x").await;
    push_as(&server, "b", "x").await;
    let tenants: Vec<String> = server.stored().into_iter().map(|row| row.0).collect();
    assert_eq!(tenants, ["a", "b"]);
}

#[tokio::test]
async fn without_multitenancy_the_header_is_ignored() {
    let server = start().await;
    assert_eq!(push_as(&server, "../x", "shop").await.status, 200);
    assert_eq!(server.stored()[0].0, "anonymous");
}

#[tokio::test]
async fn settings_belong_to_a_tenant() {
    let server = multitenant().await;
    let call = async |tenant: &str, method: &str, body: Value| {
        let headers = [("content-type", "application/json"), ("x-scope-orgid", tenant)];
        let path = format!("/settings.v1.SettingsService/{method}");
        server.send(request(Method::POST, &path, &headers, body.to_string())).await.json()
    };
    call("a", "Set", json!({"setting": {"name": "n", "value": "v"}})).await;
    assert_eq!(call("b", "Get", json!({})).await, json!({}));
    call("b", "Delete", json!({"name": "n"})).await;
    assert_eq!(call("a", "Get", json!({})).await["settings"][0]["value"], "v");
}

/// A server where the tenant `small` may do next to nothing.
async fn with_a_small_tenant() -> TestServer {
    start_with_policy(|config, policy| {
        config.multitenancy = true;
        policy.overrides.insert("small".parse().unwrap(), small());
    })
    .await
}

fn small() -> TenantLimits {
    let mut limits = TenantLimits { max_body_bytes: 2_000, ..TenantLimits::default() };
    limits.profile.samples = 1;
    limits.query.max_nodes = 3;
    limits.query.default_nodes = 2;
    limits
}

#[tokio::test]
async fn a_tenant_may_have_limits_of_its_own() {
    let server = with_a_small_tenant().await;
    let push = async |tenant: &str, profile: Vec<u8>| {
        let body = push_request(vec![series("shop", profile)]).encode_to_vec();
        let headers = [("content-type", "application/proto"), ("x-scope-orgid", tenant)];
        server.send(request(Method::POST, "/push.v1.PusherService/Push", &headers, body)).await.status.as_u16()
    };
    let (one, two) = (cpu_profile(&[("a", 1)]), cpu_profile(&[("a", 1), ("b", 2)]));
    let large = cpu_profile(&[("n".repeat(2_000).as_str(), 1)]);
    let mut statuses = Vec::new();
    for tenant in ["small", "other"] {
        for profile in [&one, &two, &large] {
            statuses.push((tenant, push(tenant, profile.clone()).await));
        }
    }
    let expected = [("small", 200), ("small", 400), ("small", 413), ("other", 200), ("other", 200), ("other", 200)];
    assert_eq!(statuses, expected);
    let ask = async |tenants: &str, nodes: i64| {
        let question = json!({
            "profile_typeID": CPU, "label_selector": "{}", "start": NOW_MS - 60_000, "end": NOW_MS, "maxNodes": nodes,
        });
        let headers = [("content-type", "application/json"), ("x-scope-orgid", tenants)];
        let path = "/querier.v1.QuerierService/SelectMergeStacktraces";
        server.send(request(Method::POST, path, &headers, question.to_string())).await.status.as_u16()
    };
    assert_eq!((ask("small", 3).await, ask("small", 4).await), (200, 400));
    assert_eq!((ask("other", 4).await, ask("other|small", 4).await), (200, 400), "the strictest bound counts for all");
}

#[tokio::test]
async fn limits_can_be_asked_for_and_change_while_the_server_runs() {
    let server = with_a_small_tenant().await;
    let limits = async |tenant: &str| {
        let headers = [("x-scope-orgid", tenant)];
        let answer = server.send(request(Method::GET, "/api/v1/tenant_limits", &headers, "")).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    assert_eq!(limits("small").await["max_samples"], 1);
    assert_eq!(limits("other").await["max_samples"], 16_000);
    assert_eq!(limits("other").await["max_global_series_per_user"], 4);
    let mut policy = Policy::default();
    policy.limits.rate_bytes_per_second = 7;
    server.policy.replace(policy);
    let now = limits("small").await;
    assert_eq!((&now["max_samples"], &now["ingestion_rate"]), (&json!(16_000), &json!(7)));
}
