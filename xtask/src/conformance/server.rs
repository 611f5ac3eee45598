//! A real server on a free port, and the questions that the cases ask it.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use argand_model::Profile;
use argand_wire::pprof::{self, PprofOptions};
use argand_wire::{DecodeLimits, inflate};
use serde_json::{Value, json};
use ureq::Agent;
use ureq::http::Request;

/// Files are of any age and size; each case has a tenant of its own.
const CONFIGURATION: &str = r#"{
  "server": {"admin_listen": "", "multitenancy": true},
  "store": {"retention": "off"},
  "limits": {"reject_older_than": "off", "reject_newer_than": "off", "max_profile_size": "64MiB", "max_samples": 1000000},
  "self_profile": {"enabled": false}
}"#;

/// A running server; stopped when dropped.
pub(crate) struct Server {
    process: Child,
    url: String,
    agent: Agent,
    _directory: tempfile::TempDir,
}

/// Status and body of an answer.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

impl Server {
    pub(crate) fn start(program: &Path) -> anyhow::Result<Self> {
        let directory = tempfile::tempdir()?;
        let configuration = directory.path().join("argand.json");
        std::fs::write(&configuration, CONFIGURATION)?;
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let process = Command::new(program)
            .args(["server", "--listen", &format!("127.0.0.1:{port}"), "--config"])
            .arg(&configuration)
            .arg("--data-dir")
            .arg(directory.path().join("store"))
            .stderr(Stdio::inherit())
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(60)));
        let url = format!("http://127.0.0.1:{port}");
        let server = Self { process, url, agent: config.build().into(), _directory: directory };
        let deadline = Instant::now() + Duration::from_secs(30);
        while !server.send("GET", "/ready", &[], &[]).is_ok_and(|answer| answer.status == 200) {
            if Instant::now() > deadline {
                bail!("the server is not ready after 30 s");
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(server)
    }

    /// Sends a request as it is and waits for the answer.
    pub(crate) fn send(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        let mut request = Request::builder().method(method).uri(format!("{}{target}", self.url));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response =
            if method == "GET" { self.agent.run(request.body(())?)? } else { self.agent.run(request.body(body)?)? };
        let status = response.status().as_u16();
        let mut body = Vec::new();
        response.into_body().into_reader().read_to_end(&mut body)?;
        Ok(Answer { status, body })
    }

    /// POSTs a file to `/ingest` for a tenant.
    pub(crate) fn ingest(
        &self,
        tenant: &str,
        parameters: &[(&str, &str)],
        content_type: &str,
        body: &[u8],
    ) -> anyhow::Result<Answer> {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        self.send(
            "POST",
            &format!("/ingest?{query}"),
            &[("X-Scope-OrgID", tenant), ("Content-Type", content_type)],
            body,
        )
    }

    /// A call of the querier with JSON on both sides.
    pub(crate) fn query(&self, tenant: &str, method: &str, message: &Value) -> anyhow::Result<Value> {
        let headers = [("X-Scope-OrgID", tenant), ("Content-Type", "application/json")];
        let answer = self.send(
            "POST",
            &format!("/querier.v1.QuerierService/{method}"),
            &headers,
            message.to_string().as_bytes(),
        )?;
        if answer.status != 200 {
            bail!("{method} answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        Ok(serde_json::from_slice(&answer.body)?)
    }

    /// Ids of all profile types of a tenant.
    pub(crate) fn profile_types(&self, tenant: &str) -> anyhow::Result<Vec<String>> {
        let answer = self.query(tenant, "ProfileTypes", &json!({ "start": EARLIEST_MS, "end": LATEST_MS }))?;
        let types = answer["profileTypes"].as_array().cloned().unwrap_or_default();
        Ok(types.iter().filter_map(|t| t["ID"].as_str().map(str::to_owned)).collect())
    }

    /// Total of everything of a type.
    pub(crate) fn total(&self, tenant: &str, profile_type: &str) -> anyhow::Result<i64> {
        let answer = self.query(tenant, "SelectMergeStacktraces", &question(profile_type, "{}"))?;
        Ok(answer["flamegraph"]["total"].as_str().map_or(Ok(0), str::parse)?)
    }

    /// The distinct function names of a type's flame graph.
    pub(crate) fn names(&self, tenant: &str, profile_type: &str) -> anyhow::Result<Vec<String>> {
        let answer = self.query(tenant, "SelectMergeStacktraces", &question(profile_type, "{}"))?;
        let names = answer["flamegraph"]["names"].as_array().cloned().unwrap_or_default();
        Ok(names.iter().skip(1).filter_map(|n| n.as_str().map(str::to_owned)).collect())
    }

    /// Folded stacks of the merged profile: `function:line` root first, to value.
    pub(crate) fn stacks(
        &self,
        tenant: &str,
        profile_type: &str,
        selector: &str,
    ) -> anyhow::Result<BTreeMap<String, i64>> {
        let request = encode_select_merge_profile(profile_type, selector);
        let headers = [("X-Scope-OrgID", tenant), ("Content-Type", "application/proto")];
        let answer = self.send("POST", "/querier.v1.QuerierService/SelectMergeProfile", &headers, &request)?;
        if answer.status != 200 {
            bail!("SelectMergeProfile answered {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        folded(&decode(&answer.body)?)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

const EARLIEST_MS: i64 = 1;
const LATEST_MS: i64 = 4_000_000_000_000;

fn question(profile_type: &str, selector: &str) -> Value {
    json!({
        "profileTypeID": profile_type, "labelSelector": selector,
        "start": EARLIEST_MS, "end": LATEST_MS, "maxNodes": 1_000_000,
    })
}

/// `SelectMergeProfileRequest` in protobuf: 1 profile type, 2 selector, 3 start, 4 end.
fn encode_select_merge_profile(profile_type: &str, selector: &str) -> Vec<u8> {
    use argand_wire::proto::{put_bytes, put_uint};
    let mut message = Vec::new();
    put_bytes(&mut message, 1, profile_type.as_bytes());
    put_bytes(&mut message, 2, selector.as_bytes());
    put_uint(&mut message, 3, EARLIEST_MS as u64);
    put_uint(&mut message, 4, LATEST_MS as u64);
    message
}

/// Decodes pprof of any size, gzipped or not.
pub(crate) fn decode(raw: &[u8]) -> anyhow::Result<Profile> {
    let plain = inflate::gunzip_if_needed(raw, inflate::InflateLimits::new(256 << 20))?;
    let limits =
        DecodeLimits { samples: 1 << 22, string_bytes: 256 << 20, memory_bytes: 1 << 30, ..DecodeLimits::default() };
    Ok(pprof::decode(&plain, &PprofOptions { limits, ..PprofOptions::default() })?)
}

/// Folded stacks of a profile's first sample type, equal ones summed, zeros left out.
pub(crate) fn folded(profile: &Profile) -> anyhow::Result<BTreeMap<String, i64>> {
    let symbols = &profile.symbols;
    let mut stacks = BTreeMap::new();
    for index in 0..profile.samples.len() {
        let mut frames = Vec::new();
        for &location in profile.samples.stacks.get(index as u32).iter().rev() {
            for line in symbols.lines_of(location).iter().rev() {
                frames.push(format!("{}:{}", symbols.function_name(line.function), line.line));
            }
        }
        let value = profile.values_of(index)[0];
        if value != 0 {
            *stacks.entry(frames.join(";")).or_insert(0) += value;
        }
    }
    Ok(stacks)
}
