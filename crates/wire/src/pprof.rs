//! pprof: Google's `profile.proto`, uncompressed.
//!
//! [`decode`] walks the bytes twice: it first counts what they hold and checks it against the limits without
//! allocating, then fills columns of exactly that size. [`encode`] writes a canonical form.
//! Source: <https://github.com/google/pprof/blob/main/proto/profile.proto>.

mod count;
mod decode;
mod encode;
mod ids;

pub use decode::{PprofOptions, decode};
pub use encode::{encode, encode_gzip};

use crate::{LimitError, ProtoError};

/// Field numbers by message.
mod field {
    pub(super) mod profile {
        pub(in super::super) const SAMPLE_TYPE: u32 = 1;
        pub(in super::super) const SAMPLE: u32 = 2;
        pub(in super::super) const MAPPING: u32 = 3;
        pub(in super::super) const LOCATION: u32 = 4;
        pub(in super::super) const FUNCTION: u32 = 5;
        pub(in super::super) const STRING_TABLE: u32 = 6;
        pub(in super::super) const DROP_FRAMES: u32 = 7;
        pub(in super::super) const KEEP_FRAMES: u32 = 8;
        pub(in super::super) const TIME_NANOS: u32 = 9;
        pub(in super::super) const DURATION_NANOS: u32 = 10;
        pub(in super::super) const PERIOD_TYPE: u32 = 11;
        pub(in super::super) const PERIOD: u32 = 12;
        pub(in super::super) const COMMENT: u32 = 13;
        pub(in super::super) const DEFAULT_SAMPLE_TYPE: u32 = 14;
    }
    pub(super) mod value_type {
        pub(in super::super) const TYPE: u32 = 1;
        pub(in super::super) const UNIT: u32 = 2;
    }
    pub(super) mod sample {
        pub(in super::super) const LOCATION_ID: u32 = 1;
        pub(in super::super) const VALUE: u32 = 2;
        pub(in super::super) const LABEL: u32 = 3;
    }
    pub(super) mod label {
        pub(in super::super) const KEY: u32 = 1;
        pub(in super::super) const STR: u32 = 2;
        pub(in super::super) const NUM: u32 = 3;
        pub(in super::super) const NUM_UNIT: u32 = 4;
    }
    pub(super) mod mapping {
        pub(in super::super) const ID: u32 = 1;
        pub(in super::super) const MEMORY_START: u32 = 2;
        pub(in super::super) const MEMORY_LIMIT: u32 = 3;
        pub(in super::super) const FILE_OFFSET: u32 = 4;
        pub(in super::super) const FILENAME: u32 = 5;
        pub(in super::super) const BUILD_ID: u32 = 6;
        pub(in super::super) const HAS_FUNCTIONS: u32 = 7;
        pub(in super::super) const HAS_FILENAMES: u32 = 8;
        pub(in super::super) const HAS_LINE_NUMBERS: u32 = 9;
        pub(in super::super) const HAS_INLINE_FRAMES: u32 = 10;
    }
    pub(super) mod location {
        pub(in super::super) const ID: u32 = 1;
        pub(in super::super) const MAPPING_ID: u32 = 2;
        pub(in super::super) const ADDRESS: u32 = 3;
        pub(in super::super) const LINE: u32 = 4;
        pub(in super::super) const IS_FOLDED: u32 = 5;
    }
    pub(super) mod line {
        pub(in super::super) const FUNCTION_ID: u32 = 1;
        pub(in super::super) const LINE: u32 = 2;
    }
    pub(super) mod function {
        pub(in super::super) const ID: u32 = 1;
        pub(in super::super) const NAME: u32 = 2;
        pub(in super::super) const SYSTEM_NAME: u32 = 3;
        pub(in super::super) const FILENAME: u32 = 4;
        pub(in super::super) const START_LINE: u32 = 5;
    }
}

/// A table whose entries have ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entity {
    /// Field 3 of the profile.
    Mapping,
    /// Field 4 of the profile.
    Location,
    /// Field 5 of the profile.
    Function,
}

impl std::fmt::Display for Entity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Mapping => "mapping",
            Self::Location => "location",
            Self::Function => "function",
        })
    }
}

/// Why bytes are no acceptable pprof profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PprofError {
    /// Damaged below the level of profiles.
    #[error(transparent)]
    Proto(#[from] ProtoError),
    /// Too much of something.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// No sample types.
    #[error("profile has no sample types")]
    NoSampleTypes,
    /// The string table is empty.
    #[error("profile has no string table")]
    NoStringTable,
    /// `string_table[0]` is not the empty string.
    #[error("string table does not start with the empty string")]
    FirstString,
    /// A string is not UTF-8.
    #[error("string {index} is not valid UTF-8")]
    Utf8 {
        /// Its index in the string table.
        index: usize,
    },
    /// A field points behind the string table.
    #[error("{of} has string index {index}, but there are {count} strings")]
    StringIndex {
        /// What the text was for.
        of: &'static str,
        /// The index.
        index: u64,
        /// Length of the string table.
        count: usize,
    },
    /// A sample has not as many values as there are sample types.
    #[error("sample {sample} has {count} values for {expected} sample types")]
    ValueCount {
        /// Index of the sample.
        sample: usize,
        /// Its number of values.
        count: usize,
        /// Number of sample types.
        expected: usize,
    },
    /// A location or function has no id.
    #[error("{entity} {index} has id 0")]
    ZeroId {
        /// In which table.
        entity: Entity,
        /// Its position.
        index: usize,
    },
    /// An id that no entry has.
    #[error("reference to {entity} {id}, which does not exist")]
    MissingReference {
        /// In which table.
        entity: Entity,
        /// The id.
        id: u64,
    },
}

#[cfg(test)]
mod tests;
