//! Ranges of the mapping pool, by halving: every range is a power of two at a multiple of its length.

use crate::shared::MAPPING_POOL;

/// Shortest range.
const MIN_LENGTH: usize = 8;
const ORDERS: usize = (MAPPING_POOL / MIN_LENGTH).ilog2() as usize + 1;

/// Free ranges by order; order 0 has [`MIN_LENGTH`] entries.
#[derive(Debug)]
pub(crate) struct Pool {
    free: [Vec<u32>; ORDERS],
}

impl Default for Pool {
    fn default() -> Self {
        let mut free: [Vec<u32>; ORDERS] = std::array::from_fn(|_| Vec::new());
        free[ORDERS - 1].push(0);
        Self { free }
    }
}

fn order_of(count: usize) -> usize {
    count.div_ceil(MIN_LENGTH).next_power_of_two().ilog2() as usize
}

impl Pool {
    /// The start of a range with room for `count` entries, `None` if there is none.
    pub(crate) fn take(&mut self, count: usize) -> Option<u32> {
        let order = order_of(count);
        let found = (order..ORDERS).find(|&order| !self.free[order].is_empty())?;
        let start = self.free[found].pop()?;
        for half in order..found {
            self.free[half].push(start + (MIN_LENGTH << half) as u32);
        }
        Some(start)
    }

    /// Gives back a range that was taken for `count` entries.
    pub(crate) fn give_back(&mut self, mut start: u32, count: usize) {
        let mut order = order_of(count);
        while order < ORDERS - 1 {
            let buddy = start ^ (MIN_LENGTH << order) as u32;
            let Some(at) = self.free[order].iter().position(|&free| free == buddy) else { break };
            self.free[order].swap_remove(at);
            start = start.min(buddy);
            order += 1;
        }
        self.free[order].push(start);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_never_overlap_and_all_come_back() {
        let mut pool = Pool::default();
        let mut taken: Vec<(u32, usize)> = Vec::new();
        let mut seed = 1u64;
        for round in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let count = (seed >> 33) as usize % 700;
            if round % 3 != 2 {
                if let Some(start) = pool.take(count) {
                    let end = start as usize + count;
                    assert!(end <= MAPPING_POOL);
                    assert!(taken.iter().all(|&(s, c)| end <= s as usize || start as usize >= s as usize + c.max(1)));
                    taken.push((start, count));
                }
            } else if !taken.is_empty() {
                let (start, count) = taken.swap_remove((seed >> 20) as usize % taken.len());
                pool.give_back(start, count);
            }
        }
        for (start, count) in taken {
            pool.give_back(start, count);
        }
        assert_eq!(pool.take(MAPPING_POOL), Some(0));
        assert_eq!(pool.take(1), None);
    }
}
