//! Limits of one tenant's uploads.

/// What an upload may contain. Defaults are those that Pyroscope's users know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IngestLimits {
    /// Largest profile in bytes after decompression.
    pub profile_size_bytes: usize,
    /// Most samples of one profile.
    pub samples: usize,
    /// Most labels of one sample.
    pub sample_labels: usize,
    /// Deepest stack; deeper ones lose their leaf side.
    pub stack_depth: usize,
    /// Longest string of a profile in bytes; longer ones lose their beginning.
    pub symbol_length_bytes: usize,
    /// Most labels of a series.
    pub label_names: usize,
    /// Longest label name in bytes.
    pub label_name_length_bytes: usize,
    /// Longest label value in bytes.
    pub label_value_length_bytes: usize,
    /// Oldest accepted profile: ns before now; `None` accepts any age.
    pub reject_older_than_ns: Option<i64>,
    /// Newest accepted profile: ns after now; `None` accepts any.
    pub reject_newer_than_ns: Option<i64>,
}

impl Default for IngestLimits {
    fn default() -> Self {
        const MINUTE_NS: i64 = 60_000_000_000;
        Self {
            profile_size_bytes: 4 << 20,
            samples: 16_000,
            sample_labels: 100,
            stack_depth: 1_000,
            symbol_length_bytes: 65_535,
            label_names: 30,
            label_name_length_bytes: 1_024,
            label_value_length_bytes: 2_048,
            reject_older_than_ns: Some(60 * MINUTE_NS),
            reject_newer_than_ns: Some(10 * MINUTE_NS),
        }
    }
}
