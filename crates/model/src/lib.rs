//! Profiles, stacks, series, labels and time as plain values.
//!
//! The bottom of the workspace: every other crate speaks in these types. There is no I/O, no async and no
//! serialisation here; outside representations belong to `wire`, `jfr`, `block` and `server`.
//!
//! A profile passes through three shapes:
//! 1. [`Profile`]: as a client sent it, with its own symbol tables and one value per sample type;
//! 2. [`Upload`]: normalised and split into [`SeriesProfile`]s, the unit that the store commits;
//! 3. [`Dataset`]: what the store gives back, many profiles of one service that share a [`Dictionary`].

mod dataset;
mod labels;
mod matcher;
mod profile;
mod profile_type;
mod symbols;
mod tenant;
mod time;
mod upload;

pub use dataset::{Dataset, DatasetError, MemoryDataset, ProfileTable, RowColumns, RowSlice};
pub use labels::{Labels, name};
pub use matcher::{MatchOp, Matcher, MatcherError};
pub use profile::{Profile, SampleLabel, Samples, ValueType};
pub use profile_type::{ProfileType, ProfileTypeError};
pub use symbols::{
    Dictionary, Function, FunctionId, Line, Location, LocationId, Mapping, MappingId, StackId, StackTree, Stacks,
    StringId, StringTable, Symbols,
};
pub use tenant::{TenantId, TenantIdError};
pub use time::TimeRange;
pub use upload::{SeriesProfile, Upload};
