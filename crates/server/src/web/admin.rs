//! The admin port: metrics, profiles of ourselves, verbs. It listens on loopback; verbs are POST only, so that nothing
//! that merely fetches pages can trigger them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use connectrpc::ErrorCode;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};

use super::pages;
use super::respond::Params;
use crate::app::App;
use crate::backend::{SelfProfile, Storage, StorageError};
use crate::error::ApiError;

const DEFAULT_PROFILE_SECONDS: u32 = 30;
const MAX_PROFILE_SECONDS: u32 = 300;

/// All routes of the admin port.
pub(crate) fn routes(app: &Arc<App>) -> Router {
    Router::new()
        .merge(pages::health_routes())
        .merge(pages::metrics_route())
        .route("/debug/pprof/profile", get(cpu_profile))
        .route("/debug/pprof/heap", get(heap_profile))
        .route("/flush", post(flush))
        .route("/compact", post(compact))
        .with_state(app.clone())
}

async fn flush(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    run_verb(&app, |storage| storage.flush()).await
}

async fn compact(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    run_verb(&app, |storage| storage.compact()).await
}

async fn run_verb(app: &Arc<App>, verb: fn(&dyn Storage) -> Result<(), StorageError>) -> Result<Response, ApiError> {
    let storage = app.parts.storage.clone();
    app.ingest_pool.run(move |_| verb(storage.as_ref())).await??;
    Ok("done\n".into_response())
}

async fn cpu_profile(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let seconds = match Params::of(request.uri()).number("seconds")? {
        0 => DEFAULT_PROFILE_SECONDS,
        seconds => seconds,
    };
    if seconds > MAX_PROFILE_SECONDS {
        return Err(ApiError::invalid(format!("at most {MAX_PROFILE_SECONDS} seconds can be profiled at once")));
    }
    profile(&app, "profile", move |source| source.cpu(seconds)).await
}

async fn heap_profile(State(app): State<Arc<App>>) -> Result<Response, ApiError> {
    profile(&app, "heap", |source| source.heap()).await
}

async fn profile(
    app: &Arc<App>,
    name: &str,
    take: impl FnOnce(&dyn SelfProfile) -> Result<Vec<u8>, String> + Send + 'static,
) -> Result<Response, ApiError> {
    let unavailable = |reason: String| ApiError::new(ErrorCode::Unimplemented, reason);
    let source = app.parts.self_profile.clone();
    let source = source.ok_or_else(|| unavailable("this server was started without self-profiling".to_owned()))?;
    // Not on a pool: it mostly sleeps, and whoever may come here may see everything anyway.
    let taken = tokio::task::spawn_blocking(move || take(source.as_ref()));
    let longest = Duration::from_secs(u64::from(MAX_PROFILE_SECONDS) + 30);
    let pprof = tokio::time::timeout(longest, taken)
        .await
        .map_err(|_| ApiError::new(ErrorCode::DeadlineExceeded, "the profile did not end in time"))?
        .map_err(|_| ApiError::internal())?
        .map_err(unavailable)?;
    let disposition = format!("attachment; filename=\"{name}.pb.gz\"");
    let headers = [(CONTENT_TYPE, "application/octet-stream".to_owned()), (CONTENT_DISPOSITION, disposition)];
    Ok((headers, pprof).into_response())
}
