//! What the server needs from the rest of the program.

use std::sync::Arc;

use argand_model::{Dataset, TenantId, TimeRange, Upload};

use crate::error::ApiError;
use crate::metrics::{Reading, ReadingSource};
use crate::policy::PolicyHandle;

/// A store of profiles. Methods block; they run on threads made for that.
pub trait Storage: Send + Sync {
    /// Stores uploads with one write; `Ok` promises that all survive a crash. After an error any of them may be there.
    fn append(&self, tenant: &TenantId, uploads: Vec<Upload>) -> Result<(), StorageError>;

    /// Waits for room for an upload, a few seconds at most; asked before one is decoded, so that refusing is cheap.
    fn wait_for_room(&self) -> Result<(), StorageError>;

    /// Datasets of a tenant that may hold profiles in `range`.
    fn datasets(&self, tenant: &TenantId, range: TimeRange) -> Result<Vec<Arc<dyn Dataset>>, StorageError>;

    /// From the first profile of a tenant to the last, `None` where it has none. Cheap: no profile is read.
    fn time_range(&self, tenant: &TenantId) -> Option<TimeRange>;

    /// Whether writes can be taken; otherwise the reason.
    fn ready(&self) -> Result<(), String>;

    /// How much there is.
    fn status(&self) -> StorageStatus;

    /// Numbers for the metrics.
    fn readings(&self) -> Vec<Reading>;

    /// Turns what is held in memory into blocks.
    fn flush(&self) -> Result<(), StorageError>;

    /// Merges what can be merged.
    fn compact(&self) -> Result<(), StorageError>;
}

/// How much a store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StorageStatus {
    /// Tenants with data.
    pub tenants: u64,
    /// Blocks on disk.
    pub blocks: u64,
    /// Bytes on disk.
    pub size_bytes: u64,
    /// Series that a tenant may have at once.
    pub max_series_per_tenant: u64,
}

/// Why the store did not do it. Messages are public.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StorageError {
    /// A limit of the tenant is reached: it may have too many series already.
    #[error("{0}")]
    Limit(String),
    /// Not now: starting, stopping, out of disk.
    #[error("{0}")]
    Unavailable(String),
    /// A fault of ours or of the disk.
    #[error("{0}")]
    Failed(String),
}

impl From<StorageError> for ApiError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Limit(message) => Self::exhausted(message),
            StorageError::Unavailable(message) => Self::unavailable(message),
            StorageError::Failed(message) => {
                tracing::error!(message, "the store failed");
                Self::internal()
            }
        }
    }
}

/// A small file that keeps the settings of front ends.
pub trait SettingsFile: Send + Sync {
    /// The content, if the file was ever written.
    fn load(&self) -> std::io::Result<Option<Vec<u8>>>;

    /// Replaces the content; durable when it returns.
    fn save(&self, content: &[u8]) -> std::io::Result<()>;
}

/// Profiles of the program itself, as gzipped pprof. Methods block.
pub trait SelfProfile: Send + Sync {
    /// Processor time over the next seconds. Errors: words for whoever asked.
    fn cpu(&self, seconds: u32) -> Result<Vec<u8>, String>;

    /// Memory in use. Errors: words for whoever asked.
    fn heap(&self) -> Result<Vec<u8>, String>;
}

/// What is running.
#[derive(Clone, Debug)]
pub struct BuildInfo {
    /// Such as `0.1.0`.
    pub version: &'static str,
    /// Commit, empty where unknown.
    pub revision: &'static str,
    /// When it was built, empty where unknown.
    pub date: &'static str,
}

/// The present in ns since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> i64 + Send + Sync>;

/// A source of random 128-bit ids.
pub type IdSource = Arc<dyn Fn() -> u128 + Send + Sync>;

/// Everything that a server is made of besides its configuration.
#[derive(Clone)]
pub struct Dependencies {
    /// Where profiles are kept.
    pub storage: Arc<dyn Storage>,
    /// Where settings of front ends are kept.
    pub settings: Arc<dyn SettingsFile>,
    /// Profiles of the program itself, if it can make them.
    pub self_profile: Option<Arc<dyn SelfProfile>>,
    /// The present.
    pub clock: Clock,
    /// Ids of stored profiles.
    pub next_id: IdSource,
    /// Limits of tenants and what else may change while the server runs.
    pub policy: PolicyHandle,
    /// What is running.
    pub build: BuildInfo,
    /// Numbers of other parts of the program.
    pub readings: Vec<ReadingSource>,
    /// Numbers of the process, under their usual names such as `process_open_fds`.
    pub process_readings: Option<ReadingSource>,
}

/// The configuration as YAML, secrets masked.
#[derive(Clone, Debug, Default)]
pub struct ConfigText {
    /// As in use.
    pub current: String,
    /// What differs from the defaults.
    pub changed: String,
    /// The defaults.
    pub default: String,
    /// The overrides of tenants.
    pub overrides: String,
}
