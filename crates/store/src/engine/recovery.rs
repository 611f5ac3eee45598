//! Opening a data directory: what a crash left, put in order.

use std::collections::{BTreeSet, HashSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, RwLock};

use argand_block::ReadAt;
use argand_model::TenantId;

use super::{Engine, Environment, LogState, ManifestState, View};
use crate::blocks::Blocks;
use crate::dedupe::Dedupe;
use crate::disk::{self, Disk, TEMPORARY};
use crate::error::{chain, io_error};
use crate::head::Generation;
use crate::log;
use crate::manifest::{FileMetastore, Manifest, Metastore, QuarantinedBlock, ulid_text};
use crate::metrics::StoreMetrics;
use crate::record::Record;
use crate::retention::Retention;
use crate::{StoreConfig, StoreError, lock};

/// First line of the file `FORMAT`.
const FORMAT: &str = "argand store 1";
const FORMAT_FILE: &str = "FORMAT";
/// Damaged files are kept here.
pub(super) const QUARANTINE: &str = "quarantine";
const DIRECTORIES: [&str; 3] = ["log", "blocks", QUARANTINE];

impl Engine {
    /// Opens or makes the store on a disk: replays the logs, removes what is not part of it, starts a new log.
    ///
    /// A store whose log cannot be written opens all the same and answers queries.
    pub(crate) fn open(env: Environment, config: StoreConfig) -> Result<Self, StoreError> {
        let disk = env.disk.as_ref();
        prepare_directory(disk)?;
        let store = FileMetastore::new(env.disk.clone());
        let (current, damage) = store.load()?;

        let metrics = Arc::new(StoreMetrics::default());
        let blocks = Arc::new(Blocks::new(env.disk.clone(), metrics.clone(), &config));
        let mut view =
            View { current: Err("store is starting".to_owned()), sealed: VecDeque::new(), blocks: Default::default() };
        view.sync_blocks(&current);
        let manifest = ManifestState {
            tried_revision: current.revision,
            current,
            store: Box::new(store),
            graveyard: Vec::new(),
            scrubbed: 0,
            unreadable: Vec::new(),
        };
        let log = LogState { file: None, next_generation: 0, roll_not_before_ns: 0 };
        let retention = Retention { age: config.retention, bytes: config.retention_bytes };
        let engine = Self {
            dedupe: Mutex::new(Dedupe::new(config.max_keys)),
            env,
            config,
            metrics,
            log: Mutex::new(log),
            manifest: Mutex::new(manifest),
            view: RwLock::new(view),
            tenants: Mutex::default(),
            queue: Mutex::default(),
            work: Condvar::new(),
            blocks,
            clock_guard: Mutex::default(),
            retention: Mutex::new(retention),
            flushing: Mutex::default(),
            housekeeping: Mutex::default(),
            free_bytes: AtomicU64::new(u64::MAX),
            roll_requested: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            reports: Mutex::default(),
        };
        let has_damage = !damage.is_empty();
        damage.into_iter().for_each(|damage| engine.report(damage));
        if has_damage {
            // Writes both copies anew.
            engine.edit_manifest(|_| {}, |_| {})?;
        }
        engine.collect_block_files()?;
        engine.replay_logs()?;
        engine.refresh_free_bytes();
        engine.resume(&mut lock::mutex(&engine.log));
        Ok(engine)
    }

    /// Compares the files in `blocks/` with the manifest: removes strays, notes missing ones.
    fn collect_block_files(&self) -> Result<(), StoreError> {
        let disk = self.env.disk.as_ref();
        let manifest = lock::mutex(&self.manifest).current.clone();
        let kept_aside = list(disk, QUARANTINE)?;
        for name in kept_aside.iter().filter(|name| name.ends_with(TEMPORARY)) {
            remove(disk, &format!("{QUARANTINE}/{name}"))?;
        }
        let listed: BTreeSet<String> = manifest.blocks.values().map(|block| block.path()).collect();
        let mut found = BTreeSet::new();
        for directory in list(disk, "blocks")? {
            for name in list(disk, &format!("blocks/{directory}"))? {
                let path = format!("blocks/{directory}/{name}");
                if listed.contains(&path) {
                    found.insert(path);
                    continue;
                }
                if manifest.quarantined.values().any(|q| q.block.path() == path) && !kept_aside.contains(&name) {
                    let copy = format!("{QUARANTINE}/{name}");
                    disk::copy(disk, &path, &copy).map_err(io_error("copy", &path))?;
                }
                remove(disk, &path)?;
            }
        }
        let missing: Vec<_> =
            manifest.blocks.values().filter(|block| !found.contains(&block.path())).cloned().collect();
        if missing.is_empty() {
            return Ok(());
        }
        missing.iter().for_each(|block| self.report(format!("block {} is missing", ulid_text(block.id))));
        let put_aside = |manifest: &mut Manifest| {
            for block in missing {
                manifest.blocks.remove(&block.id);
                let entry = QuarantinedBlock { block: (*block).clone(), reason: "file is missing".to_owned() };
                manifest.quarantined.insert(block.id, entry);
            }
        };
        self.edit_manifest(put_aside, |_| {})
    }

    /// Reads all logs that are not in blocks yet into sealed generations.
    fn replay_logs(&self) -> Result<(), StoreError> {
        let disk = self.env.disk.as_ref();
        let started = self.env.clock.monotonic_ns();
        let flushed_through = lock::mutex(&self.manifest).current.flushed_through;
        let names = list(disk, "log")?;
        let mut numbers: Vec<u64> = names.iter().filter_map(|name| log::generation_of(name)).collect();
        numbers.sort_unstable();
        lock::mutex(&self.log).next_generation = numbers.last().copied().unwrap_or(0).max(flushed_through) + 1;
        let (flushed, live): (Vec<u64>, Vec<u64>) = numbers.into_iter().partition(|&number| number <= flushed_through);
        for number in flushed {
            remove(disk, &log::path(number))?;
        }
        let mut replay = Replay::default();
        for &number in live.iter().rev() {
            self.replay_log(number, &mut replay)?;
        }
        let mut dedupe = lock::mutex(&self.dedupe);
        for (tenant, key) in replay.keys.iter().rev().flatten() {
            dedupe.restore(tenant, *key);
        }
        self.metrics.replay_ms.set((self.env.clock.monotonic_ns() - started) / 1_000_000);
        Ok(())
    }

    fn replay_log(&self, number: u64, replay: &mut Replay) -> Result<(), StoreError> {
        let disk = self.env.disk.as_ref();
        let path = log::path(number);
        let file: Arc<dyn ReadAt> = disk.open(&path).map_err(io_error("open", &path))?;
        let rng = &self.env.rng;
        let seed = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
        let generation = Arc::new(Generation::new(number, seed));
        replay.keys.push(Vec::new());
        let report = log::replay(file, number, |payload| self.replay_record(&generation, payload, replay));
        let report = report.map_err(io_error("read", &path))?;
        // Senders that repeat these uploads are about to be told that they are durable.
        disk.overwrite(&path, report.last_batch_start, &report.last_batch).map_err(io_error("sync", &path))?;
        self.metrics.replayed_records.add(report.records);
        self.metrics.replayed_bytes.add(report.bytes);
        self.metrics.torn_bytes.add(report.torn_bytes);
        if report.torn_bytes > 0 {
            tracing::warn!(path, bytes = report.torn_bytes, "log ends in an unfinished write, which is left out");
        }
        if !report.damage.is_empty() {
            let copy = format!("{QUARANTINE}/{number:016}.log");
            disk::copy(disk, &path, &copy).map_err(io_error("copy", &path))?;
            self.report(format!("{path} (copied to {copy}): {}", report.damage.join("; ")));
        }
        generation.seal(self.env.clock.wall_ns());
        lock::write(&self.view).sealed.push_front(generation);
        Ok(())
    }

    fn replay_record(&self, generation: &Generation, payload: &[u8], replay: &mut Replay) -> Result<(), String> {
        let record = Record::decode(payload).map_err(|error| chain(&error))?;
        match record {
            Record::Probe => Ok(()),
            Record::Keys(keys) => {
                replay.found(keys);
                Ok(())
            }
            Record::Upload(mut record) => {
                let tenant = record.tenant.clone().ok_or("record without a tenant")?;
                let entry = record.key.map(|key| (tenant.clone(), key));
                if entry.as_ref().is_some_and(|entry| replay.uploads.contains(entry)) {
                    // Later records need its tables all the same.
                    record.profiles.clear();
                    record.rows = &[];
                }
                generation.replay(&record, self.env.clock.monotonic_ns())?;
                replay.uploads.extend(entry.clone());
                replay.found(entry.into_iter().collect());
                self.restore_series(&tenant, &record.series);
                Ok(())
            }
        }
    }

    /// Space of the disk right now.
    pub(super) fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Relaxed)
    }
}

/// What logs say that concerns other logs; the newest is read first.
///
/// An upload may be in two logs: its first write failed, left it in the file all the same, and its sender repeated
/// it. The newer one counts, because the older log goes first.
#[derive(Default)]
struct Replay {
    /// Keyed uploads so far.
    uploads: HashSet<(TenantId, u128)>,
    /// Keys per log, in its order.
    keys: Vec<Vec<(TenantId, u128)>>,
}

impl Replay {
    fn found(&mut self, keys: Vec<(TenantId, u128)>) {
        self.keys.last_mut().expect("a log is being read").extend(keys);
    }
}

/// Makes the directories, checks the format and removes unfinished files.
fn prepare_directory(disk: &dyn Disk) -> Result<(), StoreError> {
    let names = list(disk, "")?;
    for name in names.iter().filter(|name| name.ends_with(TEMPORARY)) {
        remove(disk, name)?;
    }
    let is_new = !names.iter().any(|name| name == FORMAT_FILE);
    if is_new && names.iter().any(|name| name.starts_with("MANIFEST")) {
        return Err(StoreError::Format { found: String::new(), supported: FORMAT });
    }
    if !is_new {
        let found = read_format(disk)?;
        if found != FORMAT {
            return Err(StoreError::Format { found, supported: FORMAT });
        }
    }
    for directory in DIRECTORIES {
        disk.create_dir(directory).map_err(io_error("create", directory))?;
    }
    if is_new {
        let line = format!("{FORMAT}\n");
        disk::publish(disk, FORMAT_FILE, |file| file.append(line.as_bytes()))
            .map_err(io_error("write", FORMAT_FILE))?;
    }
    disk.sync_dir("").map_err(io_error("sync", "data directory"))?;
    Ok(())
}

fn read_format(disk: &dyn Disk) -> Result<String, StoreError> {
    let file = disk.open(FORMAT_FILE).map_err(io_error("open", FORMAT_FILE))?;
    let mut bytes = vec![0; file.len().min(100) as usize];
    file.read_at(0, &mut bytes).map_err(io_error("read", FORMAT_FILE))?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(text.lines().next().unwrap_or("").to_owned())
}

fn list(disk: &dyn Disk, path: &str) -> Result<Vec<String>, StoreError> {
    disk.list(path).map_err(io_error("list", path))
}

fn remove(disk: &dyn Disk, path: &str) -> Result<(), StoreError> {
    disk.remove(path).map_err(io_error("remove", path))
}
