//! What reading one recording may cost, counted before it is spent.

use std::cell::Cell;

use crate::cursor::Fault;

/// What reading one recording may cost at most; exceeding any of it is [`crate::JfrError::Limit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Events that become samples.
    pub events: u64,
    /// Constants of one chunk.
    pub constants: u64,
    /// Frames of all distinct stacks together.
    pub frames: u64,
    /// Bytes of all distinct function names together.
    pub name_bytes: u64,
    /// Labels of all samples together.
    pub labels: u64,
    /// Estimated heap memory in bytes: as much for one chunk at a time, and as much for the result.
    pub memory_bytes: u64,
}

impl Default for Limits {
    /// Far above what a client sends in one upload (a few thousand events in less than 1 MB).
    fn default() -> Self {
        Self {
            events: 2_000_000,
            constants: 1_000_000,
            frames: 16_000_000,
            name_bytes: 64 << 20,
            labels: 8_000_000,
            memory_bytes: 128 << 20,
        }
    }
}

/// One resource: how much is left of how much.
#[derive(Debug)]
pub(crate) struct Allowance {
    what: &'static str,
    limit: u64,
    left: Cell<u64>,
}

impl Allowance {
    fn new(what: &'static str, limit: u64) -> Self {
        Self { what, limit, left: Cell::new(limit) }
    }

    pub(crate) fn take(&self, amount: usize) -> Result<(), Fault> {
        let amount = amount as u64;
        let left = self.left.get();
        if amount > left {
            return Err(Fault::Limit { what: self.what, limit: self.limit });
        }
        self.left.set(left - amount);
        Ok(())
    }

    fn reset(&self) {
        self.left.set(self.limit);
    }
}

/// What is left while one recording is read.
#[derive(Debug)]
pub(crate) struct Budget {
    pub(crate) events: Allowance,
    pub(crate) constants: Allowance,
    pub(crate) frames: Allowance,
    pub(crate) name_bytes: Allowance,
    pub(crate) labels: Allowance,
    /// Memory for the types and constants of one chunk.
    pub(crate) chunk_memory: Allowance,
    /// Memory for samples and symbols.
    pub(crate) memory: Allowance,
    /// Fields visited and text bytes decoded. Types may be nested and empty and texts be shared, so that the length
    /// of the input alone does not bound the time.
    pub(crate) steps: Allowance,
}

impl Budget {
    /// Steps per byte of input; recordings of the JDK and of async-profiler need less than 4.
    const STEPS_PER_BYTE: u64 = 64;

    pub(crate) fn new(limits: &Limits, input_bytes: usize) -> Self {
        let steps = (input_bytes as u64).saturating_mul(Self::STEPS_PER_BYTE).saturating_add(1 << 20);
        Self {
            events: Allowance::new("events", limits.events),
            constants: Allowance::new("constants", limits.constants),
            frames: Allowance::new("stack frames", limits.frames),
            name_bytes: Allowance::new("bytes of function names", limits.name_bytes),
            labels: Allowance::new("sample labels", limits.labels),
            chunk_memory: Allowance::new("bytes of memory for a chunk", limits.memory_bytes),
            memory: Allowance::new("bytes of memory", limits.memory_bytes),
            steps: Allowance::new("steps", steps),
        }
    }

    /// Makes what the previous chunk needed available again.
    pub(crate) fn start_chunk(&self) {
        self.constants.reset();
        self.chunk_memory.reset();
    }
}
