//! `push.v1.PusherService`

use std::sync::Arc;

use connectrpc::{RequestContext, Response, ServiceRequest, ServiceResult};

use crate::admission::Reservation;
use crate::app::App;
use crate::ingest;
use crate::proto::push::v1::{PushRequest, PushResponse, PusherService};

pub(super) struct Pusher(pub(super) Arc<App>);

impl PusherService for Pusher {
    async fn push(&self, ctx: RequestContext, request: ServiceRequest<'_, PushRequest>) -> ServiceResult<PushResponse> {
        let app = self.0.clone();
        let tenant = app.tenancy.one(ctx.headers())?;
        app.rate.take(&tenant, request.bytes().len() as u64, app.now_ns()).inspect_err(|_| {
            app.metrics.discarded("rate_limited", &tenant, request.bytes().len() as u64);
        })?;
        // The work outlives this call when the client goes away, and so does the memory that it uses.
        let reservation = ctx.extensions().get::<Arc<Reservation>>().cloned();
        let request = request.to_owned_view();
        self.0
            .ingest_pool
            .run(move |_| {
                let _reservation = reservation;
                ingest::push(&app, &tenant, request.reborrow())
            })
            .await??;
        Response::ok(PushResponse::default())
    }
}
