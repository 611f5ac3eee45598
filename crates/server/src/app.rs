//! One server's parts, and the way of a request through them.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::FutureExt;
use http::Uri;
use http::uri::PathAndQuery;
use prometheus_client::metrics::counter::Counter;
use tokio::time::Instant;
use tower::ServiceExt;

use crate::admission::{MemoryBudget, WorkPool};
use crate::backend::Dependencies;
use crate::config::ServerConfig;
use crate::error::{ApiError, ServerError};
use crate::host::HostGuard;
use crate::intake::Intake;
use crate::metrics::{Metrics, Reading, ReadingSource, ReadingValue, RequestLabels};
use crate::policy::Policy;
use crate::rate::RateLimit;
use crate::settings::Settings;
use crate::tenancy::Tenancy;

/// What all handlers share.
pub(crate) struct App {
    pub(crate) config: ServerConfig,
    pub(crate) parts: Dependencies,
    pub(crate) tenancy: Tenancy,
    pub(crate) metrics: Metrics,
    pub(crate) intake: Intake,
    pub(crate) settings: Settings,
    pub(crate) ingest_pool: WorkPool,
    pub(crate) query_pool: WorkPool,
    pub(crate) rate: RateLimit,
    pub(crate) started: Instant,
    stopping: AtomicBool,
}

impl App {
    pub(crate) fn new(config: ServerConfig, parts: Dependencies) -> Result<Self, ServerError> {
        let memory = MemoryBudget::new(config.connections.body_memory_bytes);
        let panics = Counter::default();
        let ingest_pool = WorkPool::new("ingest", config.ingest.concurrency, config.ingest.queue, panics.clone());
        let query_pool = WorkPool::new("query", config.query.concurrency, config.query.queue, panics.clone());
        let started = Instant::now();
        let own = own_readings(memory.clone(), ingest_pool.clone(), query_pool.clone(), started);
        let storage = parts.storage.clone();
        let mut sources: Vec<ReadingSource> = vec![Arc::new(own), Arc::new(move || storage.readings())];
        sources.extend(parts.readings.iter().cloned());
        Ok(Self {
            tenancy: Tenancy { multitenancy: config.multitenancy },
            metrics: Metrics::new(&parts.build, panics, sources, parts.process_readings.clone()),
            intake: Intake::new(memory, &config.connections),
            settings: Settings::load(parts.settings.clone())?,
            ingest_pool,
            query_pool,
            rate: RateLimit::default(),
            started,
            stopping: AtomicBool::new(false),
            config,
            parts,
        })
    }

    /// Limits of tenants in force now.
    pub(crate) fn policy(&self) -> Arc<Policy> {
        self.parts.policy.get()
    }

    /// The present in ns since the Unix epoch.
    pub(crate) fn now_ns(&self) -> i64 {
        (self.parts.clock)()
    }

    pub(crate) fn uptime(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether writes can be taken; otherwise the reason.
    pub(crate) async fn ready(&self) -> Result<(), String> {
        if self.is_stopping() {
            return Err("stopping".to_owned());
        }
        // On no pool: a busy server is ready all the same.
        let storage = self.parts.storage.clone();
        let asked = tokio::task::spawn_blocking(move || storage.ready()).await;
        asked.unwrap_or_else(|_| Err("the store does not answer".to_owned()))
    }

    /// From now on the server says that it is not ready.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

fn own_readings(
    memory: MemoryBudget,
    ingest: WorkPool,
    query: WorkPool,
    started: Instant,
) -> impl Fn() -> Vec<Reading> + Send + Sync {
    move || {
        let gauge = |name: &str, help: &str, value: f64| Reading {
            name: name.to_owned(),
            help: help.to_owned(),
            value: ReadingValue::Gauge(value),
        };
        vec![
            gauge("uptime_seconds", "Time since the server started", started.elapsed().as_secs_f64()),
            gauge("request_memory_bytes", "Memory held by bodies of requests", memory.used_bytes() as f64),
            gauge("ingest_waiting", "Ingest requests that wait for a thread", ingest.waiting() as f64),
            gauge("query_waiting", "Queries that wait for a thread", query.waiting() as f64),
        ]
    }
}

/// The entrance of one port.
#[derive(Clone)]
pub(crate) struct Entrance {
    app: Arc<App>,
    guard: Arc<HostGuard>,
    base_path: Arc<str>,
    router: Router,
}

/// Route that answered a request, for its metric.
#[derive(Clone)]
pub(crate) struct Route(pub(crate) String);

struct InFlight(Arc<App>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.metrics.in_flight.dec();
    }
}

impl Entrance {
    pub(crate) fn new(app: Arc<App>, guard: HostGuard, router: Router) -> Self {
        let base_path = match app.config.base_path.trim_matches('/') {
            "" => Arc::from(""),
            path => Arc::from(format!("/{path}")),
        };
        let router = router.layer(axum::middleware::from_fn(note_route));
        Self { app, guard: Arc::new(guard), base_path, router }
    }

    /// Answers one request: checks the host, finds the route, catches panics, counts.
    pub(crate) async fn handle<B>(self, request: http::Request<B>) -> Response
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let started = Instant::now();
        self.app.metrics.in_flight.inc();
        let _in_flight = InFlight(self.app.clone());
        let method = method_label(request.method());
        let response = AssertUnwindSafe(self.route(request)).catch_unwind().await.unwrap_or_else(|_| {
            self.app.metrics.panics.inc();
            tracing::error!("a request handler panicked");
            ApiError::internal().into_response()
        });
        let route = response.extensions().get::<Route>().map_or_else(|| "other".to_owned(), |route| route.0.clone());
        let (status_code, duration) = (response.status().as_u16(), started.elapsed());
        tracing::debug!(method, route, status_code, ?duration, "answered");
        self.app.metrics.request(&RequestLabels { method, route, status_code }, duration);
        response
    }

    async fn route<B>(&self, request: http::Request<B>) -> Response
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if let Err(refusal) = self.guard.check(request.uri(), request.headers()) {
            return refusal.into_response();
        }
        let mut request = request.map(Body::new);
        if let Some(uri) = canonical(request.uri(), &self.base_path) {
            *request.uri_mut() = uri;
        }
        match self.router.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        }
    }
}

async fn note_route(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().map(|path| Route(path.as_str().to_owned()));
    let mut response = next.run(request).await;
    if let (Some(route), None) = (route, response.extensions().get::<Route>()) {
        response.extensions_mut().insert(route);
    }
    response
}

fn method_label(method: &http::Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "PUT" => "PUT",
        "DELETE" => "DELETE",
        "HEAD" => "HEAD",
        "OPTIONS" => "OPTIONS",
        "PATCH" => "PATCH",
        _ => "other",
    }
}

/// The URI without repeated slashes and base path; `None` where it is so already.
///
/// Clients join a server address that ends in a slash with a path that starts with one; a redirect would make them
/// repeat a POST as GET.
fn canonical(uri: &Uri, base_path: &str) -> Option<Uri> {
    let path = uri.path();
    let mut short = String::with_capacity(path.len());
    for c in path.chars() {
        if c != '/' || !short.ends_with('/') {
            short.push(c);
        }
    }
    if let Some(rest) = short.strip_prefix(base_path).filter(|rest| rest.starts_with('/')) {
        short = rest.to_owned();
    }
    if short == path {
        return None;
    }
    let path_and_query = match uri.query() {
        Some(query) => format!("{short}?{query}"),
        None => short,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(PathAndQuery::try_from(path_and_query).ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(text: &str, base_path: &str) -> String {
        let uri: Uri = text.parse().unwrap();
        canonical(&uri, base_path).unwrap_or(uri).to_string()
    }

    #[test]
    fn repeated_slashes_collapse() {
        assert_eq!(path("//ingest?name=a//b", ""), "/ingest?name=a//b");
        assert_eq!(path("/push.v1.PusherService///Push", ""), "/push.v1.PusherService/Push");
        assert_eq!(path("/ready", ""), "/ready");
    }

    #[test]
    fn the_base_path_may_be_there_or_not() {
        assert_eq!(path("/prefix//push.v1.PusherService/Push", "/prefix"), "/push.v1.PusherService/Push");
        assert_eq!(path("/prefix/", "/prefix"), "/");
        assert_eq!(path("/ready", "/prefix"), "/ready");
        assert_eq!(path("/prefixed/x", "/prefix"), "/prefixed/x");
    }

    #[test]
    fn the_authority_of_http2_stays() {
        assert_eq!(path("http://h:4040//ready", ""), "http://h:4040/ready");
    }
}
