//! What the server is and whether it is well.

use std::sync::Arc;
use std::time::Duration;

use connectrpc::{ConnectError, RequestContext, Response, ServiceRequest, ServiceResult, ServiceStream};
use futures_util::stream;

use crate::app::App;
use crate::proto::capabilities::v1::{
    FeatureFlag, FeatureFlagsService, GetFeatureFlagsRequest, GetFeatureFlagsResponse,
};
use crate::proto::grpc::health::v1::health_check_response::ServingStatus;
use crate::proto::grpc::health::v1::{Health, HealthCheckRequest, HealthCheckResponse};
use crate::proto::version::v1::{Version, VersionRequest, VersionResponse};

/// How often a watched state is looked at.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

pub(super) struct FeatureFlags;

impl FeatureFlagsService for FeatureFlags {
    async fn get_feature_flags(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, GetFeatureFlagsRequest>,
    ) -> ServiceResult<GetFeatureFlagsResponse> {
        let flag = |name: &str, enabled| FeatureFlag { name: name.to_owned(), enabled, ..FeatureFlag::default() };
        let feature_flags = vec![
            flag("v2StorageLayer", true),
            flag("pyroscopeRuler", false),
            flag("pyroscopeRulerFunctions", false),
            flag("utf8LabelNames", true),
        ];
        Response::ok(GetFeatureFlagsResponse { feature_flags, ..Default::default() })
    }
}

pub(super) struct ApiVersion;

impl Version for ApiVersion {
    async fn version(
        &self,
        _: RequestContext,
        _: ServiceRequest<'_, VersionRequest>,
    ) -> ServiceResult<VersionResponse> {
        Response::ok(VersionResponse { QuerierAPI: 1, ..Default::default() })
    }
}

pub(super) struct HealthCheck(pub(super) Arc<App>);

async fn status(app: &App) -> ServingStatus {
    match app.ready().await {
        Ok(()) => ServingStatus::SERVING,
        Err(_) => ServingStatus::NOT_SERVING,
    }
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into(), ..Default::default() }
}

/// The names that can be asked for: the server as a whole, and its services.
fn is_known(service: &str) -> bool {
    service.is_empty() || super::SERVICES.iter().any(|path| path.split('/').nth(1) == Some(service))
}

impl Health for HealthCheck {
    async fn check(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, HealthCheckRequest>,
    ) -> ServiceResult<HealthCheckResponse> {
        if !is_known(request.service) {
            return Err(ConnectError::not_found("unknown service"));
        }
        Response::ok(answer(status(&self.0).await))
    }

    async fn watch(
        &self,
        _: RequestContext,
        request: ServiceRequest<'_, HealthCheckRequest>,
    ) -> ServiceResult<ServiceStream<HealthCheckResponse>> {
        let app = is_known(request.service).then(|| self.0.clone());
        Response::stream_ok(stream::unfold((app, None), |(app, sent)| async move {
            loop {
                let now = match &app {
                    Some(app) => status(app).await,
                    None => ServingStatus::SERVICE_UNKNOWN,
                };
                if Some(now) != sent {
                    return Some((Ok(answer(now)), (app, Some(now))));
                }
                if app.as_ref().is_some_and(|app| app.is_stopping()) {
                    return None;
                }
                tokio::time::sleep(WATCH_INTERVAL).await;
            }
        }))
    }
}
