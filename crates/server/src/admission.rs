//! Who may start work: memory for bodies, threads for decoding, storing and querying.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use prometheus_client::metrics::counter::Counter;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::ApiError;

/// Memory is counted in units of this many bytes, so that a 32-bit permit count reaches 4 TiB.
const UNIT_BYTES: u64 = 1 << 10;

/// Memory that the requests in flight share.
#[derive(Clone, Debug)]
pub(crate) struct MemoryBudget {
    units: Arc<Semaphore>,
    total: usize,
}

/// Memory taken from a [`MemoryBudget`]; given back when dropped.
#[derive(Debug)]
pub(crate) struct Reservation {
    budget: MemoryBudget,
    held: Option<OwnedSemaphorePermit>,
    reserved_bytes: u64,
}

impl MemoryBudget {
    pub(crate) fn new(bytes: u64) -> Self {
        let total = usize::try_from(bytes / UNIT_BYTES).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { units: Arc::new(Semaphore::new(total)), total }
    }

    /// A reservation of nothing yet.
    pub(crate) fn reservation(&self) -> Reservation {
        Reservation { budget: self.clone(), held: None, reserved_bytes: 0 }
    }

    /// Bytes taken, rounded up to whole units.
    pub(crate) fn used_bytes(&self) -> u64 {
        (self.total - self.units.available_permits()) as u64 * UNIT_BYTES
    }
}

impl Reservation {
    /// Grows the reservation to `bytes`. Errors: `unavailable` when other requests hold the rest.
    pub(crate) fn grow_to(&mut self, bytes: u64) -> Result<(), ApiError> {
        if bytes <= self.reserved_bytes {
            return Ok(());
        }
        // In steps, because the semaphore is shared by all threads.
        let step_bytes = (bytes - self.reserved_bytes).max(64 * UNIT_BYTES);
        let units = u32::try_from(step_bytes.div_ceil(UNIT_BYTES)).unwrap_or(u32::MAX);
        let more = self.budget.units.clone().try_acquire_many_owned(units).map_err(|_| {
            ApiError::unavailable("the server is busy: too many bytes of requests in flight, try again")
        })?;
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        self.reserved_bytes += u64::from(units) * UNIT_BYTES;
        Ok(())
    }
}

/// Tells blocking work that nobody waits for it any more.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cancel(Arc<AtomicBool>);

impl Cancel {
    pub(crate) fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

struct CancelOnDrop(Cancel);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

/// Threads for one kind of blocking work, and a bounded queue in front of them.
#[derive(Clone, Debug)]
pub(crate) struct WorkPool {
    name: &'static str,
    slots: Arc<Semaphore>,
    waiting: Arc<AtomicUsize>,
    max_waiting: usize,
    panics: Counter,
}

/// Leave to run one piece of work on a [`WorkPool`].
#[derive(Debug)]
pub(crate) struct Slot(#[allow(dead_code)] OwnedSemaphorePermit); // held for its drop

struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl WorkPool {
    /// `panics` counts work that panicked.
    pub(crate) fn new(name: &'static str, concurrency: usize, max_waiting: usize, panics: Counter) -> Self {
        let slots = Arc::new(Semaphore::new(concurrency.clamp(1, 512)));
        Self { name, slots, waiting: Arc::default(), max_waiting, panics }
    }

    /// Number of requests that wait for a thread.
    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Runs `work` on a thread where it may block. When this future is dropped, work that still waits never starts
    /// and work that runs is told by its [`Cancel`].
    ///
    /// Errors: `unavailable` when the queue is full, `internal` when `work` panics.
    pub(crate) async fn run<T, F>(&self, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&Cancel) -> T + Send + 'static,
    {
        let slot = self.slot().await?;
        self.run_in(slot, work).await
    }

    /// [`WorkPool::run`] with leave that was given before.
    pub(crate) async fn run_in<T, F>(&self, slot: Slot, work: F) -> Result<T, ApiError>
    where
        T: Send + 'static,
        F: FnOnce(&Cancel) -> T + Send + 'static,
    {
        let cancel = Cancel::default();
        let _guard = CancelOnDrop(cancel.clone());
        let task = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            work(&cancel)
        });
        task.await.map_err(|error| {
            self.panics.inc();
            tracing::error!(pool = self.name, %error, "work ended without a result");
            ApiError::internal()
        })
    }

    /// Waits for leave to run. Errors: `unavailable` when the queue is full.
    pub(crate) async fn slot(&self) -> Result<Slot, ApiError> {
        if let Ok(slot) = self.slots.clone().try_acquire_owned() {
            return Ok(Slot(slot));
        }
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.max_waiting {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            let name = self.name;
            return Err(ApiError::unavailable(format!("the server is busy: too many {name} requests wait, try again")));
        }
        let _waiting = Waiting(&self.waiting);
        Ok(Slot(self.slots.clone().acquire_owned().await.expect("the semaphore is never closed")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_back_when_a_reservation_ends() {
        let budget = MemoryBudget::new(1 << 20);
        let mut first = budget.reservation();
        first.grow_to(900 << 10).unwrap();
        let mut second = budget.reservation();
        assert_eq!(second.grow_to(200 << 10).unwrap_err().http_status(), 503);
        drop(first);
        assert_eq!(budget.used_bytes(), 0);
        second.grow_to(200 << 10).unwrap();
        assert_eq!(budget.used_bytes(), 200 << 10);
    }

    #[tokio::test]
    async fn a_full_queue_refuses() {
        let pool = WorkPool::new("test", 1, 1, Counter::default());
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let busy = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(move |_| wait.recv()).await }
        });
        while pool.slots.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        let queued = tokio::spawn({
            let pool = pool.clone();
            async move { pool.run(|_| 7).await }
        });
        while pool.waiting() == 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(pool.run(|_| 8).await.unwrap_err().http_status(), 503);
        release.send(()).unwrap();
        busy.await.unwrap().unwrap().unwrap();
        assert_eq!(queued.await.unwrap(), Ok(7));
    }

    #[tokio::test]
    async fn work_learns_that_nobody_waits() {
        let pool = WorkPool::new("test", 1, 1, Counter::default());
        let (report, stopped) = tokio::sync::oneshot::channel();
        let work = pool.run(move |cancel| {
            while !cancel.is_cancelled() {
                std::thread::yield_now();
            }
            report.send(()).unwrap();
        });
        assert!(tokio::time::timeout(std::time::Duration::from_millis(20), work).await.is_err());
        stopped.await.unwrap();
    }

    #[tokio::test]
    async fn a_panic_is_an_internal_error() {
        let pool = WorkPool::new("test", 1, 1, Counter::default());
        assert_eq!(pool.run(|_| panic!("on purpose")).await, Err::<(), _>(ApiError::internal()));
        assert_eq!(pool.panics.get(), 1);
        assert_eq!(pool.run(|_| 1).await, Ok(1));
    }
}
