//! `opentelemetry.proto.collector.profiles.v1development.ProfilesService`

use std::sync::Arc;

use connectrpc::{RequestContext, Response, ServiceRequest, ServiceResult};

use super::push::run_upload;
use crate::app::App;
use crate::ingest;
use crate::proto::opentelemetry::proto::collector::profiles::v1development::{
    ExportProfilesServiceRequest, ExportProfilesServiceResponse, ProfilesService,
};

pub(super) struct Profiles(pub(super) Arc<App>);

impl ProfilesService for Profiles {
    async fn export(
        &self,
        ctx: RequestContext,
        request: ServiceRequest<'_, ExportProfilesServiceRequest>,
    ) -> ServiceResult<ExportProfilesServiceResponse> {
        let message = request.bytes().clone();
        let raw_bytes = message.len();
        run_upload(&self.0, &ctx, raw_bytes, move |app, tenant| ingest::otlp(app, tenant, &message, raw_bytes)).await?;
        Response::ok(ExportProfilesServiceResponse::default())
    }
}
