//! From what a request holds to what the store keeps, with everything counted.

use argand_ingest::{Context, IngestParams, LegacyBody, Reason, Rejection};
use argand_model::{TenantId, Upload};
use buffa::view::RepeatedView;
use connectrpc::ErrorCode;

use crate::app::App;
use crate::error::ApiError;
use crate::policy::TenantLimits;
use crate::proto::push::v1::__buffa::view::{PushRequestView, RawProfileSeriesView};

/// Uploads that go to the store together, so that they share one write to disk.
const BATCH_UPLOADS: usize = 64;
const BATCH_BYTES: usize = 8 << 20;

/// Refusals that one answer spells out.
const MAX_REPORTED: usize = 20;

/// Profiles that are decoded and not stored yet.
struct Batch<'a> {
    app: &'a App,
    tenant: &'a TenantId,
    uploads: Vec<Upload>,
    raw_bytes: usize,
    refusals: Vec<ApiError>,
}

impl<'a> Batch<'a> {
    fn new(app: &'a App, tenant: &'a TenantId) -> Self {
        Self { app, tenant, uploads: Vec::new(), raw_bytes: 0, refusals: Vec::new() }
    }

    fn add(&mut self, uploads: impl IntoIterator<Item = Upload>, format: &'static str, raw_bytes: usize) {
        let before = self.uploads.len();
        self.uploads.extend(uploads);
        let rows: usize = self.uploads[before..].iter().map(Upload::row_count).sum();
        self.app.metrics.received(format, self.tenant, raw_bytes as u64, rows as u64);
        self.raw_bytes += raw_bytes;
        if self.uploads.len() >= BATCH_UPLOADS || self.raw_bytes >= BATCH_BYTES {
            self.store();
        }
    }

    fn store(&mut self) {
        self.raw_bytes = 0;
        let uploads = std::mem::take(&mut self.uploads);
        if uploads.is_empty() {
            return;
        }
        if let Err(error) = self.app.parts.storage.append(self.tenant, uploads) {
            self.refusals.push(error.into());
        }
    }

    /// Counts a refused profile; `None` where its sender is told success all the same.
    fn discard(&self, rejection: &Rejection, raw_bytes: usize) -> Option<ErrorCode> {
        self.app.metrics.discarded(rejection.reason.as_str(), self.tenant, raw_bytes as u64);
        match rejection.reason {
            Reason::DroppedByRelabelRules => None,
            Reason::RateLimited | Reason::SeriesLimit => Some(ErrorCode::ResourceExhausted),
            _ => Some(ErrorCode::InvalidArgument),
        }
    }
}

fn with_context<T>(app: &App, limits: &TenantLimits, decode: impl FnOnce(&mut Context<'_>) -> T) -> T {
    let mut next_id = || (app.parts.next_id)();
    let TenantLimits { profile, relabel, .. } = limits;
    decode(&mut Context { limits: profile, relabel, now_ns: app.now_ns(), next_id: &mut next_id })
}

/// Stores every profile of a push that can be stored. Errors: what was wrong with the others, joined; the code of an
/// explicit refusal wins over that of a bad profile.
pub(crate) fn push(app: &App, tenant: &TenantId, request: &PushRequestView<'_>) -> Result<(), ApiError> {
    if request.series.iter().all(|series| series.samples.is_empty()) {
        return Err(ApiError::invalid("no profiles received: the request has no series with samples"));
    }
    app.parts.storage.wait_for_room()?;
    let policy = app.policy();
    let limits = policy.of(tenant);
    let mut batch = Batch::new(app, tenant);
    for (index, series) in request.series.iter().enumerate() {
        let labels = label_pairs(series);
        for sample in &series.samples {
            let decoded = with_context(app, limits, |context| {
                argand_ingest::push(&labels, sample.raw_profile, sample.ID, context)
            });
            match decoded {
                Ok(upload) => batch.add(upload, "pprof", sample.raw_profile.len()),
                Err(rejection) => {
                    if let Some(code) = batch.discard(&rejection, sample.raw_profile.len()) {
                        let place = format!("series {index}, profile {:?}", sample.ID);
                        batch.refusals.push(ApiError::new(code, format!("{place}: {rejection}")));
                    }
                }
            }
        }
    }
    batch.store();
    join(&batch.refusals)
}

fn label_pairs(series: &RawProfileSeriesView<'_>) -> Vec<(String, String)> {
    let pairs: &RepeatedView<'_, _> = &series.labels;
    pairs.iter().map(|pair| (pair.name.to_owned(), pair.value.to_owned())).collect()
}

fn join(refusals: &[ApiError]) -> Result<(), ApiError> {
    let Some(first) = refusals.iter().find(|r| r.code != ErrorCode::InvalidArgument).or(refusals.first()) else {
        return Ok(());
    };
    let mut message = refusals.iter().take(MAX_REPORTED).map(|r| r.message.as_str()).collect::<Vec<_>>().join("; ");
    if refusals.len() > MAX_REPORTED {
        message.push_str(&format!("; and {} more", refusals.len() - MAX_REPORTED));
    }
    Err(ApiError::new(first.code, message))
}

/// Stores the profiles of an `/ingest` request, all or none.
pub(crate) fn legacy(
    app: &App,
    tenant: &TenantId,
    params: &IngestParams,
    body: LegacyBody<'_>,
    raw_bytes: usize,
) -> Result<(), ApiError> {
    app.parts.storage.wait_for_room()?;
    let policy = app.policy();
    let mut batch = Batch::new(app, tenant);
    match with_context(app, policy.of(tenant), |context| argand_ingest::ingest(params, body, context)) {
        Ok(ingested) => {
            app.metrics.lost(&ingested.losses);
            let metrics = ingested.uploads.len() as u64 + ingested.dropped;
            for _ in 0..ingested.dropped {
                let (reason, share) = (Reason::DroppedByRelabelRules.as_str(), raw_bytes as u64 / metrics);
                app.metrics.discarded(reason, tenant, share);
            }
            batch.add(ingested.uploads, params.format.as_str(), raw_bytes);
        }
        Err(rejection) => {
            return match batch.discard(&rejection, raw_bytes) {
                None => Ok(()),
                Some(code) => Err(legacy_refusal(params, &rejection, code)),
            };
        }
    }
    batch.store();
    join(&batch.refusals)
}

/// Stores every profile of an OTLP export that can be stored. Errors: the request cannot be read; or what was wrong
/// with some of its profiles, joined.
pub(crate) fn otlp(app: &App, tenant: &TenantId, message: &[u8], raw_bytes: usize) -> Result<(), ApiError> {
    app.parts.storage.wait_for_room()?;
    let policy = app.policy();
    let mut batch = Batch::new(app, tenant);
    let exported = match with_context(app, policy.of(tenant), |context| argand_ingest::export(message, context)) {
        Ok(exported) => exported,
        Err(rejection) => {
            let code = batch.discard(&rejection, raw_bytes).unwrap_or(ErrorCode::InvalidArgument);
            return Err(ApiError::new(code, rejection.to_string()));
        }
    };
    let share = raw_bytes / (exported.uploads.len() + exported.rejections.len()).max(1);
    for rejection in &exported.rejections {
        if let Some(code) = batch.discard(rejection, share) {
            batch.refusals.push(ApiError::new(code, rejection.to_string()));
        }
    }
    for upload in exported.uploads {
        batch.add([upload], "otlp", share);
    }
    batch.store();
    join(&batch.refusals)
}

/// 400 for text and trees that do not parse, 422 for the rest, 429 for limits of a tenant.
fn legacy_refusal(params: &IngestParams, rejection: &Rejection, code: ErrorCode) -> ApiError {
    use argand_ingest::Format::{Groups, Lines, Tree, Trie};
    let refusal = ApiError::new(code, rejection.to_string());
    let is_text = matches!(params.format, Groups | Lines | Tree | Trie);
    match code {
        ErrorCode::InvalidArgument if !(is_text && rejection.reason == Reason::MalformedProfile) => {
            refusal.with_status(http::StatusCode::UNPROCESSABLE_ENTITY)
        }
        _ => refusal,
    }
}
