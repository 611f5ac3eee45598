//! Chunks: header, and the order of reading.
//!
//! ```text
//! 0 "FLR\0" | 4 major u16 | 6 minor u16 | 8 size u64 | 16 last checkpoint u64 | 24 metadata u64
//! 32 start ns u64 | 40 duration ns u64 | 48 start ticks u64 | 56 ticks per second u64 | 64 features u32    big endian
//! ```
//! Offsets count from the start of the chunk, whose header is part of its size.

use crate::constants::{self, Stacks, Texts};
use crate::cursor::{Cursor, Fault, Integers};
use crate::events::Events;
use crate::metadata::Metadata;
use crate::pools;
use crate::profiles::Builder;

const MAGIC: &[u8] = b"FLR\0";
const HEADER_BYTES: usize = 68;
const COMPRESSED_INTEGERS: u32 = 1;

/// Start of a chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// Bytes of the whole chunk; may exceed what is there.
    pub(crate) size: usize,
    last_checkpoint: usize,
    metadata: usize,
    ticks_per_second: u64,
    integers: Integers,
}

impl Header {
    /// `None` where `bytes` do not start with a chunk.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..HEADER_BYTES).filter(|header| header.starts_with(MAGIC))?;
        let number = |at: usize| header[at..at + 8].iter().fold(0, |number, &byte| number << 8 | u64::from(byte));
        let features = number(60) as u32;
        let position = |at| usize::try_from(number(at)).unwrap_or(usize::MAX);
        Some(Self {
            size: position(8).max(HEADER_BYTES),
            last_checkpoint: position(16),
            metadata: position(24),
            // A writer that leaves it out counts in nanoseconds.
            ticks_per_second: if number(56) == 0 { 1_000_000_000 } else { number(56) },
            integers: if features & COMPRESSED_INTEGERS == 0 { Integers::Fixed } else { Integers::Compressed },
        })
    }
}

/// Adds the samples of a chunk to `builder`. `chunk` starts with `header` and may end early.
pub(crate) fn read(chunk: &[u8], header: &Header, builder: &mut Builder<'_>) -> Result<(), Fault> {
    let budget = builder.budget;
    budget.start_chunk();
    let start = Cursor::new(chunk, header.integers, &budget.steps);
    let metadata = Metadata::parse(&mut start.at(header.metadata), budget)?;
    let pools =
        pools::read(&metadata, &start, header.last_checkpoint, constants::is_wanted, budget, &mut builder.losses)?;
    let events = Events {
        texts: Texts::new(&metadata, &pools, start.clone()),
        stacks: Stacks::new(&metadata, &pools),
        metadata: &metadata,
        ticks_per_second: header.ticks_per_second,
    };
    events.read(start.at(HEADER_BYTES), builder)
}
