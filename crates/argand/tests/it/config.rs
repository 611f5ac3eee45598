//! What a configuration file changes in a running server.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use serde_json::{Value, json};

use crate::http;
use crate::proto::{Profile, PushSeries, push_request};
use crate::query::{self, profile_types};
use crate::server::Server;

/// A configuration file that can be rewritten.
struct ConfigFile {
    folder: TempDir,
}

impl ConfigFile {
    fn new(text: &str) -> Self {
        let file = Self { folder: TempDir::with_prefix("argand-config-").expect("a temporary folder can be made") };
        file.write(text);
        file
    }

    fn write(&self, text: &str) {
        fs::write(self.path(), text).expect("a temporary file can be written");
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("argand.yaml")
    }

    fn start(&self) -> Server {
        Server::start_with(&["--config", self.path().to_str().expect("temporary paths are UTF-8")])
    }
}

/// Pushes a CPU profile of now with these labels; the status.
fn push(server: &Server, labels: &[(&str, &str)]) -> u16 {
    let raw_profile = Profile::cpu_of(&["work", "main"], 10).encode();
    let request = push_request(&[PushSeries { labels: labels.to_vec(), profiles: vec![raw_profile], id: "" }]);
    let reply = http::post(&server.url("/push.v1.PusherService/Push"), "application/proto", &request);
    reply.expect("an answer comes").status
}

#[test]
fn rules_of_the_file_relabel_uploads() {
    let config = ConfigFile::new(
        "
limits:
  relabel:
    - {source_labels: [env], regex: test, action: drop}
    - {source_labels: [service_name], target_label: shard, modulus: 1000, action: hashmod}
    - {regex: pod, action: labeldrop}
  relabel_sample_types:
    - {source_labels: [__type__, __unit__, service_name], regex: 'cpu;nanoseconds;quiet', action: drop}
",
    );
    let server = config.start();
    for (service, env) in [("baz", "prod"), ("gone", "test"), ("quiet", "prod")] {
        let labels = [("__name__", "process_cpu"), ("service_name", service), ("env", env), ("pod", "1")];
        assert_eq!(push(&server, &labels), 200, "{service}: what rules drop is a success for its sender");
    }
    let stored = query::series(&server, "{}");
    let label = |name: &str| stored.iter().map(|labels| labels.get(name).cloned()).collect::<Vec<_>>();
    assert_eq!(label("service_name"), [Some("baz".to_owned())]);
    assert_eq!(label("shard"), [Some("976".to_owned())], "the bucket that Prometheus finds");
    assert_eq!(label("pod"), [None]);
    let metrics = http::get(&server.url("/metrics")).expect("metrics are there").text();
    let dropped = "argand_discarded_samples_total{reason=\"dropped_by_relabel_rules\",tenant=\"anonymous\"} 2";
    assert!(metrics.lines().any(|line| line == dropped), "{metrics}");
}

#[test]
fn built_in_rules_can_be_turned_off() {
    let config = ConfigFile::new("limits: {relabel_built_in: disabled}\n");
    let server = config.start();
    push(&server, &[("__name__", "godeltaprof_memory"), ("service_name", "shop")]);
    assert_eq!(profile_types(&server), ["godeltaprof_memory:cpu:nanoseconds:cpu:nanoseconds".to_owned()].into());
}

/// What the server says of the limits of its one tenant.
fn tenant_limits(server: &Server) -> Value {
    http::get(&server.url("/api/v1/tenant_limits")).expect("the server answers").json()
}

#[test]
fn a_hang_up_reloads_what_can_change() {
    let config = ConfigFile::new("limits: {max_samples: 10}\n");
    let server = config.start();
    assert_eq!(tenant_limits(&server)["max_samples"], 10);

    let drop_all = "relabel: [{source_labels: [service_name], regex: gone, action: drop}]";
    config.write(&format!("limits: {{max_samples: 20, {drop_all}}}\nstore: {{retention: 1d, head_size: 64MiB}}\n"));
    let told = server.reload("configuration reloaded");
    for key in ["limits.max_samples", "limits.relabel", "store.retention"] {
        assert!(told.contains(key), "{told}");
    }
    assert!(!told.contains("head_size"), "{told}");
    assert_eq!(tenant_limits(&server)["max_samples"], 20);
    assert_eq!(push(&server, &[("__name__", "process_cpu"), ("service_name", "gone")]), 200);
    assert!(query::series(&server, "{}").is_empty(), "the new rule counts");
    let running = http::get(&server.url("/api/v1/status/config")).expect("the server answers").text();
    assert!(running.contains("max_samples: 20") && running.contains("head_size: 128MiB"), "{running}");

    let told = server.reload("needs a restart");
    assert!(told.contains("store.head_size"), "{told}");
}

#[test]
fn a_bad_file_keeps_the_old_configuration() {
    let config = ConfigFile::new("limits: {max_samples: 10}\n");
    let server = config.start();
    for (bad, words) in [
        ("limits: {max_samples: 20, max_lable_names: 1}\n", "max_lable_names"),
        ("limits: {max_samples: 20}\nstore: {retention: soon}\n", "store.retention"),
        ("limits: [\n", "argand.yaml"),
    ] {
        config.write(bad);
        let told = server.reload("configuration not reloaded");
        assert!(told.contains(words), "{told}");
        assert_eq!(tenant_limits(&server)["max_samples"], 10, "nothing of the bad file counts");
    }
    config.write("limits: {max_samples: 30}\nlog: {level: warn}\n");
    server.reload("configuration reloaded");
    assert_eq!(tenant_limits(&server)["max_samples"], 30);
}

#[test]
fn a_tenant_may_have_limits_of_its_own() {
    let config = ConfigFile::new(
        "
server: {multitenancy: true}
overrides:
  small: {max_samples: 1, query_max_length: 1h}
",
    );
    let server = config.start();
    let limits = |tenant| {
        let headers = [("x-scope-orgid", tenant)];
        http::send("GET", &server.url("/api/v1/tenant_limits"), &headers, b"").expect("the server answers").json()
    };
    assert_eq!((&limits("small")["max_samples"], &limits("other")["max_samples"]), (&json!(1), &json!(16_000)));
    let overrides = http::get(&server.url("/runtime_config")).expect("the server answers").text();
    assert!(overrides.contains("small:") && overrides.contains("max_samples: 1"), "{overrides}");
    let headers = [("x-scope-orgid", "small"), ("content-type", "application/json")];
    let range = query::Range::recent();
    let day = json!({"start": range.start_ms - 24 * 3_600_000, "end": range.end_ms}).to_string();
    let url = server.url("/querier.v1.QuerierService/ProfileTypes");
    let status = http::send("POST", &url, &headers, day.as_bytes()).expect("the server answers").status;
    assert_eq!(status, 400, "the tenant may ask for an hour at once");
}
