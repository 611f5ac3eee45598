//! The block: an immutable, checksummed, columnar file of profiles.
//!
//! Bytes to values and back, nothing else: no file system, no clock, no threads. The layout is described in
//! `docs/format/block.md`.

mod canonical;
mod codec;
pub mod container;
mod error;
mod profiles;
mod read_at;
mod reader;
mod writer;

pub use canonical::sort_dataset;
pub use error::BlockError;
pub use read_at::ReadAt;
pub use reader::{Block, BlockDataset};
pub use writer::{BlockSummary, BlockWriter};

use argand_model::{ProfileType, TenantId, TimeRange};

/// What a block says about itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockMeta {
    /// The block's ULID.
    pub id: u128,
    /// Whose data it holds.
    pub tenant: TenantId,
    /// How often its data was compacted; 0 as flushed from the head.
    pub level: u8,
    /// Times of all profiles lie in here; may be wider.
    pub time: TimeRange,
}

impl BlockMeta {
    /// The id as a ULID's text: 26 characters that sort as the ids do.
    pub fn ulid(&self) -> String {
        const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
        (0..26).rev().map(|digit| ALPHABET[(self.id >> (5 * digit)) as usize & 31] as char).collect()
    }
}

/// What a block says about one of its datasets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetSummary {
    /// Service that all series belong to; unique in the block.
    pub service_name: String,
    /// Number of series.
    pub series_count: u32,
    /// Number of profiles.
    pub profile_count: u32,
    /// Number of rows.
    pub row_count: u32,
    /// From the first profile's time to the last one's.
    pub time: TimeRange,
    /// Types of the series, ascending, distinct.
    pub profile_types: Vec<ProfileType>,
}
