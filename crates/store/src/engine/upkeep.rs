//! Work behind the scenes: flush, compaction, retention, scrub. Each call does one piece of it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use argand_block::{BlockMeta, BlockSummary, BlockWriter, sort_dataset};
use argand_model::{Dataset, MemoryDataset, TenantId, TimeRange};

use super::Engine;
use super::recovery::QUARANTINE;
use crate::blocks::{BlockHandle, BlockPart};
use crate::compaction::{self, Job};
use crate::disk::{self, FileWriter};
use crate::error::{chain, io_error};
use crate::head::{Generation, HeadPart};
use crate::manifest::{BlockInfo, Manifest, QuarantinedBlock, ulid, ulid_text};
use crate::retention::{Retention, expired};
use crate::{StoreError, lock, log};

impl Engine {
    /// Turns the oldest sealed head into blocks; whether there was one that is ready.
    ///
    /// After an error the same call writes the same files again.
    pub(crate) fn flush_one(&self) -> Result<bool, StoreError> {
        let _alone = lock::mutex(&self.flushing);
        let oldest = lock::read(&self.view).sealed.front().filter(|generation| generation.is_closed()).cloned();
        let Some(generation) = oldest else { return Ok(false) };
        let started = self.env.clock.monotonic_ns();
        let flushed = self.flush(&generation);
        match &flushed {
            Ok(()) => {
                self.metrics.flushes.increment();
                self.metrics.flush_time.observe(self.env.clock.monotonic_ns() - started);
            }
            Err(error) => {
                tracing::error!(error = chain(error), "head cannot be flushed");
                self.metrics.flush_failures.increment();
            }
        }
        flushed.map(|()| true)
    }

    fn flush(&self, generation: &Arc<Generation>) -> Result<(), StoreError> {
        let mut blocks = Vec::new();
        for tenant in generation.tenants() {
            blocks.extend(self.flush_tenant(generation, &tenant)?);
        }
        let add = |manifest: &mut Manifest| {
            manifest.flushed_through = generation.number;
            manifest.blocks.extend(blocks.into_iter().map(|block| (block.id, Arc::new(block))));
        };
        self.edit_manifest(add, |view| {
            view.sealed.pop_front().expect("heads are flushed by one thread");
        })?;
        // The manifest no longer needs it; if it stays, the next start removes it.
        let path = log::path(generation.number);
        if let Err(error) = self.env.disk.remove(&path) {
            tracing::warn!(path, %error, "flushed log cannot be removed");
        }
        Ok(())
    }

    /// Writes the block of a tenant, if it has profiles.
    fn flush_tenant(&self, generation: &Generation, tenant: &TenantId) -> Result<Option<BlockInfo>, StoreError> {
        let datasets = generation.datasets_of(tenant);
        let parts: Vec<HeadPart> = datasets.iter().filter_map(|dataset| dataset.snapshot()).collect();
        let Some(time) = parts.iter().map(HeadPart::time).reduce(hull) else { return Ok(None) };
        // The same head always gives the same id, so that a second attempt leaves no stray file.
        let mut source = generation.seed.to_le_bytes().to_vec();
        source.extend_from_slice(tenant.as_str().as_bytes());
        let id = ulid(generation.sealed_wall_ms(), twox_hash::XxHash3_128::oneshot(&source));
        let meta = BlockMeta { id, tenant: tenant.clone(), level: 0, time };
        let datasets = parts.iter().map(|part| Ok(part.to_memory()));
        self.write_block(meta, datasets).map(Some)
    }

    /// Writes a block file durably; it is no part of the store yet.
    fn write_block(
        &self,
        meta: BlockMeta,
        datasets: impl Iterator<Item = Result<MemoryDataset, StoreError>>,
    ) -> Result<BlockInfo, StoreError> {
        let mut info = BlockInfo {
            id: meta.id,
            tenant: meta.tenant.clone(),
            level: meta.level,
            time: meta.time,
            bytes: 0,
            crc: 0,
            profiles: 0,
            rows: 0,
            largest_dataset_rows: 0,
        };
        let path = info.path();
        let directory = BlockInfo::directory(&meta.tenant);
        let disk = self.env.disk.as_ref();
        disk.create_dir(&directory).map_err(io_error("create", &directory))?;
        disk.sync_dir("blocks").map_err(io_error("sync", "blocks"))?;

        let block_error = |source| StoreError::Block { path: path.clone(), source };
        let written: Result<BlockSummary, PublishError> = disk::publish(disk, &path, |file| {
            let mut writer = BlockWriter::new(FileWriter::new(file), meta).map_err(block_error)?;
            for dataset in datasets {
                writer.add(&sort_dataset(dataset?)).map_err(block_error)?;
            }
            Ok(writer.finish().map_err(block_error)?)
        });
        let summary = written.map_err(|error| match error {
            PublishError::Store(error) => error,
            PublishError::Io(source) => io_error("write", &path)(source),
        })?;
        info.bytes = summary.bytes;
        info.crc = summary.crc;
        for dataset in &summary.datasets {
            info.profiles += u64::from(dataset.profile_count);
            info.rows += u64::from(dataset.row_count);
            info.largest_dataset_rows = info.largest_dataset_rows.max(dataset.row_count);
        }
        self.metrics.block_bytes_written.add(info.bytes);
        Ok(info)
    }

    /// Merges blocks of one tenant if any should be; whether there were.
    pub(crate) fn compact_one(&self) -> Result<bool, StoreError> {
        let _alone = lock::mutex(&self.housekeeping);
        let now_ms = (self.env.clock.wall_ns() / 1_000_000).max(0) as u64;
        let unreadable = lock::mutex(&self.manifest).unreadable.clone();
        let job = {
            let view = lock::read(&self.view);
            let usable = |handle: &&Arc<BlockHandle>| !unreadable.contains(&handle.info.id);
            view.blocks.values().find_map(|blocks| {
                let infos = blocks.values().filter(usable).map(|handle| &handle.info);
                compaction::plan(&infos, now_ms, &self.config)
            })
        };
        let Some(job) = job else { return Ok(false) };
        let input_bytes: u64 = job.inputs.iter().map(|block| block.bytes).sum();
        if self.free_bytes() < self.config.reserve_bytes.saturating_add(input_bytes) {
            // Space returns by retention; until then more blocks only cost time.
            return Ok(false);
        }
        let compacted = self.compact(&job);
        match &compacted {
            Ok(()) => {
                self.metrics.compactions.increment();
                self.metrics.compacted_blocks.add(job.inputs.len() as u64);
            }
            Err(StoreError::ShuttingDown) => {}
            Err(error) => {
                tracing::error!(error = chain(error), "blocks cannot be compacted");
                self.metrics.compaction_failures.increment();
            }
        }
        compacted.map(|()| true)
    }

    fn compact(&self, job: &Job) -> Result<(), StoreError> {
        let mut parts: Vec<BlockPart> = Vec::new();
        for info in &job.inputs {
            let handle = Arc::new(BlockHandle { info: info.clone() });
            let opened = self.blocks.datasets(&handle);
            parts.extend(opened.inspect_err(|_| lock::mutex(&self.manifest).unreadable.push(info.id))?);
        }
        let services: BTreeSet<String> = parts.iter().map(|part| part.service_name().to_owned()).collect();
        let first = job.inputs.first().expect("a job has inputs");
        let meta = BlockMeta {
            id: job.output_id(),
            tenant: first.tenant.clone(),
            level: job.level,
            time: job.inputs.iter().map(|block| block.time).reduce(hull).expect("a job has inputs"),
        };
        let parts: Vec<Arc<BlockPart>> = parts.into_iter().map(Arc::new).collect();
        let output = self.write_block(meta, services.iter().map(|service| self.merge(&parts, service)))?;
        let replace = |manifest: &mut Manifest| {
            job.inputs.iter().for_each(|block| drop(manifest.blocks.remove(&block.id)));
            manifest.blocks.insert(output.id, Arc::new(output));
        };
        self.edit_manifest(replace, |_| {})
    }

    /// The rows of one service in all inputs of a compaction.
    fn merge(&self, parts: &[Arc<BlockPart>], service: &str) -> Result<MemoryDataset, StoreError> {
        if self.is_closing() {
            return Err(StoreError::ShuttingDown);
        }
        let seed = [self.env.rng.next_u64(), self.env.rng.next_u64()];
        let chosen: Vec<_> = parts.iter().filter(|part| part.service_name() == service).collect();
        let datasets: Vec<&dyn Dataset> = chosen.iter().map(|part| part.as_ref() as &dyn Dataset).collect();
        let merged = compaction::merge(&datasets, seed).map_err(|error| {
            let ids = chosen.iter().map(|part| part.block_id());
            lock::mutex(&self.manifest).unreadable.extend(ids.filter(|&id| self.blocks.is_suspect(id)));
            StoreError::Damaged { path: error.place, reason: error.reason }
        });
        chosen.iter().for_each(|part| part.evict());
        merged
    }

    /// What is kept from the next look of retention on.
    pub(crate) fn set_retention(&self, age: Option<Duration>, bytes: Option<u64>) {
        *lock::mutex(&self.retention) = Retention { age, bytes };
    }

    /// Removes what retention no longer keeps; the number of blocks.
    pub(crate) fn retain(&self) -> Result<usize, StoreError> {
        let _alone = lock::mutex(&self.housekeeping);
        let (wall_ns, monotonic_ns) = (self.env.clock.wall_ns(), self.env.clock.monotonic_ns());
        let is_confirmed = lock::mutex(&self.clock_guard).observe(wall_ns, monotonic_ns);
        let Retention { age, bytes } = *lock::mutex(&self.retention);
        let age_ns = age.map(|age| i64::try_from(age.as_nanos()).unwrap_or(i64::MAX));
        let cutoff_ns = age_ns.filter(|_| is_confirmed).map(|age| wall_ns.saturating_sub(age));
        let gone = {
            let manifest = lock::mutex(&self.manifest);
            expired(manifest.current.blocks.values(), cutoff_ns, bytes)
        };
        if gone.is_empty() {
            return Ok(0);
        }
        self.edit_manifest(|manifest| manifest.blocks.retain(|id, _| !gone.contains(id)), |_| {})?;
        tracing::info!(blocks = gone.len(), "retention deleted blocks");
        self.metrics.retained_out_blocks.add(gone.len() as u64);
        Ok(gone.len())
    }

    /// Removes files of blocks that left the store and that no query reads any more.
    pub(crate) fn remove_dead_files(&self) {
        let mut state = lock::mutex(&self.manifest);
        let graveyard = std::mem::take(&mut state.graveyard);
        let (free, held): (Vec<_>, Vec<_>) = graveyard.into_iter().partition(|handle| Arc::strong_count(handle) == 1);
        state.graveyard = held;
        for handle in free {
            // Retention may have been undone by nobody, but a compaction makes the same file again after a failure.
            if !state.current.blocks.contains_key(&handle.info.id)
                && let Err(error) = self.env.disk.remove(&handle.info.path())
            {
                tracing::warn!(path = handle.info.path(), %error, "dead block cannot be removed");
            }
        }
    }

    /// Checks one block completely: a suspect, or the next in turn. Puts it aside if it is damaged.
    ///
    /// Whether a block was checked.
    pub(crate) fn scrub_one(&self) -> Result<bool, StoreError> {
        let _alone = lock::mutex(&self.housekeeping);
        let suspect = self.blocks.take_suspect();
        let info = {
            let mut state = lock::mutex(&self.manifest);
            let next = match suspect {
                Some(id) => state.current.blocks.get(&id).cloned(),
                None => {
                    let after = state.scrubbed.saturating_add(1)..;
                    let next = state.current.blocks.range(after).next().or(state.current.blocks.iter().next());
                    next.map(|(_, block)| block.clone())
                }
            };
            let Some(info) = next else { return Ok(false) };
            if suspect.is_none() {
                state.scrubbed = info.id;
            }
            info
        };
        let found = self.blocks.verify(&info).inspect_err(|error| self.blocks.suspect(info.id, chain(error)))?;
        self.metrics.scrubbed_blocks.increment();
        match found {
            Some(reason) => self.quarantine(&info, reason)?,
            None => lock::mutex(&self.manifest).unreadable.retain(|&id| id != info.id),
        }
        Ok(true)
    }

    /// Whether a block waits to be checked because reading it failed.
    pub(crate) fn has_suspects(&self) -> bool {
        self.blocks.has_suspects()
    }

    /// Takes a damaged block out of the store and keeps its file aside.
    fn quarantine(&self, info: &BlockInfo, reason: String) -> Result<(), StoreError> {
        let (path, copy) = (info.path(), format!("{QUARANTINE}/{}", info.file_name()));
        self.report(format!("{path} (kept as {copy}): {reason}"));
        let disk = self.env.disk.as_ref();
        // The copy comes first: the original goes as soon as the manifest leaves it out.
        match disk::copy(disk, &path, &copy) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io_error("copy", &path)(error)),
            _ => {}
        }
        let put_aside = |manifest: &mut Manifest| {
            manifest.blocks.remove(&info.id);
            manifest.quarantined.insert(info.id, QuarantinedBlock { block: info.clone(), reason });
        };
        self.edit_manifest(put_aside, |_| {})?;
        tracing::error!(block = ulid_text(info.id), "block was put aside");
        Ok(())
    }
}

/// What can go wrong while a block is published.
enum PublishError {
    Store(StoreError),
    Io(std::io::Error),
}

impl From<std::io::Error> for PublishError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl From<StoreError> for PublishError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

/// The smallest range that covers both.
fn hull(a: TimeRange, b: TimeRange) -> TimeRange {
    TimeRange { start_ns: a.start_ns.min(b.start_ns), end_ns: a.end_ns.max(b.end_ns) }
}
