//! Sorted addresses with names, compactly.

use std::cmp::Reverse;

/// Bound on the names of one table. A browser has about a million functions.
pub const MAX_SYMBOLS: usize = 1 << 20;

/// Bound on the bytes of all names of one table.
pub const MAX_NAME_BYTES: usize = 64 << 20;

/// Longer names are cut; the longest of C++ templates reach some kilobytes.
pub const MAX_NAME: usize = 16 << 10;

/// What covers nothing.
const NOTHING: u32 = u32::MAX;

/// A function as a table knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Symbol<'t> {
    /// Its name as the file has it: mangled, without a version. See [`crate::demangle`].
    pub name: &'t str,
    /// Its first address.
    pub address: u64,
}

/// Functions by address.
///
/// Shape: pieces sorted by start; a piece reaches to the next one and is covered by one function or by none. Eight bytes a
/// piece and the names in one text. Addresses lie within 4 GiB of the base.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NameTable {
    base: u64,
    starts: Vec<u32>,
    /// Offsets into `text`, where each name ends with a zero.
    names: Vec<u32>,
    /// Pieces that go on with a function after another one inside it: (piece's start, function's start), sorted.
    resumed: Vec<(u32, u32)>,
    text: String,
    report: NameReport,
}

/// What was met while a table was built.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct NameReport {
    /// Functions kept.
    pub kept: u64,
    /// Functions at the same address as a kept one.
    pub aliases: u64,
    /// Left out because a bound was reached.
    pub over_limit: u64,
    /// Left out because they lie too far from the others, or could not be read.
    pub damaged: u64,
}

impl NameTable {
    /// The function that covers an address.
    pub fn lookup(&self, address: u64) -> Option<Symbol<'_>> {
        let offset = address.checked_sub(self.base)?;
        let index = self.starts.partition_point(|start| u64::from(*start) <= offset).checked_sub(1)?;
        self.symbol(index)
    }

    fn symbol(&self, index: usize) -> Option<Symbol<'_>> {
        let name = self.names[index];
        if name == NOTHING {
            return None;
        }
        let rest = &self.text[name as usize..];
        let length = memchr::memchr(0, rest.as_bytes()).expect("each name ends with a zero");
        let piece = self.starts[index];
        let start = match self.resumed.binary_search_by_key(&piece, |(start, _)| *start) {
            Ok(at) => self.resumed[at].1,
            Err(_) => piece,
        };
        Some(Symbol { name: &rest[..length], address: self.base + u64::from(start) })
    }

    /// The functions in order of address.
    pub fn iter(&self) -> impl Iterator<Item = Symbol<'_>> + '_ {
        (0..self.starts.len())
            .filter_map(|index| Some((self.starts[index], self.symbol(index)?)))
            .filter(|(start, symbol)| self.base + u64::from(*start) == symbol.address)
            .map(|(_, symbol)| symbol)
    }

    /// Whether there is no function.
    pub fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }

    /// Heap bytes held.
    pub fn size_bytes(&self) -> usize {
        self.starts.capacity() * 4 + self.names.capacity() * 4 + self.resumed.capacity() * 8 + self.text.capacity()
    }

    /// What was met.
    pub fn report(&self) -> NameReport {
        self.report
    }
}

/// How much a name is preferred among those of one address, higher first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    /// A label of assembly, or the name of a stub.
    Label,
    Local,
    Weak,
    Global,
}

#[derive(Debug)]
struct Candidate<'a> {
    start: u32,
    size: u32,
    rank: Rank,
    name: &'a [u8],
}

/// Collects functions in any order.
#[derive(Debug)]
pub(crate) struct NameTableBuilder<'a> {
    base: u64,
    candidates: Vec<Candidate<'a>>,
    read_bytes: usize,
    report: NameReport,
}

impl<'a> NameTableBuilder<'a> {
    pub(crate) fn new(base: u64) -> NameTableBuilder<'a> {
        NameTableBuilder { base, candidates: Vec::new(), read_bytes: 0, report: NameReport::default() }
    }

    /// A function; size 0 means up to the next one. False when the table is full and reading on is of no use.
    pub(crate) fn add(&mut self, address: u64, size: u64, rank: Rank, name: &'a [u8]) -> bool {
        // Names may share bytes, so what is read is bounded apart from what is kept.
        if self.candidates.len() >= MAX_SYMBOLS || self.read_bytes >= 4 * MAX_NAME_BYTES {
            self.report.over_limit += 1;
            return false;
        }
        let start = address.checked_sub(self.base).and_then(|start| u32::try_from(start).ok());
        let Some(start) = start.filter(|_| !name.is_empty()) else {
            self.report.damaged += 1;
            return true;
        };
        let name = &name[..name.len().min(MAX_NAME)];
        let size = u32::try_from(size).unwrap_or(u32::MAX);
        self.read_bytes += name.len();
        self.candidates.push(Candidate { start, size, rank, name });
        true
    }

    pub(crate) fn count_damaged(&mut self) {
        self.report.damaged += 1;
    }

    /// The table. `end_of` gives the end of what a function without size may cover, as of its section.
    pub(crate) fn build(mut self, end_of: impl Fn(u64) -> u64) -> NameTable {
        // Ties are broken without comparing names, whose common beginnings may be long.
        let underscores = |name: &[u8]| name.iter().take(3).take_while(|byte| **byte == b'_').count();
        self.candidates
            .sort_by_key(|one| (one.start, Reverse((one.size > 0, one.rank)), underscores(one.name), one.name.len()));
        let before = self.candidates.len();
        self.candidates.dedup_by_key(|one| one.start);
        self.report.aliases = (before - self.candidates.len()) as u64;

        let mut pieces = Pieces { table: NameTable { base: self.base, ..NameTable::default() }, open: Vec::new() };
        let mut over_limit = 0;
        for (index, one) in self.candidates.iter().enumerate() {
            pieces.close_until(one.start);
            let end = match one.size {
                0 => {
                    // A label inside a function is not a function.
                    if pieces.is_inside(one.start) {
                        self.report.aliases += 1;
                        continue;
                    }
                    let next = self.candidates.get(index + 1).map_or(u32::MAX, |next| next.start);
                    let limit = end_of(self.base + u64::from(one.start)).saturating_sub(self.base);
                    next.min(u32::try_from(limit).unwrap_or(u32::MAX)).max(one.start + 1)
                }
                size => one.start.saturating_add(size),
            };
            let name = String::from_utf8_lossy(one.name);
            if pieces.table.text.len() + name.len() + 1 > MAX_NAME_BYTES {
                over_limit += 1;
                continue;
            }
            pieces.open(one.start, end, &name);
            self.report.kept += 1;
        }
        pieces.close_until(u32::MAX);
        let mut table = pieces.table;
        self.report.over_limit += over_limit;
        table.report = self.report;
        table.starts.shrink_to_fit();
        table.names.shrink_to_fit();
        table.text.shrink_to_fit();
        table
    }
}

/// Bound on functions inside functions that are gone on with.
const MAX_NESTED: usize = 8;

struct Pieces {
    table: NameTable,
    /// (start, end, name) of functions that are not ended, outermost first.
    open: Vec<(u32, u32, u32)>,
}

impl Pieces {
    fn is_inside(&self, start: u32) -> bool {
        self.open.iter().any(|(_, end, _)| start < *end)
    }

    fn open(&mut self, start: u32, end: u32, name: &str) {
        let offset = self.table.text.len() as u32;
        // A zero would end the name early. The kernel sets off the module with a tab.
        self.table.text.extend(name.chars().map(|letter| match letter {
            '\0' => '?',
            '\t' => ' ',
            other => other,
        }));
        self.table.text.push('\0');
        self.push(start, offset);
        if self.open.len() == MAX_NESTED {
            self.open.remove(0);
        }
        self.open.push((start, end, offset));
    }

    /// Ends what ends up to `start`, and goes on with what is around it.
    fn close_until(&mut self, start: u32) {
        while let Some(&(_, end, _)) = self.open.last() {
            if end > start {
                return;
            }
            self.open.pop();
            self.open.retain(|(_, outer_end, _)| *outer_end > end);
            match self.open.last() {
                Some(&(outer_start, _, name)) => {
                    if end < start {
                        self.push(end, name);
                        self.table.resumed.push((end, outer_start));
                    }
                }
                None => self.push(end, NOTHING),
            }
        }
    }

    fn push(&mut self, start: u32, name: u32) {
        if self.table.starts.last() == Some(&start) {
            let last = self.table.names.len() - 1;
            self.table.names[last] = name;
        } else {
            self.table.starts.push(start);
            self.table.names.push(name);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn table(symbols: &[(u64, u64, Rank, &'static str)]) -> NameTable {
        let mut builder = NameTableBuilder::new(0x1000);
        for &(address, size, rank, name) in symbols {
            assert!(builder.add(address, size, rank, name.as_bytes()));
        }
        builder.build(|_| 0x5000)
    }

    fn names(table: &NameTable, addresses: impl IntoIterator<Item = u64>) -> Vec<Option<(&str, u64)>> {
        addresses.into_iter().map(|at| table.lookup(at).map(|symbol| (symbol.name, symbol.address))).collect()
    }

    #[test]
    fn functions_cover_their_size_and_those_without_reach_to_the_next() {
        let table = table(&[
            (0x2000, 0x10, Rank::Global, "sized"),
            (0x3000, 0, Rank::Global, "unsized"),
            (0x4000, 0, Rank::Global, "last"),
        ]);
        let addresses = [0x1000, 0x1fff, 0x2000, 0x200f, 0x2010, 0x3fff, 0x4000, 0x4fff, 0x5000, u64::MAX, 0];
        let (sized, open, last) = (Some(("sized", 0x2000)), Some(("unsized", 0x3000)), Some(("last", 0x4000)));
        let expected = [None, None, sized, sized, None, open, last, last, None, None, None];
        assert_eq!(names(&table, addresses), expected);
        assert_eq!(table.iter().map(|symbol| symbol.name).collect::<Vec<_>>(), ["sized", "unsized", "last"]);
    }

    #[test]
    fn the_outer_function_goes_on_after_the_inner_one() {
        let table = table(&[
            (0x2000, 0x100, Rank::Global, "outer"),
            (0x2010, 0x10, Rank::Local, "inner"),
            (0x2018, 0, Rank::Label, "label"),
            (0x2030, 0, Rank::Label, "label"),
        ]);
        let expected = [Some(("outer", 0x2000)), Some(("inner", 0x2010)), Some(("inner", 0x2010))];
        assert_eq!(names(&table, [0x200f, 0x2010, 0x201f]), expected);
        assert_eq!(names(&table, [0x2020, 0x2030, 0x20ff, 0x2100]), [expected[0], expected[0], expected[0], None]);
        assert_eq!(table.iter().count(), 2);
    }

    #[test]
    fn one_name_of_an_address_is_preferred() {
        let best = |symbols: &[(u64, u64, Rank, &'static str)]| {
            let forwards = table(symbols).lookup(0x2000).unwrap().name.to_owned();
            let mut reversed = symbols.to_vec();
            reversed.reverse();
            assert_eq!(table(&reversed).lookup(0x2000).unwrap().name, forwards);
            forwards
        };
        assert_eq!(best(&[(0x2000, 4, Rank::Local, "local"), (0x2000, 4, Rank::Global, "global_one")]), "global_one");
        assert_eq!(best(&[(0x2000, 4, Rank::Weak, "weak"), (0x2000, 4, Rank::Global, "global")]), "global");
        assert_eq!(best(&[(0x2000, 4, Rank::Global, "__libc_malloc"), (0x2000, 4, Rank::Global, "malloc")]), "malloc");
        assert_eq!(best(&[(0x2000, 0, Rank::Global, "_start"), (0x2000, 8, Rank::Local, "local")]), "local");
    }

    proptest! {
        #[test]
        fn lookups_find_the_innermost_of_any_functions(
            symbols in prop::collection::vec((0u64..200, 0u64..60), 0..40), at in 0u64..300,
        ) {
            let names: Vec<String> = (0..symbols.len()).map(|index| format!("f{index}")).collect();
            let mut builder = NameTableBuilder::new(0);
            for (&(start, size), name) in symbols.iter().zip(&names) {
                builder.add(start, size + 1, Rank::Global, name.as_bytes());
            }
            let table = builder.build(|_| 300);
            let found = table.lookup(at).map(|symbol| symbol.address);
            // Overlapping functions beyond the bound on nesting may be lost, so what is found must cover; and what is
            // found nowhere is covered by none, or by one that began more than the bound of others before.
            if let Some(start) = found {
                let longest = symbols.iter().filter(|(other, _)| *other == start).map(|(_, size)| size + 1).max();
                prop_assert!(at >= start && at < start + longest.unwrap());
            } else {
                let mut starts: Vec<u64> = symbols.iter().map(|(start, _)| *start).filter(|start| *start <= at).collect();
                starts.sort_unstable();
                starts.dedup();
                for start in starts.iter().rev().take(MAX_NESTED) {
                    let shortest = symbols.iter().filter(|(other, _)| other == start).map(|(_, size)| size + 1).min();
                    prop_assert!(at >= start + shortest.unwrap(), "{start} covers {at}");
                }
            }
        }
    }
}
