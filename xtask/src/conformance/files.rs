//! Sample files of public projects, against the results that those projects keep beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use anyhow::Context;
use argand_model::{Profile, ValueType};
use argand_wire::pprof;

use super::server::{self, Server};
use super::{Outcome, Verdict};

/// A file for `/ingest`, and the status and profile types that the reference server answers it with.
struct Upload {
    file: &'static str,
    config: Option<&'static str>,
    spy: &'static str,
    status: u16,
    types: &'static [&'static str],
}

const UPLOADS: [Upload; 12] = [
    Upload { file: "heap.pb.gz", config: None, spy: "gospy", status: 200, types: HEAP },
    Upload { file: "cpu.pb.gz", config: None, spy: "gospy", status: 200, types: CPU },
    Upload {
        file: "cpu-js.pb.gz",
        config: None,
        spy: "nodespy",
        status: 200,
        types: &["wall:sample:count:wall:microseconds", "wall:wall:microseconds:wall:microseconds"],
    },
    Upload {
        file: "nodejs-wall.pb.gz",
        config: None,
        spy: "nodespy",
        status: 200,
        types: &["wall:samples:count:wall:microseconds", "wall:wall:microseconds:wall:microseconds"],
    },
    Upload {
        file: "nodejs-heap.pb.gz",
        config: None,
        spy: "nodespy",
        status: 200,
        types: &["memory:inuse_objects:count:inuse_space:bytes", "memory:inuse_space:bytes:inuse_space:bytes"],
    },
    Upload {
        file: "req_2.pprof",
        config: Some("req_2.st.json"),
        spy: "gospy",
        status: 200,
        types: &["goroutines:goroutine:count:goroutine:count"],
    },
    Upload {
        file: "req_3.pprof",
        config: Some("req_3.st.json"),
        spy: "gospy",
        status: 200,
        types: &["block:contentions:count:contentions:count", "block:delay:nanoseconds:contentions:count"],
    },
    Upload {
        file: "req_4.pprof",
        config: Some("req_4.st.json"),
        spy: "gospy",
        status: 200,
        types: &["mutex:contentions:count:contentions:count", "mutex:delay:nanoseconds:contentions:count"],
    },
    Upload {
        file: "req_5.pprof",
        config: Some("req_5.st.json"),
        spy: "gospy",
        status: 200,
        types: &["memory:alloc_objects:count:space:bytes", "memory:alloc_space:bytes:space:bytes"],
    },
    Upload {
        file: "pyspy-1.pb.gz",
        config: None,
        spy: "pyspy",
        status: 200,
        types: &["process_cpu:samples:count::milliseconds"],
    },
    Upload {
        file: "dotnet-pprof-73.pb.gz",
        config: Some("dotnet-pprof-3.st.json"),
        spy: "dotnetspy",
        status: 200,
        types: &[
            "process_cpu:alloc_samples:count::nanoseconds",
            "process_cpu:alloc_size:bytes::nanoseconds",
            "process_cpu:cpu:nanoseconds::nanoseconds",
        ],
    },
    Upload { file: "invalid_utf8.pb.gz", config: None, spy: "gospy", status: 422, types: &[] },
];

const CPU: &[&str] = &["process_cpu:cpu:nanoseconds:cpu:nanoseconds", "process_cpu:samples:count:cpu:nanoseconds"];
const HEAP: &[&str] = &[
    "memory:alloc_objects:count:space:bytes",
    "memory:alloc_space:bytes:space:bytes",
    "memory:inuse_objects:count:space:bytes",
    "memory:inuse_space:bytes:space:bytes",
];

type Case = anyhow::Result<Result<(), String>>;

/// Runs every case whose file is there.
pub(crate) fn check(server: &Server, folder: &Path) -> anyhow::Result<Vec<Outcome>> {
    let (mut outcomes, mut others) = (Vec::new(), Vec::new());
    let mut add = |case: String, result: Case| {
        outcomes.push(Outcome::new(case, result.unwrap_or_else(|error| Err(format!("{error:#}")))));
    };
    for upload in &UPLOADS {
        let path = folder.join("pprof-ingest").join(upload.file);
        if path.exists() {
            add(format!("pprof {}", upload.file), check_upload(server, &path, upload));
        }
    }
    for (file, spy_type) in [
        ("simple", "process_cpu:cpu:nanoseconds:cpu:nanoseconds"),
        ("two-sampled", "wall:wall:nanoseconds:cpu:nanoseconds"),
    ] {
        let path = folder.join(format!("speedscope/{file}.speedscope.json"));
        if path.exists() {
            add(format!("speedscope {file}"), check_speedscope(server, &path, file, spy_type));
        }
    }
    for name in ["go-cpu-truncated-1", "go-heap-truncated-4"] {
        let path = folder.join(format!("pprof/{name}.pb.gz"));
        if path.exists() {
            let verdict =
                check_repair(server, folder, name).unwrap_or_else(|error| Verdict::Wrong(format!("{error:#}")));
            others.push(Outcome { name: format!("stack repair {name}"), verdict });
        }
    }
    if folder.join("pprof/go_type_parameters.txt").exists() {
        add("Go type parameters".to_owned(), check_type_parameters(server, &folder.join("pprof")));
    }
    for path in sorted(&folder.join("jfr-golden"), ".pb.gz")? {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let verdict = check_recording(server, folder, &name, &fs::read(&path)?);
        let verdict = verdict.unwrap_or_else(|error| Verdict::Wrong(format!("{error:#}")));
        others.push(Outcome { name: format!("JFR over HTTP {name}"), verdict });
    }
    outcomes.append(&mut others);
    Ok(outcomes)
}

fn sorted(folder: &Path, ending: &str) -> anyhow::Result<Vec<std::path::PathBuf>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let mut paths: Vec<_> =
        entries.iter().map(fs::DirEntry::path).filter(|p| p.to_string_lossy().ends_with(ending)).collect();
    paths.sort();
    Ok(paths)
}

fn expect_types(server: &Server, tenant: &str, expected: &[&str]) -> Case {
    let found = server.profile_types(tenant)?;
    Ok(if found == expected { Ok(()) } else { Err(format!("types {found:?} instead of {expected:?}")) })
}

fn check_upload(server: &Server, path: &Path, upload: &Upload) -> Case {
    let tenant = format!("upload_{}", upload.file);
    let mut parts = vec![("profile", fs::read(path)?)];
    if let Some(config) = upload.config {
        parts.push(("sample_type_config", fs::read(path.with_file_name(config))?));
    }
    let (content_type, body) = form(&parts);
    let answer = server.ingest(&tenant, &[("name", "app"), ("spyName", upload.spy)], &content_type, &body)?;
    if answer.status != upload.status {
        let message = String::from_utf8_lossy(&answer.body);
        return Ok(Err(format!("status {} instead of {}: {message}", answer.status, upload.status)));
    }
    expect_types(server, &tenant, upload.types)
}

fn form(parts: &[(&str, Vec<u8>)]) -> (String, Vec<u8>) {
    const BOUNDARY: &str = "argand-conformance-boundary";
    let mut body = Vec::new();
    for (name, content) in parts {
        let head =
            format!("--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{name}\"\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(content);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(format!("--{BOUNDARY}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={BOUNDARY}"), body)
}

fn check_speedscope(server: &Server, path: &Path, file: &str, profile_type: &str) -> Case {
    let tenant = format!("speedscope_{file}");
    let answer =
        server.ingest(&tenant, &[("name", "app"), ("format", "speedscope")], "application/json", &fs::read(path)?)?;
    if answer.status != 200 {
        return Ok(Err(format!("status {}: {}", answer.status, String::from_utf8_lossy(&answer.body))));
    }
    expect_types(server, &tenant, &[profile_type])
}

/// A profile with cut stacks, beside one that was repaired elsewhere: the sum must stay, and stacks may only grow.
///
/// How far a cut stack can be completed is a guess on both sides, so the figures are shown and not compared.
fn check_repair(server: &Server, folder: &Path, name: &str) -> anyhow::Result<Verdict> {
    let load = |variant: &str, spy: &str| -> anyhow::Result<BTreeMap<String, i64>> {
        let tenant = format!("repair_{name}{variant}_{spy}");
        let raw = fs::read(folder.join(format!("pprof/{name}{variant}.pb.gz")))?;
        server.ingest(&tenant, &[("name", "app"), ("format", "pprof"), ("spyName", spy)], "", &raw)?;
        let types = server.profile_types(&tenant)?;
        server.stacks(&tenant, types.last().context("nothing was stored")?, "{}")
    };
    let (sent, ours, theirs) = (load("", "unknown")?, load("", "gospy")?, load(".fixed", "unknown")?);
    let total = |stacks: &BTreeMap<String, i64>| stacks.values().sum::<i64>();
    if total(&ours) != total(&sent) {
        return Ok(Verdict::Wrong(format!("the total became {} from {}", total(&ours), total(&sent))));
    }
    let roots = |stacks: &BTreeMap<String, i64>| {
        stacks.keys().filter_map(|s| s.split(';').next()).collect::<BTreeSet<_>>().len()
    };
    let (before, after, reference) = (roots(&sent), roots(&ours), roots(&theirs));
    Ok(match after <= reference {
        true => Verdict::Better(format!("{before} distinct roots became {after}, elsewhere {reference}")),
        false => Verdict::Wrong(format!("{before} distinct roots became {after}, elsewhere {reference}")),
    })
}

fn compare_stacks(expected: &BTreeMap<String, i64>, found: &BTreeMap<String, i64>) -> Result<(), String> {
    let differing = expected.iter().filter(|(stack, value)| found.get(*stack) != Some(value));
    let count = differing.clone().count() + found.keys().filter(|stack| !expected.contains_key(*stack)).count();
    match differing.clone().next() {
        None if count == 0 => Ok(()),
        first => {
            let shown = first.map(|(stack, value)| format!("{stack} {value}, found {:?}", found.get(stack)));
            Err(format!("{count} of {} stacks differ, such as {shown:?}", expected.len()))
        }
    }
}

fn check_type_parameters(server: &Server, folder: &Path) -> Case {
    let mut profile = Profile::default();
    let strings = &mut profile.symbols.strings;
    profile.sample_types = vec![ValueType { kind: strings.push("cpu"), unit: strings.push("nanoseconds") }];
    for name in fs::read_to_string(folder.join("go_type_parameters.txt"))?.lines() {
        let location = profile.symbols.push_named_location(name);
        profile.samples.push([location], &[1], &[]);
    }
    let parameters = [("name", "app"), ("format", "pprof"), ("spyName", "gospy")];
    server.ingest("type_parameters", &parameters, "", &pprof::encode(&profile))?;
    let mut found = server.names("type_parameters", "process_cpu:cpu:nanoseconds::")?;
    let text = fs::read_to_string(folder.join("go_type_parameters.expected.txt"))?;
    let mut expected: Vec<&str> = text.lines().collect();
    expected.sort_unstable();
    expected.dedup();
    found.sort_unstable();
    Ok(if found == expected { Ok(()) } else { Err(format!("{found:?} instead of {expected:?}")) })
}

/// `<recording>.<type with underscores>.<all|threadN>.pb.gz` must be what the recording becomes.
fn check_recording(server: &Server, folder: &Path, golden: &str, expected: &[u8]) -> anyhow::Result<Verdict> {
    let mut parts = golden.trim_end_matches(".pb.gz").rsplitn(3, '.');
    let (selection, type_name, base) = (
        parts.next().context("no selection")?,
        parts.next().context("no type")?,
        parts.next().context("no recording")?,
    );
    let mut form_parts = vec![("jfr", fs::read(folder.join(format!("jfr/{base}.jfr.gz")))?)];
    let labels = folder.join(format!("jfr/{base}.labels.pb.gz"));
    if labels.exists() {
        form_parts.push(("labels", fs::read(labels)?));
    }
    let (content_type, body) = form(&form_parts);
    let parameters = [("name", "app"), ("format", "jfr"), ("spyName", "javaspy")];
    let answer = server.ingest(golden, &parameters, &content_type, &body)?;
    if answer.status != 200 {
        return Ok(Verdict::Wrong(format!("status {}: {}", answer.status, String::from_utf8_lossy(&answer.body))));
    }
    let types = server.profile_types(golden)?;
    let Some(profile_type) = types.iter().find(|t| t.replace(':', "_") == type_name) else {
        return Ok(Verdict::Wrong(format!("no type {type_name} among {types:?}")));
    };
    let selector = match selection.strip_prefix("thread") {
        Some(number) => format!("{{thread_name=\"pool-2-thread-{number}\"}}"),
        None => "{}".to_owned(),
    };
    let (expected, found) =
        (server::folded(&server::decode(expected)?)?, server.stacks(golden, profile_type, &selector)?);
    Ok(match compare_stacks(&expected, &found) {
        Ok(()) => Verdict::Same,
        Err(_) if type_name.contains("_delay_nanoseconds") && is_scaled(&expected, &found) => {
            Verdict::Better("delays in nanoseconds instead of the recording's ticks".to_owned())
        }
        Err(difference) => Verdict::Wrong(difference),
    })
}

/// Whether both have the same stacks, with values in one proportion; each event is rounded to whole nanoseconds.
fn is_scaled(expected: &BTreeMap<String, i64>, found: &BTreeMap<String, i64>) -> bool {
    let total = |stacks: &BTreeMap<String, i64>| stacks.values().sum::<i64>() as f64;
    let factor = total(found) / total(expected);
    let in_proportion = |(stack, &value): (&String, &i64)| {
        let wanted = value as f64 * factor;
        found.get(stack).is_some_and(|&value| (value as f64 - wanted).abs() <= 1e-3 * wanted.abs() + 10.0)
    };
    expected.len() == found.len() && expected.iter().all(in_proportion)
}
