//! Ids of spans, traces and profiles as text.

use crate::QueryError;

/// A span id from its 16 hexadecimal digits.
pub fn parse_span_id(text: &str) -> Result<u64, QueryError> {
    let value = parse_hex(text, 16).ok_or_else(|| invalid("span id", text, "16 hexadecimal digits"))?;
    Ok(value as u64) // 16 digits fit
}

/// A trace id from its 32 hexadecimal digits.
pub fn parse_trace_id(text: &str) -> Result<u128, QueryError> {
    parse_hex(text, 32).ok_or_else(|| invalid("trace id", text, "32 hexadecimal digits"))
}

/// A profile id from a UUID such as `7c9e6679-7425-40de-944b-e07fc1f90ae7`; the hyphens may be left out.
pub fn parse_profile_id(text: &str) -> Result<u128, QueryError> {
    let hyphens_at = |at: &[usize]| text.bytes().enumerate().all(|(i, b)| (b == b'-') == at.contains(&i));
    let well_formed = match text.len() {
        36 => hyphens_at(&[8, 13, 18, 23]),
        length => length == 32,
    };
    let digits: String = text.chars().filter(|&c| c != '-').take(33).collect();
    well_formed.then(|| parse_hex(&digits, 32)).flatten().ok_or_else(|| invalid("profile id", text, "a UUID"))
}

/// 16 lower-case hexadecimal digits.
pub fn format_span_id(id: u64) -> String {
    format!("{id:016x}")
}

/// 32 lower-case hexadecimal digits.
pub fn format_trace_id(id: u128) -> String {
    format!("{id:032x}")
}

/// A UUID with hyphens.
pub fn format_profile_id(id: u128) -> String {
    let digits = format!("{id:032x}");
    [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]].join("-")
}

fn parse_hex(text: &str, digits: usize) -> Option<u128> {
    let well_formed = text.len() == digits && text.bytes().all(|b| b.is_ascii_hexdigit());
    well_formed.then(|| u128::from_str_radix(text, 16).ok()).flatten()
}

fn invalid(what: &'static str, text: &str, expected: &'static str) -> QueryError {
    QueryError::Id { what, text: text.chars().take(64).collect(), expected }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_round_trip() {
        let uuid = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
        assert_eq!(format_profile_id(parse_profile_id(uuid).unwrap()), uuid);
        assert_eq!(parse_profile_id(&uuid.replace('-', "")).unwrap(), parse_profile_id(uuid).unwrap());
        assert_eq!(format_span_id(parse_span_id("00F067aa0ba902b7").unwrap()), "00f067aa0ba902b7");
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        assert_eq!(format_trace_id(parse_trace_id(trace).unwrap()), trace);
    }

    #[test]
    fn other_forms_are_refused() {
        for text in ["", "0", "00f067aa0ba902b", "+0f067aa0ba902b7", "${__span.tags}", "ääääääää"] {
            assert!(parse_span_id(text).is_err(), "{text}");
        }
        for text in [
            "",
            "7c9e66797-425-40de-944b-e07fc1f90ae7",
            "7c9e6679-7425-40de-944b-e07fc1f90ae7-",
            "-".repeat(36).as_str(),
            "ä".repeat(16).as_str(),
        ] {
            assert!(parse_profile_id(text).is_err(), "{text}");
        }
        assert!(parse_trace_id("00f067aa0ba902b7").is_err());
    }
}
