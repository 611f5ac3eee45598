//! `push.v1.PusherService`

use std::sync::{Arc, Mutex, PoisonError};

use argand_model::TenantId;
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
        let raw_bytes = request.bytes().len();
        let request = request.to_owned_view();
        run_upload(&self.0, &ctx, raw_bytes, move |app, tenant| ingest::push(app, tenant, request.reborrow())).await?;
        Response::ok(PushResponse::default())
    }
}

/// Stores an upload with the leave and for the tenant of its call, within the tenant's rate.
pub(super) async fn run_upload(
    app: &Arc<App>,
    ctx: &RequestContext,
    raw_bytes: usize,
    store: impl FnOnce(&App, &TenantId) -> Result<(), ApiError> + Send + 'static,
) -> Result<(), ApiError> {
    let tenant = app.tenancy.one(ctx.headers())?;
    app.rate
        .take(&tenant, app.policy().of(&tenant), raw_bytes as u64, app.now_ns())
        .inspect_err(|_| app.metrics.discarded("rate_limited", &tenant, raw_bytes as u64))?;
    // The work outlives this call when the client goes away, and so does the memory that it uses.
    let reservation = ctx.extensions().get::<Arc<Reservation>>().cloned();
    let slot = ctx.extensions().get::<Leave>().and_then(Leave::take).ok_or_else(ApiError::internal)?;
    let shared = app.clone();
    let work = move |_: &_| {
        let _reservation = reservation;
        store(&shared, &tenant)
    };
    app.ingest_pool.run_in(slot, work).await?
}
