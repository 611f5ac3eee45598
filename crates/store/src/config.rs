//! What can be tuned.

use std::time::Duration;

/// Bounds of the store. The defaults fit one server with 512 MiB of memory.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// Memory of the head at which it is sealed and flushed. Default 128 MiB: with 20 services of 20,000 distinct
    /// stacks each, the dictionary and its tables take 60 MiB, and every head starts with them; half of the default
    /// made eleven heads out of what fits into one. A sealed head drops its tables, about half of it.
    pub head_bytes: usize,
    /// Rows of one service at which the head is sealed. Default 4 million: a flush or compaction holds the rows of
    /// one service as columns, 12 bytes each, and sorts them into others.
    pub head_dataset_rows: usize,
    /// Age of its oldest profile at which the head is sealed. Default 2 minutes: with 30 flushes an hour the
    /// dictionary, which every level-0 block repeats, stays cheap, and a restart replays little.
    pub flush_interval: Duration,
    /// Sealed heads that may wait for their flush before uploads are refused. Default 2.
    pub max_sealed_heads: usize,
    /// Bytes of uploads that may wait for the log. Default 32 MiB: about a second at full load.
    pub max_queue_bytes: usize,
    /// Uploads that may wait for the log. Default 20,000.
    pub max_queue_count: usize,
    /// Estimated size of an upload above which it is refused. Default 64 MiB.
    pub max_record_bytes: usize,
    /// Series of a tenant that were written within [`Self::series_window`]. Default 100,000.
    pub max_series_per_tenant: usize,
    /// How long a series counts as active after its last head. Default 1 hour.
    pub series_window: Duration,
    /// Tenants that may write. Default 10,000.
    pub max_tenants: usize,
    /// Idempotency keys that are remembered. Default 131,072: more than two minutes at 1,000 uploads a second, and
    /// 2 MiB in every log.
    pub max_keys: usize,
    /// Free space of the disk below which uploads are refused, so that flushes, compactions and the manifest still
    /// fit. Default 64 MiB.
    pub reserve_bytes: u64,
    /// Age at which blocks are deleted, by their newest profile. Default 31 days; `None` keeps them.
    pub retention: Option<Duration>,
    /// Size of all blocks above which the oldest are deleted. Default `None`: no bound.
    pub retention_bytes: Option<u64>,
    /// Decoded parts of blocks that are kept in memory. Default 128 MiB.
    pub cache_bytes: usize,
    /// Blocks that stay open. Default 512: each is a file descriptor and a table of contents.
    pub max_open_blocks: usize,
    /// Blocks of one window that are compacted as soon as there are so many. Default 8.
    pub compaction_fan_in: usize,
    /// Rows of one service in a compacted block. Default 4 million, see [`Self::head_dataset_rows`].
    pub compaction_dataset_rows: u32,
    /// Size of a compacted block, estimated by its inputs. Default 1 GiB.
    pub compaction_block_bytes: u64,
    /// Time between the checks of two blocks in the background. Default 1 minute.
    pub scrub_interval: Duration,
}

impl Default for StoreConfig {
    fn default() -> Self {
        Self {
            head_bytes: 128 << 20,
            head_dataset_rows: 4_000_000,
            flush_interval: Duration::from_mins(2),
            max_sealed_heads: 2,
            max_queue_bytes: 32 << 20,
            max_queue_count: 20_000,
            max_record_bytes: 64 << 20,
            max_series_per_tenant: 100_000,
            series_window: Duration::from_hours(1),
            max_tenants: 10_000,
            max_keys: 1 << 17,
            reserve_bytes: 64 << 20,
            retention: Some(Duration::from_hours(31 * 24)),
            retention_bytes: None,
            cache_bytes: 128 << 20,
            max_open_blocks: 512,
            compaction_fan_in: 8,
            compaction_dataset_rows: 4_000_000,
            compaction_block_bytes: 1 << 30,
            scrub_interval: Duration::from_mins(1),
        }
    }
}
