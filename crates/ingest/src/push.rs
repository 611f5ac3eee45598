//! One profile of a `push.v1` request.

use argand_model::{Labels, Profile, Upload};
use argand_wire::inflate::{self, InflateError, InflateLimits};
use argand_wire::pprof::{self, PprofError, PprofOptions};
use argand_wire::{DecodeLimits, LimitError, Quantity};
use twox_hash::XxHash3_128;

use crate::{Context, IngestLimits, Reason, Rejection, go, labels, normalise, source_link};

/// Decodes, relabels, validates and splits one raw profile of a series.
///
/// `pairs` are the series' labels as sent, `raw` is pprof, gzipped or plain, `id` the sender's id of the sample
/// (may be empty). `Ok(None)` where nothing is left to store. Errors: [`Rejection`]; a profile that relabel rules drop
/// is one too ([`Reason::DroppedByRelabelRules`]), so that it can be counted.
pub fn push(
    pairs: &[(String, String)],
    raw: &[u8],
    id: &str,
    context: &mut Context<'_>,
) -> Result<Option<Upload>, Rejection> {
    let sent = labels::from_client(pairs)?;
    let profile = decode(raw, context.limits, false)?;
    let mut upload = accept(profile, &sent, context)?;
    if let (Some(upload), false) = (&mut upload, id.is_empty()) {
        // The id is the sender's word that this sample is one of its kind, so a second one is a retry.
        upload.idempotency_key = Some(content_key(&[id.as_bytes(), sent.to_string().as_bytes(), raw]));
    }
    Ok(upload)
}

/// Names content that its sender may send again.
pub(crate) fn content_key(parts: &[&[u8]]) -> u128 {
    let mut hasher = XxHash3_128::new();
    for part in parts {
        hasher.write(&(part.len() as u64).to_le_bytes());
        hasher.write(part);
    }
    hasher.finish_128()
}

/// Decodes pprof under the tenant's limits.
pub(crate) fn decode(raw: &[u8], limits: &IngestLimits, repair_zero_function_ids: bool) -> Result<Profile, Rejection> {
    let plain = unpack(raw, limits.profile_size_bytes)?;
    let options = PprofOptions { limits: decode_limits(limits), repair_zero_function_ids };
    pprof::decode(&plain, &options).map_err(|error| {
        let reason = match &error {
            PprofError::Limit(limit) => limit_reason(limit),
            _ => Reason::MalformedProfile,
        };
        Rejection::new(reason, format!("invalid pprof profile: {error}"))
    })
}

/// The decoder's bounds that go with a tenant's limits.
pub(crate) fn decode_limits(limits: &IngestLimits) -> DecodeLimits {
    let defaults = DecodeLimits::default();
    let larger = (limits.profile_size_bytes / IngestLimits::default().profile_size_bytes).max(1);
    DecodeLimits {
        samples: limits.samples,
        labels_per_sample: limits.sample_labels,
        string_bytes: defaults.string_bytes.saturating_mul(larger),
        memory_bytes: defaults.memory_bytes.saturating_mul(larger),
        ..defaults
    }
}

/// The kind of refusal that an exceeded bound of a decoder is.
pub(crate) fn limit_reason(error: &LimitError) -> Reason {
    match error.quantity {
        Quantity::Samples => Reason::SamplesLimit,
        Quantity::LabelsPerSample => Reason::SampleLabelsLimit,
        _ => Reason::ProfileSizeLimit,
    }
}

/// Removes gzip where its magic is seen.
pub(crate) fn unpack(raw: &[u8], limit_bytes: usize) -> Result<std::borrow::Cow<'_, [u8]>, Rejection> {
    inflate::gunzip_if_needed(raw, InflateLimits::new(limit_bytes)).map_err(|error| {
        let reason = match error {
            InflateError::TooLarge { .. } | InflateError::Ratio { .. } => Reason::ProfileSizeLimit,
            InflateError::Damaged { .. } => Reason::MalformedProfile,
        };
        Rejection::new(reason, error.to_string())
    })
}

/// The rest of the way, the same for all formats.
pub(crate) fn accept(
    mut profile: Profile,
    sent: &Labels,
    context: &mut Context<'_>,
) -> Result<Option<Upload>, Rejection> {
    let sent = labels::with_service_name(sent);
    let Some(series) = context.relabel.of_series(&sent) else {
        return Err(Rejection::new(Reason::DroppedByRelabelRules, format!("relabel rules drop {sent}")));
    };
    let series = labels::with_service_name(&series);
    labels::validate(&series, context.limits)?;
    if profile.time_ns == 0 {
        profile.time_ns = context.now_ns;
    }
    check_time(profile.time_ns, context)?;
    if go::is_go(&profile, &series) {
        go::repair(&mut profile);
    }
    source_link::attach(&mut profile, &series, context.limits)?;
    normalise::normalise(profile, &series, context)
}

fn check_time(time_ns: i64, context: &Context<'_>) -> Result<(), Rejection> {
    let age_ns = context.now_ns.saturating_sub(time_ns);
    let refuse = |what: &str, limit_ns: i64| {
        let (seconds, limit) = (age_ns.unsigned_abs() / 1_000_000_000, limit_ns / 1_000_000_000);
        let message = format!(
            "the profile is {seconds} s {what}, the limit is {limit} s: check the sender's clock or raise the limit"
        );
        Err(Rejection::new(Reason::NotInIngestionWindow, message))
    };
    match (context.limits.reject_older_than_ns, context.limits.reject_newer_than_ns) {
        (Some(limit), _) if age_ns > limit => refuse("old", limit),
        (_, Some(limit)) if age_ns < -limit => refuse("ahead of now", limit),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
