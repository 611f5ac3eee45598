//! What queries and the status page get.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use argand_model::{Dataset, TenantId, TimeRange};

use super::Engine;
use crate::error::chain;
use crate::lock;
use crate::manifest::ulid_text;

/// Everything that a query may read, at one moment; later changes do not show.
#[derive(Default)]
pub struct Snapshot {
    /// Parts of the head and of blocks that overlap the range. A service may have many.
    pub datasets: Vec<Arc<dyn Dataset>>,
    /// What is missing because it is damaged, for people.
    pub warnings: Vec<String>,
}

/// What a tenant has stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TenantStats {
    /// Time of the first profile in ns.
    pub oldest_ns: Option<i64>,
    /// Time of the last profile in ns.
    pub newest_ns: Option<i64>,
    /// Number of blocks.
    pub blocks: u64,
    /// Size of the blocks; the head is not counted.
    pub bytes: u64,
    /// Number of profiles (one per series of an upload).
    pub profiles: u64,
    /// Number of rows.
    pub rows: u64,
}

/// How the store is.
#[derive(Clone, Debug)]
pub struct Status {
    /// Whether uploads are accepted; why not.
    pub ready: Result<(), String>,
    /// Number of tenants with data.
    pub tenants: u64,
    /// Number of blocks.
    pub blocks: u64,
    /// Size of all blocks.
    pub block_bytes: u64,
    /// Memory of all heads in bytes.
    pub head_bytes: u64,
    /// Heads that wait for their flush.
    pub sealed_heads: u64,
    /// Series that were written lately, of all tenants.
    pub active_series: u64,
    /// Space of the disk when it was last asked.
    pub free_bytes: u64,
    /// Damaged blocks that were put aside, with reasons.
    pub quarantined: Vec<String>,
    /// Damage found since the start, oldest first; the last hundred.
    pub damage: Vec<String>,
}

impl Engine {
    /// What `tenant` has that overlaps `range`.
    pub(crate) fn snapshot(&self, tenant: &TenantId, range: TimeRange) -> Snapshot {
        let (heads, blocks) = {
            let view = lock::read(&self.view);
            let generations = view.sealed.iter().chain(&view.current);
            let heads: Vec<_> = generations.flat_map(|generation| generation.datasets_of(tenant)).collect();
            let overlapping = view.blocks.get(tenant).into_iter().flat_map(|blocks| blocks.values());
            let blocks: Vec<_> = overlapping.filter(|handle| handle.info.time.overlaps(&range)).cloned().collect();
            (heads, blocks)
        };
        let mut snapshot = Snapshot::default();
        for handle in blocks {
            match self.blocks.datasets(&handle) {
                Ok(parts) => snapshot.datasets.extend(parts.into_iter().map(|part| Arc::new(part) as Arc<dyn Dataset>)),
                Err(error) => {
                    snapshot.warnings.push(format!("block {}: {}", ulid_text(handle.info.id), chain(&error)));
                }
            }
        }
        let parts = heads.iter().filter_map(|dataset| dataset.snapshot());
        let parts = parts.filter(|part| part.time().overlaps(&range));
        snapshot.datasets.extend(parts.map(|part| Arc::new(part) as Arc<dyn Dataset>));
        let manifest = lock::mutex(&self.manifest);
        let missing = manifest.current.quarantined.values();
        let missing = missing.filter(|q| q.block.tenant == *tenant && q.block.time.overlaps(&range));
        snapshot.warnings.extend(missing.map(|q| format!("block {} is damaged", ulid_text(q.block.id))));
        snapshot
    }

    /// Tenants with data, ascending.
    pub(crate) fn tenants(&self) -> Vec<TenantId> {
        let view = lock::read(&self.view);
        let heads = view.sealed.iter().chain(&view.current).flat_map(|generation| generation.tenants());
        let tenants: BTreeSet<TenantId> = view.blocks.keys().cloned().chain(heads).collect();
        tenants.into_iter().collect()
    }

    pub(crate) fn tenant_stats(&self, tenant: &TenantId) -> TenantStats {
        let (infos, heads) = {
            let view = lock::read(&self.view);
            let blocks = view.blocks.get(tenant).into_iter().flat_map(|blocks| blocks.values());
            let generations = view.sealed.iter().chain(&view.current);
            let heads: Vec<_> = generations.flat_map(|generation| generation.datasets_of(tenant)).collect();
            (blocks.map(|handle| handle.info.clone()).collect::<Vec<_>>(), heads)
        };
        let mut stats = TenantStats::default();
        for info in infos {
            stats.blocks += 1;
            stats.bytes += info.bytes;
            stats.add(info.time, info.profiles, info.rows);
        }
        for part in heads.iter().filter_map(|dataset| dataset.snapshot()) {
            stats.add(part.time(), part.profile_count() as u64, part.row_count().into());
        }
        stats
    }

    pub(crate) fn status(&self) -> Status {
        let tenants = self.tenants().len() as u64;
        let active_series = lock::mutex(&self.tenants).values().map(|series| series.len() as u64).sum();
        let (blocks, block_bytes, quarantined) = {
            let manifest = &lock::mutex(&self.manifest).current;
            let quarantined = manifest.quarantined.values();
            let shown =
                quarantined.map(|q| format!("block {} of {}: {}", ulid_text(q.block.id), q.block.tenant, q.reason));
            (manifest.blocks.len() as u64, manifest.blocks.values().map(|b| b.bytes).sum(), shown.collect())
        };
        let free_bytes = self.free_bytes.load(Ordering::Relaxed);
        let view = lock::read(&self.view);
        let heads = view.sealed.iter().chain(&view.current);
        Status {
            ready: self.readiness(&view.current.as_ref().map(|_| ()).map_err(Clone::clone), free_bytes),
            tenants,
            blocks,
            block_bytes,
            head_bytes: heads.map(|generation| generation.memory_bytes() as u64).sum(),
            sealed_heads: view.sealed.len() as u64,
            active_series,
            free_bytes,
            quarantined,
            damage: lock::mutex(&self.reports).iter().cloned().collect(),
        }
    }

    fn readiness(&self, log: &Result<(), String>, free_bytes: u64) -> Result<(), String> {
        if self.is_closing() {
            return Err("store is shutting down".to_owned());
        }
        if free_bytes < self.config.reserve_bytes {
            let reserve_bytes = self.config.reserve_bytes;
            return Err(crate::StoreError::DiskFull { free_bytes, reserve_bytes }.to_string());
        }
        log.clone()
    }
}

impl TenantStats {
    fn add(&mut self, time: TimeRange, profiles: u64, rows: u64) {
        self.profiles += profiles;
        self.rows += rows;
        self.oldest_ns = Some(self.oldest_ns.map_or(time.start_ns, |oldest| oldest.min(time.start_ns)));
        self.newest_ns = Some(self.newest_ns.map_or(time.end_ns, |newest| newest.max(time.end_ns)));
    }
}
