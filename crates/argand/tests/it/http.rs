//! Plain HTTP requests to the server.

use std::sync::LazyLock;
use std::time::Duration;

use serde_json::Value;
use ureq::Agent;
use ureq::http::{HeaderMap, Method, Request};

const TIMEOUT: Duration = Duration::from_secs(30);
/// More than any answer of these tests; ureq stops at 10 MiB by itself.
const REPLY_LIMIT_BYTES: u64 = 256 << 20;

/// What came back, whatever the status.
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    /// The body as text, for messages and comparisons.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("status {}, no JSON: {error}: {}", self.status, self.text()))
    }

    /// The content type, or an empty text.
    pub(crate) fn content_type(&self) -> &str {
        self.headers.get("content-type").and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Sends one request. An error means that no whole answer came.
pub(crate) fn send(method: &str, url: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Reply, ureq::Error> {
    static AGENT: LazyLock<Agent> = LazyLock::new(|| {
        Agent::config_builder()
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .allow_non_standard_methods(true)
            .proxy(None)
            .build()
            .into()
    });
    let method = Method::from_bytes(method.as_bytes()).expect("the tests name real methods");
    let mut request = Request::builder().method(&method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request_error = "the tests make valid requests";
    let mut response = if body.is_empty() && matches!(method.as_str(), "GET" | "HEAD") {
        AGENT.run(request.body(()).expect(request_error))?
    } else {
        AGENT.run(request.body(body).expect(request_error))?
    };
    let body = response.body_mut().with_config().limit(REPLY_LIMIT_BYTES).read_to_vec()?;
    Ok(Reply { status: response.status().as_u16(), headers: response.headers().clone(), body })
}

/// GET without headers.
pub(crate) fn get(url: &str) -> Result<Reply, ureq::Error> {
    send("GET", url, &[], &[])
}

/// POST of a body of the given type.
pub(crate) fn post(url: &str, content_type: &str, body: &[u8]) -> Result<Reply, ureq::Error> {
    send("POST", url, &[("content-type", content_type)], body)
}

/// A query string value.
pub(crate) fn escape(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
