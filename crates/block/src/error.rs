//! What can go wrong with a block.

use std::io;

/// Why a block, or a part of one, could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BlockError {
    /// The reader below failed; the bytes may be fine.
    #[error("cannot read {place} at {offset}, {length} bytes")]
    Read {
        /// Part of the block, such as `dataset "shop", section rows`.
        place: String,
        /// First byte of the part in the block.
        offset: u64,
        /// Bytes of the part.
        length: u64,
        /// What the reader said.
        source: io::Error,
    },
    /// Bytes are not what was written. Other parts of the block stay readable.
    #[error("damaged {place} at {offset}, {length} bytes: {reason}")]
    Damaged {
        /// Part of the block, such as `dataset "shop", section rows`.
        place: String,
        /// First byte of the part in the block.
        offset: u64,
        /// Bytes of the part.
        length: u64,
        /// What is wrong with it.
        reason: String,
    },
    /// Written by a newer program.
    #[error("block has format version {found}, this program reads up to {supported}")]
    Version {
        /// Version in the header.
        found: u32,
        /// Newest version known here.
        supported: u32,
    },
    /// The output below failed.
    #[error("cannot write block")]
    Write {
        /// What the output said.
        #[from]
        source: io::Error,
    },
    /// A dataset given to the writer breaks one of its rules; nothing of it was written.
    #[error("dataset {service_name:?} cannot be written: {reason}")]
    Input {
        /// Service of the dataset.
        service_name: String,
        /// Rule that it breaks.
        reason: String,
    },
}
