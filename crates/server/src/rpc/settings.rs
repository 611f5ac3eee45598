//! `settings.v1.SettingsService`

use std::sync::Arc;

use connectrpc::{RequestContext, Response, ServiceRequest, ServiceResult};

use crate::app::App;
use crate::error::ApiError;
use crate::proto::settings::v1 as pb;
use crate::settings::Setting;

pub(super) struct SettingsRpc(pub(super) Arc<App>);

impl pb::SettingsService for SettingsRpc {
    async fn get(
        &self,
        ctx: RequestContext,
        _: ServiceRequest<'_, pb::GetSettingsRequest>,
    ) -> ServiceResult<pb::GetSettingsResponse> {
        let tenant = self.0.tenancy.one(ctx.headers())?;
        let settings = self.0.settings.get(&tenant).into_iter().map(to_proto).collect();
        Response::ok(pb::GetSettingsResponse { settings, ..Default::default() })
    }

    async fn set(
        &self,
        ctx: RequestContext,
        request: ServiceRequest<'_, pb::SetSettingsRequest>,
    ) -> ServiceResult<pb::SetSettingsResponse> {
        let tenant = self.0.tenancy.one(ctx.headers())?;
        let sent = request.setting.as_option().ok_or_else(|| ApiError::invalid("the request has no setting"))?;
        let modified_at_ms = if sent.modifiedAt == 0 { self.0.now_ns() / 1_000_000 } else { sent.modifiedAt };
        let setting = Setting { name: sent.name.to_owned(), value: sent.value.to_owned(), modified_at_ms };
        let app = self.0.clone();
        let stored = self.0.ingest_pool.run(move |_| app.settings.set(&tenant, setting)).await??;
        Response::ok(pb::SetSettingsResponse { setting: Some(to_proto(stored)).into(), ..Default::default() })
    }

    async fn delete(
        &self,
        ctx: RequestContext,
        request: ServiceRequest<'_, pb::DeleteSettingsRequest>,
    ) -> ServiceResult<pb::DeleteSettingsResponse> {
        let tenant = self.0.tenancy.one(ctx.headers())?;
        let (app, name) = (self.0.clone(), request.name.to_owned());
        self.0.ingest_pool.run(move |_| app.settings.delete(&tenant, &name)).await??;
        Response::ok(pb::DeleteSettingsResponse::default())
    }
}

fn to_proto(setting: Setting) -> pb::Setting {
    let Setting { name, value, modified_at_ms } = setting;
    pb::Setting { name, value, modifiedAt: modified_at_ms, ..Default::default() }
}
