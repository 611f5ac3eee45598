//! OTLP exports: what their profiles are called here, and which labels their series get.

use std::borrow::Cow;

use argand_model::{Labels, Profile, Upload, ValueType, name};
use argand_wire::otlp::{self, OtlpError, SERVICE_NAME, ServiceProfile};

use crate::labels::UNKNOWN_SERVICE;
use crate::push::{accept, content_key, decode_limits, limit_reason};
use crate::{Context, Reason, Rejection, strings};

/// An export holds the profiles of a whole machine over tables that they share, so it may be larger than one profile.
const EXPORT_SIZE_FACTOR: usize = 4;

/// Time that a profile covers if it does not say, ns.
const DEFAULT_DURATION_NS: i64 = 10_000_000_000;

const EXECUTABLE_NAME: &str = "process.executable.name";

/// What an export became.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// One upload per profile and service; none of a profile where nothing is left after normalisation.
    pub uploads: Vec<Upload>,
    /// Profiles that cannot be stored, dropped ones included.
    pub rejections: Vec<Rejection>,
}

/// Turns an export request (protobuf) into uploads. A profile that cannot be stored leaves the others.
///
/// Errors: the request cannot be read, or becomes more than the limits allow; nothing of it is to be stored then.
pub fn export(bytes: &[u8], context: &mut Context<'_>) -> Result<Exported, Rejection> {
    let mut limits = decode_limits(context.limits);
    limits.string_bytes = limits.string_bytes.saturating_mul(EXPORT_SIZE_FACTOR);
    limits.memory_bytes = limits.memory_bytes.saturating_mul(EXPORT_SIZE_FACTOR);
    let mut exported = Exported::default();
    let mut position = 0u64;
    let content = content_key(&[bytes]).to_le_bytes();
    otlp::decode(bytes, &limits, |part| {
        position += 1;
        match accept_part(part, context) {
            Ok(None) => {}
            Ok(Some(mut upload)) => {
                // Collectors repeat a request until it is answered.
                upload.idempotency_key = Some(content_key(&[&content, &position.to_le_bytes()]));
                exported.uploads.push(upload);
            }
            Err(rejection) => exported.rejections.push(rejection),
        }
        Ok::<_, OtlpError>(())
    })
    .map_err(|error| {
        let reason = match &error {
            OtlpError::Limit(limit) => limit_reason(limit),
            _ => Reason::MalformedProfile,
        };
        Rejection::new(reason, format!("invalid OTLP profiles: {error}"))
    })?;
    Ok(exported)
}

fn accept_part(part: ServiceProfile<'_>, context: &mut Context<'_>) -> Result<Option<Upload>, Rejection> {
    let ServiceProfile { service, attributes, mut profile } = part;
    let metric = name_metric(&mut profile)?;
    if profile.duration_ns == 0 {
        profile.duration_ns = DEFAULT_DURATION_NS;
    }
    let attribute = |name: &str| attributes.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_ref());
    let service = match service.or_else(|| attribute(SERVICE_NAME)).filter(|name| !name.is_empty()) {
        Some(service) => Cow::Borrowed(service),
        None => match attribute(EXECUTABLE_NAME) {
            Some(executable) => Cow::Owned(format!("{UNKNOWN_SERVICE}:{executable}")),
            None => Cow::Borrowed(UNKNOWN_SERVICE),
        },
    };
    let own = [
        (name::NAME, metric.as_str()),
        ("__delta__", "false"),
        ("__otel__", "true"),
        (name::SERVICE_NAME, service.as_ref()),
    ];
    // Of equal names the last one stays, and of attributes the first counts.
    let attributes = attributes.iter().rev().map(|(key, value)| (key.as_ref(), value.as_ref()));
    let labels = Labels::new(attributes.filter(|(key, _)| *key != SERVICE_NAME).chain(own));
    accept(profile, &labels, context)
}

/// The `__name__` of a profile. What counts CPU samples becomes time, as everywhere else.
///
/// Errors: nothing in the profile names it.
fn name_metric(profile: &mut Profile) -> Result<String, Rejection> {
    let text = |id| profile.text(id);
    let (sample_type, period_type) = (profile.sample_types[0], profile.period_type);
    let words = [sample_type.kind, sample_type.unit, period_type.kind, period_type.unit].map(text);
    match words {
        ["samples", "count", "cpu", "nanoseconds"] => {
            let period = profile.period;
            profile.samples.values.iter_mut().for_each(|value| *value = value.saturating_mul(period));
            let strings = &mut profile.symbols.strings;
            let (kind, unit) = (strings::find_or_push(strings, "cpu"), strings::find_or_push(strings, "nanoseconds"));
            profile.sample_types = vec![ValueType { kind, unit }];
            Ok("process_cpu".to_owned())
        }
        ["off_cpu", "nanoseconds", "", _] => Ok("off_cpu".to_owned()),
        [kind, unit, "", _] => {
            let message = format!("profile of {kind:?} in {unit:?} has no period type, which would name it");
            Err(Rejection::new(Reason::MalformedProfile, message))
        }
        [_, _, period_type, _] => Ok(period_type.to_owned()),
    }
}

#[cfg(test)]
mod tests;
