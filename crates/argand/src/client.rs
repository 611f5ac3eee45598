//! Talking to a server.

use std::io::Read;
use std::time::Duration;

use anyhow::Context;
use serde_json::Value;
use ureq::Agent;
use ureq::http::{Request, Response};

use crate::cli::ServerAddress;

/// Largest answer that is read, so that a broken server cannot exhaust our memory.
const ANSWER_LIMIT_BYTES: u64 = 512 << 20;

/// A server and how to address it.
pub(crate) struct Client<'a> {
    agent: Agent,
    address: &'a ServerAddress,
}

impl<'a> Client<'a> {
    pub(crate) fn new(address: &'a ServerAddress) -> Self {
        let config = Agent::config_builder().http_status_as_error(false).timeout_global(Some(Duration::from_secs(120)));
        Self { agent: config.build().into(), address }
    }

    /// GET with query parameters; the body as bytes.
    pub(crate) fn get(&self, path: &str, parameters: &[(&str, &str)]) -> anyhow::Result<Vec<u8>> {
        let request = self.request("GET", path, parameters).body(()).context("invalid request")?;
        self.answer(self.agent.run(request))
    }

    /// GET with query parameters; the body as JSON.
    pub(crate) fn get_json(&self, path: &str, parameters: &[(&str, &str)]) -> anyhow::Result<Value> {
        serde_json::from_slice(&self.get(path, parameters)?).with_context(|| format!("the answer of {path} is no JSON"))
    }

    /// POST of a body with a content type.
    pub(crate) fn post(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
        content_type: &str,
        body: &[u8],
    ) -> anyhow::Result<Vec<u8>> {
        let request = self.request("POST", path, parameters).header("Content-Type", content_type);
        self.answer(self.agent.run(request.body(body).context("invalid request")?))
    }

    fn request(&self, method: &str, path: &str, parameters: &[(&str, &str)]) -> ureq::http::request::Builder {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
        let separator = if query.is_empty() { "" } else { "?" };
        let url = format!("{}{path}{separator}{query}", self.address.server.trim_end_matches('/'));
        let mut request = Request::builder().method(method).uri(url);
        if let Some(tenant) = &self.address.tenant {
            request = request.header("X-Scope-OrgID", tenant);
        }
        if let Some(token) = &self.address.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        request
    }

    fn answer(&self, response: Result<Response<ureq::Body>, ureq::Error>) -> anyhow::Result<Vec<u8>> {
        let server = &self.address.server;
        let response = response.with_context(|| format!("no answer from {server}: is the server running?"))?;
        let status = response.status();
        let mut body = Vec::new();
        let mut reader = response.into_body().into_reader().take(ANSWER_LIMIT_BYTES);
        reader.read_to_end(&mut body).with_context(|| format!("the answer of {server} broke off"))?;
        if !status.is_success() {
            let message = format!("{server} answered {status}: {}", message(&body));
            return Err(Refused { status: status.as_u16(), message }.into());
        }
        Ok(body)
    }
}

/// An answer that is an error.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Refused {
    /// HTTP status.
    pub(crate) status: u16,
    message: String,
}

/// The words of an error answer, whether JSON or text.
fn message(body: &[u8]) -> String {
    let json: Option<Value> = serde_json::from_slice(body).ok();
    match json.as_ref().and_then(|json| json["message"].as_str()) {
        Some(message) => message.to_owned(),
        None => String::from_utf8_lossy(body).chars().take(500).collect::<String>().trim().to_owned(),
    }
}
