//! The loop of user space: answers what the kernel side asks, takes its samples, hands out batches.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant, SystemTime};

use argand_host::ProcessFacts;
use hashbrown::HashMap;
use libbpf_rs::{MapCore, MapHandle, RingBufferBuilder};

use crate::aggregate::{Aggregate, ProcessSamples};
use crate::files::{Binary, Files};
use crate::kernel::{Kernel, Storage};
use crate::memory::read_plain;
use crate::processes::{Code, ProcessKey, Processes};
use crate::shared::{Event, EventKind, Frame};
use crate::stats::Stats;
use crate::tables::{TableMaps, Wanted};
use crate::{Options, StartError};

/// How often samples are taken from the ring. Looking is far cheaper than being woken for each.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How often CPUs, processes and files are looked through.
const SWEEP_EVERY: Duration = Duration::from_secs(5);

/// Batches that may wait to be named; while there are more, samples add up here.
pub(crate) const MAX_BATCHES: usize = 2;

/// Where the loop sends what takes longer.
pub(crate) struct Channels {
    pub(crate) batches: SyncSender<Batch>,
    pub(crate) wanted: SyncSender<Wanted>,
}

/// The samples of an interval.
pub(crate) struct Batch {
    pub(crate) start: SystemTime,
    pub(crate) duration: Duration,
    pub(crate) processes: Vec<ProcessBatch>,
    /// Files that stacks refer to, by number.
    pub(crate) binaries: HashMap<u32, Arc<Binary>>,
}

/// The samples of a process.
pub(crate) struct ProcessBatch {
    pub(crate) key: ProcessKey,
    pub(crate) facts: Option<Arc<ProcessFacts>>,
    pub(crate) code: Code,
    pub(crate) samples: ProcessSamples,
}

/// Loads the kernel side, tells in `started` whether that worked, and runs until `stop`.
pub(crate) fn run(
    options: &Options,
    stats: &Arc<Stats>,
    stop: &AtomicBool,
    channels: Channels,
    started: &SyncSender<Result<TableMaps, StartError>>,
) {
    let mut storage = Storage::uninit();
    let (mut kernel, mut state) = match set_up(&mut storage, options, stats, channels) {
        Ok((kernel, state, maps)) => {
            // Nobody waits only if the caller is gone.
            let _ = started.send(Ok(maps));
            (kernel, state)
        }
        Err(error) => {
            let _ = started.send(Err(error));
            return;
        }
    };
    if let Err(error) = state.run(&mut kernel, options, stop) {
        tracing::error!(%error, "the profiler stops: its rings cannot be read");
    }
}

type SetUp<'o> = (Kernel<'o>, Loop, TableMaps);

fn set_up<'o>(
    storage: &'o mut Storage,
    options: &Options,
    stats: &Arc<Stats>,
    channels: Channels,
) -> Result<SetUp<'o>, StartError> {
    let kernel = Kernel::start(storage, options)?;
    let maps = TableMaps {
        pages: kernel.map(|maps| &maps.pages)?,
        slabs: kernel.map(|maps| &maps.slabs)?,
        rules: kernel.map(|maps| &maps.rules)?,
    };
    let processes =
        Processes::new(kernel.map(|maps| &maps.processes)?, &kernel.map(|maps| &maps.mappings)?, stats.clone())?;
    let state = Loop {
        files: Files::new(stats.clone()),
        processes,
        aggregate: Aggregate::new(stats.clone()),
        pages: kernel.map(|maps| &maps.pages)?,
        channels,
        unsent: None,
        stats: stats.clone(),
    };
    Ok((kernel, state, maps))
}

struct Loop {
    files: Files,
    processes: Processes,
    aggregate: Aggregate,
    pages: MapHandle,
    channels: Channels,
    /// What there was no room for.
    unsent: Option<Batch>,
    stats: Arc<Stats>,
}

impl Loop {
    fn run(&mut self, kernel: &mut Kernel<'_>, options: &Options, stop: &AtomicBool) -> Result<(), libbpf_rs::Error> {
        let stats = self.stats.clone();
        let this = RefCell::new(self);
        let (events_map, samples_map) = (kernel.map(|maps| &maps.events), kernel.map(|maps| &maps.samples));
        let as_error = |error: std::io::Error| libbpf_rs::Error::from(error);
        let (events_map, samples_map) = (events_map.map_err(as_error)?, samples_map.map_err(as_error)?);
        let events = {
            let mut builder = RingBufferBuilder::new();
            builder.add(&events_map, |record| {
                this.borrow_mut().answer(record);
                0
            })?;
            builder.build()?
        };
        let samples = {
            let mut builder = RingBufferBuilder::new();
            builder.add(&samples_map, |record| {
                this.borrow_mut().take_sample(record);
                0
            })?;
            builder.build()?
        };
        let mut window = (SystemTime::now(), Instant::now());
        let mut interval = options.first_interval;
        let (mut next_look, mut next_sweep) = (window.1 + LOOK_EVERY, window.1 + SWEEP_EVERY);
        loop {
            let stopping = stop.load(Ordering::Relaxed);
            let wait = next_look.saturating_duration_since(Instant::now());
            // Interrupted waits are an error of libbpf; the next round waits again.
            if let Err(error) = events.poll(if stopping { Duration::ZERO } else { wait })
                && error.kind() != libbpf_rs::ErrorKind::Interrupted
            {
                return Err(error);
            }
            let now = Instant::now();
            if now < next_look && !stopping {
                continue;
            }
            next_look = now + LOOK_EVERY;
            samples.consume()?;
            kernel.read_counters(&stats);
            if now >= next_sweep {
                next_sweep = now + SWEEP_EVERY;
                if let Err(error) = kernel.follow_cpus() {
                    tracing::warn!(%error, "no CPU can be sampled any more");
                }
                let mut this = this.borrow_mut();
                this.processes.sweep(now);
                this.files.forget_unused(now);
            }
            let is_due = now.duration_since(window.1) >= interval || stopping;
            // While naming lags behind, the interval goes on: nothing is lost but detail in time.
            if is_due && this.borrow_mut().hand_out(window.0, now.duration_since(window.1), stopping) {
                window = (SystemTime::now(), now);
                interval = options.interval;
            }
            if stopping {
                return Ok(());
            }
        }
    }

    fn answer(&mut self, record: &[u8]) {
        let Some(event) = read_plain::<Event>(record) else { return };
        let key = ProcessKey { pid: event.pid, exec_id: event.exec_id, start_ns: event.start_ns };
        let now = Instant::now();
        match EventKind::from_number(event.kind.into()) {
            Some(EventKind::ProcessWanted) => self.processes.scan(key, &mut self.files, true, now),
            Some(EventKind::MappingWanted) => self.processes.scan(key, &mut self.files, false, now),
            Some(EventKind::PageWanted) => self.want(event.a),
            Some(EventKind::ProcessExit) => self.processes.note_exit(key, now),
            None => {}
        }
    }

    fn want(&mut self, key: u64) {
        let (file, page) = ((key >> 32) as u32, key as u32);
        let binary = self.files.get(file).cloned();
        let sent = binary.is_some_and(|binary| self.channels.wanted.try_send(Wanted { binary, page }).is_ok());
        if !sent {
            self.stats.pages_postponed.add(1);
            // So that the kernel side asks again.
            let _ = self.pages.delete(&key.to_ne_bytes());
        }
    }

    fn take_sample(&mut self, record: &[u8]) {
        if let Some((key, parent)) = self.aggregate.add(record) {
            self.processes.note_sample(key, parent, Instant::now());
        }
    }

    /// Sends the samples of an interval to be named. False if there is no room and nobody waits for it.
    fn hand_out(&mut self, start: SystemTime, duration: Duration, must_wait: bool) -> bool {
        if let Some(unsent) = self.unsent.take() {
            match self.send(unsent, must_wait) {
                Ok(()) => {}
                Err(unsent) => {
                    self.unsent = Some(unsent);
                    return false;
                }
            }
        }
        let mut binaries = HashMap::new();
        let processes: Vec<ProcessBatch> = self
            .aggregate
            .take()
            .into_iter()
            .map(|(key, samples)| {
                for frame in samples.stacks.keys().flat_map(|stack| stack.user()) {
                    if frame.kind == Frame::Native as u8
                        && let Some(binary) = self.files.get(frame.data)
                    {
                        binaries.entry(frame.data).or_insert_with(|| binary.clone());
                    }
                }
                let (facts, code) = self.processes.describe(key);
                ProcessBatch { key, facts, code, samples }
            })
            .collect();
        self.unsent = self.send(Batch { start, duration, processes, binaries }, must_wait).err();
        true
    }

    /// Gives the batch back if there is no room.
    fn send(&self, batch: Batch, must_wait: bool) -> Result<(), Batch> {
        if must_wait {
            // Nobody takes it any more only if the symbolizer has panicked.
            let _ = self.channels.batches.send(batch);
            return Ok(());
        }
        match self.channels.batches.try_send(batch) {
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
            Err(TrySendError::Full(batch)) => Err(batch),
        }
    }
}
