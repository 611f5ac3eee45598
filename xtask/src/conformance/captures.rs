//! Requests as SDKs sent them, against totals that an independent decoder found in them.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::Context;
use serde_json::Value;

use super::Outcome;
use super::server::Server;

/// Headers that belong to a connection, not to a request.
const CONNECTION_HEADERS: [&str; 7] =
    ["host", "content-length", "transfer-encoding", "connection", "keep-alive", "expect", "x-scope-orgid"];

/// Replays every request that `summary.json` describes, each for a tenant of its own.
pub(crate) fn check(server: &Server, folder: &Path) -> anyhow::Result<Vec<Outcome>> {
    let path = folder.join("summary.json");
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let summary: BTreeMap<String, Value> = serde_json::from_str(&text).context("summary.json")?;
    let case = |(name, expected): (&String, &Value)| {
        let result = replay(server, folder, name, expected).unwrap_or_else(|error| Err(format!("{error:#}")));
        Outcome::new(format!("capture {name}"), result)
    };
    Ok(summary.iter().map(case).collect())
}

fn replay(server: &Server, folder: &Path, name: &str, expected: &Value) -> anyhow::Result<Result<(), String>> {
    let request: Value = serde_json::from_str(&fs::read_to_string(folder.join(format!("{name}.headers.json")))?)?;
    let body = fs::read(folder.join(format!("{name}.body.bin")))?;
    let tenant = name.replace('/', "_");
    let recorded = request["headers"].as_array().context("no headers")?;
    let pairs = recorded.iter().filter_map(|pair| Some((pair[0].as_str()?, pair[1].as_str()?)));
    let mut headers: Vec<(&str, &str)> =
        pairs.filter(|(name, _)| !CONNECTION_HEADERS.contains(&name.to_ascii_lowercase().as_str())).collect();
    headers.push(("X-Scope-OrgID", &tenant));
    let (path, query) = (request["path"].as_str().unwrap_or("/"), request["query"].as_str().unwrap_or(""));
    let separator = if query.is_empty() { "" } else { "?" };
    let answer = server.send("POST", &format!("{path}{separator}{query}"), &headers, &body)?;
    if answer.status != 200 {
        return Ok(Err(format!("status {}: {}", answer.status, String::from_utf8_lossy(&answer.body))));
    }
    let expected = expected_totals(expected);
    let mut found: BTreeMap<String, i64> = BTreeMap::new();
    for profile_type in server.profile_types(&tenant)? {
        let parts: Vec<&str> = profile_type.split(':').collect();
        *found.entry(format!("{}/{}", parts[1], parts[2])).or_default() += server.total(&tenant, &profile_type)?;
    }
    Ok(compare(&expected, &found))
}

/// Totals by `type/unit`.
fn expected_totals(expected: &Value) -> BTreeMap<String, i64> {
    let mut totals = BTreeMap::new();
    for profile in expected["profiles"].as_array().into_iter().flatten() {
        let types = profile["sample_types"].as_array().into_iter().flatten();
        for (kind, total) in types.zip(profile["totals"].as_array().into_iter().flatten()) {
            let kind = kind.as_str().unwrap_or("").replace('-', "_");
            *totals.entry(kind).or_default() += total.as_i64().unwrap_or(0);
        }
    }
    let rate = expected["query"]["sampleRate"].as_str().and_then(|r| r.parse().ok()).unwrap_or(100);
    add_jfr_totals(&expected["jfr"], rate, &mut totals);
    totals.retain(|_, total| *total != 0);
    totals
}

/// What the events of a recording come to; see the table of events in the documentation of `argand-jfr`.
fn add_jfr_totals(recording: &Value, rate: i64, totals: &mut BTreeMap<String, i64>) {
    let event = |name: &str, key: &str| recording["events"][name][key].as_i64().unwrap_or(0);
    let mut add = |kind: &str, value: i64| *totals.entry(kind.to_owned()).or_default() += value;
    let samples = event("jdk.ExecutionSample", "count");
    let sleeping = recording["events"]["jdk.ExecutionSample"]["state"]["STATE_SLEEPING"].as_i64().unwrap_or(0);
    // Clients that do not scale by the rate send 0.
    add("cpu/nanoseconds", (samples - sleeping) * 1_000_000_000i64.checked_div(rate).unwrap_or(0));
    for (name, kind, sum) in [
        ("jdk.ObjectAllocationInNewTLAB", "alloc_in_new_tlab", "sum_tlabSize"),
        ("jdk.ObjectAllocationOutsideTLAB", "alloc_outside_tlab", "sum_allocationSize"),
        ("jdk.ObjectAllocationSample", "alloc_sample", "sum_weight"),
    ] {
        add(&format!("{kind}_objects/count"), event(name, "count"));
        add(&format!("{kind}_bytes/bytes"), event(name, sum));
    }
    for name in ["jdk.JavaMonitorEnter", "jdk.ThreadPark"] {
        add("contentions/count", event(name, "count"));
        add("delay/nanoseconds", event(name, "sum_duration_ns"));
    }
}

/// Kinds that only the server found are compared where the summary has a figure for them.
fn compare(expected: &BTreeMap<String, i64>, found: &BTreeMap<String, i64>) -> Result<(), String> {
    let differs = |(kind, &want): (&String, &i64)| {
        let have = found.get(kind).copied().unwrap_or(0);
        // Ticks become nanoseconds event by event, so sums of durations differ by roundings.
        let tolerance = if kind == "delay/nanoseconds" { want / 100_000 } else { 0 };
        ((have - want).abs() > tolerance).then(|| format!("{kind}: {have} instead of {want}"))
    };
    let differences: Vec<String> = expected.iter().filter_map(differs).collect();
    if differences.is_empty() { Ok(()) } else { Err(differences.join(", ")) }
}
