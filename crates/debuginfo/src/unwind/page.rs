//! The form that the kernel side searches: pages of 64 KiB of address space, four bytes a row.

use hashbrown::HashMap;

use super::rule::{RawRule, Rule};
use super::table::UnwindTable;

/// log2 of the bytes of address space that a page covers.
pub const PAGE_BITS: u32 = 16;

/// Bound on the rules of all files together; an index then leaves two bits of 16 free. A full desktop has 9,700.
pub const MAX_RULES: usize = 16_384;

/// The rows of 64 KiB of a file's address space.
///
/// Shape: `rows` is sorted and not empty; a row is `(svma & 0xffff) << 16 | index of its rule`, in force up to the next row
/// or the end of the page. The first row is at the first address, so a search never leaves the page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// `svma >> 16`.
    pub number: u64,
    /// The rows.
    pub rows: Vec<u32>,
}

impl Page {
    /// The index of the rule in force at an address of this page.
    pub fn lookup(&self, svma: u64) -> u16 {
        let low = (svma & 0xffff) as u32;
        let after = self.rows.partition_point(|row| row >> 16 <= low);
        self.rows[after.checked_sub(1).expect("the first row is at the page's first address")] as u16
    }
}

/// The distinct rules of all files, numbered in order of appearance.
///
/// The first four are always there: 0 invalid, 1 unsupported, 2 stop, 3 signal. It only grows, up to [`MAX_RULES`]; a rule
/// that finds no room is counted and stands as unsupported. Files share it, so one file gets at most
/// [`UnwindTable::MAX_RULES`] of it.
#[derive(Debug, Clone)]
pub struct RuleDictionary {
    rules: Vec<Rule>,
    indexes: HashMap<Rule, u16>,
    overflowed: u64,
}

impl Default for RuleDictionary {
    fn default() -> Self {
        let mut dictionary = RuleDictionary { rules: Vec::new(), indexes: HashMap::new(), overflowed: 0 };
        for rule in [Rule::Invalid, Rule::Unsupported, Rule::Stop, Rule::Signal] {
            dictionary.index(rule);
        }
        dictionary
    }
}

impl RuleDictionary {
    /// The index of [`Rule::Invalid`].
    pub const INVALID: u16 = 0;
    /// The index of [`Rule::Unsupported`].
    pub const UNSUPPORTED: u16 = 1;

    /// The index of a rule, which is added if it is new.
    pub fn index(&mut self, rule: Rule) -> u16 {
        if let Some(&index) = self.indexes.get(&rule) {
            return index;
        }
        if self.rules.len() == MAX_RULES {
            self.overflowed += 1;
            return Self::UNSUPPORTED;
        }
        let index = self.rules.len() as u16;
        self.rules.push(rule);
        self.indexes.insert(rule, index);
        index
    }

    /// The rule with this index.
    pub fn rule(&self, index: u16) -> Option<Rule> {
        self.rules.get(usize::from(index)).copied()
    }

    /// How many rules there are. Copy those from the last known length on with [`RuleDictionary::encoded_from`].
    pub fn len(&self) -> usize {
        self.rules.len()
    }

    /// Never: four rules are always there.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// The encoded rules from this index on.
    pub fn encoded_from(&self, first: usize) -> impl Iterator<Item = RawRule> + '_ {
        self.rules.iter().skip(first).map(|rule| rule.encode())
    }

    /// How often a rule found no room.
    pub fn overflowed(&self) -> u64 {
        self.overflowed
    }
}

/// Cuts a table into pages. Pages in which no address has a rule are left out.
pub fn pages(table: &UnwindTable, dictionary: &mut RuleDictionary) -> Vec<Page> {
    let indexes: Vec<u16> = table.rules().iter().map(|rule| dictionary.index(*rule)).collect();
    let mut pages: Vec<Page> = Vec::new();
    // What is in force where the next page begins.
    let mut last = RuleDictionary::INVALID;
    let start_page = |pages: &mut Vec<Page>, number: u64, in_force: u16| {
        pages.push(Page { number, rows: vec![u32::from(in_force)] });
    };
    for (svma, rule) in table.indexed_rows() {
        let number = svma >> PAGE_BITS;
        let index = indexes[usize::from(rule)];
        // A rule may reach over many pages; each gets its first row.
        let next = pages.last().map_or(number, |page| page.number + 1);
        if last != RuleDictionary::INVALID {
            for between in next..number {
                start_page(&mut pages, between, last);
            }
        }
        if pages.last().is_none_or(|page| page.number != number) {
            start_page(&mut pages, number, last);
        }
        let page = pages.last_mut().expect("a page was begun");
        let row = ((svma & 0xffff) as u32) << 16 | u32::from(index);
        let newest = page.rows.last_mut().expect("a page has a first row");
        if *newest >> 16 == row >> 16 {
            *newest = row;
        } else if *newest & 0xffff != row & 0xffff {
            page.rows.push(row);
        }
        last = index;
    }
    pages.retain(|page| page.rows != [u32::from(RuleDictionary::INVALID)]);
    pages
}
