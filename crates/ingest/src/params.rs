//! Query parameters of `/ingest`.

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::{AppName, AppNameError};

/// How the body of an `/ingest` request is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Folded stacks with counts.
    Groups,
    /// Folded stacks, one a line.
    Lines,
    /// Binary prefix tree of frames.
    Tree,
    /// Binary prefix tree of text fragments.
    Trie,
    /// The body is a pprof profile.
    Pprof,
    /// The body is a multipart form with a pprof profile.
    PprofForm,
    /// A Java flight recording, plain or as multipart form.
    Jfr,
    /// Speedscope JSON.
    Speedscope,
}

impl Format {
    /// The format's name for counters.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Groups => "groups",
            Self::Lines => "lines",
            Self::Tree => "tree",
            Self::Trie => "trie",
            Self::Pprof | Self::PprofForm => "pprof",
            Self::Jfr => "jfr",
            Self::Speedscope => "speedscope",
        }
    }

    fn choose(parameter: &str, content_type: &str) -> Self {
        match (parameter, content_type) {
            ("trie", _) | (_, "binary/octet-stream+trie") => Self::Trie,
            ("tree", _) | (_, "binary/octet-stream+tree") => Self::Tree,
            ("lines", _) => Self::Lines,
            ("jfr", _) => Self::Jfr,
            // Old Rust and Node clients set the parameter for multipart bodies too.
            ("pprof", form) if form.contains("multipart/form-data") => Self::PprofForm,
            ("pprof", _) => Self::Pprof,
            ("speedscope", _) => Self::Speedscope,
            (_, form) if form.contains("multipart/form-data") => Self::PprofForm,
            _ => Self::Groups,
        }
    }
}

/// The parameters, read and defaulted.
#[derive(Clone, Debug, PartialEq)]
pub struct IngestParams {
    /// Application and tags.
    pub name: AppName,
    /// Start of the profile's window, ns since the Unix epoch.
    pub from_ns: i64,
    /// End of the profile's window, ns since the Unix epoch; not before `from_ns`.
    pub until_ns: i64,
    /// Samples per second.
    pub sample_rate: u32,
    /// The client's profiler, kept as label `pyroscope_spy`.
    pub spy_name: String,
    /// Layout of the body.
    pub format: Format,
}

/// Why the parameters cannot be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// `name`.
    #[error(transparent)]
    Name(#[from] AppNameError),
    /// `from` or `until`.
    #[error("parameter {parameter} {text:?} is no time: use epoch seconds, milliseconds or nanoseconds, or now-1h")]
    Time {
        /// Which one.
        parameter: &'static str,
        /// As given.
        text: String,
    },
}

impl IngestParams {
    /// Reads decoded key and value pairs; unknown ones are ignored. Errors: [`ParamError`].
    pub fn parse(pairs: &[(String, String)], content_type: &str, now_ns: i64) -> Result<Self, ParamError> {
        let get = |key: &str| pairs.iter().find(|(k, _)| k == key).map_or("", |(_, v)| v.as_str());
        let time = |parameter: &'static str| match get(parameter) {
            "" => Ok(now_ns),
            text => parse_time(text, now_ns).ok_or_else(|| ParamError::Time { parameter, text: text.to_owned() }),
        };
        let (from_ns, until_ns) = (time("from")?, time("until")?);
        Ok(Self {
            name: AppName::parse(get("name"))?,
            from_ns,
            until_ns: until_ns.max(from_ns),
            // Clients that do not scale by it send 0 or nothing.
            sample_rate: get("sampleRate").parse().unwrap_or(100),
            spy_name: match get("spyName") {
                "" => "unknown".to_owned(),
                name => name.to_owned(),
            },
            format: Format::choose(get("format"), content_type),
        })
    }
}

/// Reads a time as Pyroscope's APIs take it, as ns since the Unix epoch; `None` where it is none.
///
/// Digits: 8 are `YYYYMMDD`, 13 ms, 16 µs, 19 ns, other lengths seconds. `now`, `now-1h`, `now-30s`; units s, m (min),
/// h, d, w, M (mon), y. Blanks, `_` and `,` are ignored. Besides those, RFC 3339 such as `2026-11-23T10:00:00Z`.
pub fn parse_time(text: &str, now_ns: i64) -> Option<i64> {
    let text: String = text.chars().filter(|c| !matches!(c, ' ' | '_' | ',')).collect();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return parse_digits(&text);
    }
    let Some(offset) = text.strip_prefix("now") else { return timestamp_ns(text.parse().ok()?) };
    if offset.is_empty() {
        return Some(now_ns);
    }
    let sign = match offset.as_bytes()[0] {
        b'-' => -1,
        b'+' => 1,
        _ => return None,
    };
    let digits_end = offset[1..].find(|c: char| !c.is_ascii_digit())? + 1;
    let amount: i64 = offset[1..digits_end].parse().ok()?;
    let seconds = match &offset[digits_end..] {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        "M" | "mon" => 30 * 86_400,
        "y" => 365 * 86_400,
        _ => return None,
    };
    now_ns.checked_add(amount.checked_mul(seconds)?.checked_mul(1_000_000_000)?.checked_mul(sign)?)
}

fn timestamp_ns(timestamp: Timestamp) -> Option<i64> {
    i64::try_from(timestamp.as_nanosecond()).ok()
}

fn parse_digits(text: &str) -> Option<i64> {
    let number: i64 = text.parse().ok()?;
    match text.len() {
        8 => timestamp_ns(jiff::civil::Date::strptime("%Y%m%d", text).ok()?.to_zoned(TimeZone::UTC).ok()?.timestamp()),
        13 => number.checked_mul(1_000_000),
        16 => number.checked_mul(1_000),
        19 => Some(number),
        _ => number.checked_mul(1_000_000_000),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_700_000_000_000_000_000;

    fn parse(query: &[(&str, &str)], content_type: &str) -> Result<IngestParams, ParamError> {
        let pairs: Vec<_> = query.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        IngestParams::parse(&pairs, content_type, NOW)
    }

    #[test]
    fn times_by_magnitude() {
        for text in ["1700000000", "1700000000000", "1700000000000000", "1700000000000000000", "now", "1_700_000_000"] {
            assert_eq!(parse_time(text, NOW), Some(NOW), "{text}");
        }
        assert_eq!(parse_time("19700102", NOW), Some(86_400_000_000_000));
        assert_eq!(parse_time("20240229", NOW), Some(1_709_164_800_000_000_000));
        assert_eq!(parse_time("2023-11-14T22:13:20Z", NOW), Some(NOW));
        assert_eq!(parse_time("now-1h", NOW), Some(NOW - 3_600_000_000_000));
        assert_eq!(parse_time("now+30s", NOW), Some(NOW + 30_000_000_000));
        for text in ["", "yesterday", "now-", "now-1", "now-1q", "now*2h", "99999999999999999999", "20241399"] {
            assert_eq!(parse_time(text, NOW), None, "{text}");
        }
    }

    #[test]
    fn defaults_fill_what_clients_leave_out() {
        let params = parse(&[("name", "shop"), ("sampleRate", "fast"), ("unknown", "1")], "").unwrap();
        assert_eq!((params.from_ns, params.until_ns, params.sample_rate), (NOW, NOW, 100));
        assert_eq!((params.spy_name.as_str(), params.format), ("unknown", Format::Groups));
    }

    #[test]
    fn an_end_before_the_start_is_the_start() {
        let params = parse(&[("name", "shop"), ("from", "1700000010"), ("until", "1700000000")], "").unwrap();
        assert_eq!(params.until_ns, params.from_ns);
    }

    #[test]
    fn formats_by_parameter_then_content_type() {
        let format = |query: &[(&str, &str)], content_type| {
            let with_name: Vec<_> = query.iter().copied().chain([("name", "a")]).collect();
            parse(&with_name, content_type).unwrap().format
        };
        assert_eq!(format(&[("format", "trie")], ""), Format::Trie);
        assert_eq!(format(&[], "binary/octet-stream+tree"), Format::Tree);
        assert_eq!(format(&[], "multipart/form-data; boundary=x"), Format::PprofForm);
        assert_eq!(format(&[("format", "pprof")], "application/octet-stream"), Format::Pprof);
        assert_eq!(format(&[("format", "jfr")], "multipart/form-data; boundary=x"), Format::Jfr);
        assert_eq!(format(&[("format", "whatever")], ""), Format::Groups);
    }

    #[test]
    fn a_bad_time_is_named() {
        let error = parse(&[("name", "shop"), ("from", "soon")], "").unwrap_err().to_string();
        assert!(error.contains("from") && error.contains("soon"), "{error}");
    }
}
