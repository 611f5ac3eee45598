//! The processes that were sampled: what they have mapped and who they are.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use argand_host::{Mapped, ProcessFacts};
use hashbrown::HashMap;
use libbpf_rs::{MapCore, MapFlags, MapHandle};

use crate::files::{ANONYMOUS, Binary, Files};
use crate::memory::{SharedArray, bytes_of};
use crate::pool::Pool;
use crate::shared::{MAPPING_POOL, Mapping, PROCESSES, Process, Unwinder};
use crate::stats::Stats;

/// Bound on processes known at once; that of the kernel side's table.
const MAX_PROCESSES: usize = PROCESSES;

/// How long a process that ended is remembered, so that its last samples still find it.
const KEEP_ENDED: Duration = Duration::from_secs(2);

/// A process is forgotten when it was not sampled for so long.
const FORGET_AFTER: Duration = Duration::from_secs(300);

/// A freed range of the pool is not used before that: a stack walk may still be in it, for some µs.
const QUARANTINE: Duration = Duration::from_millis(500);

/// Which process, for good: pids are used again, and exec makes another program of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ProcessKey {
    pub(crate) pid: u32,
    pub(crate) exec_id: u32,
    /// In ns since boot.
    pub(crate) start_ns: u64,
}

impl ProcessKey {
    /// Stands for all threads of the kernel.
    pub(crate) const KERNEL: Self = Self { pid: 0, exec_id: 0, start_ns: 0 };
}

/// An executable mapping with its file.
#[derive(Clone)]
pub(crate) struct MappedCode {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) bias: u64,
    /// None for memory without a file.
    pub(crate) binary: Option<Arc<Binary>>,
}

/// The executable mappings of a process by address.
pub(crate) type Code = Arc<[MappedCode]>;

struct Known {
    facts: Option<Arc<ProcessFacts>>,
    code: Code,
    /// What was published last, to see whether anything changed.
    mapped: Vec<Mapped>,
    range: Option<(u32, usize)>,
    seen: Instant,
    ended: Option<Instant>,
}

/// All known processes, here and on the kernel side.
pub(crate) struct Processes {
    known: HashMap<ProcessKey, Known>,
    /// The newest key of a pid: parents are named by pid.
    by_pid: HashMap<u32, ProcessKey>,
    pool: Pool,
    quarantine: Vec<(Instant, u32, usize)>,
    memory: SharedArray<Mapping>,
    map: MapHandle,
    serial: u32,
    stats: Arc<Stats>,
}

impl Processes {
    /// Errors: those of mapping the pool.
    pub(crate) fn new(map: MapHandle, mappings: &MapHandle, stats: Arc<Stats>) -> io::Result<Self> {
        Ok(Self {
            known: HashMap::new(),
            by_pid: HashMap::new(),
            pool: Pool::default(),
            quarantine: Vec::new(),
            memory: SharedArray::map(mappings, MAPPING_POOL)?,
            map,
            serial: 0,
            stats,
        })
    }

    /// Reads a process's mappings and gives them to the kernel side, if they are new. `asks` is how often it asked.
    pub(crate) fn scan(&mut self, key: ProcessKey, files: &mut Files, is_first: bool, now: Instant) {
        if !is_alive(key) {
            self.stats.processes_gone.add(1);
            return;
        }
        let Ok(read) = argand_host::executable_mappings(key.pid) else {
            self.stats.processes_gone.add(1);
            return;
        };
        let mapped: Vec<Mapped> = read.mappings.into_iter().filter(|mapped| mapped.end <= 1 << 47).collect();
        if mapped.is_empty() {
            // It is on its way out.
            return;
        }
        if read.truncated {
            self.stats.mappings_full.add(1);
        }
        let Some(known) = self.enter(key, now) else { return };
        known.seen = now;
        if !is_first && known.mapped == mapped {
            return;
        }
        known.mapped = mapped;
        let code: Code = known
            .mapped
            .iter()
            .map(|mapped| {
                let binary = files.of_mapping(key.pid, mapped);
                let bias = binary.as_ref().map_or(0, |binary| binary.bias(mapped));
                MappedCode { start: mapped.start, end: mapped.end, bias, binary }
            })
            .collect();
        known.code = code;
        if known.facts.is_none() {
            known.facts = ProcessFacts::read(key.pid).map(Arc::new);
        }
        self.publish(key, is_first, now);
    }

    /// Writes the mappings of a process to the pool, and then where they are to the table.
    fn publish(&mut self, key: ProcessKey, is_first: bool, now: Instant) {
        let Some(known) = self.known.get_mut(&key) else { return };
        if let Some((start, count)) = known.range.take() {
            self.quarantine.push((now, start, count));
        }
        let quarantine = std::mem::take(&mut self.quarantine);
        for (since, start, count) in quarantine {
            if now.duration_since(since) > QUARANTINE {
                self.pool.give_back(start, count);
            } else {
                self.quarantine.push((since, start, count));
            }
        }
        let Some(start) = self.pool.take(known.code.len()) else {
            self.stats.mappings_full.add(1);
            return;
        };
        known.range = Some((start, known.code.len()));
        self.serial = self.serial.wrapping_add(1).max(1);
        for (at, code) in known.code.iter().enumerate() {
            let unwinder = if code.binary.is_some() { Unwinder::Table } else { Unwinder::FramePointer };
            let mapping = Mapping {
                start: code.start,
                end: code.end,
                bias: code.bias,
                file: code.binary.as_ref().map_or(ANONYMOUS, |binary| binary.number),
                serial: self.serial,
                unwinder: unwinder as u8,
                pad: [0; 7],
            };
            self.memory.write(start as usize + at, mapping);
        }
        // After a new answer to "where is this address" the kernel side waits before it asks again.
        let asked_ns = if is_first { 0 } else { monotonic_ns() };
        let process = Process {
            start_ns: key.start_ns,
            exec_id: key.exec_id,
            serial: self.serial,
            first: start,
            count: known.code.len() as u32,
            asked_ns,
            asks: u32::from(!is_first),
            ..Process::default()
        };
        let pid = key.pid.to_ne_bytes();
        let written = self.map.update(&pid, bytes_of(&process), MapFlags::ANY);
        // If it ended meanwhile, nobody will remove the entry.
        if written.is_ok() && !is_alive(key) {
            let _ = self.map.delete(&pid);
        }
    }

    fn enter(&mut self, key: ProcessKey, now: Instant) -> Option<&mut Known> {
        if !self.known.contains_key(&key) && self.known.len() >= MAX_PROCESSES {
            return None;
        }
        // Another program in the same process: the one before has ended by exec.
        if let Some(before) = self.by_pid.insert(key.pid, key).filter(|before| *before != key)
            && let Some(known) = self.known.get_mut(&before)
        {
            known.ended.get_or_insert(now);
        }
        let known = self.known.entry(key).or_insert_with(|| Known {
            facts: None,
            code: Arc::from([]),
            mapped: Vec::new(),
            range: None,
            seen: now,
            ended: None,
        });
        self.stats.processes.set(self.by_pid.len() as u64);
        Some(known)
    }

    /// Notes that a process was sampled. One that nobody asked about is a fork of a known one: if it is gone already, it is
    /// what its parent was.
    pub(crate) fn note_sample(&mut self, key: ProcessKey, parent: u32, now: Instant) {
        if key == ProcessKey::KERNEL {
            return;
        }
        if let Some(known) = self.known.get_mut(&key) {
            known.seen = now;
            return;
        }
        let own = Some(key).filter(|key| is_alive(*key)).and_then(|key| ProcessFacts::read(key.pid)).map(Arc::new);
        let parent = self.by_pid.get(&parent).and_then(|parent| self.known.get(parent));
        let (inherited, code) = parent.map_or((None, None), |known| (known.facts.clone(), Some(known.code.clone())));
        let is_alive = own.is_some();
        if let Some(known) = self.enter(key, now) {
            known.facts = own.or(inherited);
            known.code = code.unwrap_or_else(|| Arc::from([]));
            if !is_alive {
                known.ended = Some(now);
            }
        }
    }

    /// Notes the end of a process.
    pub(crate) fn note_exit(&mut self, key: ProcessKey, now: Instant) {
        if let Some(known) = self.known.get_mut(&key) {
            known.ended.get_or_insert(now);
        }
    }

    /// Who a process is and what it has mapped, as far as that was seen.
    pub(crate) fn describe(&self, key: ProcessKey) -> (Option<Arc<ProcessFacts>>, Code) {
        self.known.get(&key).map_or((None, Arc::from([])), |known| (known.facts.clone(), known.code.clone()))
    }

    /// Forgets what ended and what was not sampled for long. Exits that were not told are found here.
    pub(crate) fn sweep(&mut self, now: Instant) {
        let mut freed = Vec::new();
        let map = &self.map;
        let by_pid = &mut self.by_pid;
        self.known.retain(|key, known| {
            if known.ended.is_none() && !is_alive(*key) {
                known.ended = Some(now);
            }
            let ended = known.ended.is_some_and(|since| now.duration_since(since) > KEEP_ENDED);
            if !ended && now.duration_since(known.seen) < FORGET_AFTER {
                return true;
            }
            freed.extend(known.range);
            if by_pid.get(&key.pid) == Some(key) {
                by_pid.remove(&key.pid);
                // The kernel side has done so already if it saw the exit.
                let _ = map.delete(&key.pid.to_ne_bytes());
            }
            false
        });
        self.quarantine.extend(freed.into_iter().map(|(start, count)| (now, start, count)));
        self.stats.processes.set(self.by_pid.len() as u64);
    }
}

/// Whether this process still runs this program, as far as `/proc` tells: a later exec is not seen.
fn is_alive(key: ProcessKey) -> bool {
    /// `/proc` tells the start in ticks of 10 ms.
    const TICK_NS: u64 = 10_000_000;
    argand_host::start_ticks(key.pid).is_some_and(|ticks| ticks == key.start_ns / TICK_NS)
}

pub(crate) fn monotonic_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}
