//! `/ingest`: every body format of Pyroscope's older endpoint.

use std::collections::BTreeMap;

use argand_jfr as jfr;
use argand_model::{Labels, Profile, ProfileType, Upload, ValueType, name};
use argand_wire::{FormatError, Measure, folded, speedscope, tree, trie};
use serde::Deserialize;

use crate::app;
use crate::push::{accept, content_key, decode, decode_limits, limit_reason, unpack};
use crate::{Context, Format, IngestParams, Reason, Rejection, strings};

/// The body of an `/ingest` request, with a multipart form already taken apart.
#[derive(Clone, Copy, Debug)]
pub enum LegacyBody<'a> {
    /// Everything but forms.
    Whole(&'a [u8]),
    /// A form with parts `profile` and perhaps `sample_type_config`.
    Pprof {
        /// pprof, gzipped or plain.
        profile: &'a [u8],
        /// JSON: sample type name to [`SampleTypeConfig`].
        sample_type_config: Option<&'a [u8]>,
        /// Whether a part `prev_profile` was there: very old Go clients, whose numbers would need differencing.
        has_previous: bool,
    },
    /// A form with parts `jfr` and perhaps `labels`.
    Jfr {
        /// The recording, gzipped or plain.
        recording: &'a [u8],
        /// The labels snapshot (protobuf), gzipped or plain.
        labels: Option<&'a [u8]>,
    },
}

/// What a client says of one sample type of its pprof.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct SampleTypeConfig {
    /// Name that tells what the type means, such as `mutex_count`.
    #[serde(rename = "display-name")]
    pub display_name: String,
    /// Unit for display.
    pub units: String,
    /// How values combine.
    pub aggregation: String,
    /// Whether values count from the start of the process.
    pub cumulative: bool,
    /// Whether values are samples at `sampleRate`.
    pub sampled: bool,
}

/// What an `/ingest` request became.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ingested {
    /// One upload per metric; none where nothing was left after normalisation.
    pub uploads: Vec<Upload>,
    /// Damage that did not keep the rest from being read: kind and how often.
    pub losses: Vec<(&'static str, u64)>,
    /// Metrics that relabel rules dropped.
    pub dropped: u64,
}

impl Ingested {
    /// Takes one metric of the request. Rules that drop it leave the others alone; other refusals are for all.
    fn add(&mut self, accepted: Result<Option<Upload>, Rejection>) -> Result<(), Rejection> {
        match accepted {
            Err(rejection) if rejection.reason == Reason::DroppedByRelabelRules => self.dropped += 1,
            accepted => self.uploads.extend(accepted?),
        }
        Ok(())
    }

    /// The only metric of the request.
    fn one(accepted: Result<Option<Upload>, Rejection>) -> Result<Self, Rejection> {
        let mut ingested = Self::default();
        ingested.add(accepted)?;
        Ok(ingested)
    }
}

/// Turns an `/ingest` request into uploads, one per metric that the body holds.
///
/// Errors: [`Rejection`]; nothing of the request is to be stored then.
pub fn ingest(params: &IngestParams, body: LegacyBody<'_>, context: &mut Context<'_>) -> Result<Ingested, Rejection> {
    match (params.format, body) {
        (_, LegacyBody::Pprof { has_previous: true, .. }) => Err(Rejection::new(
            Reason::MalformedProfile,
            "unsupported client version: the form has a part prev_profile, update the Go client to 1.0 or newer",
        )),
        (_, LegacyBody::Pprof { profile, sample_type_config, .. }) => {
            ingest_pprof(params, profile, &read_config(sample_type_config)?, context)
        }
        (_, LegacyBody::Jfr { recording, labels }) => ingest_jfr(params, recording, labels, context),
        (Format::Jfr, LegacyBody::Whole(recording)) => ingest_jfr(params, recording, None, context),
        (Format::Pprof | Format::PprofForm, LegacyBody::Whole(raw)) => {
            ingest_pprof(params, raw, &BTreeMap::new(), context)
        }
        (Format::Speedscope, LegacyBody::Whole(raw)) => ingest_speedscope(params, raw, context),
        (Format::Groups | Format::Lines | Format::Tree | Format::Trie, LegacyBody::Whole(raw)) => {
            ingest_stacks(params, raw, context)
        }
    }
}

fn malformed(error: impl std::fmt::Display) -> Rejection {
    Rejection::new(Reason::MalformedProfile, error.to_string())
}

/// Labels that every format gives its series.
fn series_labels(params: &IngestParams, app: &str, metric: &str) -> Labels {
    let tags = params.name.tags.iter().filter(|(key, _)| key != "profile_id").map(|(k, v)| (k.as_str(), v.as_str()));
    let labels =
        Labels::new(tags).with(name::NAME, metric).with("pyroscope_spy", &params.spy_name).with("__delta__", "false");
    match labels.get(name::SERVICE_NAME) {
        None | Some("") => labels.with(name::SERVICE_NAME, app),
        Some(_) => labels.with("app_name", app),
    }
}

// ---- pprof ----

fn read_config(part: Option<&[u8]>) -> Result<BTreeMap<String, SampleTypeConfig>, Rejection> {
    match part {
        None => Ok(BTreeMap::new()),
        Some(json) => {
            serde_json::from_slice(json).map_err(|error| malformed(format!("part sample_type_config: {error}")))
        }
    }
}

fn ingest_pprof(
    params: &IngestParams,
    raw: &[u8],
    config: &BTreeMap<String, SampleTypeConfig>,
    context: &mut Context<'_>,
) -> Result<Ingested, Rejection> {
    let is_dotnet = params.spy_name == "dotnetspy";
    let mut profile = decode(raw, context.limits, is_dotnet)?;
    if is_dotnet {
        rename_dashed_types(&mut profile);
    }
    if matches!(params.spy_name.as_str(), "pyspy" | "rbspy" | "scripting") {
        qualify_script_functions(&mut profile, params.spy_name == "pyspy");
    }
    // Old clients count in µs or ms, which lands in the first weeks of 1970.
    const YEAR_NS: i64 = 365 * 86_400_000_000_000;
    if profile.time_ns < YEAR_NS {
        profile.time_ns = params.from_ns;
    }
    let labels = series_labels(params, &params.name.app, &metric_of(&profile, config));
    Ingested::one(accept(profile, &labels, context))
}

fn rename_dashed_types(profile: &mut Profile) {
    for index in 0..profile.sample_types.len() {
        let renamed = profile.text(profile.sample_types[index].kind).replace('-', "_");
        profile.sample_types[index].kind = profile.symbols.strings.push(&renamed);
    }
}

/// Scripts' functions read `<file> <function>`.
fn qualify_script_functions(profile: &mut Profile, keep_absolute: bool) {
    strings::rename_functions(profile, |function, file| {
        let skip = file.is_empty() || (keep_absolute && file.starts_with('/'));
        (!skip).then(|| format!("{file} {function}"))
    });
}

/// The `__name__` of a pprof upload: what its sample types, by their display names, say first.
fn metric_of(profile: &Profile, config: &BTreeMap<String, SampleTypeConfig>) -> String {
    let kinds: Vec<&str> = profile.sample_types.iter().map(|t| profile.text(t.kind)).collect();
    if kinds.contains(&"wall") {
        return "wall".to_owned();
    }
    let display_names = kinds.iter().map(|&kind| match config.get(kind) {
        Some(config) if !config.display_name.is_empty() => config.display_name.as_str(),
        _ => default_display_name(kind),
    });
    let known = |name: &str| match name {
        name if name.contains("cpu") => Some("process_cpu"),
        name if ["alloc_", "inuse_", "space", "objects"].iter().any(|p| name.starts_with(p)) => Some("memory"),
        name if name.starts_with("mutex_") => Some("mutex"),
        name if name.starts_with("block_") => Some("block"),
        name if name.starts_with("goroutines") => Some("goroutines"),
        _ => None,
    };
    let first = display_names.clone().next().unwrap_or("unknown");
    display_names.clone().find_map(known).unwrap_or(first).to_owned()
}

fn default_display_name(kind: &str) -> &str {
    match kind {
        "samples" => "cpu",
        "goroutine" => "goroutines",
        "contentions" => "mutex_count",
        "delay" => "mutex_duration",
        other => other,
    }
}

// ---- JFR ----

fn ingest_jfr(
    params: &IngestParams,
    recording: &[u8],
    labels: Option<&[u8]>,
    context: &mut Context<'_>,
) -> Result<Ingested, Rejection> {
    let invalid = |error| malformed(format!("invalid JFR recording: {error}"));
    let limit = context.limits.profile_size_bytes.saturating_mul(JFR_SIZE_FACTOR);
    let plain = unpack(recording, limit)?;
    let labels = unpack(labels.unwrap_or_default(), context.limits.profile_size_bytes)?;
    let snapshot = jfr::LabelsSnapshot::decode(&labels).map_err(invalid)?;
    let options = jfr::Options {
        sample_rate_hz: params.sample_rate,
        time_ns: params.from_ns,
        duration_ns: params.until_ns - params.from_ns,
        ..jfr::Options::default()
    };
    let parsed = jfr::decode(&plain, &snapshot, &options).map_err(invalid)?;
    let losses = parsed.losses.iter().map(|(loss, count)| (loss.as_str(), count)).collect();
    let mut ingested = Ingested { losses, ..Ingested::default() };
    for (index, jfr::MetricProfile { metric, profile }) in parsed.profiles.into_iter().enumerate() {
        let labels = series_labels(params, &params.name.app, metric).with("jfr_event", &parsed.jfr_event);
        let mut accepted = accept(profile, &labels, context);
        if let Ok(Some(upload)) = &mut accepted {
            // The Java agent repeats a request until it is answered; recordings hold their own clock ticks.
            let (name, window) = (labels.to_string(), format!("{} {} {index}", params.from_ns, params.until_ns));
            upload.idempotency_key = Some(content_key(&[name.as_bytes(), window.as_bytes(), recording]));
        }
        ingested.add(accepted)?;
    }
    Ok(ingested)
}

/// A recording holds several metrics, metadata and constants, so it may be larger than one profile.
const JFR_SIZE_FACTOR: usize = 8;

// ---- formats with one number per stack ----

fn ingest_stacks(params: &IngestParams, raw: &[u8], context: &mut Context<'_>) -> Result<Ingested, Rejection> {
    let named = app::named_type(&params.name.app).map_err(malformed)?;
    let plain = unpack(raw, context.limits.profile_size_bytes)?;
    let scale = if named.is_time { nanoseconds_per_sample(params.sample_rate) } else { 1 };
    let measure = measure_of(&named.profile_type, scale);
    let limits = decode_limits(context.limits);
    let decoded = match params.format {
        Format::Lines => folded::decode_lines(&plain, measure, &limits),
        Format::Tree => tree::decode(&plain, measure, &limits),
        Format::Trie => trie::decode(&plain, measure, &limits),
        _ => folded::decode_groups(&plain, measure, &limits),
    };
    let profile = decoded.map_err(bad_format)?;
    let labels = series_labels(params, &named.app, &named.profile_type.name);
    Ingested::one(accept_named(profile, &named.profile_type, &labels, params, context))
}

fn nanoseconds_per_sample(sample_rate: u32) -> i64 {
    if sample_rate == 0 { 0 } else { 1_000_000_000 / i64::from(sample_rate) }
}

fn measure_of(profile_type: &ProfileType, scale: i64) -> Measure<'_> {
    Measure { kind: &profile_type.sample_type, unit: &profile_type.sample_unit, scale }
}

fn bad_format(error: FormatError) -> Rejection {
    let reason = match &error {
        FormatError::Limit(limit) => limit_reason(limit),
        _ => Reason::MalformedProfile,
    };
    Rejection::new(reason, error.to_string())
}

fn ingest_speedscope(params: &IngestParams, raw: &[u8], context: &mut Context<'_>) -> Result<Ingested, Rejection> {
    let plain = unpack(raw, context.limits.profile_size_bytes)?;
    let parts = speedscope::decode(&plain, &decode_limits(context.limits)).map_err(bad_format)?;
    let several = parts.len() > 1;
    let mut ingested = Ingested::default();
    for part in parts {
        let app_name =
            if several { format!("{}.{}", params.name.app, part.unit.name()) } else { params.name.app.clone() };
        let named = app::named_type(&app_name).map_err(malformed)?;
        let mut labels = series_labels(params, &named.app, &named.profile_type.name);
        if several {
            labels = labels.with("profile_name", &part.name);
        }
        let mut profile = part.profile;
        set_sample_type(&mut profile, &named.profile_type);
        ingested.add(accept_named(profile, &named.profile_type, &labels, params, context))?;
    }
    Ok(ingested)
}

fn set_sample_type(profile: &mut Profile, profile_type: &ProfileType) {
    let strings = &mut profile.symbols.strings;
    let kind = strings::find_or_push(strings, &profile_type.sample_type);
    let unit = strings::find_or_push(strings, &profile_type.sample_unit);
    profile.sample_types = vec![ValueType { kind, unit }];
}

/// Gives a profile the period type and the time that its format does not carry, and accepts it.
fn accept_named(
    mut profile: Profile,
    profile_type: &ProfileType,
    labels: &Labels,
    params: &IngestParams,
    context: &mut Context<'_>,
) -> Result<Option<Upload>, Rejection> {
    let strings = &mut profile.symbols.strings;
    let kind = strings::find_or_push(strings, &profile_type.period_type);
    let unit = strings::find_or_push(strings, &profile_type.period_unit);
    profile.period_type = ValueType { kind, unit };
    profile.time_ns = params.from_ns;
    profile.duration_ns = params.until_ns - params.from_ns;
    accept(profile, labels, context)
}

#[cfg(test)]
mod tests;
