//! What the store commits: normalised profiles of one service that arrived together.

use crate::{Labels, Stacks, Symbols, name};

/// One series' part of an upload: one sample type of one label set.
///
/// Shape: `stack` and `value` have equal length, one entry per row; `span_id` and `trace_id` are empty (no row has
/// one) or of that length, 0 where a row has none. No two rows agree in stack, span and trace.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesProfile {
    /// Labels of the series, with `__profile_type__` and `service_name`.
    pub labels: Labels,
    /// Random id of this stored profile (a UUID's 128 bits).
    pub id: u128,
    /// When the profile was taken: ns since the Unix epoch.
    pub time_ns: i64,
    /// Length of the window that it covers in ns, 0 where unknown.
    pub duration_ns: i64,
    /// Index into [`Upload::stacks`].
    pub stack: Vec<u32>,
    /// Value in the unit of the profile type, not negative.
    pub value: Vec<i64>,
    /// Span that a row belongs to.
    pub span_id: Vec<u64>,
    /// Trace that a row belongs to.
    pub trace_id: Vec<u128>,
}

impl SeriesProfile {
    /// Sum of the values; saturates.
    pub fn total(&self) -> i64 {
        self.value.iter().fold(0, |sum: i64, &v| sum.saturating_add(v))
    }
}

/// Profiles of one service that share symbols: what one request's profile became.
///
/// Shape: all series have the same `service_name`; stack rows point into `stacks`, whose locations point into
/// `symbols`. Both may have entries that no row leads to: whoever keeps an upload keeps only what rows use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Upload {
    /// Symbol tables.
    pub symbols: Symbols,
    /// Stacks, leaf first.
    pub stacks: Stacks,
    /// At least one series.
    pub series: Vec<SeriesProfile>,
    /// Names the upload where its sender may repeat it: a second one with the same key is acknowledged and not stored.
    pub idempotency_key: Option<u128>,
}

impl Upload {
    /// The service that all series belong to.
    pub fn service_name(&self) -> &str {
        self.series.first().and_then(|s| s.labels.get(name::SERVICE_NAME)).unwrap_or("")
    }

    /// Number of rows of all series together.
    pub fn row_count(&self) -> usize {
        self.series.iter().map(|s| s.stack.len()).sum()
    }
}
