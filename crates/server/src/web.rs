//! The routes that are plain HTTP.

mod admin;
mod api;
mod ingest;
mod otlp;
mod pages;
mod render;
mod respond;

use std::sync::Arc;

use axum::Router;

use crate::app::App;

pub(crate) use admin::routes as admin_routes;

/// All routes of the main port but the RPC services.
pub(crate) fn routes(app: &Arc<App>) -> Router {
    let router = Router::new()
        .merge(ingest::routes())
        .merge(otlp::routes())
        .merge(render::routes())
        .merge(api::routes())
        .merge(pages::routes());
    let router = if app.config.metrics_on_main { router.merge(pages::metrics_route()) } else { router };
    router.fallback(pages::fallback).with_state(app.clone())
}
