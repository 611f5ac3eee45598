use http::Method;
use serde_json::json;
use std::sync::atomic::Ordering;

use crate::harness::*;

#[tokio::test]
async fn health() {
    let server = start().await;
    for path in ["/ready", "/-/ready", "/readyz", "/healthy", "/-/healthy", "/livez", "/healthz"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
        assert_eq!(send_to(server.admin_address, request(Method::GET, path, &[], "")).await.status, 200, "{path}");
    }
    let check = |service: &str| json!({ "service": service });
    assert_eq!(server.rpc_ok("grpc.health.v1.Health/Check", check("")).await, json!({"status": "SERVING"}));
    assert_eq!(server.rpc("grpc.health.v1.Health/Check", check("nothing")).await.status, 404);
    *server.storage.not_ready.lock().unwrap() = Some("disk full".into());
    let answer = server.get("/ready").await;
    assert_eq!((answer.status.as_u16(), answer.text().as_str()), (503, "not ready: disk full\n"));
    assert_eq!(server.get("/healthy").await.status, 200);
    assert_eq!(server.rpc_ok("grpc.health.v1.Health/Check", check("")).await, json!({"status": "NOT_SERVING"}));
    assert_eq!(server.get_json("/api/v1/status").await["reason"], "disk full");
}

#[tokio::test]
async fn pages_and_their_headers() {
    let server = start().await;
    for path in ["/", "/explore", "/comparison"] {
        let answer = server.get(path).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.headers["content-type"]),
            (200, &"text/html; charset=utf-8".parse().unwrap())
        );
        let policy = answer.headers["content-security-policy"].to_str().unwrap();
        assert!(
            policy.contains("require-trusted-types-for 'script'") && policy.contains("default-src 'none'"),
            "{policy}"
        );
        assert_eq!(answer.headers["x-content-type-options"], "nosniff");
        assert!(!answer.headers.contains_key("access-control-allow-origin"));
    }
}

#[tokio::test]
async fn unknown_paths_are_not_found() {
    let server = start().await;
    for path in
        ["/nothing", "/api/v1/nothing", "/../../etc/passwd", "/assets/../../../etc/passwd", "/%2e%2e/etc/passwd"]
    {
        let answer = server.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (404, "not_found"), "{path}");
    }
}

#[tokio::test]
async fn a_base_path_without_its_slash_is_completed() {
    let server = start_with(|config| config.base_path = "argand".into()).await;
    let answer = server.get("/argand").await;
    assert_eq!((answer.status.as_u16(), &answer.headers["location"]), (308, &"/argand/".parse().unwrap()));
    for path in ["/argand/", "/", "/argand/ready", "/ready"] {
        assert_eq!(server.get(path).await.status, 200, "{path}");
    }
}

#[tokio::test]
async fn other_sites_cannot_reach_a_local_server() {
    let server = start_with(|config| config.allowed_hosts = vec!["argand.example".into()]).await;
    for (headers, status) in [
        ([("host", "evil.example"), ("x", "y")], 403),
        ([("host", "argand.example:4040"), ("x", "y")], 200),
        ([("host", "[::1]:4040"), ("x", "y")], 200),
        ([("host", "localhost"), ("origin", "https://evil.example")], 403),
        ([("host", "localhost"), ("origin", "http://localhost:4040")], 200),
    ] {
        for address in [server.address, server.admin_address] {
            let answer = send_to(address, request(Method::GET, "/ready", &headers, "")).await;
            assert_eq!(answer.status, status, "{headers:?}");
        }
    }
}

#[tokio::test]
async fn metrics_count_by_route() {
    let server = start().await;
    server.push(&shop_push()).await;
    server.get("/some/path").await;
    server.get("/ready").await;
    send_h2(server.address, "/push.v1.PusherService/Random", &[("content-type", "application/grpc")], Vec::new()).await;
    let text = server.get("/metrics").await.text();
    for line in [
        "argand_request_duration_seconds_count{method=\"POST\",route=\"/push.v1.PusherService/Push\",status_code=\"200\"} 1",
        "argand_request_duration_seconds_count{method=\"GET\",route=\"/ready\",status_code=\"200\"} 1",
        "argand_request_duration_seconds_count{method=\"GET\",route=\"other\",status_code=\"404\"} 1",
        "argand_request_duration_seconds_count{method=\"POST\",route=\"/push.v1.PusherService/{method}\",status_code=\"200\"} 1",
        "argand_received_samples_total{format=\"pprof\",tenant=\"anonymous\"} 2",
        "argand_build_info{version=\"1.2.3\",revision=\"abc\"} 1",
        "argand_store_blocks 2.0",
        "# EOF",
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
}

#[tokio::test]
async fn metrics_may_be_on_the_admin_port_only() {
    let server = start_with(|config| config.metrics_on_main = false).await;
    assert_eq!(server.get("/metrics").await.status, 404);
    assert_eq!(send_to(server.admin_address, request(Method::GET, "/metrics", &[], "")).await.status, 200);
}

#[tokio::test]
async fn the_admin_port() {
    let server = start().await;
    let send = |method: Method, path: &'static str| send_to(server.admin_address, request(method, path, &[], ""));
    assert_eq!(send(Method::GET, "/flush").await.status, 405);
    assert_eq!(server.storage.flushes.load(Ordering::Relaxed), 0);
    assert_eq!(send(Method::POST, "/flush").await.status, 200);
    assert_eq!(server.storage.flushes.load(Ordering::Relaxed), 1);
    assert_eq!(send(Method::POST, "/compact").await.status, 503);
    assert_eq!(send(Method::GET, "/debug/pprof/profile?seconds=2").await.text(), "2");
    assert_eq!(send(Method::GET, "/debug/pprof/profile?seconds=301").await.status, 400);
    assert_eq!(send(Method::GET, "/debug/pprof/heap").await.status, 501);
    for path in ["/flush", "/compact"] {
        assert_eq!(server.post(path, "", "").await.status, 404, "not on the main port");
    }
    assert_eq!(server.get("/debug/pprof/heap").await.status, 404, "not on the main port");
    assert_eq!(send(Method::POST, "/ingest").await.status, 404, "not on the admin port");
}

#[tokio::test]
async fn status_pages() {
    let server = start().await;
    let build = server.get_json("/api/v1/status/buildinfo").await;
    assert_eq!((&build["status"], &build["data"]["version"]), (&json!("success"), &json!("1.2.3")));
    assert_eq!(server.get("/api/v1/status/config").await.text(), "password: <masked>\n");
    let status = server.get_json("/api/v1/status").await;
    assert_eq!((&status["blocks"], &status["bytes"], &status["ready"]), (&json!(2), &json!(3), &json!(true)));
    assert_eq!(server.rpc_ok("version.v1.Version/Version", json!({})).await, json!({"QuerierAPI": "1"}));
    let flags = server.rpc_ok("capabilities.v1.FeatureFlagsService/GetFeatureFlags", json!({})).await;
    assert_eq!(flags["featureFlags"][0], json!({"name": "v2StorageLayer", "enabled": true}));
}

#[tokio::test]
async fn settings() {
    let server = start().await;
    let setting = json!({"name": "pluginSettings", "value": "{}"});
    let set = server.rpc_ok("settings.v1.SettingsService/Set", json!({ "setting": setting })).await;
    assert_eq!(set["setting"]["modifiedAt"], json!(NOW_MS.to_string()));
    let old = json!({"setting": {"name": "pluginSettings", "value": "x", "modifiedAt": 5}});
    assert_eq!(server.rpc("settings.v1.SettingsService/Set", old).await.code(), "already_exists");
    assert_eq!(server.rpc("settings.v1.SettingsService/Set", json!({})).await.code(), "invalid_argument");
    let all = server.rpc_ok("settings.v1.SettingsService/Get", json!({})).await;
    assert_eq!(all["settings"][0]["name"], "pluginSettings");
    server.rpc_ok("settings.v1.SettingsService/Delete", json!({"name": "pluginSettings"})).await;
    assert_eq!(server.rpc_ok("settings.v1.SettingsService/Get", json!({})).await, json!({}));
}

#[tokio::test]
async fn every_described_route_is_there() {
    let server = start().await;
    let description = server.get_json("/api/openapi.json").await;
    let paths = description["paths"].as_object().unwrap();
    assert!(paths.len() > 40);
    for (path, operations) in paths {
        for method in operations.as_object().unwrap().keys() {
            let method: Method = method.to_uppercase().parse().unwrap();
            let headers = [("content-type", "application/json")];
            let answer = server.send(request(method.clone(), path, &headers, "{}")).await;
            assert!(![404, 405].contains(&answer.status.as_u16()), "{method} {path} answers {}", answer.status);
        }
    }
}

#[tokio::test]
async fn the_former_address_of_the_page_leads_to_it() {
    let server = start().await;
    let answer = server.get("/ui").await;
    assert_eq!((answer.status.as_u16(), answer.headers["location"].to_str().unwrap()), (302, "./"));
}
