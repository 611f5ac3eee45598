//! A file's rows, sorted and compact.

use std::ops::Range;

use hashbrown::HashMap;

use super::rule::Rule;

/// A row: from this address to the next row's, this rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    /// First address.
    pub svma: u64,
    /// The rule in force.
    pub rule: Rule,
}

/// What was met while a table was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct UnwindReport {
    /// Frame descriptions (FDEs) that gave rows, and recognised stubs.
    pub frames: u64,
    /// FDEs left out because they describe no code of this file, as those of functions that the linker removed.
    pub outside_code: u64,
    /// FDEs left out because another one describes the same start.
    pub shadowed: u64,
    /// FDEs that could not be read to their end; what was read counts.
    pub damaged: u64,
    /// FDEs beyond a bound: too many, or too much work.
    pub over_limit: u64,
    /// Rows whose rule is not in the model, or found no room.
    pub unsupported_rows: u64,
}

/// The unwind rows of a file or of a part of its addresses.
///
/// Shape: rows sorted by svma, neighbours differ, before the first row and in gaps there is [`Rule::Invalid`]. Six bytes
/// a row. Gaps of up to 15 bytes, which are padding between functions, keep the rule before them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnwindTable {
    base: u64,
    starts: Vec<u32>,
    kinds: Vec<u16>,
    rules: Vec<Rule>,
    report: UnwindReport,
}

impl UnwindTable {
    /// Bound on the distinct rules of one file; the largest seen has 716.
    pub const MAX_RULES: usize = 4096;

    /// The rows in order.
    pub fn rows(&self) -> impl ExactSizeIterator<Item = Row> + '_ {
        self.indexed_rows().map(|(svma, rule)| Row { svma, rule: self.rules[usize::from(rule)] })
    }

    /// The rows with indexes into [`UnwindTable::rules`].
    pub fn indexed_rows(&self) -> impl ExactSizeIterator<Item = (u64, u16)> + '_ {
        self.starts.iter().zip(&self.kinds).map(|(start, rule)| (self.base + u64::from(*start), *rule))
    }

    /// The distinct rules.
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule in force at an address.
    pub fn lookup(&self, svma: u64) -> Rule {
        let Some(offset) = svma.checked_sub(self.base) else { return Rule::Invalid };
        let after = self.starts.partition_point(|start| u64::from(*start) <= offset);
        let Some(index) = after.checked_sub(1) else { return Rule::Invalid };
        self.rules[usize::from(self.kinds[index])]
    }

    /// Number of rows.
    pub fn len(&self) -> usize {
        self.starts.len()
    }

    /// Whether no address has a rule.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Heap bytes held.
    pub fn size_bytes(&self) -> usize {
        self.starts.capacity() * 4 + self.kinds.capacity() * 2 + self.rules.capacity() * size_of::<Rule>()
    }

    /// What was met.
    pub fn report(&self) -> UnwindReport {
        self.report
    }
}

/// Gaps up to this many bytes between functions are alignment, on which no program counter rests.
pub(super) const MAX_PADDING: u32 = 15;

/// Puts rows together, given in order of address.
pub(super) struct TableBuilder {
    table: UnwindTable,
    indexes: HashMap<Rule, u16>,
    /// What is asked for, relative to the base.
    wanted: Range<u32>,
    /// Everything before is covered.
    position: u32,
}

impl TableBuilder {
    /// Rows outside `wanted` (relative to `base`) are cut off in the end.
    pub(super) fn new(base: u64, wanted: Range<u32>) -> TableBuilder {
        let table = UnwindTable {
            base,
            starts: Vec::new(),
            kinds: Vec::new(),
            rules: Vec::new(),
            report: UnwindReport::default(),
        };
        TableBuilder { table, indexes: HashMap::new(), position: 0, wanted }
    }

    /// What the finished table will report.
    pub(super) fn report(&mut self) -> &mut UnwindReport {
        &mut self.table.report
    }

    /// One rule for a range, which must not begin before an earlier range's end.
    pub(super) fn cover(&mut self, range: Range<u32>, rule: Rule) {
        if range.is_empty() {
            return;
        }
        self.leave_gap_to(range.start);
        self.push(range.start, rule);
        self.position = self.position.max(range.end);
    }

    /// Nothing is described up to here.
    pub(super) fn leave_gap_to(&mut self, start: u32) {
        if start > self.position && start - self.position > MAX_PADDING {
            self.push(self.position, Rule::Invalid);
        }
        self.position = self.position.max(start);
    }

    /// The table, closed by an invalid row if it ends within what was asked for.
    pub(super) fn finish(mut self) -> UnwindTable {
        if !self.is_blank() && self.position < self.wanted.end {
            self.push(self.position, Rule::Invalid);
        }
        let before = self.table.starts.partition_point(|start| *start <= self.wanted.start);
        if let Some(in_force) = before.checked_sub(1) {
            let is_invalid = self.indexes.get(&Rule::Invalid) == Some(&self.table.kinds[in_force]);
            let cut = in_force + usize::from(is_invalid);
            self.table.starts.drain(..cut);
            self.table.kinds.drain(..cut);
            if !is_invalid {
                self.table.starts[0] = self.wanted.start;
            }
        }
        self.table.starts.shrink_to_fit();
        self.table.kinds.shrink_to_fit();
        self.table
    }

    fn is_blank(&self) -> bool {
        self.table.starts.is_empty()
    }

    fn push(&mut self, start: u32, rule: Rule) {
        if start >= self.wanted.end || (rule == Rule::Invalid && self.is_blank()) {
            return;
        }
        let rule = rule.encodable();
        let index = match self.indexes.get(&rule) {
            Some(index) => *index,
            // One place is kept for `Unsupported`, which stands for what finds no room.
            None if self.table.rules.len() < UnwindTable::MAX_RULES - 1 || rule == Rule::Unsupported => {
                let index = self.table.rules.len() as u16;
                self.table.rules.push(rule);
                self.indexes.insert(rule, index);
                index
            }
            None => return self.push(start, Rule::Unsupported),
        };
        if rule == Rule::Unsupported {
            self.table.report.unsupported_rows += 1;
        }
        if self.table.kinds.last() != Some(&index) {
            self.table.starts.push(start);
            self.table.kinds.push(index);
        }
    }
}
