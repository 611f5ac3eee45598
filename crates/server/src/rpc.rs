//! The RPC services, each in the three protocols Connect, gRPC and gRPC-Web.

// The generated traits leave room for borrowed answers; ours are messages, and saying so reads better.
#![allow(refining_impl_trait)]

mod info;
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
use http::StatusCode;
use http_body_util::Full;
use tower::ServiceExt;

use crate::app::{App, Route};
use crate::config::millis;
use crate::error::ApiError;
use crate::proto::capabilities::v1::FeatureFlagsServiceExt;
use crate::proto::grpc::health::v1::HealthExt;
use crate::proto::push::v1::PusherServiceExt;
use crate::proto::querier::v1::QuerierServiceExt;
use crate::proto::settings::v1::SettingsServiceExt;
use crate::proto::version::v1::VersionExt;

/// The procedure whose requests are large.
const PUSH: &str = "/push.v1.PusherService/Push";

/// Services that we answer for; `{method}` is any of theirs.
const SERVICES: [&str; 6] = [
    "/push.v1.PusherService/{method}",
    "/querier.v1.QuerierService/{method}",
    "/settings.v1.SettingsService/{method}",
    "/capabilities.v1.FeatureFlagsService/{method}",
    "/version.v1.Version/{method}",
    "/grpc.health.v1.Health/{method}",
];

/// Services of the reference server that are not here. Their front ends hide what answers "unimplemented".
const ABSENT_SERVICES: [&str; 5] = [
    "/settings.v1.RecordingRulesService/{method}",
    "/adhocprofiles.v1.AdHocProfileService/{method}",
    "/vcs.v1.VCSService/{method}",
    "/debuginfo.v1alpha1.DebuginfoService/{method}",
    "/opentelemetry.proto.collector.profiles.v1development.ProfilesService/{method}",
];

/// Memory that the elements of one RPC message may take, besides its text and bytes.
const ELEMENT_MEMORY_BYTES: usize = 64 << 20;

/// Routes of all services.
pub(crate) fn routes(app: &Arc<App>) -> axum::Router {
    let rpc = Rpc { service: service(app), app: app.clone() };
    let mut router = axum::Router::new();
    for path in SERVICES {
        router = router.route(path, any(serve));
    }
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
    let limits = |body_bytes: u64| {
        let size = usize::try_from(body_bytes).unwrap_or(usize::MAX);
        // What arrives here was measured already; gRPC messages may still unfold.
        Limits::default()
            .with_max_request_body_size(size)
            .with_max_message_size(size)
            .with_element_memory_limit(ELEMENT_MEMORY_BYTES)
    };
    let router = connectrpc::Router::new();
    let router = Arc::new(push::Pusher(app.clone())).register(router);
    let router = Arc::new(querier::Querier(app.clone())).register(router);
    let router = Arc::new(settings::SettingsRpc(app.clone())).register(router);
    let router = Arc::new(info::FeatureFlags).register(router);
    let router = Arc::new(info::ApiVersion).register(router);
    let router = Arc::new(info::HealthCheck(app.clone())).register(router);
    let router = router.with_route_limits(PUSH, limits(app.config.ingest.max_body_bytes));
    let longest = millis(app.config.query.timeout_ms);
    ConnectRpcService::new(router)
        .with_limits(limits(app.config.connections.max_body_bytes))
        .with_compression_policy(CompressionPolicy::default())
        .with_deadline_policy(DeadlinePolicy::new().with_max(longest).with_default_timeout(longest))
}

async fn serve(State(rpc): State<Rpc>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let route = Route(parts.uri.path().to_owned());
    let limits = &rpc.app.config;
    let max_bytes = if route.0 == PUSH { limits.ingest.max_body_bytes } else { limits.connections.max_body_bytes };
    let body = match rpc.app.intake.read(&mut parts.headers, body, max_bytes).await {
        Ok(body) => body,
        Err(refusal) => return refusal.into_rpc_response(&parts.headers),
    };
    parts.extensions.insert(Arc::new(body.reservation));
    let request = Request::from_parts(parts, Full::<Bytes>::new(body.bytes));
    let call = Box::pin(rpc.service.oneshot(request));
    let mut response = match (LenientJson { call }).await {
        Ok(response) => response.map(Body::new),
        Err(never) => match never {},
    };
    if response.status() != StatusCode::NOT_FOUND {
        response.extensions_mut().insert(route);
    }
    response
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
