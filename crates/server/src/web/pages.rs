//! The user interface, health, metrics and status.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{ACCEPT, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Method, StatusCode};
use serde_json::json;

use crate::app::App;
use crate::error::ApiError;
use crate::metrics::Exposition;
use crate::policy::TenantLimits;
use crate::ui;

const TEXT: &str = "text/plain; charset=utf-8";
const OPENAPI: &str = include_str!("openapi.json");

pub(super) fn routes() -> Router<Arc<App>> {
    let mut router = health_routes()
        .route("/api/v1/status/buildinfo", get(build_info))
        .route("/api/v1/status/config", get(config))
        .route("/api/v1/status/config/diff", get(config_diff))
        .route("/api/v1/status/config/default", get(config_default))
        .route("/runtime_config", get(runtime_config))
        .route("/api/v1/tenant_limits", get(tenant_limits))
        .route("/api/openapi.json", get(openapi))
        .route("/ui", get(former_page));
    for page in ui::PAGES {
        router = router.route(page, get(show_page));
    }
    router
}

/// Health answers on every port.
pub(super) fn health_routes() -> Router<Arc<App>> {
    let mut router = Router::new();
    for path in ["/ready", "/-/ready", "/readyz"] {
        router = router.route(path, get(ready));
    }
    for path in ["/healthy", "/-/healthy", "/livez", "/healthz"] {
        router = router.route(path, get(healthy));
    }
    router
}

pub(super) fn metrics_route() -> Router<Arc<App>> {
    Router::new().route("/metrics", get(show_metrics))
}

/// Files of the user interface, and what nothing else answers.
pub(super) async fn fallback(State(app): State<Arc<App>>, request: Request) -> Response {
    let path = request.uri().path();
    if matches!(*request.method(), Method::GET | Method::HEAD) {
        let base = app.config.base_path.trim_matches('/');
        if !base.is_empty() && path.trim_matches('/') == base {
            // The page finds everything relative to itself, so its address ends in a slash.
            return (StatusCode::PERMANENT_REDIRECT, [(LOCATION, format!("/{base}/"))]).into_response();
        }
        if let Some(file) = ui::file(path.trim_start_matches('/'), request.headers()) {
            return file;
        }
    }
    ApiError::not_found(format!("nothing answers at {path}")).into_response()
}

async fn show_page(headers: HeaderMap) -> Response {
    ui::page(&headers)
}

/// Where the page was once. Relative, so that a path before ours stays.
async fn former_page() -> Response {
    (StatusCode::FOUND, [(LOCATION, "./")]).into_response()
}

async fn ready(State(app): State<Arc<App>>) -> Response {
    match app.ready().await {
        Ok(()) => (StatusCode::OK, [(CONTENT_TYPE, TEXT)], "ready\n".to_owned()),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, [(CONTENT_TYPE, TEXT)], format!("not ready: {reason}\n")),
    }
    .into_response()
}

async fn healthy() -> Response {
    ([(CONTENT_TYPE, TEXT)], "healthy\n").into_response()
}

async fn show_metrics(State(app): State<Arc<App>>, headers: HeaderMap) -> Response {
    let accept = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let exposition = Exposition::of(accept);
    ([(CONTENT_TYPE, exposition.content_type())], app.metrics.render(exposition)).into_response()
}

async fn build_info(State(app): State<Arc<App>>) -> Response {
    let build = &app.parts.build;
    let data = json!({
        "version": build.version,
        "revision": build.revision,
        "branch": "",
        "buildUser": "",
        "buildDate": build.date,
        "goVersion": "",
    });
    json_text(&json!({ "status": "success", "data": data }))
}

/// The limits of the tenant that asks: three names of the reference server, then all of ours. 0 is no limit.
async fn tenant_limits(State(app): State<Arc<App>>, headers: HeaderMap) -> Result<Response, ApiError> {
    let tenant = app.tenancy.one(&headers)?;
    let storage = app.parts.storage.clone();
    let status = app.query_pool.run(move |_| storage.status()).await?;
    let policy = app.policy();
    let TenantLimits { profile, relabel, max_body_bytes, rate_bytes_per_second, burst_bytes, query } =
        policy.of(&tenant);
    let seconds = |ns: Option<i64>| ns.map_or(0, |ns| ns / 1_000_000_000);
    Ok(json_text(&json!({
        "ingestion_rate": rate_bytes_per_second,
        "ingestion_burst_size": burst_bytes,
        "max_global_series_per_user": status.max_series_per_tenant,
        "max_body_bytes": max_body_bytes,
        "max_profile_bytes": profile.profile_size_bytes,
        "max_samples": profile.samples,
        "max_sample_labels": profile.sample_labels,
        "max_stack_depth": profile.stack_depth,
        "max_symbol_length": profile.symbol_length_bytes,
        "max_label_names": profile.label_names,
        "max_label_name_length": profile.label_name_length_bytes,
        "max_label_value_length": profile.label_value_length_bytes,
        "reject_older_than_seconds": seconds(profile.reject_older_than_ns),
        "reject_newer_than_seconds": seconds(profile.reject_newer_than_ns),
        "query_max_length_seconds": query.max_length_ms / 1000,
        "query_max_lookback_seconds": query.max_lookback_ms / 1000,
        "query_default_nodes": query.default_nodes,
        "query_max_nodes": query.max_nodes,
        "relabel_rules": relabel.series.len(),
        "relabel_sample_type_rules": relabel.sample_types.len(),
    })))
}

async fn config(State(app): State<Arc<App>>) -> Response {
    ([(CONTENT_TYPE, TEXT)], app.policy().config_text.current.clone()).into_response()
}

async fn config_diff(State(app): State<Arc<App>>) -> Response {
    ([(CONTENT_TYPE, TEXT)], app.policy().config_text.changed.clone()).into_response()
}

async fn config_default(State(app): State<Arc<App>>) -> Response {
    ([(CONTENT_TYPE, TEXT)], app.policy().config_text.default.clone()).into_response()
}

/// What may differ from tenant to tenant and change without a restart.
async fn runtime_config(State(app): State<Arc<App>>) -> Response {
    ([(CONTENT_TYPE, TEXT)], app.policy().config_text.overrides.clone()).into_response()
}

async fn openapi() -> Response {
    ([(CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

fn json_text(value: &serde_json::Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}
