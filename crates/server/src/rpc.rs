//! The RPC services, each in the three protocols Connect, gRPC and gRPC-Web.

// The generated traits leave room for borrowed answers; ours are messages, and saying so reads better.
#![allow(refining_impl_trait)]

mod debuginfo;
mod info;
mod otlp;
mod push;
mod querier;
mod settings;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use buffa::json::{JsonParseOptions, with_json_parse_options};
use bytes::Bytes;
use connectrpc::{CompressionPolicy, ConnectRpcService, DeadlinePolicy, ErrorCode, Limits};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use http_body_util::Full;
use tower::ServiceExt;

use crate::app::{App, Route};
use crate::config::millis;
use crate::error::ApiError;
use crate::intake;
use crate::proto::capabilities::v1::FeatureFlagsServiceExt;
use crate::proto::debuginfo::v1alpha1::DebuginfoServiceExt;
use crate::proto::grpc::health::v1::HealthExt;
use crate::proto::opentelemetry::proto::collector::profiles::v1development::ProfilesServiceExt;
use crate::proto::push::v1::PusherServiceExt;
use crate::proto::querier::v1::QuerierServiceExt;
use crate::proto::settings::v1::SettingsServiceExt;
use crate::proto::version::v1::VersionExt;

/// The procedures whose requests are large.
const UPLOADS: [&str; 2] =
    ["/push.v1.PusherService/Push", "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export"];

/// Services that we answer for; `{method}` is any of theirs.
const SERVICES: [&str; 8] = [
    "/push.v1.PusherService/{method}",
    "/querier.v1.QuerierService/{method}",
    "/settings.v1.SettingsService/{method}",
    "/capabilities.v1.FeatureFlagsService/{method}",
    "/version.v1.Version/{method}",
    "/grpc.health.v1.Health/{method}",
    "/debuginfo.v1alpha1.DebuginfoService/{method}",
    "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/{method}",
];

/// Where executables would go that were asked for.
const DEBUGINFO_UPLOAD: &str = "/debuginfo.v1alpha1.DebuginfoService/Upload/{gnu_build_id}";

/// Services of the reference server that are not here. Their front ends hide what answers "unimplemented".
const ABSENT_SERVICES: [&str; 3] = [
    "/settings.v1.RecordingRulesService/{method}",
    "/adhocprofiles.v1.AdHocProfileService/{method}",
    "/vcs.v1.VCSService/{method}",
];

/// Memory that the elements of one message may take besides its text and bytes. Empty elements of two bytes unfold to
/// a hundred, so this is what bounds a small hostile request.
const UPLOAD_ELEMENTS_BYTES: usize = 16 << 20;
const OTHER_ELEMENTS_BYTES: usize = 1 << 20;

/// Routes of all services.
pub(crate) fn routes(app: &Arc<App>) -> axum::Router {
    let rpc = Rpc { service: service(app), app: app.clone() };
    let mut router = axum::Router::new();
    for path in SERVICES {
        router = router.route(path, any(serve));
    }
    router = router.route(DEBUGINFO_UPLOAD, any(debuginfo::upload));
    for path in ABSENT_SERVICES {
        router = router.route(path, any(absent));
    }
    router.with_state(rpc)
}

#[derive(Clone)]
struct Rpc {
    service: ConnectRpcService,
    app: Arc<App>,
}

fn service(app: &Arc<App>) -> ConnectRpcService {
    let limits = |body_bytes: u64, elements_bytes: usize| {
        // The body was measured already; framing adds a little.
        let size = usize::try_from(body_bytes).unwrap_or(usize::MAX).saturating_add(1024);
        Limits::default()
            .with_max_request_body_size(size)
            .with_max_message_size(size)
            .with_element_memory_limit(elements_bytes)
    };
    let router = connectrpc::Router::new();
    let router = Arc::new(push::Pusher(app.clone())).register(router);
    let router = Arc::new(querier::Querier(app.clone())).register(router);
    let router = Arc::new(settings::SettingsRpc(app.clone())).register(router);
    let router = Arc::new(otlp::Profiles(app.clone())).register(router);
    let router = Arc::new(debuginfo::Debuginfo).register(router);
    let router = Arc::new(info::FeatureFlags).register(router);
    let router = Arc::new(info::ApiVersion).register(router);
    let router = Arc::new(info::HealthCheck(app.clone())).register(router);
    // The size depends on the tenant and may change: it is kept where the body is read.
    let of_upload = || limits(u64::MAX, UPLOAD_ELEMENTS_BYTES);
    let router = UPLOADS.into_iter().fold(router, |router, path| router.with_route_limits(path, of_upload()));
    let longest = millis(app.config.query.timeout_ms);
    ConnectRpcService::new(router)
        .with_limits(limits(app.config.connections.max_body_bytes, OTHER_ELEMENTS_BYTES))
        .with_compression_policy(CompressionPolicy::default())
        .with_deadline_policy(DeadlinePolicy::new().with_max(longest).with_default_timeout(longest))
}

async fn serve(State(rpc): State<Rpc>, request: Request) -> Response {
    let headers = request.headers().clone();
    match rpc.answer(request).await {
        Ok(response) => response,
        Err(refusal) => refusal.into_rpc_response(&headers),
    }
}

impl Rpc {
    async fn answer(self, request: Request) -> Result<Response, ApiError> {
        let (mut parts, body) = request.into_parts();
        let path = parts.uri.path().to_owned();
        let is_upload = UPLOADS.contains(&path.as_str());
        let max_bytes = match is_upload {
            true => self.max_upload_bytes(&parts.headers),
            false => self.app.config.connections.max_body_bytes,
        };
        let body = self.app.intake.read(&mut parts.headers, body, max_bytes).await?;
        let mut body = intake::unpack_frames(&mut parts.headers, body, max_bytes).await?;
        if is_json(&parts.headers) {
            // The text, the message, and the message in binary form are there at once.
            body.reservation.grow_to(3 * body.bytes.len() as u64)?;
        }
        parts.extensions.insert(Arc::new(body.reservation));
        if is_upload {
            // Before the message is taken apart, so that no more of them exist at once than can be worked on.
            parts.extensions.insert(push::Leave::new(self.app.ingest_pool.slot().await?));
        }
        let is_known = self.service.dispatcher().has_method(path.trim_start_matches('/'));
        let call = Box::pin(self.service.oneshot(Request::from_parts(parts, Full::<Bytes>::new(body.bytes))));
        let mut response = match (LenientJson { call }).await {
            Ok(response) => response.map(Body::new),
            Err(never) => match never {},
        };
        if is_known {
            response.extensions_mut().insert(Route(path));
        }
        Ok(response)
    }

    /// Who sends is checked later, so that the protocol's own refusals come first; until then the default counts.
    fn max_upload_bytes(&self, headers: &HeaderMap) -> u64 {
        let policy = self.app.policy();
        let limits = self.app.tenancy.one(headers).map_or(&policy.limits, |tenant| policy.of(&tenant));
        limits.max_body_bytes
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).is_some_and(|text| text.contains("json"))
}

async fn absent(request: Request) -> Response {
    if request.method() != http::Method::POST {
        return StatusCode::METHOD_NOT_ALLOWED.into_response();
    }
    let message = format!("{} is not available on this server", request.uri().path().trim_start_matches('/'));
    ApiError::new(ErrorCode::Unimplemented, message).into_rpc_response(request.headers())
}

/// Decodes JSON requests as front ends expect it that are newer than the server: unknown enum names count as unset.
struct LenientJson<F> {
    call: Pin<Box<F>>,
}

impl<F: Future> Future for LenientJson<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let options = JsonParseOptions::new().ignore_unknown_enum_values(true);
        with_json_parse_options(&options, || self.call.as_mut().poll(cx))
    }
}
