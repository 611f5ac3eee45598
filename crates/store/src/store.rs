//! The store with its threads.

use std::path::Path;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use argand_model::{TenantId, TimeRange, Upload};

use crate::engine::{Engine, Environment, Snapshot, Status, TenantStats};
use crate::error::{chain, io_error};
use crate::{Ack, Done, FsDisk, StoreConfig, StoreError, StoreMetrics, SystemClock, SystemRng, lock};

/// An open store: one thread writes the log, one flushes heads, one looks after blocks.
///
/// Cheap to clone; all clones are the same store. [`Store::shutdown`] ends the threads. Without it they end with the
/// process, and nothing acknowledged is lost either.
#[derive(Clone)]
pub struct Store(Arc<Inner>);

struct Inner {
    engine: Arc<Engine>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Wakes the background threads when it is dropped.
    wakers: Mutex<Vec<mpsc::Sender<()>>>,
    /// The last probe and its outcome.
    probe: Mutex<Option<(Instant, Result<(), String>)>>,
}

/// Longest time between two looks of the log's thread at the disk.
const LOG_TICK: Duration = Duration::from_millis(250);
/// Time between two looks for a head to flush.
const FLUSH_TICK: Duration = Duration::from_millis(250);
/// Time between two looks at the blocks.
const HOUSEKEEPING_TICK: Duration = Duration::from_secs(1);
/// Pause after a flush or compaction failed.
const FAILURE_PAUSE: Duration = Duration::from_secs(5);
/// Time between two looks of retention.
const RETENTION_INTERVAL: Duration = Duration::from_mins(1);
/// How long the outcome of a probe stays good.
const PROBE_AGE: Duration = Duration::from_secs(1);
/// How long a probe may take.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long [`Store::shutdown`] waits for the threads.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);

impl Store {
    /// Opens the store in a directory, which is made where there is none; replays its logs.
    pub fn open(directory: &Path, config: StoreConfig) -> Result<Self, StoreError> {
        let disk = FsDisk::open(directory)?;
        let clock = Arc::new(SystemClock::default());
        Self::start(Environment { disk: Arc::new(disk), clock, rng: Arc::new(SystemRng) }, config)
    }

    /// Opens the store in a given environment.
    pub fn start(environment: Environment, config: StoreConfig) -> Result<Self, StoreError> {
        let scrub_interval = config.scrub_interval;
        let engine = Arc::new(Engine::open(environment, config)?);
        let (flush_waker, flush_wakes) = mpsc::channel();
        let (house_waker, house_wakes) = mpsc::channel();
        let [log, flush, house] = [(); 3].map(|()| engine.clone());
        let threads = vec![
            spawn("log", move || write_log(&log))?,
            spawn("flush", move || flush_heads(&flush, &flush_wakes))?,
            spawn("blocks", move || look_after_blocks(&house, &house_wakes, scrub_interval))?,
        ];
        Ok(Self(Arc::new(Inner {
            engine,
            threads: Mutex::new(threads),
            wakers: Mutex::new(vec![flush_waker, house_waker]),
            probe: Mutex::default(),
        })))
    }

    /// The part of a tenant.
    pub fn tenant(&self, tenant: &TenantId) -> TenantStore {
        TenantStore { store: self.clone(), tenant: tenant.clone() }
    }

    /// Tenants with data, ascending.
    pub fn tenants(&self) -> Vec<TenantId> {
        self.0.engine.tenants()
    }

    /// How the store is.
    pub fn status(&self) -> Status {
        self.0.engine.status()
    }

    /// Counters since the start.
    pub fn metrics(&self) -> Arc<StoreMetrics> {
        self.0.engine.metrics.clone()
    }

    /// Changes [`StoreConfig::retention`] and [`StoreConfig::retention_bytes`] of the open store.
    pub fn set_retention(&self, age: Option<Duration>, bytes: Option<u64>) {
        self.0.engine.set_retention(age, bytes);
    }

    /// Whether an upload would be accepted now. Cheap: asked before an upload is decoded.
    pub fn admits(&self) -> Result<(), StoreError> {
        self.0.engine.admits()
    }

    /// Whether an empty record can be made durable; an answer may be up to a second old. Blocks for up to 5 seconds.
    pub fn probe_commit(&self) -> Result<(), StoreError> {
        let mut probe = lock::mutex(&self.0.probe);
        let is_fresh = |(at, _): &&(Instant, Result<(), String>)| at.elapsed() < PROBE_AGE;
        let outcome = match probe.as_ref().filter(is_fresh) {
            Some((_, outcome)) => outcome.clone(),
            None => {
                let outcome = self.probe_now();
                *probe = Some((Instant::now(), outcome.clone()));
                outcome
            }
        };
        outcome.map_err(|reason| StoreError::Unavailable { reason })
    }

    fn probe_now(&self) -> Result<(), String> {
        let (sender, receiver) = mpsc::channel();
        // Nobody may wait any more.
        self.0.engine.probe(Box::new(move |outcome| drop(sender.send(outcome))));
        let outcome = receiver.recv_timeout(PROBE_TIMEOUT);
        let outcome = outcome.map_err(|_| format!("no commit within {} s", PROBE_TIMEOUT.as_secs()))?;
        outcome.map_err(|error| chain(&error))?;
        self.status().ready
    }

    /// Makes blocks of everything that was acknowledged before the call. Blocks until it is done.
    pub fn flush(&self) -> Result<(), StoreError> {
        let engine = &self.0.engine;
        // Heads that wait already make room for the one that takes uploads now.
        while engine.flush_one()? {}
        engine.request_roll();
        engine.commit();
        if engine.is_roll_requested() {
            let reason = engine.status().ready.err().unwrap_or_else(|| "head cannot be sealed now".to_owned());
            return Err(StoreError::Unavailable { reason });
        }
        while engine.flush_one()? {}
        Ok(())
    }

    /// Merges blocks as long as there is something to merge. Blocks until it is done.
    pub fn compact(&self) -> Result<(), StoreError> {
        while self.0.engine.compact_one()? {}
        self.0.engine.remove_dead_files();
        Ok(())
    }

    /// Writes what is queued, refuses everything else, and ends the threads; gives up waiting after 10 seconds.
    ///
    /// The head stays in the log, which the next start replays.
    pub fn shutdown(&self) {
        let deadline = Instant::now() + SHUTDOWN_TIMEOUT;
        self.0.engine.close();
        lock::mutex(&self.0.wakers).clear();
        let threads = std::mem::take(&mut *lock::mutex(&self.0.threads));
        for thread in threads {
            while !thread.is_finished() && Instant::now() < deadline {
                thread::sleep(Duration::from_millis(5));
            }
            if thread.is_finished() && thread.join().is_err() {
                tracing::error!("a thread of the store panicked");
            }
        }
    }
}

/// The part of one tenant in a [`Store`].
#[derive(Clone)]
pub struct TenantStore {
    store: Store,
    tenant: TenantId,
}

impl TenantStore {
    /// Whose part it is.
    pub fn tenant(&self) -> &TenantId {
        &self.tenant
    }

    /// Stores an upload. `done` is called once: with an [`Ack`] when it is durable and visible, or with the reason
    /// why not. See [`Done`] for what it may do.
    ///
    /// Takes about a microsecond per new and a tenth of that per known stack; never waits for the disk.
    pub fn append(&self, upload: &Upload, done: impl FnOnce(Result<Ack, StoreError>) + Send + 'static) {
        let done: Done = Box::new(done);
        self.store.0.engine.append(&self.tenant, upload, done);
    }

    /// [`Self::append`] for callers that may block.
    pub fn append_and_wait(&self, upload: &Upload) -> Result<Ack, StoreError> {
        let (sender, receiver) = mpsc::channel();
        self.append(upload, move |outcome| drop(sender.send(outcome)));
        receiver.recv().unwrap_or(Err(StoreError::ShuttingDown))
    }

    /// Everything that overlaps `range`, at this moment. Profiles outside of it may be among it.
    pub fn snapshot(&self, range: TimeRange) -> Snapshot {
        self.store.0.engine.snapshot(&self.tenant, range)
    }

    /// What is stored.
    pub fn stats(&self) -> TenantStats {
        self.store.0.engine.tenant_stats(&self.tenant)
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, StoreError> {
    thread::Builder::new().name(format!("store-{name}")).spawn(work).map_err(io_error("start a thread for", name))
}

fn write_log(engine: &Engine) {
    while !(engine.is_closing() && engine.is_drained()) {
        engine.wait_for_work(LOG_TICK);
        engine.commit();
    }
}

/// Waits; `false` when the store closes.
fn pause(wakes: &mpsc::Receiver<()>, time: Duration) -> bool {
    wakes.recv_timeout(time) == Err(RecvTimeoutError::Timeout)
}

fn flush_heads(engine: &Engine, wakes: &mpsc::Receiver<()>) {
    let mut wait = FLUSH_TICK;
    while pause(wakes, wait) {
        wait = match engine.flush_one() {
            Ok(true) => Duration::ZERO,
            Ok(false) => FLUSH_TICK,
            Err(_) => FAILURE_PAUSE,
        };
    }
}

fn look_after_blocks(engine: &Engine, wakes: &mpsc::Receiver<()>, scrub_interval: Duration) {
    let mut wait = HOUSEKEEPING_TICK;
    let (mut last_retention, mut last_scrub) = (Instant::now(), Instant::now());
    while pause(wakes, wait) {
        wait = match engine.compact_one() {
            Ok(true) => Duration::ZERO,
            Ok(false) => HOUSEKEEPING_TICK,
            Err(_) => FAILURE_PAUSE,
        };
        if last_retention.elapsed() >= RETENTION_INTERVAL {
            last_retention = Instant::now();
            note("retention", engine.retain());
        }
        if last_scrub.elapsed() >= scrub_interval || engine.has_suspects() {
            last_scrub = Instant::now();
            note("scrub", engine.scrub_one());
        }
        engine.remove_dead_files();
    }
}

fn note<T>(task: &str, outcome: Result<T, StoreError>) {
    if let Err(error) = outcome {
        tracing::warn!(task, error = chain(&error), "background task failed and is tried again");
    }
}

#[cfg(test)]
mod tests;
