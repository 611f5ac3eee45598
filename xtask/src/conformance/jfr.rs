//! Flight recordings against what other readers made of them.
//!
//! `DIR/jfr`: recordings of the JDK with `expected.json`, made from the JDK's own `jfr print`.
//! `DIR/pyroscope`: recordings of async-profiler (`jfr/*.jfr.gz`, with `*.labels.pb.gz` or `*.labels.gz`), and what the
//! reference server made of them: `jfr-expected` (samples and locations as text), `folded` (collapsed stacks) and
//! `jfr-golden` (pprof files of one value each).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use argand_jfr::{LabelsSnapshot, MetricProfile, Options, Recording};
use argand_model::Profile;
use argand_wire::inflate::{InflateLimits, gunzip_if_needed};
use argand_wire::pprof::{self, PprofOptions};
use serde_json::Value;

use super::{Outcome, Verdict};

/// Compares everything below `dir` that is there.
pub(crate) fn check(dir: &Path) -> Vec<Outcome> {
    let mut outcomes = Vec::new();
    outcomes.extend(attempt("jfr/expected.json", || jdk_recordings(&dir.join("jfr"))));
    let pyroscope = dir.join("pyroscope");
    for folder in ["jfr-expected", "folded", "jfr-golden"] {
        for file in files(&pyroscope.join(folder)) {
            let name = file_name(&file);
            let compare = || compare_with_file(&pyroscope, folder, &file);
            outcomes.extend(attempt(&format!("{folder}/{name}"), compare));
        }
    }
    outcomes
}

type Failure = Box<dyn std::error::Error>;

/// Labels as `name=value`, sorted and joined, and the stack root first, joined with `;`.
type Row = (String, String);

/// Values of each row.
type Rows = BTreeMap<Row, Vec<i64>>;

fn attempt(name: &str, compare: impl FnOnce() -> Result<Vec<Outcome>, Failure>) -> Vec<Outcome> {
    compare().unwrap_or_else(|error| vec![outcome(name, Verdict::Wrong(error.to_string()))])
}

fn outcome(name: &str, verdict: Verdict) -> Outcome {
    Outcome { name: name.to_owned(), verdict }
}

fn compare_with_file(pyroscope: &Path, folder: &str, file: &Path) -> Result<Vec<Outcome>, Failure> {
    let name = file_name(file);
    let recordings = files(&pyroscope.join("jfr"));
    let belongs = |stem: &str| name.strip_prefix(stem).is_some_and(|rest| rest.starts_with(['.', '_']));
    let stem = recordings
        .iter()
        .filter_map(|recording| Some(file_name(recording).strip_suffix(".jfr.gz")?.to_owned()))
        .filter(|stem| belongs(stem))
        .max_by_key(String::len)
        .ok_or("no recording of that name")?;
    let source = Source::read(&pyroscope.join("jfr"), &stem)?;
    let recording = source.decode()?;
    let expected = read(file)?;
    let title = format!("{folder}/{name}");
    if folder == "jfr-golden" {
        return golden(&title, &name[stem.len() + 1..], &source, &recording, &expected);
    }
    let text = String::from_utf8(expected)?;
    if name.ends_with(".json.gz") {
        return folded_json(&title, &source, &recording, &text);
    }
    // <n>_<metric>_<sample types>_expected…
    let wanted = name[stem.len() + 1..].split_once('_').ok_or("file name without number")?.1;
    let found = recording.profiles.iter().find(|p| wanted.starts_with(&format!("{}_expected", described(p))));
    let MetricProfile { profile, .. } = found.ok_or_else(|| format!("no such profile: {wanted}"))?;
    let (ours, theirs) = if folder == "folded" {
        (rows(profile, false, true), folded_rows(&text)?)
    } else {
        (rows(profile, true, true), text_rows(&text)?)
    };
    Ok(vec![outcome(&title, compare(&ours, &theirs, delay_column(profile), source.ticks_per_second))])
}

/// A recording and its labels, inflated.
struct Source {
    recording: Vec<u8>,
    labels: Vec<u8>,
    ticks_per_second: u64,
}

impl Source {
    fn read(folder: &Path, stem: &str) -> Result<Self, Failure> {
        let recording = read(&folder.join(format!("{stem}.jfr.gz")))?;
        let labels = ["labels.pb.gz", "labels.gz"].map(|end| folder.join(format!("{stem}.{end}")));
        let labels = labels.iter().find(|path| path.exists()).map_or(Ok(Vec::new()), |path| read(path))?;
        let ticks = recording.get(56..64).ok_or("recording is too short")?;
        let ticks_per_second = u64::from_be_bytes(ticks.try_into()?);
        Ok(Self { recording, labels, ticks_per_second })
    }

    fn decode(&self) -> Result<Recording, Failure> {
        let labels = LabelsSnapshot::decode(&self.labels)?;
        Ok(argand_jfr::decode(&self.recording, &labels, &Options::default())?)
    }
}

/// `<metric>_<type>__<unit>+<type>__<unit>`, as the files are named.
fn described(MetricProfile { metric, profile }: &MetricProfile) -> String {
    let types = profile.sample_types.iter().map(|t| format!("{}__{}", profile.text(t.kind), profile.text(t.unit)));
    format!("{metric}_{}", types.collect::<Vec<_>>().join("+"))
}

/// The samples of a profile, summed.
fn rows(profile: &Profile, with_labels: bool, with_lines: bool) -> Rows {
    let mut rows = Rows::new();
    for (index, stack) in profile.samples.stacks.iter().enumerate() {
        let mut labels: Vec<String> = profile
            .samples
            .labels_of(index)
            .iter()
            .map(|label| format!("{}={}", profile.text(label.key), profile.text(label.text)))
            .collect();
        labels.sort();
        let frames = stack.iter().rev().flat_map(|&location| profile.symbols.lines_of(location)).map(|line| {
            let name = profile.symbols.function_name(line.function);
            if with_lines { format!("{name}:{}", line.line) } else { name.to_owned() }
        });
        let stack = frames.collect::<Vec<_>>().join(";");
        let labels = if with_labels { labels.join(",") } else { String::new() };
        add(&mut rows, (labels, stack), profile.values_of(index));
    }
    rows
}

fn add(rows: &mut Rows, row: Row, values: &[i64]) {
    let sums = rows.entry(row).or_insert_with(|| vec![0; values.len()]);
    sums.iter_mut().zip(values).for_each(|(sum, value)| *sum += value);
}

/// Text of samples and locations:
/// ```text
/// Samples:
/// cpu/nanoseconds
///    10000000: 1 2 3
///                 label:[value] label:[value]
/// Locations
///      1: 0x0 M=1 name :line:0 s=0()
/// ```
fn text_rows(text: &str) -> Result<Rows, Failure> {
    let (_, body) = text.split_once("Samples:\n").ok_or("no samples")?;
    let (samples, rest) = body.split_once("\nLocations\n").ok_or("no locations")?;
    let locations =
        rest.split("\nMappings").next().unwrap_or_default().lines().map(location).collect::<Option<Vec<_>>>();
    let locations = locations.ok_or("malformed location")?;
    let mut lines = samples.lines().skip(1).peekable();
    let mut rows = Rows::new();
    while let Some(sample) = lines.next() {
        let (values, ids) = sample.split_once(':').ok_or("malformed sample")?;
        let values = numbers(values)?;
        let ids = numbers(ids)?;
        let frames = ids.iter().rev().map(|&id| locations.get(id as usize - 1).cloned()).collect::<Option<Vec<_>>>();
        let labels = lines.next_if(|line| line.trim_end().ends_with(']')).map(sorted_labels).unwrap_or_default();
        add(&mut rows, (labels, frames.ok_or("unknown location")?.join(";")), &values);
    }
    Ok(rows)
}

fn location(line: &str) -> Option<String> {
    let (name_and_line, _) = line.split_once("M=1 ")?.1.rsplit_once(":0 s=0()")?;
    let (name, line) = name_and_line.rsplit_once(" :")?;
    Some(with_unknown_line(format!("{name}:{line}")))
}

/// The JDK gives native frames the line -1, which the reference server takes for a number without sign.
fn with_unknown_line(frames: String) -> String {
    frames.replace(":4294967295", ":0")
}

fn sorted_labels(line: &str) -> String {
    let mut labels: Vec<String> =
        line.trim().trim_end_matches(']').split("] ").map(|label| label.replacen(":[", "=", 1)).collect();
    labels.sort();
    labels.join(",")
}

fn numbers(text: &str) -> Result<Vec<i64>, Failure> {
    Ok(text.split_whitespace().map(str::parse).collect::<Result<_, _>>()?)
}

/// `frame:line;frame:line [value value]`, root first.
fn folded_rows(text: &str) -> Result<Rows, Failure> {
    let mut rows = Rows::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        let (stack, values) = line.strip_suffix(']').and_then(|l| l.rsplit_once(" [")).ok_or("malformed line")?;
        add(&mut rows, (String::new(), with_unknown_line(stack.to_owned())), &numbers(values)?);
    }
    Ok(rows)
}

/// An object from `app.<event>{labels}` to collapsed stacks without lines; counts are samples.
fn folded_json(title: &str, source: &Source, recording: &Recording, text: &str) -> Result<Vec<Outcome>, Failure> {
    let mut by_type: BTreeMap<&str, Rows> = BTreeMap::new();
    let object: BTreeMap<String, String> = serde_json::from_str(text)?;
    for (key, stacks) in &object {
        let (name, labels) = key.strip_suffix('}').and_then(|key| key.split_once('{')).ok_or("malformed key")?;
        let event = name.rsplit_once('.').ok_or("key without event")?.1;
        for line in stacks.lines().filter(|line| !line.is_empty()) {
            let (stack, count) = line.rsplit_once(' ').ok_or("line without count")?;
            // The file has an older spelling.
            let row = (labels.to_owned(), stack.replace("$$Lambda$_", "$$Lambda_"));
            add(by_type.entry(event).or_default(), row, &[count.parse()?]);
        }
    }
    let compare_type = |(event, theirs): (&str, Rows)| {
        let (sample_type, metric, scale) = match event {
            "cpu" | "itimer" => ("cpu", "process_cpu", 10_000_000),
            "lock_count" => ("contentions", "mutex", 1),
            "lock_duration" => ("delay", "mutex", 1),
            "thread_park_count" => ("contentions", "block", 1),
            "thread_park_duration" => ("delay", "block", 1),
            memory => (memory, "memory", 1),
        };
        let title = format!("{title} {event}");
        let found =
            recording.profiles.iter().filter(|p| p.metric == metric).find_map(|MetricProfile { profile, .. }| {
                let column = profile.sample_types.iter().position(|t| profile.text(t.kind) == sample_type)?;
                let ours =
                    rows(profile, true, false).into_iter().map(|(row, values)| (row, vec![values[column] / scale]));
                let delay = (sample_type == "delay").then_some(0);
                Some(compare(&ours.collect(), &theirs, delay, source.ticks_per_second))
            });
        outcome(&title, found.unwrap_or(Verdict::Wrong("no such profile".to_owned())))
    };
    Ok(by_type.into_iter().map(compare_type).collect())
}

/// `rest` is `<metric>_<type>_<unit>_<period type>_<period unit>.(all|thread<N>).pb.gz`.
fn golden(
    title: &str,
    rest: &str,
    source: &Source,
    recording: &Recording,
    expected: &[u8],
) -> Result<Vec<Outcome>, Failure> {
    let expected = pprof::decode(expected, &PprofOptions::default())?;
    let (wanted, filter) = rest.split_once('.').ok_or("file name without filter")?;
    let thread = filter.strip_prefix("thread").and_then(|f| f.split('.').next()).map(|n| format!("pool-2-thread-{n}"));
    let found = recording.profiles.iter().find_map(|MetricProfile { metric, profile }| {
        let period = format!("{}_{}", profile.text(profile.period_type.kind), profile.text(profile.period_type.unit));
        let is_wanted = |&(_, t): &(usize, &argand_model::ValueType)| {
            format!("{metric}_{}_{}_{period}", profile.text(t.kind), profile.text(t.unit)) == wanted
        };
        profile.sample_types.iter().enumerate().find(is_wanted).map(|(column, _)| (profile, column))
    });
    let (profile, column) = found.ok_or_else(|| format!("no such profile: {wanted}"))?;
    let mut ours = Rows::new();
    for ((labels, stack), values) in rows(profile, true, true) {
        let is_of_thread = |thread: &String| labels.split(',').any(|label| label == format!("thread_name={thread}"));
        if thread.as_ref().is_none_or(is_of_thread) {
            add(&mut ours, (String::new(), stack), &[values[column]]);
        }
    }
    let delay = (profile.text(profile.sample_types[column].kind) == "delay").then_some(0);
    Ok(vec![outcome(title, compare(&ours, &rows(&expected, false, true), delay, source.ticks_per_second))])
}

fn delay_column(profile: &Profile) -> Option<usize> {
    profile.sample_types.iter().position(|t| profile.text(t.kind) == "delay")
}

/// The reference server takes durations in ticks for nanoseconds; ours are converted, event by event. With other
/// than 10^9 ticks per second the column `delay` therefore is compared after scaling, to a thousandth.
fn compare(ours: &Rows, theirs: &Rows, delay: Option<usize>, ticks_per_second: u64) -> Verdict {
    let is_scaled = delay.is_some() && ticks_per_second != 1_000_000_000;
    let same = |ours: &[i64], theirs: &[i64]| {
        ours.len() == theirs.len()
            && ours.iter().zip(theirs).enumerate().all(|(column, (&ours, &theirs))| {
                if !is_scaled || delay != Some(column) {
                    return ours == theirs;
                }
                let exact = theirs as f64 * 1e9 / ticks_per_second as f64;
                (exact - ours as f64).abs() <= (exact / 1000.0).max(2.0)
            })
    };
    let empty = Vec::new();
    let keys: std::collections::BTreeSet<&Row> = ours.keys().chain(theirs.keys()).collect();
    let differences: Vec<String> = keys
        .into_iter()
        .map(|row| (row, ours.get(row).unwrap_or(&empty), theirs.get(row).unwrap_or(&empty)))
        .filter(|(_, ours, theirs)| !same(ours, theirs))
        .map(|((labels, stack), ours, theirs)| format!("{{{labels}}} {stack}: {ours:?} instead of {theirs:?}"))
        .collect();
    if !differences.is_empty() {
        let shown = differences[..differences.len().min(3)].join("\n  ");
        return Verdict::Wrong(format!("{} of {} rows differ:\n  {shown}", differences.len(), theirs.len()));
    }
    let Some(column) = delay.filter(|_| is_scaled) else {
        return Verdict::Same;
    };
    let total = |rows: &Rows| rows.values().map(|values| values[column]).sum::<i64>();
    Verdict::Better(format!(
        "delay in nanoseconds: {} instead of {} ticks at {ticks_per_second} per second",
        total(ours),
        total(theirs)
    ))
}

/// Recordings of the JDK against counts and sums of the JDK's own tool.
fn jdk_recordings(folder: &Path) -> Result<Vec<Outcome>, Failure> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let expected: Value = serde_json::from_slice(&fs::read(folder.join("expected.json"))?)?;
    let mut outcomes = Vec::new();
    let files = expected.as_array().ok_or("no list")?;
    for file in files {
        let name = file["file"].as_str().ok_or("entry without file")?;
        let bytes = read(&folder.join(name))?;
        let recording = argand_jfr::decode(&bytes, &LabelsSnapshot::default(), &Options::default())?;
        for (event, expected) in file["events"].as_object().ok_or("entry without events")? {
            if let Some((metric, types, sum)) = profile_of_event(event) {
                let found = recording.profiles.iter().find(|p| described(p) == format!("{metric}_{types}"));
                let methods = with_methods_of_parts(expected, event, file, files);
                let problem =
                    found.map_or(Some("no such profile".to_owned()), |p| jdk_event(&p.profile, &methods, sum));
                let is_other = methods != *expected;
                let better =
                    || Verdict::Better("stacks as in the parts; the JDK's tool mixes up their constants".to_owned());
                let verdict = problem.map_or_else(|| if is_other { better() } else { Verdict::Same }, Verdict::Wrong);
                outcomes.push(outcome(&format!("jfr/{name} {event}"), verdict));
            }
        }
    }
    Ok(outcomes)
}

/// What is expected of an event type in `file`, with the methods of the file that holds the chunk with these events
/// alone: where recordings of several processes are concatenated, the JDK's tool looks up stacks of a later one among
/// the constants of the first one.
fn with_methods_of_parts(expected: &Value, event: &str, file: &Value, files: &[Value]) -> Value {
    let no_chunks = Vec::new();
    let chunks = |file: &Value| file["chunks"].as_array().cloned().unwrap_or_default();
    let own = file["chunks"].as_array().unwrap_or(&no_chunks);
    let is_part = |other: &&Value| chunks(other).len() < own.len() && chunks(other).iter().all(|c| own.contains(c));
    let part = files.iter().filter(is_part).find_map(|part| part["events"].get(event));
    part.unwrap_or(expected).clone()
}

/// Metric, sample types and name of the sum in `expected.json`.
fn profile_of_event(event: &str) -> Option<(&'static str, &'static str, &'static str)> {
    Some(match event {
        "jdk.ExecutionSample" => ("process_cpu", "cpu__nanoseconds", ""),
        "jdk.ObjectAllocationInNewTLAB" => {
            ("memory", "alloc_in_new_tlab_objects__count+alloc_in_new_tlab_bytes__bytes", "sum_tlabSize")
        }
        "jdk.ObjectAllocationOutsideTLAB" => {
            ("memory", "alloc_outside_tlab_objects__count+alloc_outside_tlab_bytes__bytes", "sum_allocationSize")
        }
        "jdk.ObjectAllocationSample" => {
            ("memory", "alloc_sample_objects__count+alloc_sample_bytes__bytes", "sum_weight")
        }
        "jdk.JavaMonitorEnter" => ("mutex", "contentions__count+delay__nanoseconds", "sum_duration_ns"),
        "jdk.ThreadPark" => ("block", "contentions__count+delay__nanoseconds", "sum_duration_ns"),
        _ => return None,
    })
}

/// What is wrong with the profile of an event type, if anything. Events without stack are in the sum of the JDK only,
/// so the sum is compared where there are none.
fn jdk_event(profile: &Profile, expected: &Value, sum: &str) -> Option<String> {
    let scale = if sum.is_empty() { 10_000_000 } else { 1 };
    let without_stack = expected["without_stack"].as_i64().unwrap_or(0);
    let (mut leaves, mut roots) = (BTreeMap::new(), BTreeMap::new());
    let (mut count, mut total, mut depth) = (0, 0, 0);
    for ((_, stack), values) in rows(profile, false, false) {
        let frames: Vec<String> = stack.split(';').map(|frame| frame.replace('/', ".")).collect();
        *roots.entry(frames[0].clone()).or_insert(0) += values[0] / scale;
        *leaves.entry(frames[frames.len() - 1].clone()).or_insert(0) += values[0] / scale;
        count += values[0] / scale;
        total += values.get(1).copied().unwrap_or(0);
        depth = depth.max(frames.len());
    }
    let differs = |what: &str, ours: i64, theirs: &Value| {
        (Some(ours) != theirs.as_i64()).then(|| format!("{what}: {ours} instead of {theirs}"))
    };
    let methods = |what: &str, ours: &BTreeMap<String, i64>, theirs: &Value| {
        let mut listed = theirs.as_object()?.iter();
        listed.find_map(|(name, n)| differs(&format!("{what} {name}"), ours.get(name).copied().unwrap_or(0), n))
    };
    differs("events", count + without_stack, &expected["count"])
        .or_else(|| methods("leaf", &leaves, &expected["leaf"]))
        .or_else(|| methods("root", &roots, &expected["root"]))
        .or_else(|| differs("depth", depth as i64, &expected["max_depth"]))
        .or_else(|| if sum.is_empty() || without_stack > 0 { None } else { differs(sum, total, &expected[sum]) })
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let limits = InflateLimits::new(1 << 28);
    let bytes = fs::read(path).map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(gunzip_if_needed(&bytes, limits)?.into_owned())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    paths.sort();
    paths
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
