//! What a client says it understands.

use http::HeaderMap;
use http::header::ACCEPT;

use crate::error::ApiError;

/// Whether any media range has the parameter `allow-utf8-labelnames=true`. Errors: 400 for a header that does not parse.
pub(crate) fn takes_utf8_label_names(headers: &HeaderMap) -> Result<bool, ApiError> {
    let mut takes = false;
    for value in headers.get_all(ACCEPT) {
        let text = value.to_str().map_err(|_| unreadable("?"))?;
        for range in text.split(',').filter(|range| !range.trim().is_empty()) {
            takes |= parameters(range)?.any(|(name, value)| {
                name.eq_ignore_ascii_case("allow-utf8-labelnames") && value.eq_ignore_ascii_case("true")
            });
        }
    }
    Ok(takes)
}

fn parameters(range: &str) -> Result<impl Iterator<Item = (&str, &str)>, ApiError> {
    let mut parts = range.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or("");
    let is_type = media_type.split('/').all(is_token) && media_type.split('/').count() <= 2;
    let parameters: Option<Vec<_>> = parts.filter(|part| !part.is_empty()).map(parameter).collect();
    match parameters {
        Some(parameters) if is_type => Ok(parameters.into_iter()),
        _ => Err(unreadable(range)),
    }
}

fn parameter(text: &str) -> Option<(&str, &str)> {
    let (name, value) = text.split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let unquoted = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
    (is_token(name) && (unquoted.is_some() || is_token(value))).then(|| (name, unquoted.unwrap_or(value)))
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b))
}

fn unreadable(range: &str) -> ApiError {
    ApiError::invalid(format!("the Accept header has an invalid media range {:?}", range.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn takes(accept: &str) -> Option<bool> {
        takes_utf8_label_names(&HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())])).ok()
    }

    #[test]
    fn the_parameter_counts_on_any_range() {
        assert_eq!(takes("*/*; allow-utf8-labelnames=true"), Some(true));
        assert_eq!(takes("text/html, application/json;q=0.5;allow-utf8-labelnames=\"true\""), Some(true));
        for accept in ["*/*", "*/*;allow-utf8-labelnames=false", "application/proto, ", ""] {
            assert_eq!(takes(accept), Some(false), "{accept}");
        }
        assert_eq!(takes_utf8_label_names(&HeaderMap::new()).ok(), Some(false));
    }

    #[test]
    fn what_does_not_parse_is_refused() {
        for accept in ["*/*; =", "a/b/c", "text/ html", "*/*;x", ";q=1"] {
            assert_eq!(takes(accept), None, "{accept}");
        }
    }
}
