//! Fewer, larger blocks: which ones to merge, and the merge of their datasets.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use argand_model::{Dataset, DatasetError, Labels, MemoryDataset, ProfileTable, RowColumns, StackId};

use crate::StoreConfig;
use crate::interner::Interner;
use crate::manifest::{BlockInfo, ulid, ulid_ms};

const HOUR_MS: u64 = 3_600_000;
/// Target levels and their windows.
const LEVELS: [(u8, u64); 2] = [(1, HOUR_MS), (2, 24 * HOUR_MS)];
/// How long after its end a window may still get blocks.
const GRACE_MS: u64 = 300_000;
/// Inputs of one compaction: bounds the open files and dictionaries.
const MAX_INPUTS: usize = 64;

/// Blocks of one tenant that become one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    /// Ascending by id, at least two.
    pub(crate) inputs: Vec<Arc<BlockInfo>>,
    /// Level of the output.
    pub(crate) level: u8,
}

impl Job {
    /// Id of the output: the same inputs always give the same file.
    pub(crate) fn output_id(&self) -> u128 {
        let mut bytes = vec![self.level];
        self.inputs.iter().for_each(|block| bytes.extend_from_slice(&block.id.to_le_bytes()));
        let newest = self.inputs.iter().map(|block| ulid_ms(block.id)).max().unwrap_or(0);
        ulid(newest, twox_hash::XxHash3_128::oneshot(&bytes))
    }
}

/// The next compaction among the blocks of one tenant.
///
/// A block belongs to the hour and the day in which it was flushed. Level 0 is merged as soon as `fan_in` blocks of an
/// hour are there, and so are level-1 blocks of a day; once a window is over, whatever it has is merged. No output
/// exceeds the bounds of the configuration, so a window may keep several blocks.
pub(crate) fn plan<'a>(
    blocks: &(impl Iterator<Item = &'a Arc<BlockInfo>> + Clone),
    now_ms: u64,
    config: &StoreConfig,
) -> Option<Job> {
    for (level, window_ms) in LEVELS {
        let window_of = |block: &BlockInfo| ulid_ms(block.id) / window_ms;
        let is_over = |window: u64| now_ms >= (window + 1).saturating_mul(window_ms).saturating_add(GRACE_MS);
        let mut windows: BTreeMap<u64, Vec<&Arc<BlockInfo>>> = BTreeMap::new();
        for block in blocks.clone() {
            let takes_part = if is_over(window_of(block)) { block.level <= level } else { block.level == level - 1 };
            if takes_part {
                windows.entry(window_of(block)).or_default().push(block);
            }
        }
        for (window, mut members) in windows {
            members.sort_by_key(|block| block.id);
            if let Some(inputs) = first_run(&members, is_over(window), config) {
                return Some(Job { inputs, level });
            }
        }
    }
    None
}

/// The first neighbours that should be merged.
fn first_run(members: &[&Arc<BlockInfo>], is_over: bool, config: &StoreConfig) -> Option<Vec<Arc<BlockInfo>>> {
    let mut start = 0;
    while start < members.len() {
        let (mut rows, mut bytes, mut end) = (0u64, 0u64, start);
        while let Some(block) = members.get(end) {
            rows += u64::from(block.largest_dataset_rows);
            bytes += block.bytes;
            let fits = rows <= config.compaction_dataset_rows.into() && bytes <= config.compaction_block_bytes;
            if end - start == MAX_INPUTS || (!fits && end > start) {
                break;
            }
            end += 1;
        }
        let is_full = end < members.len();
        let count = end - start;
        if count >= 2 && (is_over || is_full || count >= config.compaction_fan_in) {
            return Some(members[start..end].iter().map(|&block| block.clone()).collect());
        }
        start = end;
    }
    None
}

/// Puts datasets of one service together: dictionaries merged by content, series by labels, profiles one after another.
pub(crate) fn merge(parts: &[&dyn Dataset], seed: [u64; 2]) -> Result<MemoryDataset, DatasetError> {
    let mut merged = MemoryDataset::default();
    let mut interner = Interner::new(seed);
    let mut series_index: HashMap<Labels, u32> = HashMap::new();
    let mut table = ProfileTable::default();
    for part in parts {
        merged.service_name = part.service_name().to_owned();
        let nodes = interner.intern_dictionary(part.dictionary()?.as_ref());
        let series: Vec<u32> = part
            .series()?
            .iter()
            .map(|labels| {
                *series_index.entry(labels.clone()).or_insert_with(|| {
                    merged.series.push(labels.clone());
                    merged.series.len() as u32 - 1
                })
            })
            .collect();
        let profiles = part.profiles()?;
        let first_row = merged.stack.len() as u32;
        table.series.extend(profiles.series.iter().map(|&s| series[s as usize]));
        table.time_ns.extend_from_slice(&profiles.time_ns);
        table.duration_ns.extend_from_slice(&profiles.duration_ns);
        table.total.extend_from_slice(&profiles.total);
        table.id.extend_from_slice(&profiles.id);
        table.row_end.extend(profiles.row_end.iter().map(|&end| first_row + end));
        append_rows(&mut merged, *part, &nodes, profiles.row_end.last().copied().unwrap_or(0))?;
    }
    merged.profiles = Arc::new(table);
    merged.dictionary = interner.into_dictionary();
    Ok(merged)
}

/// Appends all `row_count` rows of a dataset whose stack `i` is `nodes[i]` here.
fn append_rows(
    merged: &mut MemoryDataset,
    part: &dyn Dataset,
    nodes: &[StackId],
    row_count: u32,
) -> Result<(), DatasetError> {
    let first_row = merged.stack.len();
    merged.stack.reserve(row_count as usize);
    merged.value.reserve(row_count as usize);
    let columns = RowColumns { span_id: true, trace_id: true };
    #[allow(clippy::single_range_in_vec_init)] // one range is what is meant
    part.scan(&[0..row_count], columns, &mut |rows| {
        let before = merged.stack.len();
        merged.stack.extend(rows.stack.iter().map(|stack| nodes[stack.index()]));
        merged.value.extend_from_slice(rows.value);
        let after = merged.stack.len();
        append_links(&mut merged.span_id, rows.span_id, before, after);
        append_links(&mut merged.trace_id, rows.trace_id, before, after);
    })?;
    if merged.stack.len() - first_row != row_count as usize {
        let reason = format!("{} rows instead of {row_count}", merged.stack.len() - first_row);
        return Err(DatasetError { place: format!("dataset {:?}", part.service_name()), reason });
    }
    Ok(())
}

/// Appends ids of rows `before..after` to a column that exists only if some row has one.
fn append_links<T: Copy + Default>(column: &mut Vec<T>, links: &[T], before: usize, after: usize) {
    if !links.is_empty() {
        column.resize(before, T::default());
        column.extend_from_slice(links);
    } else if !column.is_empty() {
        column.resize(after, T::default());
    }
}

#[cfg(test)]
mod tests;
