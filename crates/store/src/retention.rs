//! Which blocks are too old or too many, and when the clock may be believed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use crate::manifest::BlockInfo;

/// What is kept; it may change while the store is open.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Retention {
    /// Age at which blocks are deleted, by their newest profile.
    pub(crate) age: Option<Duration>,
    /// Size of all blocks above which the oldest are deleted.
    pub(crate) bytes: Option<u64>,
}

/// Decides whether the wall clock is good enough to delete by.
///
/// After a start, and after a jump of more than an hour against the monotonic clock, nothing is deleted until both
/// clocks have agreed for [`ClockGuard::CONFIRMATION`].
#[derive(Debug, Default)]
pub(crate) struct ClockGuard {
    /// Last observation: wall and monotonic ns.
    last: Option<(i64, u64)>,
    /// Monotonic time since when the clocks agree.
    agreeing_since: u64,
}

impl ClockGuard {
    /// Larger differences count as a jump.
    pub(crate) const JUMP: Duration = Duration::from_hours(1);
    /// How long the clocks must agree.
    pub(crate) const CONFIRMATION: Duration = Duration::from_mins(10);

    /// Takes both clocks; whether the wall clock is confirmed.
    pub(crate) fn observe(&mut self, wall_ns: i64, monotonic_ns: u64) -> bool {
        let agrees = self.last.is_some_and(|(last_wall, last_monotonic)| {
            let passed = i128::from(monotonic_ns) - i128::from(last_monotonic);
            let moved = i128::from(wall_ns) - i128::from(last_wall);
            (moved - passed).unsigned_abs() <= Self::JUMP.as_nanos()
        });
        self.last = Some((wall_ns, monotonic_ns));
        if !agrees {
            self.agreeing_since = monotonic_ns;
        }
        u128::from(monotonic_ns - self.agreeing_since) >= Self::CONFIRMATION.as_nanos()
    }
}

/// Ids of blocks whose newest profile is older than `cutoff_ns`, and of the oldest ones beyond `max_bytes`.
pub(crate) fn expired<'a>(
    blocks: impl Iterator<Item = &'a Arc<BlockInfo>>,
    cutoff_ns: Option<i64>,
    max_bytes: Option<u64>,
) -> BTreeSet<u128> {
    let mut newest_first: Vec<&Arc<BlockInfo>> = blocks.collect();
    newest_first.sort_by_key(|block| std::cmp::Reverse((block.time.end_ns, block.id)));
    let mut kept_bytes = 0u64;
    let mut is_beyond = false;
    let mut ids = BTreeSet::new();
    for block in newest_first {
        is_beyond |= max_bytes.is_some_and(|max| kept_bytes + block.bytes > max);
        if is_beyond || cutoff_ns.is_some_and(|cutoff| block.time.end_ns < cutoff) {
            ids.insert(block.id);
        } else {
            kept_bytes += block.bytes;
        }
    }
    ids
}

#[cfg(test)]
mod tests {
    use argand_model::{TenantId, TimeRange};

    use super::*;

    const SECOND: u64 = 1_000_000_000;

    #[test]
    fn a_jump_needs_ten_quiet_minutes() {
        let mut guard = ClockGuard::default();
        let mut observe = |wall_s: i64, monotonic_s: u64| guard.observe(wall_s * SECOND as i64, monotonic_s * SECOND);
        assert!(!observe(1_000, 0), "first observation");
        assert!(!observe(1_300, 300));
        assert!(observe(1_600, 600));
        assert!(observe(1_700, 660), "small corrections are fine");
        assert!(!observe(900_000_000, 720), "jump");
        assert!(!observe(900_000_300, 1_020));
        assert!(!observe(2_000, 1_080), "jump back");
        assert!(!observe(2_599, 1_679));
        assert!(observe(2_600, 1_680));
    }

    fn block(id: u128, end_ns: i64, bytes: u64) -> Arc<BlockInfo> {
        Arc::new(BlockInfo {
            id,
            tenant: TenantId::anonymous(),
            level: 0,
            time: TimeRange { start_ns: 0, end_ns },
            bytes,
            crc: 0,
            profiles: 1,
            rows: 1,
            largest_dataset_rows: 1,
        })
    }

    #[test]
    fn age_is_that_of_the_newest_profile() {
        let blocks = [block(1, 10, 1), block(2, 20, 1), block(3, 30, 1)];
        assert_eq!(expired(blocks.iter(), Some(20), None), [1].into());
        assert_eq!(expired(blocks.iter(), None, None), [].into());
    }

    #[test]
    fn beyond_the_size_the_oldest_go_without_gaps() {
        let blocks = [block(1, 10, 1), block(2, 20, 50), block(3, 30, 60)];
        assert_eq!(expired(blocks.iter(), None, Some(100)), [1, 2].into());
        assert_eq!(expired(blocks.iter(), None, Some(111)), [].into());
    }
}
