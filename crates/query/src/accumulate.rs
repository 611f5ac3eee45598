//! Sums the rows of one dataset on its stack ids.

use argand_model::{DatasetError, Dictionary, RowColumns, RowSlice, StackId};
use hashbrown::HashMap;

use crate::call_tree::sums_up;
use crate::frames::frame_names;
use crate::merge::Filter;
use crate::{Control, Part, QueryError};

/// Rows between two looks at whether the question was cancelled.
const ROWS_PER_CHECK: usize = 1 << 20;

/// Below this many rows per node a table by stack id costs more than a map.
const SPARSE_NODES_PER_ROW: u64 = 64;

/// The part of a dataset's stack tree that has rows, compacted.
///
/// Shape: columns of equal length; entry 0 is the empty stack; `parent[i] < i` indexes these columns; `stack` ascends.
pub(crate) struct WeightedTree {
    /// Id in the dataset's dictionary.
    pub(crate) stack: Vec<StackId>,
    pub(crate) parent: Vec<u32>,
    /// Sum of the rows of exactly this stack.
    pub(crate) value: Vec<i64>,
}

/// Sums the matching rows of `part` by stack; what could not be read goes to `damaged`.
pub(crate) fn accumulate(
    part: &Part,
    dictionary: &Dictionary,
    filter: &Filter,
    control: &Control<'_>,
    damaged: &mut Vec<DatasetError>,
) -> Result<WeightedTree, QueryError> {
    let node_count = dictionary.stacks.len();
    let mut tree = if part.row_count().saturating_mul(SPARSE_NODES_PER_ROW) < node_count as u64 {
        let mut sums: HashMap<StackId, i64> = HashMap::new();
        scan(part, filter, control, damaged, |_, stack, value| {
            if stack.index() < node_count {
                let sum = sums.entry(stack).or_default();
                *sum = sum.saturating_add(value);
            }
        })?;
        compact_sparse(&dictionary.stacks.parent, &sums)
    } else {
        let mut sums = vec![0i64; node_count];
        scan(part, filter, control, damaged, |_, stack, value| {
            if let Some(sum) = sums.get_mut(stack.index()) {
                *sum = sum.saturating_add(value);
            }
        })?;
        compact_dense(&dictionary.stacks.parent, &sums)
    };
    if !filter.call_site.is_empty() {
        let in_call_site = call_site_stacks(dictionary, &tree.stack, &tree.parent, &filter.call_site);
        tree.value.iter_mut().zip(in_call_site).filter(|(_, inside)| !inside).for_each(|(value, _)| *value = 0);
    }
    Ok(tree)
}

/// Calls `add` with row index, stack and value of each matching row of `part`. Values are never negative.
pub(crate) fn scan(
    part: &Part,
    filter: &Filter,
    control: &Control<'_>,
    damaged: &mut Vec<DatasetError>,
    mut add: impl FnMut(u32, StackId, i64),
) -> Result<(), QueryError> {
    let columns = RowColumns { span_id: !filter.span_ids.is_empty(), trace_id: !filter.trace_ids.is_empty() };
    scan_columns(part, columns, control, damaged, |rows| {
        let all = (rows.first_row..).zip(rows.stack.iter().zip(rows.value)).map(|(row, (&s, &v))| (row, s, v.max(0)));
        if columns == RowColumns::default() {
            all.for_each(|(row, stack, value)| add(row, stack, value));
        } else {
            let wanted = all.enumerate().filter(|(i, _)| filter.accepts_row(&rows, *i));
            wanted.for_each(|(_, (row, stack, value))| add(row, stack, value));
        }
    })
}

/// Calls `visit` with the rows of `part` in slices, looking in between whether the question was cancelled.
pub(crate) fn scan_columns(
    part: &Part,
    columns: RowColumns,
    control: &Control<'_>,
    damaged: &mut Vec<DatasetError>,
    mut visit: impl FnMut(RowSlice<'_>),
) -> Result<(), QueryError> {
    for batch in part.row_batches(ROWS_PER_CHECK) {
        control.check()?;
        if let Err(error) = part.dataset.scan(&batch, columns, &mut visit) {
            damaged.push(error);
        }
    }
    Ok(())
}

fn compact_dense(parents: &[StackId], sums: &[i64]) -> WeightedTree {
    let mut live: Vec<bool> = sums.iter().map(|&sum| sum != 0).collect();
    for i in (1..live.len()).rev() {
        if live[i] {
            live[parents[i].index()] = true;
        }
    }
    let mut tree = WeightedTree::rooted(sums[0]);
    let mut position = vec![0u32; live.len()];
    for i in (1..live.len()).filter(|&i| live[i]) {
        position[i] = tree.push(StackId::from_index(i), position[parents[i].index()], sums[i]);
    }
    tree
}

fn compact_sparse(parents: &[StackId], sums: &HashMap<StackId, i64>) -> WeightedTree {
    let mut position: HashMap<StackId, u32> = HashMap::from_iter([(StackId(0), 0)]);
    let mut live: Vec<StackId> = Vec::new();
    for &stack in sums.keys() {
        let mut at = stack;
        while position.insert(at, 0).is_none() {
            live.push(at);
            at = parents[at.index()];
        }
    }
    live.sort_unstable();
    let mut tree = WeightedTree::rooted(sums.get(&StackId(0)).copied().unwrap_or(0));
    for stack in live {
        let parent = position[&parents[stack.index()]];
        let at = tree.push(stack, parent, sums.get(&stack).copied().unwrap_or(0));
        position.insert(stack, at);
    }
    tree
}

impl WeightedTree {
    fn rooted(value: i64) -> Self {
        Self { stack: vec![StackId(0)], parent: vec![0], value: vec![value] }
    }

    fn push(&mut self, stack: StackId, parent: u32, value: i64) -> u32 {
        let position = self.stack.len() as u32;
        self.stack.push(stack);
        self.parent.push(parent);
        self.value.push(value);
        position
    }

    /// Sum of each entry and what is below it.
    pub(crate) fn totals(&self) -> Vec<i64> {
        sums_up(&self.parent, &self.value)
    }
}

/// For each entry of a tree of stacks (parents first) whether its frames begin, at the root, with `call_site`.
pub(crate) fn call_site_stacks(
    dictionary: &Dictionary,
    stacks: &[StackId],
    parents: &[u32],
    call_site: &[String],
) -> Vec<bool> {
    const MISSED: usize = usize::MAX;
    let mut matched = vec![0usize; stacks.len()]; // frames of the call site found so far, or MISSED
    for i in 1..stacks.len() {
        let mut count = matched[parents[i] as usize];
        if count < call_site.len() {
            for frame in frame_names(&dictionary.symbols, dictionary.stacks.location[stacks[i].index()]) {
                match call_site.get(count) {
                    Some(wanted) if *wanted == frame => count += 1,
                    Some(_) => count = MISSED,
                    None => {} // all found, or already missed
                }
            }
        }
        matched[i] = count;
    }
    matched.into_iter().map(|count| count == call_site.len()).collect()
}
