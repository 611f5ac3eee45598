//! `POST /v1development/profiles`: OTLP over HTTP. Refusals are plain text.

use std::sync::Arc;

use argand_wire::otlp::transcode;
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, StatusCode};

use crate::app::App;
use crate::error::ApiError;
use crate::ingest;

const PROTOBUF: &str = "application/x-protobuf";

/// What the protobuf form takes at most for a byte of JSON, with what is copied while it is made.
const BYTES_PER_JSON_BYTE: u64 = 12;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/v1development/profiles", post(profiles))
}

async fn profiles(State(app): State<Arc<App>>, request: Request) -> Response {
    match store(app, request).await {
        // The answer is an empty message, to requests in JSON as well.
        Ok(()) => [(CONTENT_TYPE, PROTOBUF)].into_response(),
        Err(refusal) => {
            let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
            (refusal.http_status(), headers, refusal.message).into_response()
        }
    }
}

async fn store(app: Arc<App>, request: Request) -> Result<(), ApiError> {
    let (mut parts, body) = request.into_parts();
    let tenant = app.tenancy.one(&parts.headers)?;
    let is_json = is_json(&parts.headers)?;
    let policy = app.policy();
    let limits = policy.of(&tenant);
    let mut body = app.intake.read(&mut parts.headers, body, limits.max_body_bytes).await?;
    let raw_bytes = body.bytes.len();
    app.rate
        .take(&tenant, limits, raw_bytes as u64, app.now_ns())
        .inspect_err(|_| app.metrics.discarded("rate_limited", &tenant, raw_bytes as u64))?;
    if is_json {
        body.reservation.grow_to(raw_bytes as u64 * (1 + BYTES_PER_JSON_BYTE))?;
    }
    let pool = app.ingest_pool.clone();
    pool.run(move |_| {
        let body = body;
        if !is_json {
            return ingest::otlp(&app, &tenant, &body.bytes, raw_bytes);
        }
        let message = transcode(&body.bytes).map_err(|error| {
            app.metrics.discarded("malformed_profile", &tenant, raw_bytes as u64);
            ApiError::invalid(error.to_string())
        })?;
        ingest::otlp(&app, &tenant, &message, raw_bytes)
    })
    .await?
}

/// Errors: 415 for a content type that is neither.
fn is_json(headers: &HeaderMap) -> Result<bool, ApiError> {
    let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
    match content_type.split(';').next().unwrap_or("").trim() {
        PROTOBUF | "application/protobuf" => Ok(false),
        "application/json" => Ok(true),
        other => {
            let message = format!("content type {other:?} is not supported: send {PROTOBUF} or application/json");
            Err(ApiError::invalid(message).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE))
        }
    }
}
