//! The store as the server sees it.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use argand_model::{Dataset, TenantId, TimeRange, Upload};
use argand_server::{Reading, ReadingValue, SettingsFile, Storage, StorageError, StorageStatus};
use argand_store::{DURATION_BUCKETS_SECONDS, DurationHistogram, Number, Store, StoreConfig, StoreError};

/// How long an upload waits for room.
const ROOM_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between two looks for room.
const ROOM_PAUSE: Duration = Duration::from_millis(10);

/// A [`Store`] behind the server's trait.
pub(crate) struct StoreStorage(pub(crate) Store);

impl Storage for StoreStorage {
    fn append(&self, tenant: &TenantId, uploads: Vec<Upload>) -> Result<(), StorageError> {
        let tenant = self.0.tenant(tenant);
        let mut pending: Vec<&Upload> = uploads.iter().collect();
        loop {
            let (sender, receiver) = mpsc::channel();
            for (index, upload) in pending.iter().enumerate() {
                let sender = sender.clone();
                tenant.append(upload, move |outcome| drop(sender.send((index, outcome))));
            }
            drop(sender);
            let outcomes: Vec<_> = receiver.iter().collect();
            if outcomes.len() < pending.len() {
                return Err(StorageError::Unavailable("the store is shutting down".to_owned()));
            }
            let mut refused = Vec::new();
            for (index, outcome) in outcomes {
                match outcome {
                    Ok(_) => {}
                    Err(StoreError::Overloaded { .. }) => refused.push(pending[index]),
                    Err(error) => return Err(refusal(error)),
                }
            }
            if refused.is_empty() {
                return Ok(());
            }
            // Others took the room that was there when this upload was let in.
            self.wait_for_room()?;
            pending = refused;
        }
    }

    fn wait_for_room(&self) -> Result<(), StorageError> {
        // Most clients drop what is refused, and a head is flushed within seconds.
        let deadline = Instant::now() + ROOM_TIMEOUT;
        loop {
            match self.0.admits() {
                Err(StoreError::Overloaded { .. }) if Instant::now() < deadline => std::thread::sleep(ROOM_PAUSE),
                outcome => return outcome.map_err(refusal),
            }
        }
    }

    fn datasets(&self, tenant: &TenantId, range: TimeRange) -> Result<Vec<Arc<dyn Dataset>>, StorageError> {
        let snapshot = self.0.tenant(tenant).snapshot(range);
        for warning in snapshot.warnings {
            tracing::warn!(warning, "a part of the store is not in the answer");
        }
        Ok(snapshot.datasets)
    }

    fn time_range(&self, tenant: &TenantId) -> Option<TimeRange> {
        let stats = self.0.tenant(tenant).stats();
        Some(TimeRange { start_ns: stats.oldest_ns?, end_ns: stats.newest_ns? })
    }

    fn ready(&self) -> Result<(), String> {
        self.0.probe_commit().map_err(|error| error.to_string())
    }

    fn status(&self) -> StorageStatus {
        let status = self.0.status();
        StorageStatus {
            tenants: status.tenants,
            blocks: status.blocks,
            size_bytes: status.block_bytes,
            max_series_per_tenant: StoreConfig::default().max_series_per_tenant as u64,
        }
    }

    fn readings(&self) -> Vec<Reading> {
        readings(&self.0)
    }

    fn flush(&self) -> Result<(), StorageError> {
        self.0.flush().map_err(refusal)
    }

    fn compact(&self) -> Result<(), StorageError> {
        self.0.compact().map_err(refusal)
    }
}

fn refusal(error: StoreError) -> StorageError {
    match error {
        StoreError::SeriesLimit { .. } | StoreError::TenantLimit { .. } | StoreError::Overloaded { .. } => {
            StorageError::Limit(error.to_string())
        }
        StoreError::DiskFull { .. }
        | StoreError::Unavailable { .. }
        | StoreError::ShuttingDown
        | StoreError::NotDurable { .. } => StorageError::Unavailable(error.to_string()),
        StoreError::TooLarge { .. } => StorageError::Limit(error.to_string()),
        other => StorageError::Failed(format!("{:#}", anyhow::Error::new(other))),
    }
}

fn readings(store: &Store) -> Vec<Reading> {
    let (status, metrics) = (store.status(), store.metrics());
    let gauge =
        |name: &str, help: &str, value: u64| (name.to_owned(), help.to_owned(), ReadingValue::Gauge(value as f64));
    let counter = |name: &str, help: &str, number: &Number| {
        (name.to_owned(), help.to_owned(), ReadingValue::Counter(number.get()))
    };
    let mut all = vec![
        gauge("store_ready", "Whether uploads are accepted", u64::from(status.ready.is_ok())),
        gauge("store_tenants", "Tenants with data", status.tenants),
        gauge("store_blocks", "Blocks on disk", status.blocks),
        gauge("store_block_bytes", "Size of all blocks", status.block_bytes),
        gauge("store_head_bytes", "Memory of the rows that are not in a block yet", status.head_bytes),
        gauge("store_sealed_heads", "Heads that wait to become a block", status.sealed_heads),
        gauge("store_active_series", "Series that were written lately", status.active_series),
        gauge("store_disk_free_bytes", "Free space of the disk", status.free_bytes),
        gauge("store_quarantined_blocks", "Damaged blocks that were put aside", status.quarantined.len() as u64),
        gauge("store_queue_bytes", "Bytes that wait for the log", metrics.queue_bytes.get()),
        gauge("store_queue_uploads", "Uploads that wait for the log", metrics.queue_count.get()),
        gauge("store_cache_bytes", "Decoded parts of blocks in memory", metrics.cache_bytes.get()),
        gauge("store_replay_bytes", "Logs read at the start", metrics.replayed_bytes.get()),
        counter("store_log_records", "Uploads appended to the log", &metrics.log_records),
        counter("store_log_bytes", "Bytes appended to the log", &metrics.log_bytes),
        counter("store_log_failures", "Batches that could not be written or synced", &metrics.log_failures),
        counter("store_committed_profiles", "Profiles that became durable", &metrics.committed_profiles),
        counter("store_committed_samples", "Samples that became durable", &metrics.committed_rows),
        counter("store_duplicates", "Uploads that were stored before", &metrics.duplicates),
        counter("store_refused_overloaded", "Uploads refused because too much waited", &metrics.refused_overloaded),
        counter("store_refused_disk_full", "Uploads refused because the disk was full", &metrics.refused_disk_full),
        counter("store_refused_unavailable", "Uploads refused because the log failed", &metrics.refused_unavailable),
        counter("store_refused_limits", "Uploads refused because of a limit", &metrics.refused_limits),
        counter("store_torn_bytes", "Bytes of unfinished writes found at the start", &metrics.torn_bytes),
        counter("store_corruptions", "Damaged places found in files", &metrics.corruptions),
        counter("store_flushes", "Heads that became blocks", &metrics.flushes),
        counter("store_flush_failures", "Flushes that failed", &metrics.flush_failures),
        counter("store_compactions", "Compactions published", &metrics.compactions),
        counter("store_compaction_failures", "Compactions that failed", &metrics.compaction_failures),
        counter("store_block_bytes_written", "Bytes written by flushes and compactions", &metrics.block_bytes_written),
        counter("store_retained_out_blocks", "Blocks deleted by retention", &metrics.retained_out_blocks),
        counter("store_scrubbed_blocks", "Blocks checked in the background", &metrics.scrubbed_blocks),
    ];
    let replay = ReadingValue::Gauge(metrics.replay_ms.get() as f64 / 1e3);
    all.push(("store_replay_seconds".into(), "Time that the replay of the logs took at the start".into(), replay));
    all.push(durations("store_log_sync_seconds", "Time of fdatasync of the log", &metrics.log_sync));
    all.push(durations("store_flush_seconds", "Time to turn a head into blocks", &metrics.flush_time));
    all.into_iter().map(|(name, help, value)| Reading { name, help, value }).collect()
}

fn durations(name: &str, help: &str, histogram: &DurationHistogram) -> (String, String, ReadingValue) {
    let bounds = DURATION_BUCKETS_SECONDS.into_iter().chain([f64::INFINITY]);
    let buckets = bounds.zip(histogram.buckets.iter().map(Number::get)).collect();
    let sum = histogram.sum_ns.get() as f64 / 1e9;
    (name.to_owned(), help.to_owned(), ReadingValue::Histogram { buckets, sum })
}

/// A file beside the store that front ends keep their settings in.
pub(crate) struct SettingsOnDisk {
    path: PathBuf,
}

/// Largest settings file that is read.
const SETTINGS_LIMIT_BYTES: u64 = 16 << 20;

impl SettingsOnDisk {
    pub(crate) fn new(data_dir: &std::path::Path) -> Self {
        Self { path: data_dir.join("settings.json") }
    }
}

impl SettingsFile for SettingsOnDisk {
    fn load(&self) -> io::Result<Option<Vec<u8>>> {
        let file = match std::fs::File::open(&self.path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut content = Vec::new();
        file.take(SETTINGS_LIMIT_BYTES).read_to_end(&mut content)?;
        Ok(Some(content))
    }

    fn save(&self, content: &[u8]) -> io::Result<()> {
        let directory = self.path.parent().expect("the path was joined to a directory");
        let mut file = tempfile::NamedTempFile::new_in(directory)?;
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        std::fs::File::open(directory)?.sync_all()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_survive_and_start_empty() {
        let directory = tempfile::tempdir().unwrap();
        let settings = SettingsOnDisk::new(directory.path());
        assert_eq!(settings.load().unwrap(), None);
        settings.save(b"one").unwrap();
        settings.save(b"two").unwrap();
        assert_eq!(SettingsOnDisk::new(directory.path()).load().unwrap().unwrap(), b"two");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left");
    }
}
