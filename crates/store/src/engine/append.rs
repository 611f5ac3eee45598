//! Taking an upload in: checks, interning, encoding, queueing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use argand_model::{Labels, TenantId, Upload};

use super::{Engine, View};
use crate::dedupe::Seen;
use crate::head::{CommittedUpload, Generation, Writing};
use crate::lock;
use crate::log::{MAX_PAYLOAD_BYTES, Payload};
use crate::record::{self, ProfileHeader, TableLengths, UploadParts};
use crate::{Ack, Done, StoreError, rows};

/// Records that wait for the log, in the order in which their dictionary entries were made.
#[derive(Default)]
pub(super) struct Queue {
    pub(super) entries: Vec<Entry>,
    pub(super) bytes: usize,
}

/// One record that waits.
pub(super) struct Entry {
    pub(super) payload: Payload,
    pub(super) done: Done,
    /// `None` for a probe.
    pub(super) upload: Option<QueuedUpload>,
}

pub(super) struct QueuedUpload {
    pub(super) tenant: TenantId,
    pub(super) key: Option<u128>,
    pub(super) rows: CommittedUpload,
}

/// Active series of a tenant.
#[derive(Default)]
pub(super) struct TenantSeries {
    /// Monotonic ns when a head first saw it last, by fingerprint.
    seen_ns: HashMap<u64, u64>,
    /// Monotonic ns when expired series were last dropped, and the label that was the worst then.
    refused: Option<(u64, String)>,
}

impl TenantSeries {
    pub(super) fn len(&self) -> usize {
        self.seen_ns.len()
    }
}

/// How long a refusal's details stay good.
const REFUSAL_NS: u64 = 10_000_000_000;

impl Engine {
    /// Queues an upload for the log; `done` is called once: at once where it is refused or known, else from a commit.
    pub(crate) fn append(&self, tenant: &TenantId, upload: &Upload, done: Done) {
        let mut done = Some(done);
        let outcome = match self.accept(tenant, upload, &mut done) {
            Ok(None) => return,
            Ok(Some(ack)) => {
                self.metrics.duplicates.increment();
                Ok(ack)
            }
            Err(error) => {
                self.count_refusal(&error);
                Err(error)
            }
        };
        let done = done.expect("an upload that was not queued keeps its callback");
        done(outcome);
    }

    /// Queues an empty record.
    pub(crate) fn probe(&self, done: Done) {
        let view = lock::read(&self.view);
        let refusal = match &view.current {
            _ if self.is_closing() => Some(StoreError::ShuttingDown),
            Err(reason) => Some(StoreError::Unavailable { reason: reason.clone() }),
            Ok(_) => None,
        };
        if let Some(refusal) = refusal {
            drop(view);
            return done(Err(refusal));
        }
        self.enqueue(Entry { payload: Payload::new(record::encode_probe()), done, upload: None });
    }

    fn count_refusal(&self, error: &StoreError) {
        let counter = match error {
            StoreError::Overloaded { .. } => &self.metrics.refused_overloaded,
            StoreError::DiskFull { .. } => &self.metrics.refused_disk_full,
            StoreError::Unavailable { .. } | StoreError::ShuttingDown => &self.metrics.refused_unavailable,
            _ => &self.metrics.refused_limits,
        };
        counter.increment();
    }

    /// `Ok(None)` if the upload or at least its callback waits now.
    fn accept(&self, tenant: &TenantId, upload: &Upload, done: &mut Option<Done>) -> Result<Option<Ack>, StoreError> {
        check_shape(upload).map_err(StoreError::Malformed)?;
        let bytes = record_bound(upload);
        let limit = self.config.max_record_bytes.min(MAX_PAYLOAD_BYTES);
        if bytes > limit {
            return Err(StoreError::TooLarge { bytes, limit });
        }
        // Held until the record is in the queue: a generation is sealed with all its records queued.
        let view = lock::read(&self.view);
        let generation = self.admit(&view)?;

        let fingerprints = |known: &dyn Fn(&Labels) -> bool| -> HashSet<u64> {
            upload.series.iter().filter(|s| !known(&s.labels)).map(|s| s.labels.fingerprint()).collect()
        };
        let dataset = match generation.find_dataset(tenant, upload.service_name()) {
            Some(dataset) => dataset,
            None => {
                // Refused before anything is kept.
                self.activate_series(&view, tenant, &fingerprints(&|_| false))?;
                generation.dataset(tenant, upload.service_name())
            }
        };
        let mut writing = lock::mutex(&dataset.writing);
        let new_series = fingerprints(&|labels| writing.find_series(labels).is_some());
        if !new_series.is_empty() {
            self.activate_series(&view, tenant, &new_series)?;
        }
        if let Some(key) = upload.idempotency_key {
            match lock::mutex(&self.dedupe).begin(tenant, key, done) {
                Seen::New => {}
                Seen::Waiting => return Ok(None),
                Seen::Stored(callback) => {
                    *done = Some(callback);
                    return Ok(Some(Ack::Duplicate));
                }
            }
        }

        let memory_before = writing.memory_bytes();
        let (payload, new_series, profiles, rows) = encode(&mut writing, tenant, upload);
        generation.account(memory_before, writing.memory_bytes());
        let queued = QueuedUpload {
            tenant: tenant.clone(),
            key: upload.idempotency_key,
            rows: CommittedUpload { dataset: dataset.clone(), new_series, profiles, rows },
        };
        let done = done.take().expect("new uploads keep their callback until here");
        // Still under the dataset's lock: records of a dataset are in the log in the order of their entries.
        self.enqueue(Entry { payload, done, upload: Some(queued) });
        Ok(None)
    }

    /// Whether anything is taken at all; the generation to put it in.
    /// See [`crate::Store::admits`].
    pub(crate) fn admits(&self) -> Result<(), StoreError> {
        self.admit(&lock::read(&self.view)).map(|_| ())
    }

    fn admit<'a>(&self, view: &'a View) -> Result<&'a Arc<Generation>, StoreError> {
        if self.is_closing() {
            return Err(StoreError::ShuttingDown);
        }
        let free_bytes = self.free_bytes.load(Ordering::Relaxed);
        if free_bytes < self.config.reserve_bytes {
            return Err(StoreError::DiskFull { free_bytes, reserve_bytes: self.config.reserve_bytes });
        }
        let generation = view.current.as_ref();
        let generation = generation.map_err(|reason| StoreError::Unavailable { reason: reason.clone() })?;
        let is_full = generation.memory_bytes() >= self.config.head_bytes
            || generation.largest_rows() >= self.config.head_dataset_rows;
        if is_full && view.sealed.len() >= self.config.max_sealed_heads {
            return Err(StoreError::Overloaded { what: "heads that wait for their flush" });
        }
        let queue = lock::mutex(&self.queue);
        if queue.bytes >= self.config.max_queue_bytes {
            return Err(StoreError::Overloaded { what: "bytes for the log" });
        }
        if queue.entries.len() >= self.config.max_queue_count {
            return Err(StoreError::Overloaded { what: "uploads for the log" });
        }
        Ok(generation)
    }

    fn enqueue(&self, entry: Entry) {
        let mut queue = lock::mutex(&self.queue);
        queue.bytes += entry.payload.bytes.len();
        queue.entries.push(entry);
        self.metrics.queue_bytes.set(queue.bytes as u64);
        self.metrics.queue_count.set(queue.entries.len() as u64);
        if queue.entries.len() == 1 {
            self.work.notify_all();
        }
    }

    /// Counts series that are new in this generation. Errors: [`StoreError::SeriesLimit`], [`StoreError::TenantLimit`].
    fn activate_series(&self, view: &View, tenant: &TenantId, series: &HashSet<u64>) -> Result<(), StoreError> {
        let now = self.env.clock.monotonic_ns();
        let limit = self.config.max_series_per_tenant;
        let mut tenants = lock::mutex(&self.tenants);
        if !tenants.contains_key(tenant) && tenants.len() >= self.config.max_tenants {
            return Err(StoreError::TenantLimit { limit: self.config.max_tenants });
        }
        let active = tenants.entry(tenant.clone()).or_default();
        let is_over = |active: &TenantSeries| {
            active.len() + series.iter().filter(|s| !active.seen_ns.contains_key(s)).count() > limit
        };
        if is_over(active) {
            let is_stale = active.refused.as_ref().is_none_or(|(at, _)| now - at >= REFUSAL_NS);
            if is_stale {
                let window = u64::try_from(self.config.series_window.as_nanos()).unwrap_or(u64::MAX);
                active.seen_ns.retain(|_, seen| now - *seen < window);
                active.refused = Some((now, worst_label(view, tenant)));
            }
            if is_over(active) {
                let worst_label = active.refused.as_ref().map(|(_, label)| label.clone()).unwrap_or_default();
                return Err(StoreError::SeriesLimit { limit, worst_label });
            }
        }
        active.seen_ns.extend(series.iter().map(|&s| (s, now)));
        Ok(())
    }

    /// Counts series of a replayed generation.
    pub(super) fn restore_series(&self, tenant: &TenantId, series: &[Labels]) {
        let now = self.env.clock.monotonic_ns();
        let mut tenants = lock::mutex(&self.tenants);
        let active = tenants.entry(tenant.clone()).or_default();
        active.seen_ns.extend(series.iter().map(|labels| (labels.fingerprint(), now)));
    }
}

/// The label with the most distinct values among the series in the heads of a tenant.
fn worst_label(view: &View, tenant: &TenantId) -> String {
    let mut values: BTreeMap<String, HashSet<String>> = BTreeMap::new();
    let generations = view.sealed.iter().chain(&view.current);
    for dataset in generations.flat_map(|generation| generation.datasets_of(tenant)) {
        for labels in dataset.committed_series().iter() {
            for (name, value) in labels.iter() {
                values.entry(name.to_owned()).or_default().insert(value.to_owned());
            }
        }
    }
    values.into_iter().max_by_key(|(_, values)| values.len()).map(|(name, _)| name).unwrap_or_default()
}

/// Adds the upload to the tables of its dataset and makes its record.
fn encode(
    writing: &mut Writing,
    tenant: &TenantId,
    upload: &Upload,
) -> (Payload, Vec<Labels>, Vec<ProfileHeader>, Arc<[u8]>) {
    let nodes = writing.intern_stacks(upload);
    let mut rows = Vec::with_capacity(upload.row_count() * 5);
    let mut profiles = Vec::with_capacity(upload.series.len());
    for profile in &upload.series {
        let start = rows.len();
        rows::pack(&mut rows, profile, &nodes);
        profiles.push(ProfileHeader {
            series: writing.add_series(&profile.labels),
            id: profile.id,
            time_ns: profile.time_ns,
            duration_ns: profile.duration_ns,
            total: profile.total(),
            row_count: profile.stack.len() as u32,
            rows_len: (rows.len() - start) as u32,
        });
    }
    let now = TableLengths::of(writing.series().len(), writing.dictionary());
    let base = writing.start_record(now);
    let payload = record::encode_upload(&UploadParts {
        tenant,
        service: upload.service_name(),
        key: upload.idempotency_key,
        base,
        series: writing.series(),
        dictionary: writing.dictionary(),
        profiles: &profiles,
        rows: &rows,
    });
    let new_series = writing.series()[base.series as usize..].to_vec();
    (Payload::new(payload), new_series, profiles, rows.into())
}

/// An upper bound of the record's size in bytes.
fn record_bound(upload: &Upload) -> usize {
    let links = upload.series.iter().map(|s| s.span_id.len().max(s.trace_id.len())).sum::<usize>();
    let labels = |s: &argand_model::SeriesProfile| s.labels.iter().map(|(n, v)| n.len() + v.len() + 10).sum::<usize>();
    let series = upload.series.iter().map(|s| labels(s) + 100).sum::<usize>();
    // A row is two varints; a new stack node two; the tables encode smaller than they are in memory.
    upload.symbols.memory_bytes() * 2
        + upload.stacks.frames().len() * 10
        + upload.row_count() * 15
        + links * 25
        + series
        + 1_000
}

/// What [`Upload`] promises, as far as wrong ids would panic later.
fn check_shape(upload: &Upload) -> Result<(), &'static str> {
    let Upload { symbols, stacks, series, .. } = upload;
    if series.is_empty() {
        return Err("no series");
    }
    let (strings, functions) = (symbols.strings.len(), symbols.functions.len());
    let (mappings, locations) = (symbols.mappings.len(), symbols.locations.len());
    let function_is_good =
        |f: &argand_model::Function| [f.name, f.system_name, f.filename].iter().all(|s| s.index() < strings);
    let location_is_good = |l: &argand_model::Location| {
        let lines_end = l.lines_start as usize + l.lines_len as usize;
        l.mapping.index() < mappings && lines_end <= symbols.lines.len()
    };
    let checks = [
        (functions > 0 && mappings > 0, "null entries are missing"),
        (symbols.functions.iter().all(function_is_good), "function without its strings"),
        (
            symbols.mappings.iter().all(|m| m.filename.index().max(m.build_id.index()) < strings),
            "mapping without its strings",
        ),
        (symbols.lines.iter().all(|l| l.function.index() < functions), "line without its function"),
        (symbols.locations.iter().all(location_is_good), "location without its mapping or lines"),
        (stacks.frames().iter().max().is_none_or(|l| l.index() < locations), "stack without its locations"),
    ];
    if let Some((_, reason)) = checks.iter().find(|(is_good, _)| !is_good) {
        return Err(reason);
    }
    let service = upload.service_name();
    for profile in series {
        let rows = profile.stack.len();
        let fits = |len: usize| len == 0 || len == rows;
        if profile.value.len() != rows || !fits(profile.span_id.len()) || !fits(profile.trace_id.len()) {
            return Err("columns differ in length");
        }
        if profile.stack.iter().any(|&s| s as usize >= stacks.len()) {
            return Err("row without its stack");
        }
        if profile.labels.get(argand_model::name::SERVICE_NAME).unwrap_or("") != service {
            return Err("series of several services");
        }
    }
    Ok(())
}
