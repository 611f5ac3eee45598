//! The store as a state machine: every step is a method, nothing happens by itself.
//!
//! Locks, in the order in which they may be taken: flushing, housekeeping, log, manifest, view, head dataset, tenants, keys, queue.

mod append;
mod commit;
mod read;
mod recovery;
mod upkeep;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};

use argand_model::TenantId;

use crate::blocks::{BlockHandle, Blocks};
use crate::clock::{Clock, Rng};
use crate::dedupe::Dedupe;
use crate::disk::Disk;
use crate::head::Generation;
use crate::lock;
use crate::log::LogFile;
use crate::manifest::{Manifest, Metastore};
use crate::metrics::StoreMetrics;
use crate::retention::{ClockGuard, Retention};
use crate::{StoreConfig, StoreError};

use append::{Queue, TenantSeries};
pub use read::{Snapshot, Status, TenantStats};

/// The world outside of the store.
#[derive(Clone)]
pub struct Environment {
    /// The data directory.
    pub disk: Arc<dyn Disk>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Random numbers.
    pub rng: Arc<dyn Rng>,
}

/// All state of an open store.
pub(crate) struct Engine {
    env: Environment,
    config: StoreConfig,
    pub(crate) metrics: Arc<StoreMetrics>,
    log: Mutex<LogState>,
    manifest: Mutex<ManifestState>,
    view: RwLock<View>,
    tenants: Mutex<HashMap<TenantId, TenantSeries>>,
    dedupe: Mutex<Dedupe>,
    queue: Mutex<Queue>,
    /// Signalled when the queue gets its first entry, and at shutdown.
    work: Condvar,
    blocks: Arc<Blocks>,
    clock_guard: Mutex<ClockGuard>,
    retention: Mutex<Retention>,
    /// Held by whoever flushes.
    flushing: Mutex<()>,
    /// Held by whoever compacts, deletes or checks blocks.
    housekeeping: Mutex<()>,
    /// Space of the disk when it was last asked.
    free_bytes: AtomicU64,
    /// Somebody wants the head sealed now.
    roll_requested: AtomicBool,
    /// No more uploads; long tasks give up.
    closing: AtomicBool,
    /// Damage found since the start, newest last.
    reports: Mutex<VecDeque<String>>,
}

/// The log that is being written; its lock is held for whole commits.
struct LogState {
    /// `None` while the log cannot be written.
    file: Option<LogFile>,
    next_generation: u64,
    /// Monotonic ns before which sealing is not tried again after it failed.
    roll_not_before_ns: u64,
}

struct ManifestState {
    current: Manifest,
    /// Greatest revision that was ever tried.
    tried_revision: u64,
    store: Box<dyn Metastore>,
    /// Files of blocks that left the manifest; removed when nobody reads them.
    graveyard: Vec<Arc<BlockHandle>>,
    /// Last block that the scrub looked at.
    scrubbed: u128,
    /// Blocks that a compaction could not read: left alone until they are checked.
    unreadable: Vec<u128>,
}

/// What queries see; changed in one step wherever data moves.
struct View {
    /// Takes uploads; or why there is none.
    current: Result<Arc<Generation>, String>,
    /// Oldest first.
    sealed: VecDeque<Arc<Generation>>,
    blocks: BTreeMap<TenantId, BTreeMap<u128, Arc<BlockHandle>>>,
}

/// Reports of damage that are kept.
const MAX_REPORTS: usize = 100;

impl Engine {
    /// Notes damage for the status, the counters and the program's log.
    fn report(&self, damage: String) {
        tracing::error!(damage, "the data directory is damaged");
        self.metrics.corruptions.increment();
        let mut reports = lock::mutex(&self.reports);
        if reports.len() == MAX_REPORTS {
            reports.pop_front();
        }
        reports.push_back(damage);
    }

    /// Changes the manifest durably, then `apply`s the change to the view.
    fn edit_manifest(
        &self,
        change: impl FnOnce(&mut Manifest),
        apply: impl FnOnce(&mut View),
    ) -> Result<(), StoreError> {
        let mut state = lock::mutex(&self.manifest);
        let mut next = state.current.clone();
        change(&mut next);
        state.tried_revision += 1;
        next.revision = state.tried_revision;
        state.store.swap(state.current.revision, &next)?;
        state.current = next;
        let mut view = lock::write(&self.view);
        apply(&mut view);
        let left = view.sync_blocks(&state.current);
        drop(view);
        for handle in &left {
            self.blocks.forget(handle.info.id);
        }
        state.graveyard.extend(left);
        Ok(())
    }

    /// No more uploads from here on; long tasks give up.
    pub(crate) fn close(&self) {
        // Uploads hold this lock from their check of the flag until they are queued: none comes after this.
        let view = lock::write(&self.view);
        self.closing.store(true, Ordering::Release);
        drop(view);
        self.work.notify_all();
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }
}

impl View {
    /// Takes over the manifest's list of blocks; returns those that left it.
    fn sync_blocks(&mut self, manifest: &Manifest) -> Vec<Arc<BlockHandle>> {
        let mut left = Vec::new();
        for blocks in self.blocks.values_mut() {
            blocks.retain(|id, handle| {
                let stays = manifest.blocks.contains_key(id);
                if !stays {
                    left.push(handle.clone());
                }
                stays
            });
        }
        self.blocks.retain(|_, blocks| !blocks.is_empty());
        for (&id, info) in &manifest.blocks {
            let blocks = match self.blocks.get_mut(&info.tenant) {
                Some(blocks) => blocks,
                None => self.blocks.entry(info.tenant.clone()).or_default(),
            };
            blocks.entry(id).or_insert_with(|| Arc::new(BlockHandle { info: info.clone() }));
        }
        left
    }
}

#[cfg(test)]
mod tests;
