//! Where the constants of a chunk are.
//!
//! Constants stand in checkpoint events, chained from the last one back:
//! ```text
//! size type=1 start duration delta mask(1 byte) | pool count, pools | pool := class id, count, (key value)*
//! ```
//! Only positions are kept, and only for classes that somebody asks about; the rest is skipped.

use crate::budget::Budget;
use crate::cursor::{Cursor, Fault};
use crate::metadata::Metadata;
use crate::{Loss, Losses};

/// Positions of the constants of one class, sorted by key, keys distinct.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pool {
    entries: Vec<(u64, u32)>,
}

impl Pool {
    /// Index of the constant with `key`.
    pub(crate) fn find(&self, key: u64) -> Option<usize> {
        self.entries.binary_search_by_key(&key, |&(key, _)| key).ok()
    }

    /// Position of the constant at `index`.
    pub(crate) fn position(&self, index: usize) -> usize {
        self.entries[index].1 as usize
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Sorts; the checkpoints were read from the last to the first, and the last word on a key counts.
    fn finish(&mut self) {
        self.entries.sort_by_key(|&(key, _)| key);
        self.entries.dedup_by_key(|&mut (key, _)| key);
    }
}

/// Reads all checkpoints of a chunk, the last of which starts at `last_checkpoint`. Shape: one pool per class, empty
/// for those that `is_wanted` refuses.
///
/// A checkpoint must end before the one that it was reached from starts, so that none is read twice and chains end.
pub(crate) fn read(
    metadata: &Metadata<'_>,
    cursor: &Cursor<'_>,
    last_checkpoint: usize,
    is_wanted: impl Fn(&str) -> bool,
    budget: &Budget,
    losses: &mut Losses,
) -> Result<Vec<Pool>, Fault> {
    budget.chunk_memory.take(metadata.class_count() * size_of::<Pool>())?;
    let mut pools = vec![Pool::default(); metadata.class_count()];
    let wanted: Vec<bool> = metadata.class_indexes().map(|class| is_wanted(metadata.class_name(class))).collect();
    let mut next = Some((last_checkpoint, usize::MAX));
    while let Some((start, end)) = next {
        let mut checkpoint = cursor.until(end).at(start);
        let header = match checkpoint_header(&mut checkpoint, start) {
            Err(Fault::Damaged { .. }) => {
                losses.add(Loss::Constants);
                break;
            }
            header => header?,
        };
        match entries(metadata, &mut checkpoint.until(header.end), &wanted, &mut pools, budget) {
            Err(Fault::Damaged { .. }) => losses.add(Loss::Constants),
            done => done?,
        }
        next = header.previous.map(|previous| (previous, start));
    }
    pools.iter_mut().for_each(Pool::finish);
    Ok(pools)
}

struct CheckpointHeader {
    end: usize,
    previous: Option<usize>,
}

fn checkpoint_header(cursor: &mut Cursor<'_>, start: usize) -> Result<CheckpointHeader, Fault> {
    let (size, event_type) = (cursor.int()?, cursor.long()?);
    if event_type != 1 {
        return Err(cursor.damaged("constants are not where the chain says"));
    }
    let (_start, _duration, delta, _mask) = (cursor.long()?, cursor.long()?, cursor.long()? as i64, cursor.byte()?);
    let end = start.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
    let previous = match i64::try_from(start).ok().and_then(|start| start.checked_add(delta)).map(usize::try_from) {
        _ if delta == 0 => None,
        Some(Ok(previous)) if delta < 0 => Some(previous),
        _ => return Err(cursor.damaged("chain of constants does not lead back")),
    };
    Ok(CheckpointHeader { end, previous })
}

fn entries(
    metadata: &Metadata<'_>,
    cursor: &mut Cursor<'_>,
    wanted: &[bool],
    pools: &mut [Pool],
    budget: &Budget,
) -> Result<(), Fault> {
    for _ in 0..cursor.count()? {
        let class_id = cursor.long()?;
        let count = cursor.count()?;
        let class = metadata.class(class_id).ok_or(cursor.damaged("constants of a type that the metadata lack"))?;
        for _ in 0..count {
            cursor.step()?;
            let key = cursor.long()?;
            let position = u32::try_from(cursor.position()).map_err(|_| cursor.damaged("chunk exceeds 4 GiB"))?;
            metadata.skip(class, cursor)?;
            if wanted[class.0 as usize] {
                budget.constants.take(1)?;
                budget.chunk_memory.take(size_of::<(u64, u32)>() * 2)?;
                pools[class.0 as usize].entries.push((key, position));
            }
        }
    }
    Ok(())
}
