//! What a configuration file changes in a running server.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

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
    let config = ConfigFile::new("relabel_built_in: disabled\n");
    let server = config.start();
    push(&server, &[("__name__", "godeltaprof_memory"), ("service_name", "shop")]);
    assert_eq!(profile_types(&server), ["godeltaprof_memory:cpu:nanoseconds:cpu:nanoseconds".to_owned()].into());
}
