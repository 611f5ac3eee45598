//! `push.v1.PusherService`

use std::sync::{Arc, Mutex, PoisonError};

use connectrpc::{RequestContext, Response, ServiceRequest, ServiceResult};

use crate::admission::{Reservation, Slot};
use crate::app::App;
use crate::error::ApiError;
use crate::ingest;
use crate::proto::push::v1::{PushRequest, PushResponse, PusherService};

pub(super) struct Pusher(pub(super) Arc<App>);

/// Leave to work on a push, handed to the call with the request.
#[derive(Clone)]
pub(super) struct Leave(Arc<Mutex<Option<Slot>>>);

impl Leave {
    pub(super) fn new(slot: Slot) -> Self {
        Self(Arc::new(Mutex::new(Some(slot))))
    }

    fn take(&self) -> Option<Slot> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl PusherService for Pusher {
    async fn push(&self, ctx: RequestContext, request: ServiceRequest<'_, PushRequest>) -> ServiceResult<PushResponse> {
        let app = self.0.clone();
        let tenant = app.tenancy.one(ctx.headers())?;
        app.rate.take(&tenant, app.policy().of(&tenant), request.bytes().len() as u64, app.now_ns()).inspect_err(
            |_| {
                app.metrics.discarded("rate_limited", &tenant, request.bytes().len() as u64);
            },
        )?;
        // The work outlives this call when the client goes away, and so does the memory that it uses.
        let reservation = ctx.extensions().get::<Arc<Reservation>>().cloned();
        let slot = ctx.extensions().get::<Leave>().and_then(Leave::take).ok_or_else(ApiError::internal)?;
        let request = request.to_owned_view();
        let work = move |_: &_| {
            let _reservation = reservation;
            ingest::push(&app, &tenant, request.reborrow())
        };
        self.0.ingest_pool.run_in(slot, work).await??;
        Response::ok(PushResponse::default())
    }
}
