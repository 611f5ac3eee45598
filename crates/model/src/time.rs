//! Ranges of time.

/// A range of time with both ends in it.
///
/// Units: nanoseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// First instant of the range.
    pub start_ns: i64,
    /// Last instant of the range.
    pub end_ns: i64,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self { start_ns: i64::MIN, end_ns: i64::MAX };

    /// From `start_ms` to the last nanosecond of `end_ms`, both in milliseconds since the Unix epoch; saturates.
    pub fn from_millis(start_ms: i64, end_ms: i64) -> Self {
        Self {
            start_ns: start_ms.saturating_mul(1_000_000),
            end_ns: end_ms.saturating_mul(1_000_000).saturating_add(999_999),
        }
    }

    /// Whether `time_ns` lies in the range.
    pub fn contains(&self, time_ns: i64) -> bool {
        (self.start_ns..=self.end_ns).contains(&time_ns)
    }

    /// Whether the two ranges share an instant.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.start_ns <= other.end_ns && other.start_ns <= self.end_ns
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ends_belong_to_the_range() {
        let range = TimeRange::from_millis(1, 2);
        assert!(range.contains(1_000_000) && range.contains(2_999_999));
        assert!(!range.contains(999_999) && !range.contains(3_000_000));
    }

    #[test]
    fn overlap_is_symmetric_and_counts_a_shared_end() {
        let (a, b) = (TimeRange { start_ns: 0, end_ns: 5 }, TimeRange { start_ns: 5, end_ns: 9 });
        assert!(a.overlaps(&b) && b.overlaps(&a));
        assert!(!a.overlaps(&TimeRange { start_ns: 6, end_ns: 9 }));
    }

    #[test]
    fn extremes_saturate() {
        assert!(TimeRange::from_millis(i64::MIN, i64::MAX).contains(0));
    }
}
