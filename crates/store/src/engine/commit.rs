//! The log: writing what is queued, sealing the head, and what happens when the disk fails.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::append::{Entry, Queue};
use super::{Engine, LogState};
use crate::error::{chain, io_error};
use crate::head::Generation;
use crate::log::{self, LogFile, Payload};
use crate::{Ack, StoreError, lock, record};

/// Time between attempts to seal a head after one failed.
const ROLL_RETRY_NS: u64 = 1_000_000_000;
/// Heads of failed logs that may wait for their flush, beyond those that wait in any case.
const MAX_ABANDONED_HEADS: usize = 4;

impl Engine {
    /// Waits until an upload is queued, the store closes, or `timeout` passes.
    pub(crate) fn wait_for_work(&self, timeout: Duration) {
        let queue = lock::mutex(&self.queue);
        let is_idle = |queue: &mut Queue| queue.entries.is_empty() && !self.is_closing();
        drop(self.work.wait_timeout_while(queue, timeout, is_idle));
    }

    /// Asks for the head to be sealed by the next commit.
    pub(crate) fn request_roll(&self) {
        self.roll_requested.store(true, Ordering::Release);
    }

    /// Whether that is still to be done.
    pub(crate) fn is_roll_requested(&self) -> bool {
        self.roll_requested.load(Ordering::Acquire)
    }

    /// Whether nothing waits for the log.
    pub(crate) fn is_drained(&self) -> bool {
        lock::mutex(&self.queue).entries.is_empty()
    }

    /// Writes and syncs everything that is queued, makes it visible and acknowledges it; then seals the head if it
    /// is due. Does nothing where nothing waits.
    pub(crate) fn commit(&self) {
        let mut log = lock::mutex(&self.log);
        self.refresh_free_bytes();
        if log.file.is_none() {
            self.resume(&mut log);
        }
        let LogState { file: Some(file), .. } = &mut *log else { return };
        let batch = self.take_queue();
        let generation = lock::read(&self.view).current.as_ref().ok().cloned();
        let Some(generation) = generation else { return };
        if let Err(error) = self.write(file, &generation, batch) {
            self.abandon(&mut log, &error);
            return self.resume(&mut log);
        }
        if self.roll_is_due(&log, &generation) {
            self.roll(&mut log);
        }
    }

    fn take_queue(&self) -> Vec<Entry> {
        let mut queue = lock::mutex(&self.queue);
        queue.bytes = 0;
        self.metrics.queue_bytes.set(0);
        self.metrics.queue_count.set(0);
        std::mem::take(&mut queue.entries)
    }

    pub(super) fn refresh_free_bytes(&self) {
        // Unknown space is no reason to refuse: the log will tell.
        let free = self.env.disk.free_bytes().unwrap_or(u64::MAX);
        self.free_bytes.store(free, Ordering::Relaxed);
    }

    /// Makes a batch durable, then visible, then acknowledges it; or fails it as a whole.
    fn write(&self, file: &mut LogFile, generation: &Generation, batch: Vec<Entry>) -> Result<(), StoreError> {
        if batch.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.append_and_sync(file, batch.iter().map(|entry| &entry.payload), generation.number) {
            self.fail(batch, &error);
            return Err(error);
        }
        let now = self.env.clock.monotonic_ns();
        self.metrics.log_records.add(batch.len() as u64);
        for Entry { done, upload, .. } in batch {
            let mut waiters = Vec::new();
            if let Some(upload) = upload {
                generation.commit(&upload.rows, now);
                let rows: u64 = upload.rows.profiles.iter().map(|p| u64::from(p.row_count)).sum();
                self.metrics.committed_profiles.add(upload.rows.profiles.len() as u64);
                self.metrics.committed_rows.add(rows);
                if let Some(key) = upload.key {
                    waiters = lock::mutex(&self.dedupe).finish(&upload.tenant, key, true);
                }
            }
            done(Ok(Ack::Stored));
            self.metrics.duplicates.add(waiters.len() as u64);
            waiters.into_iter().for_each(|done| done(Ok(Ack::Duplicate)));
        }
        Ok(())
    }

    fn append_and_sync<'a>(
        &self,
        file: &mut LogFile,
        batch: impl Iterator<Item = &'a Payload>,
        generation: u64,
    ) -> Result<(), StoreError> {
        let path = log::path(generation);
        let len = file.len();
        file.append(batch).map_err(io_error("append to", &path))?;
        self.metrics.log_bytes.add(file.len() - len);
        let before = self.env.clock.monotonic_ns();
        file.sync().map_err(io_error("sync", &path))?;
        self.metrics.log_sync.observe(self.env.clock.monotonic_ns() - before);
        Ok(())
    }

    /// Tells the senders of a batch that it is not durable.
    fn fail(&self, batch: Vec<Entry>, error: &StoreError) {
        let reason = chain(error);
        let not_durable = || StoreError::NotDurable { reason: reason.clone() };
        for Entry { done, upload, .. } in batch {
            let mut waiters = Vec::new();
            if let Some(upload) = upload
                && let Some(key) = upload.key
            {
                waiters = lock::mutex(&self.dedupe).finish(&upload.tenant, key, false);
            }
            done(Err(not_durable()));
            waiters.into_iter().for_each(|done| done(Err(not_durable())));
        }
    }

    /// Gives the log up after a failed write or sync: what was acknowledged stays readable and will be flushed from
    /// memory; what waits fails, for it may refer to entries of records that were lost.
    fn abandon(&self, log: &mut LogState, error: &StoreError) {
        let reason = chain(error);
        tracing::error!(reason, "log cannot be written, a new one is started");
        self.metrics.log_failures.increment();
        log.file = None;
        let waiting = {
            let mut view = lock::write(&self.view);
            if let Ok(generation) = std::mem::replace(&mut view.current, Err(reason)) {
                generation.seal(self.env.clock.wall_ns());
                view.sealed.push_back(generation);
            }
            self.take_queue()
        };
        self.fail(waiting, error);
    }

    /// Starts a new log after the last one was given up, or at the start. Stays without one where that fails.
    pub(super) fn resume(&self, log: &mut LogState) {
        let free_bytes = self.free_bytes.load(Ordering::Relaxed);
        let waiting = lock::read(&self.view).sealed.iter().filter(|generation| generation.is_closed()).count();
        let attempt = if free_bytes < self.config.reserve_bytes {
            Err(StoreError::DiskFull { free_bytes, reserve_bytes: self.config.reserve_bytes })
        } else if waiting >= self.config.max_sealed_heads + MAX_ABANDONED_HEADS {
            Err(StoreError::Overloaded { what: "heads of failed logs that wait for their flush" })
        } else {
            self.create_log(log).and_then(|(mut file, generation)| {
                self.write_keys(&mut file, generation.number)?;
                Ok((file, generation))
            })
        };
        let mut view = lock::write(&self.view);
        match attempt {
            Ok((file, generation)) => {
                tracing::info!(generation = generation.number, "log is writable");
                log.file = Some(file);
                view.current = Ok(generation);
                view.sealed.iter().for_each(|generation| generation.close());
            }
            Err(error) => view.current = Err(chain(&error)),
        }
    }

    /// A new, empty log and its generation.
    fn create_log(&self, log: &mut LogState) -> Result<(LogFile, Arc<Generation>), StoreError> {
        let number = log.next_generation;
        // Used up even if this fails: the file may exist after a crash.
        log.next_generation += 1;
        let rng = &self.env.rng;
        let seed = u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
        let file = LogFile::create(self.env.disk.as_ref(), number, rng.next_u64());
        let file = file.map_err(|error| {
            // Nothing in it counts; if it stays it is found empty.
            let _ = self.env.disk.remove(&log::path(number));
            io_error("create", &log::path(number))(error)
        })?;
        Ok((file, Arc::new(Generation::new(number, seed))))
    }

    /// Repeats the known keys in a new log, so that older logs are not needed for them.
    fn write_keys(&self, file: &mut LogFile, generation: u64) -> Result<(), StoreError> {
        let payload = Payload::new(record::encode_keys(lock::mutex(&self.dedupe).stored()));
        self.append_and_sync(file, [&payload].into_iter(), generation)
    }

    fn roll_is_due(&self, log: &LogState, generation: &Generation) -> bool {
        let Some(first_commit_ns) = generation.first_commit_ns() else {
            self.roll_requested.store(false, Ordering::Release);
            return false;
        };
        let now = self.env.clock.monotonic_ns();
        let age = u128::from(now.saturating_sub(first_commit_ns));
        let is_due = self.roll_requested.load(Ordering::Acquire)
            || generation.memory_bytes() >= self.config.head_bytes
            || generation.largest_rows() >= self.config.head_dataset_rows
            || age >= self.config.flush_interval.as_nanos();
        let has_room = lock::read(&self.view).sealed.len() < self.config.max_sealed_heads;
        is_due && has_room && now >= log.roll_not_before_ns
    }

    /// Seals the head: a new log takes over, and the old one may be flushed.
    fn roll(&self, log: &mut LogState) {
        let (mut next_file, next) = match self.create_log(log) {
            Ok(created) => created,
            Err(error) => {
                tracing::warn!(error = chain(&error), "head cannot be sealed");
                log.roll_not_before_ns = self.env.clock.monotonic_ns() + ROLL_RETRY_NS;
                return;
            }
        };
        self.roll_requested.store(false, Ordering::Release);
        let (old, rest) = {
            let mut view = lock::write(&self.view);
            let old = std::mem::replace(&mut view.current, Ok(next.clone()));
            let old = old.expect("only a current generation is sealed");
            old.seal(self.env.clock.wall_ns());
            view.sealed.push_back(old.clone());
            (old, self.take_queue())
        };
        // What was queued since belongs to the old log. If it fails, the old log is finished all the same.
        let mut old_file = log.file.take().expect("the log is open while it has a current generation");
        if self.write(&mut old_file, &old, rest).is_err() {
            self.metrics.log_failures.increment();
        }
        let keys = self.write_keys(&mut next_file, next.number);
        log.file = Some(next_file);
        match keys {
            Ok(()) => lock::read(&self.view).sealed.iter().for_each(|generation| generation.close()),
            Err(error) => {
                self.abandon(log, &error);
                self.resume(log);
            }
        }
    }
}
