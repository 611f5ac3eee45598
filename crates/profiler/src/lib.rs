//! Stacks of every process on the machine, by eBPF, without changing a program.
//!
//! A tick of each CPU's clock becomes a record of the kernel stack and the user stack (`bpf/`). This side answers what the
//! kernel side misses (mappings of processes, unwind rows of files), sums equal stacks, names functions and hands out
//! one profile per process and interval.
//!
//! ```text
//! bpf/sampler.h    a tick of the CPU clock -> a record            kernel.rs    load, attach, CPUs, counters
//! bpf/unwind.h     user registers -> frames                       tables.rs    ELF -> pages of unwind rows in maps
//! bpf/processes.h  fork, exec, exit                               processes.rs mappings and identity of processes
//! bpf/include/     shared types and lists, one map per header     aggregate.rs records -> values by stack
//!                                                                 symbolize.rs stacks -> profiles with names
//! ```
//!
//! Another kind of unwinder (an interpreter, a JIT) is a line in `UNWINDERS` and in `FRAMES` of `bpf/include/lists.h`, a
//! step in `bpf/unwind.h`, a mapping that names it ([`processes`]) and a name for its frames ([`symbolize`]).

mod aggregate;
mod files;
mod image;
mod kernel;
mod memory;
mod names;
mod pool;
mod processes;
mod sampler;
mod shared;
mod stats;
mod symbolize;
mod tables;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

pub use shared::{Counter, End};
pub use stats::{Figure, FigureKind};

use crate::stats::Stats;

/// What to profile, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// Samples per second and CPU.
    pub rate_hz: u32,
    /// How often each process's profile is handed out.
    pub interval: Duration,
    /// When that happens for the first time: sooner, so that there is something to see.
    pub first_interval: Duration,
    /// Which processes.
    pub targets: Targets,
    /// Value of the label `hostname`; empty leaves it out.
    pub hostname: String,
    /// How long names of further files are read once it is to stop; without, until all are there.
    pub farewell: Option<Duration>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            rate_hz: 19,
            interval: Duration::from_secs(15),
            first_interval: Duration::from_secs(4),
            targets: Targets::All,
            hostname: argand_host::hostname(),
            farewell: Some(Duration::from_secs(3)),
        }
    }
}

/// Highest rate that is taken: 1 kHz costs about 0.2 % of each CPU.
pub const MAX_RATE_HZ: u32 = 1000;

/// Which processes are sampled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Targets {
    /// All, and the kernel's threads.
    All,
    /// These, by pid, and the children that they will have.
    Processes(Vec<u32>),
    /// The children that this process will have, and theirs.
    Children,
}

/// Why the profiler does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The kernel does not describe its types.
    #[error("the kernel has no type information at /sys/kernel/btf/vmlinux: it needs CONFIG_DEBUG_INFO_BTF")]
    NoBtf,
    /// The programs were refused.
    #[error(
        "the kernel does not load the profiler's programs: {0}; they need Linux 5.17 and root, or CAP_BPF and CAP_PERFMON"
    )]
    Load(String),
    /// No event ticks.
    #[error("no CPU can be sampled; it needs root, or CAP_PERFMON")]
    PerfEvent(#[source] io::Error),
    /// Memory or threads.
    #[error("the profiler cannot be set up")]
    Setup(#[from] io::Error),
}

impl StartError {
    fn load(error: libbpf_rs::Error) -> Self {
        Self::Load(format!("{error:#}"))
    }
}

/// The profile of one process over one interval.
#[derive(Debug, Clone)]
pub struct ProcessProfile {
    /// Pid, as the agent sees it.
    pub pid: u32,
    /// Name of the profile's type, the value of `__name__`: `process_cpu`.
    pub metric: &'static str,
    /// `service_name` and what else is known: `service_namespace`, `hostname`, `comm`, `exe`, `container_id`.
    pub labels: Vec<(String, String)>,
    /// The profile.
    pub profile: argand_model::Profile,
}

/// A running profiler. Dropping it stops it; what was sampled until then is handed out first.
pub struct Profiler {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
    stats: Arc<Stats>,
}

impl Profiler {
    /// Loads the programs and samples until stopped. Profiles that find no room in `output` are dropped and counted.
    ///
    /// Errors: what is missing, and how to get it.
    pub fn start(options: Options, output: SyncSender<ProcessProfile>) -> Result<Self, StartError> {
        let stats = Arc::new(Stats::default());
        let stop = Arc::new(AtomicBool::new(false));
        let (batches, batch_queue) = sync_channel(sampler::MAX_BATCHES);
        let (wanted, wanted_queue) = sync_channel(tables::MAX_WANTED);
        let (started, has_started) = sync_channel(1);
        let sampling = {
            let (options, stats, stop) = (options.clone(), stats.clone(), stop.clone());
            let channels = sampler::Channels { batches, wanted };
            named("profiler", move || sampler::run(&options, &stats, &stop, channels, &started))?
        };
        let gone = || StartError::Setup(io::Error::other("the sampling thread ended"));
        let maps = has_started.recv().map_err(|_| gone()).flatten()?;
        let tables = tables::Tables::new(maps, stats.clone())?;
        let loading = {
            let stop = stop.clone();
            named("unwind-tables", move || tables.serve(&wanted_queue, &stop))?
        };
        let symbolizer = symbolize::Symbolizer::new(options, output, stop.clone(), stats.clone());
        let naming = named("symbolizer", move || symbolizer.serve(&batch_queue))?;
        Ok(Self { stop, threads: vec![sampling, loading, naming], stats })
    }

    /// What the profiler tells about itself.
    pub fn watch(&self) -> Watch {
        Watch(self.stats.clone())
    }

    /// Stops, and waits until the last profiles are handed out: keep taking them until the channel is closed.
    pub fn stop(self) {
        drop(self);
    }
}

/// Looks at a profiler, also from other threads.
#[derive(Debug, Clone)]
pub struct Watch(Arc<Stats>);

impl Watch {
    /// Figures of the profiler about itself.
    pub fn figures(&self) -> Vec<Figure> {
        self.0.figures()
    }

    /// How many user stacks ended for which reason.
    pub fn ends(&self) -> Vec<(End, u64)> {
        End::ALL.iter().map(|end| (*end, self.0.ends[*end as usize].get())).collect()
    }
}

impl Drop for Profiler {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A thread that panicked has told so.
            let _ = thread.join();
        }
    }
}

fn named(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name(name.to_owned()).spawn(body)
}
