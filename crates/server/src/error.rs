//! Errors as clients see them.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use connectrpc::{ConnectError, ErrorCode};
use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, StatusCode};

/// Why the server could not start or run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address is taken, not ours, or not an address.
    #[error("cannot listen on {address}")]
    Listen {
        /// Address as configured.
        address: String,
        /// What the kernel says.
        source: std::io::Error,
    },
    /// The file of the settings is damaged or not readable.
    #[error("cannot read the stored settings")]
    Settings(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// A refusal, independent of the protocol that carries it.
///
/// The message is public: it says what is wrong with the request and never what the server looks like inside.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct ApiError {
    /// Class of the refusal.
    pub code: ErrorCode,
    /// What is wrong and what to do.
    pub message: String,
    /// HTTP status where it differs from the one that belongs to the code.
    pub status: Option<StatusCode>,
}

impl ApiError {
    /// A refusal of the class `code`.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), status: None }
    }

    /// The request is wrong: 400.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidArgument, message)
    }

    /// A limit is reached: 429.
    pub fn exhausted(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::ResourceExhausted, message)
    }

    /// The server is too busy or not ready: 503.
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::Unavailable, message)
    }

    /// Nothing has this name: 404.
    pub fn not_found(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::NotFound, message)
    }

    /// Our fault: 500. The cause belongs into the log.
    pub fn internal() -> Self {
        Self::new(ErrorCode::Internal, "internal error")
    }

    /// The same refusal under another HTTP status.
    #[must_use]
    pub fn with_status(mut self, status: StatusCode) -> Self {
        self.status = Some(status);
        self
    }

    /// The HTTP status of a plain answer.
    pub fn http_status(&self) -> StatusCode {
        self.status.unwrap_or_else(|| self.code.http_status())
    }

    /// Answers in the protocol that the request speaks: Connect, gRPC or gRPC-Web.
    pub(crate) fn into_rpc_response(self, request_headers: &HeaderMap) -> Response {
        ConnectError::from(self).into_http_response(request_headers).map(Body::new)
    }
}

impl From<ApiError> for ConnectError {
    fn from(error: ApiError) -> Self {
        let rpc = Self::new(error.code, error.message);
        match error.status {
            Some(status) => rpc.with_http_status(status),
            None => rpc,
        }
    }
}

/// As JSON with `code` and `message`.
impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = serde_json::json!({ "code": self.code.as_str(), "message": self.message });
        let headers = [(CONTENT_TYPE, "application/json"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
        (self.http_status(), headers, body.to_string()).into_response()
    }
}
