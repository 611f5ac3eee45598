//! How much one profile may hold.

use std::fmt;

/// Upper bounds of one decoded profile; decoders count against them before they allocate.
///
/// Units: numbers of entries, except for the two in bytes. The defaults fit profiles of 4 MiB: raise
/// `string_bytes` and `memory_bytes` together with the size that you let in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecodeLimits {
    /// Samples, after equal stacks were merged where a format repeats them.
    pub samples: usize,
    /// Labels of one sample.
    pub labels_per_sample: usize,
    /// Values of one sample.
    pub sample_types: usize,
    /// Frames of all stacks together.
    pub frames_total: usize,
    /// Frames of one stack in formats that nest (tree, trie, speedscope); pprof stacks count in `frames_total` only.
    pub depth: usize,
    /// Entries of the string table.
    pub strings: usize,
    /// Text of all strings together.
    pub string_bytes: usize,
    /// Locations.
    pub locations: usize,
    /// Functions.
    pub functions: usize,
    /// Mappings.
    pub mappings: usize,
    /// Heap memory of the decoded profile and of the tables that decoding needs.
    pub memory_bytes: usize,
}

impl Default for DecodeLimits {
    fn default() -> Self {
        Self {
            samples: 16_000,
            labels_per_sample: 100,
            sample_types: 64,
            frames_total: 4 << 20,
            depth: 1 << 16,
            strings: 1 << 19,
            string_bytes: 4 << 20,
            locations: 1 << 18,
            functions: 1 << 18,
            mappings: 1 << 14,
            memory_bytes: 32 << 20,
        }
    }
}

/// What a profile has too much of; names a field of [`DecodeLimits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quantity {
    /// [`DecodeLimits::samples`]
    Samples,
    /// [`DecodeLimits::labels_per_sample`]
    LabelsPerSample,
    /// [`DecodeLimits::sample_types`]
    SampleTypes,
    /// [`DecodeLimits::frames_total`]
    Frames,
    /// [`DecodeLimits::depth`]
    Depth,
    /// [`DecodeLimits::strings`]
    Strings,
    /// [`DecodeLimits::string_bytes`]
    StringBytes,
    /// [`DecodeLimits::locations`]
    Locations,
    /// [`DecodeLimits::functions`]
    Functions,
    /// [`DecodeLimits::mappings`]
    Mappings,
    /// [`DecodeLimits::memory_bytes`]
    MemoryBytes,
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Samples => "samples",
            Self::LabelsPerSample => "labels on one sample",
            Self::SampleTypes => "sample types",
            Self::Frames => "frames in all stacks",
            Self::Depth => "frames in one stack",
            Self::Strings => "strings",
            Self::StringBytes => "bytes of strings",
            Self::Locations => "locations",
            Self::Functions => "functions",
            Self::Mappings => "mappings",
            Self::MemoryBytes => "bytes of memory once decoded",
        })
    }
}

/// A profile exceeds one of the [`DecodeLimits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("profile has more than {limit} {quantity}")]
pub struct LimitError {
    /// What there is too much of.
    pub quantity: Quantity,
    /// How much is allowed.
    pub limit: usize,
}

/// Fails when `count` exceeds `limit`.
pub(crate) fn check(quantity: Quantity, count: usize, limit: usize) -> Result<(), LimitError> {
    if count > limit { Err(LimitError { quantity, limit }) } else { Ok(()) }
}
