//! `POST /ingest`, the endpoint of older clients.

use std::convert::Infallible;
use std::sync::Arc;

use argand_ingest::{Format, IngestParams, LegacyBody};
use axum::Router;
use axum::extract::{Request, State};
use axum::routing::post;
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http::header::CONTENT_TYPE;

use super::respond::Params;
use crate::app::App;
use crate::error::ApiError;
use crate::ingest;

/// Bytes of a form that are looked at together.
const FORM_CHUNK_BYTES: usize = 64 << 10;

/// Parts of a form; clients send at most three.
const MAX_FORM_PARTS: usize = 32;

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new().route("/ingest", post(ingest_profile)).route("/pyroscope/ingest", post(ingest_profile))
}

async fn ingest_profile(State(app): State<Arc<App>>, request: Request) -> Result<StatusCode, ApiError> {
    let (mut parts, body) = request.into_parts();
    let tenant = app.tenancy.one(&parts.headers)?;
    let content_type = parts.headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("").to_owned();
    let params = IngestParams::parse(Params::of(&parts.uri).pairs(), &content_type, app.now_ns());
    let policy = app.policy();
    let limits = policy.of(&tenant);
    let mut body = app.intake.read(&mut parts.headers, body, limits.max_body_bytes).await?;
    let params = params.map_err(|error| ApiError::invalid(error.to_string()))?;
    let raw_bytes = body.bytes.len();
    app.rate
        .take(&tenant, limits, raw_bytes as u64, app.now_ns())
        .inspect_err(|_| app.metrics.discarded("rate_limited", &tenant, raw_bytes as u64))?;
    let form = match form_boundary(&params, &content_type) {
        Some(boundary) => {
            body.reservation.grow_to(2 * raw_bytes as u64)?; // parts are copied out of the body
            Some(read_form(body.bytes.clone(), boundary).await?)
        }
        None => None,
    };
    let pool = app.ingest_pool.clone();
    pool.run(move |_| {
        let body = body;
        let content = match &form {
            Some(form) => form.content(params.format)?,
            None => LegacyBody::Whole(&body.bytes),
        };
        ingest::legacy(&app, &tenant, &params, content, raw_bytes)
    })
    .await??;
    Ok(StatusCode::OK)
}

fn form_boundary(params: &IngestParams, content_type: &str) -> Option<String> {
    match params.format {
        Format::PprofForm | Format::Jfr => multer::parse_boundary(content_type).ok(),
        _ => None,
    }
}

/// The parts of a form that mean something.
#[derive(Default)]
struct Form {
    profile: Option<Bytes>,
    sample_type_config: Option<Bytes>,
    has_previous: bool,
    jfr: Option<Bytes>,
    labels: Option<Bytes>,
}

impl Form {
    fn content(&self, format: Format) -> Result<LegacyBody<'_>, ApiError> {
        let missing = |part: &str| unprocessable(format!("the form has no file part named {part}"));
        if format == Format::Jfr {
            let recording = self.jfr.as_deref().ok_or_else(|| missing("jfr"))?;
            return Ok(LegacyBody::Jfr { recording, labels: self.labels.as_deref() });
        }
        let profile = match (self.profile.as_deref(), self.has_previous) {
            (Some(profile), _) => profile,
            (None, true) => &[],
            (None, false) => return Err(missing("profile")),
        };
        let sample_type_config = self.sample_type_config.as_deref();
        Ok(LegacyBody::Pprof { profile, sample_type_config, has_previous: self.has_previous })
    }
}

/// Takes a form apart. Only file parts count, as on the reference server.
async fn read_form(body: Bytes, boundary: String) -> Result<Form, ApiError> {
    let chunks = stream::unfold(body, |mut rest| async move {
        let chunk = rest.split_to(rest.len().min(FORM_CHUNK_BYTES));
        (!chunk.is_empty()).then_some((Ok::<_, Infallible>(chunk), rest))
    });
    let mut parts = multer::Multipart::new(chunks, boundary);
    let mut form = Form::default();
    let mut count = 0;
    while let Some(part) = parts.next_field().await.map_err(|error| bad_form(&error))? {
        count += 1;
        if count > MAX_FORM_PARTS {
            return Err(unprocessable(format!("the form has more than {MAX_FORM_PARTS} parts")));
        }
        let name = part.file_name().and(part.name()).unwrap_or("").to_owned();
        let place = match name.as_str() {
            "profile" => &mut form.profile,
            "sample_type_config" => &mut form.sample_type_config,
            "jfr" => &mut form.jfr,
            "labels" => &mut form.labels,
            "prev_profile" => {
                form.has_previous = true;
                continue;
            }
            _ => continue,
        };
        *place = Some(part.bytes().await.map_err(|error| bad_form(&error))?);
    }
    Ok(form)
}

fn bad_form(error: &multer::Error) -> ApiError {
    unprocessable(format!("invalid multipart form: {error}"))
}

fn unprocessable(message: String) -> ApiError {
    ApiError::invalid(message).with_status(StatusCode::UNPROCESSABLE_ENTITY)
}
