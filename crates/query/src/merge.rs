//! Merges the rows of a selection into one call tree.

use argand_model::{DatasetError, RowSlice};

use crate::accumulate::accumulate;
use crate::call_tree::{ROOT_NAME, Trie};
use crate::frames::FrameCache;
use crate::{CallTree, Control, Names, Part, Partial, QueryError, Selection};

/// Which rows of a selection count. Empty lists let everything through; the lists are ANDed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Function names from the root down that a stack must begin with.
    pub call_site: Vec<String>,
    /// Spans that a row may belong to.
    pub span_ids: Vec<u64>,
    /// Traces that a row may belong to.
    pub trace_ids: Vec<u128>,
    /// Profiles that a row may belong to.
    pub profile_ids: Vec<u128>,
}

impl Filter {
    /// Whether the row at `index` of a slice counts, by its span and trace.
    pub(crate) fn accepts_row(&self, rows: &RowSlice<'_>, index: usize) -> bool {
        let span_id = rows.span_id.get(index).copied().unwrap_or(0);
        let trace_id = rows.trace_id.get(index).copied().unwrap_or(0);
        (self.span_ids.is_empty() || self.span_ids.contains(&span_id))
            && (self.trace_ids.is_empty() || self.trace_ids.contains(&trace_id))
    }

    /// The parts of `selection` with only the profiles that count; those without any are left out.
    pub(crate) fn narrow(&self, selection: &Selection) -> Vec<Part> {
        let mut parts = selection.parts.clone();
        if !self.profile_ids.is_empty() {
            for part in &mut parts {
                let Part { table, profiles, .. } = part;
                profiles.retain(|&i| self.profile_ids.contains(&table.id[i as usize]));
            }
            parts.retain(|part| !part.profiles.is_empty());
        }
        parts
    }
}

/// Sums all rows that count by function name, over all datasets.
///
/// Inlined lines are nodes of their own, the outermost first. Frames without a name get one from their address.
/// Errors: [`QueryError::Cancelled`].
pub fn merge(selection: &Selection, filter: &Filter, control: &Control<'_>) -> Result<Partial<CallTree>, QueryError> {
    let parts = filter.narrow(selection);
    let shares = share_out(&parts, control.threads);
    let merged = if let [share] = shares.as_slice() {
        Merger::of_parts(share, filter, control)?
    } else {
        let partial: Result<Vec<Merger>, QueryError> = merge_in_threads(&shares, filter, control).into_iter().collect();
        partial?.into_iter().reduce(Merger::with).expect("there is at least one share")
    };
    let Merger { trie, names, mut damaged } = merged;
    damaged.splice(0..0, selection.damaged.iter().cloned());
    Ok(Partial { value: CallTree::of_trie(trie, names), damaged })
}

/// Rows that are worth a thread of their own.
const ROWS_PER_THREAD: u64 = 1 << 18;

/// Divides parts among threads, the largest first to whoever has least: the same input gives the same division.
fn share_out(parts: &[Part], threads: usize) -> Vec<Vec<&Part>> {
    let mut by_size: Vec<(u64, &Part)> = parts.iter().map(|part| (part.row_count(), part)).collect();
    by_size.sort_by_key(|&(rows, _)| std::cmp::Reverse(rows));
    let total: u64 = by_size.iter().map(|&(rows, _)| rows).sum();
    let useful = usize::try_from(total / ROWS_PER_THREAD).unwrap_or(usize::MAX);
    let mut shares = vec![(0u64, Vec::new()); threads.min(useful).min(parts.len()).max(1)];
    for (rows, part) in by_size {
        let share = shares.iter_mut().min_by_key(|(sum, _)| *sum).expect("there is at least one share");
        share.0 += rows;
        share.1.push(part);
    }
    shares.into_iter().map(|(_, share)| share).collect()
}

fn merge_in_threads(shares: &[Vec<&Part>], filter: &Filter, control: &Control<'_>) -> Vec<Result<Merger, QueryError>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> =
            shares.iter().map(|share| scope.spawn(|| Merger::of_parts(share, filter, control))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    })
}

/// A call tree being built.
struct Merger {
    trie: Trie,
    names: Names,
    damaged: Vec<DatasetError>,
}

impl Merger {
    fn of_parts(parts: &[&Part], filter: &Filter, control: &Control<'_>) -> Result<Self, QueryError> {
        let mut names = Names::default();
        let mut merger = Self { trie: Trie::new(names.intern(ROOT_NAME)), names, damaged: Vec::new() };
        parts.iter().try_for_each(|part| merger.add_part(part, filter, control))?;
        Ok(merger)
    }

    fn add_part(&mut self, part: &Part, filter: &Filter, control: &Control<'_>) -> Result<(), QueryError> {
        control.check()?;
        let dictionary = match part.dataset.dictionary() {
            Ok(dictionary) => dictionary,
            Err(error) => {
                self.damaged.push(error);
                return Ok(());
            }
        };
        let tree = accumulate(part, &dictionary, filter, control, &mut self.damaged)?;
        control.check()?;
        let totals = tree.totals();
        let mut frames = FrameCache::new(&dictionary.symbols);
        let mut node_of = vec![0u32; tree.stack.len()];
        self.trie.add(0, tree.value[0]);
        for i in (1..tree.stack.len()).filter(|&i| totals[i] != 0) {
            let location = dictionary.stacks.location[tree.stack[i].index()];
            let parent = node_of[tree.parent[i] as usize];
            let ids = frames.ids(location, &mut self.names);
            let node = ids.iter().fold(parent, |parent, &name| self.trie.child(parent, name));
            self.trie.add(node, tree.value[i]);
            node_of[i] = node;
        }
        Ok(())
    }

    /// This tree with another one added name by name.
    fn with(mut self, other: Self) -> Self {
        self.damaged.extend(other.damaged);
        let name_of: Vec<u32> = other.names.iter().map(|name| self.names.intern(name)).collect();
        let mut node_of = vec![0u32; other.trie.len()];
        self.trie.add(0, other.trie.value(0));
        for i in 1..other.trie.len() as u32 {
            let parent = node_of[other.trie.parent(i) as usize];
            let node = self.trie.child(parent, name_of[other.trie.key(i) as usize]);
            self.trie.add(node, other.trie.value(i));
            node_of[i as usize] = node;
        }
        self
    }
}

#[cfg(test)]
mod tests;
