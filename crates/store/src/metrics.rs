//! Counters of the store, for whoever exports them.

use std::sync::atomic::{AtomicU64, Ordering};

/// A number that only grows, or a gauge that is set.
#[derive(Debug, Default)]
pub struct Number(AtomicU64);

impl Number {
    /// The value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    pub(crate) fn increment(&self) {
        self.add(1);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }
}

/// Upper bounds of the buckets of a [`DurationHistogram`] in seconds; one more bucket has none.
pub const DURATION_BUCKETS_SECONDS: [f64; 12] =
    [0.000_5, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.512, 2.048, 8.192];

/// How long something took.
#[derive(Debug, Default)]
pub struct DurationHistogram {
    /// Observations per bucket, not cumulative.
    pub buckets: [Number; DURATION_BUCKETS_SECONDS.len() + 1],
    /// Sum of all observations in ns.
    pub sum_ns: Number,
}

impl DurationHistogram {
    pub(crate) fn observe(&self, ns: u64) {
        let seconds = ns as f64 / 1e9;
        let bucket = DURATION_BUCKETS_SECONDS.partition_point(|&bound| bound < seconds);
        self.buckets[bucket].increment();
        self.sum_ns.add(ns);
    }

    /// Number of observations.
    pub fn count(&self) -> u64 {
        self.buckets.iter().map(Number::get).sum()
    }
}

/// What the store did since it was opened.
#[derive(Debug, Default)]
pub struct StoreMetrics {
    /// Time of `fdatasync` on the log.
    pub log_sync: DurationHistogram,
    /// Uploads written per sync are `log_records / log_sync.count()`.
    pub log_records: Number,
    /// Bytes appended to logs.
    pub log_bytes: Number,
    /// Batches that could not be written or synced.
    pub log_failures: Number,
    /// Profiles (one per series of an upload) that are durable.
    pub committed_profiles: Number,
    /// Rows that are durable.
    pub committed_rows: Number,
    /// Uploads that were acknowledged without storing them again.
    pub duplicates: Number,
    /// Uploads refused because too much waited.
    pub refused_overloaded: Number,
    /// Uploads refused because the disk was full.
    pub refused_disk_full: Number,
    /// Uploads refused because the log could not be written.
    pub refused_unavailable: Number,
    /// Uploads refused because they break a limit or are malformed.
    pub refused_limits: Number,
    /// Time that the replay of the logs took at the start, in ms.
    pub replay_ms: Number,
    /// Records replayed at the start.
    pub replayed_records: Number,
    /// Bytes of logs read at the start.
    pub replayed_bytes: Number,
    /// Bytes of unfinished writes found at the start.
    pub torn_bytes: Number,
    /// Damaged places found in files.
    pub corruptions: Number,
    /// Heads that became blocks.
    pub flushes: Number,
    /// Flushes that failed and are tried again.
    pub flush_failures: Number,
    /// Time of a flush.
    pub flush_time: DurationHistogram,
    /// Compactions published.
    pub compactions: Number,
    /// Compactions that failed and are tried again.
    pub compaction_failures: Number,
    /// Blocks read by compactions.
    pub compacted_blocks: Number,
    /// Bytes written by flushes and compactions.
    pub block_bytes_written: Number,
    /// Blocks deleted by retention.
    pub retained_out_blocks: Number,
    /// Blocks checked in the background.
    pub scrubbed_blocks: Number,
    /// Bytes that wait for the log.
    pub queue_bytes: Number,
    /// Uploads that wait for the log.
    pub queue_count: Number,
    /// Decoded parts of blocks in memory, in bytes.
    pub cache_bytes: Number,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_fall_into_their_bucket() {
        let histogram = DurationHistogram::default();
        [400_000, 500_000, 4_000_000, 4_000_001, 60_000_000_000].iter().for_each(|&ns| histogram.observe(ns));
        assert_eq!(histogram.buckets.each_ref().map(Number::get), [2, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
        assert_eq!((histogram.count(), histogram.sum_ns.get()), (5, 60_008_900_001));
    }
}
