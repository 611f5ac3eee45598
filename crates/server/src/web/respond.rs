//! Parameters in, answers out.

use std::io::Write;

use axum::body::Body;
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, Uri};
use serde::Serialize;

use crate::error::ApiError;

/// Bodies below this are sent as they are.
const MIN_GZIP_BYTES: usize = 1 << 10;

/// Decoded parameters of a request, in their order.
pub(super) struct Params(Vec<(String, String)>);

impl Params {
    pub(super) fn of(uri: &Uri) -> Self {
        Self(form_urlencoded::parse(uri.query().unwrap_or("").as_bytes()).into_owned().collect())
    }

    pub(super) fn pairs(&self) -> &[(String, String)] {
        &self.0
    }

    /// The first value of a parameter that is not empty.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).find(|value| !value.is_empty())
    }

    /// All values of a parameter.
    pub(super) fn all<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn required(&self, name: &str) -> Result<&str, ApiError> {
        self.get(name).ok_or_else(|| ApiError::invalid(format!("parameter {name} is missing")))
    }

    /// A number that is not negative, 0 where the parameter is missing.
    pub(super) fn number<T: std::str::FromStr + Default>(&self, name: &str) -> Result<T, ApiError> {
        let Some(text) = self.get(name) else { return Ok(T::default()) };
        text.parse().map_err(|_| ApiError::invalid(format!("parameter {name} {text:?} is no number")))
    }
}

/// A body ready to be sent, perhaps compressed. Made on the thread that did the work.
pub(super) struct Packed {
    bytes: Vec<u8>,
    content_type: &'static str,
    gzip: bool,
}

/// Whether the client takes gzip.
#[derive(Clone, Copy)]
pub(super) struct Packing {
    gzip: bool,
}

impl Packed {
    /// A file that is gzip by itself.
    pub(super) fn gzip_file(content: &[u8]) -> Self {
        Self { bytes: gzip(content), content_type: "application/octet-stream", gzip: false }
    }
}

impl Packing {
    /// Never compressed.
    pub(super) const PLAIN: Self = Self { gzip: false };

    pub(super) fn of(headers: &HeaderMap) -> Self {
        let accept = headers.get(ACCEPT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or("");
        Self { gzip: crate::ui::accepts_gzip(accept) }
    }

    pub(super) fn json(self, value: &impl Serialize) -> Packed {
        self.bytes("application/json", serde_json::to_vec(value).expect("answers are plain data"))
    }

    pub(super) fn bytes(self, content_type: &'static str, bytes: Vec<u8>) -> Packed {
        if !self.gzip || bytes.len() < MIN_GZIP_BYTES {
            return Packed { bytes, content_type, gzip: false };
        }
        Packed { bytes: gzip(&bytes), content_type, gzip: true }
    }
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(content.len() / 4), Compression::fast());
    encoder.write_all(content).expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail")
}

impl axum::response::IntoResponse for Packed {
    fn into_response(self) -> Response {
        let mut response = Response::new(Body::from(self.bytes));
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.insert(VARY, HeaderValue::from_static("accept, accept-encoding"));
        if self.gzip {
            headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }
}
