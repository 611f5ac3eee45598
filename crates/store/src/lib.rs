//! The durable profile store: log, head, blocks, compaction, retention.
//!
//! An upload is acknowledged once its log record is on disk (`fdatasync`); from then on queries see it. The head of
//! a generation turns into one block per tenant, blocks are merged into larger ones, retention deletes them.
//! [`Store`] is a thin set of threads around the engine, which takes disk, clock and randomness as parameters, so
//! that the simulator in this crate's tests runs the same code on one thread and crashes it at every step.
//!
//! Layout of the data directory: `docs/format/log.md`, `docs/format/manifest.md`, and the block format's own text.
//! Nothing else writes there.

mod blocks;
mod clock;
mod codec;
mod compaction;
mod config;
mod dedupe;
mod disk;
mod engine;
mod error;
mod head;
mod interner;
mod lock;
mod log;
mod manifest;
mod metrics;
pub mod record;
mod retention;
mod rows;
#[cfg(test)]
mod sim;
mod store;
#[cfg(test)]
mod testing;

pub use clock::{Clock, Rng, SystemClock, SystemRng};
pub use config::StoreConfig;
pub use disk::{Disk, DiskFile, FsDisk};
pub use engine::{Environment, Snapshot, Status, TenantStats};
pub use error::StoreError;
pub use manifest::{BlockInfo, Manifest, Metastore, QuarantinedBlock};
pub use metrics::{DURATION_BUCKETS_SECONDS, DurationHistogram, Number, StoreMetrics};
pub use store::{Store, TenantStore};

/// How an upload was acknowledged. In both cases it is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// Stored now.
    Stored,
    /// Stored before: one with the same idempotency key is there.
    Duplicate,
}

/// Called once with the outcome of an upload, possibly on the log's thread: must be quick and must not call the
/// store.
pub type Done = Box<dyn FnOnce(Result<Ack, StoreError>) + Send>;
