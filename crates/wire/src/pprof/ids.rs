//! From the ids of a profile, any numbers, to positions in its tables.

use hashbrown::HashMap;

/// Positions by id.
pub(super) enum IdMap {
    /// Ids are 1, 2, 3, …: what nearly every writer does.
    Counted(u64),
    /// Indexed by id; [`ABSENT`] where there is none.
    Table(Vec<u32>),
    /// Ids are addresses or hashes.
    Hashed(HashMap<u64, u32>),
}

const ABSENT: u32 = u32::MAX;

/// Upper bound of what an entry costs while ids are mapped.
pub(super) const MEMORY_BYTES_PER_ID: usize = 48;

impl IdMap {
    /// Maps `ids[i]` to `i`; of equal ids the last one stays, as it does for readers that fill a map.
    pub(super) fn new(ids: &[u64]) -> Self {
        if ids.iter().zip(1..).all(|(&id, expected)| id == expected) {
            return Self::Counted(ids.len() as u64);
        }
        let highest = ids.iter().copied().max().unwrap_or(0);
        if highest < 4 * ids.len() as u64 {
            let mut table = vec![ABSENT; highest as usize + 1];
            for (&id, position) in ids.iter().zip(0..) {
                table[id as usize] = position;
            }
            return Self::Table(table);
        }
        let mut map = HashMap::with_capacity(ids.len());
        map.extend(ids.iter().copied().zip(0..));
        Self::Hashed(map)
    }

    /// Position of `id`.
    #[inline]
    pub(super) fn get(&self, id: u64) -> Option<u32> {
        match self {
            Self::Counted(count) => {
                let position = id.wrapping_sub(1);
                (position < *count).then_some(position as u32)
            }
            Self::Table(table) => {
                usize::try_from(id).ok().and_then(|id| table.get(id)).copied().filter(|&position| position != ABSENT)
            }
            Self::Hashed(map) => map.get(&id).copied(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(ids: &[u64], present: &[(u64, u32)], absent: &[u64]) -> IdMap {
        let map = IdMap::new(ids);
        for &(id, position) in present {
            assert_eq!(map.get(id), Some(position), "id {id}");
        }
        for &id in absent {
            assert_eq!(map.get(id), None, "id {id}");
        }
        map
    }

    #[test]
    fn every_shape_finds_its_ids_and_no_others() {
        assert!(matches!(check(&[1, 2, 3], &[(1, 0), (3, 2)], &[0, 4, u64::MAX]), IdMap::Counted(3)));
        assert!(matches!(check(&[3, 1], &[(3, 0), (1, 1)], &[0, 2, 4, u64::MAX]), IdMap::Table(_)));
        assert!(matches!(check(&[u64::MAX, 7], &[(u64::MAX, 0), (7, 1)], &[0, 1, 8]), IdMap::Hashed(_)));
        check(&[], &[], &[0, 1]);
    }

    #[test]
    fn the_last_of_equal_ids_stays() {
        check(&[2, 2, 1], &[(2, 1), (1, 2)], &[3]);
        check(&[1 << 40, 1 << 40], &[(1 << 40, 1)], &[]);
    }
}
