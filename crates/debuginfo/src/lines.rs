//! Files, lines and inlined calls from DWARF.
//!
//! Addresses are looked up in batches: each compilation unit that is touched is walked once, and nothing of it is kept. So
//! memory is bounded by the batch and by the index of units, and work by a budget of bytes that is given with the batch.
//!
//! Split DWARF (`.dwo`) is not read; its skeleton units give lines without inlined calls.

use std::borrow::Cow;
use std::cell::Cell;

use gimli::read::{
    AttributeValue, DebuggingInformationEntry, Dwarf, DwarfSections, EndianSlice, Section, Unit, UnitHeader,
};
use gimli::{DebugInfoOffset, LittleEndian, SectionId, UnitOffset, constants as dw};
use hashbrown::HashSet;

use crate::Elf;
use crate::names::MAX_NAME;

mod link;
#[cfg(test)]
mod tests;

pub use link::{AlternateLink, DebugLink, alternate_link, build_id_path, debug_file_paths, debug_link};

type Bytes<'s> = EndianSlice<'s, LittleEndian>;

/// Bound on frames that one address stands for.
const MAX_INLINED: usize = 64;

/// Bound on compilation units of a file; a browser has 30,000.
const MAX_UNITS: usize = 1 << 18;

/// Bound on address ranges of all units.
const MAX_RANGES: usize = 1 << 20;

/// How many references a name may be away: an inlined call refers to its function, which refers to its declaration.
const MAX_HOPS: u32 = 8;

/// The sections that are read; others, often larger, are not even unpacked.
const NEEDED: [SectionId; 10] = [
    SectionId::DebugAbbrev,
    SectionId::DebugAddr,
    SectionId::DebugAranges,
    SectionId::DebugInfo,
    SectionId::DebugLine,
    SectionId::DebugLineStr,
    SectionId::DebugRanges,
    SectionId::DebugRngLists,
    SectionId::DebugStr,
    SectionId::DebugStrOffsets,
];

/// The DWARF sections of a file and of its supplementary file, unpacked where they are compressed.
#[derive(Debug)]
pub struct LineSections<'d> {
    main: DwarfSections<Cow<'d, [u8]>>,
    supplementary: Option<DwarfSections<Cow<'d, [u8]>>>,
    unpacked_bytes: u64,
}

impl<'d> LineSections<'d> {
    /// Finds the sections. `None` without DWARF, if it is damaged, or if it would take more than `max_unpacked` bytes of memory
    /// to unpack. `supplementary` is the file of [`alternate_link`].
    pub fn load(elf: &Elf<'d>, supplementary: Option<&Elf<'d>>, max_unpacked: u64) -> Option<LineSections<'d>> {
        let mut left = max_unpacked;
        let mut load = |elf: &Elf<'d>| {
            DwarfSections::load(|id| -> Result<Cow<'d, [u8]>, ()> {
                if !NEEDED.contains(&id) {
                    return Ok(Cow::Borrowed(&[]));
                }
                let Some(section) = elf.section_named(id.name()) else { return Ok(Cow::Borrowed(&[])) };
                let bytes = section.unpacked_within(left).ok_or(())?;
                if let Cow::Owned(bytes) = &bytes {
                    left -= bytes.len() as u64;
                }
                Ok(bytes)
            })
        };
        let main = load(elf).ok()?;
        let supplementary = supplementary.and_then(|elf| load(elf).ok());
        let is_there = elf.section_named(".debug_info").is_some_and(|section| !section.data.is_empty());
        is_there.then_some(LineSections { main, supplementary, unpacked_bytes: max_unpacked - left })
    }

    /// Heap bytes held.
    pub fn size_bytes(&self) -> u64 {
        self.unpacked_bytes
    }
}

/// A frame of an address.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LineFrame {
    /// Linkage name if there is one (see [`crate::demangle`]), else the plain name; empty if unknown.
    pub function: String,
    /// Path of the source file, empty if unknown.
    pub file: String,
    /// Line in it, 0 if unknown.
    pub line: u32,
    /// Line at which the function is declared, 0 if unknown.
    pub start_line: u32,
}

/// What a batch met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LineReport {
    /// Units that were walked.
    pub units: u64,
    /// Units that could not be read to their end; what was read counts.
    pub damaged: u64,
    /// Addresses without answer because the budget was used up.
    pub over_budget: u64,
    /// Bytes of debug information that were walked.
    pub bytes: u64,
}

/// Which unit describes which addresses.
///
/// Shape: 24 bytes a range.
pub struct LineTable<'s> {
    dwarf: Dwarf<Bytes<'s>>,
    units: Vec<IndexedUnit>,
    supplementary_units: Vec<IndexedUnit>,
    /// Sorted by start; of ranges that overlap, the one that begins last counts.
    ranges: Vec<UnitRange>,
}

#[derive(Debug, Clone, Copy)]
struct IndexedUnit {
    offset: usize,
    /// What it costs to walk: its bytes and those of its abbreviations.
    cost: u64,
    length: usize,
}

#[derive(Debug, Clone, Copy)]
struct UnitRange {
    start: u64,
    end: u64,
    unit: u32,
}

/// What is left of a budget of bytes.
struct Budget(Cell<u64>);

impl Budget {
    fn new(bytes: u64) -> Budget {
        Budget(Cell::new(bytes))
    }

    /// False, and nothing is left, if there is not enough.
    fn take(&self, bytes: u64) -> bool {
        let left = self.0.get().checked_sub(bytes);
        self.0.set(left.unwrap_or(0));
        left.is_some()
    }
}

impl<'s> LineTable<'s> {
    /// Indexes the units: by `.debug_aranges`, and by their own ranges those that are not there.
    pub fn new(sections: &'s LineSections<'_>) -> LineTable<'s> {
        let borrow = |bytes: &'s Cow<'_, [u8]>| EndianSlice::new(bytes, LittleEndian);
        let dwarf = sections.main.borrow_with_sup(sections.supplementary.as_ref(), borrow);
        let units = list_units(&dwarf);
        let supplementary_units = dwarf.sup().map(list_units).unwrap_or_default();
        let mut table = LineTable { dwarf, units, supplementary_units, ranges: Vec::new() };
        table.index();
        table
    }

    /// Heap bytes held.
    pub fn size_bytes(&self) -> usize {
        (self.units.capacity() + self.supplementary_units.capacity()) * size_of::<IndexedUnit>()
            + self.ranges.capacity() * size_of::<UnitRange>()
    }

    /// Whether no address is described.
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    fn index(&mut self) {
        let mut indexed = HashSet::new();
        let mut headers = self.dwarf.debug_aranges.headers();
        while let Ok(Some(header)) = headers.next() {
            let offset = header.debug_info_offset().0;
            let Ok(unit) = self.units.binary_search_by_key(&offset, |unit| unit.offset) else { continue };
            let mut entries = header.entries();
            while let Ok(Some(entry)) = entries.next() {
                let range = entry.range();
                if self.add_range(range.begin, range.end, unit) {
                    indexed.insert(unit);
                }
            }
        }
        // Units share tables of abbreviations, and each parses its own again: many units on one large table would cost a
        // square.
        let size = self.dwarf.debug_info.reader().len() + self.dwarf.debug_abbrev.reader().len();
        let budget = Budget::new(16 * size as u64 + (16 << 20));
        for unit in 0..self.units.len() {
            if indexed.contains(&unit) {
                continue;
            }
            let Some(header) = self.header(unit) else { continue };
            let abbreviations = self.units[unit].cost - self.units[unit].length as u64;
            if !budget.take(abbreviations) {
                break;
            }
            let Ok(parsed) = self.dwarf.unit(header) else { continue };
            let mut cursor = parsed.entries();
            let Ok(Some(root)) = cursor.next_dfs() else { continue };
            let mut found = Vec::new();
            ranges_of(&self.dwarf, &parsed, root, &budget, |start, end| found.push((start, end)));
            for (start, end) in found {
                self.add_range(start, end, unit);
            }
        }
        self.ranges.sort_unstable_by_key(|range| (range.start, range.unit));
        self.ranges.shrink_to_fit();
    }

    fn add_range(&mut self, start: u64, end: u64, unit: usize) -> bool {
        // Address 0 is what linkers leave of functions that they removed.
        let is_real = start != 0 && end > start && self.ranges.len() < MAX_RANGES;
        if is_real {
            self.ranges.push(UnitRange { start, end, unit: unit as u32 });
        }
        is_real
    }

    fn header(&self, unit: usize) -> Option<UnitHeader<Bytes<'s>>> {
        self.dwarf.unit_header(DebugInfoOffset(self.units[unit].offset)).ok()
    }

    fn unit_of(&self, svma: u64) -> Option<usize> {
        const MAX_OVERLAPS: usize = 16;
        let after = self.ranges.partition_point(|range| range.start <= svma);
        let before = self.ranges[..after].iter().rev().take(MAX_OVERLAPS);
        before.clone().find(|range| svma < range.end).map(|range| range.unit as usize)
    }

    /// The frames of each address, innermost first; empty where nothing is known. `budget_bytes` bounds how much debug
    /// information is walked: units of a large C++ program have some megabytes each.
    pub fn lookup(&self, svmas: &[u64], budget_bytes: u64) -> (Vec<Vec<LineFrame>>, LineReport) {
        let mut frames = vec![Vec::new(); svmas.len()];
        let mut report = LineReport::default();
        let budget = Budget::new(budget_bytes);
        let mut wanted: Vec<(usize, u64, usize)> = svmas
            .iter()
            .enumerate()
            .filter_map(|(position, svma)| Some((self.unit_of(*svma)?, *svma, position)))
            .collect();
        wanted.sort_unstable();
        for group in wanted.chunk_by(|one, other| one.0 == other.0) {
            if !budget.take(self.units[group[0].0].cost) {
                report.over_budget += group.len() as u64;
                continue;
            }
            report.units += 1;
            let mut svmas: Vec<u64> = group.iter().map(|(_, svma, _)| *svma).collect();
            svmas.dedup();
            let Some(unit) = self.header(group[0].0).and_then(|header| self.dwarf.unit(header).ok()) else {
                report.damaged += 1;
                continue;
            };
            let mut walk = Walk { table: self, unit: &unit, svmas: &svmas, budget: &budget, report: &mut report };
            let found = walk.frames();
            for (_, svma, position) in group {
                let at = svmas.binary_search(svma).expect("the group's addresses are in the list");
                frames[*position].clone_from(&found[at]);
            }
        }
        report.bytes = budget_bytes - budget.0.get();
        (frames, report)
    }
}

fn list_units(dwarf: &Dwarf<Bytes<'_>>) -> Vec<IndexedUnit> {
    let mut units = Vec::new();
    let abbreviations = Abbreviations::of(dwarf.debug_abbrev.reader().slice());
    let mut headers = dwarf.units();
    while let Ok(Some(header)) = headers.next() {
        if let Some(offset) = header.debug_info_offset()
            && units.len() < MAX_UNITS
        {
            let length = header.length_including_self();
            let cost = length as u64 + abbreviations.size_at(header.debug_abbrev_offset().0) as u64;
            units.push(IndexedUnit { offset: offset.0, cost, length });
        }
    }
    units
}

/// The unit that holds an offset.
fn unit_at(units: &[IndexedUnit], offset: usize) -> Option<IndexedUnit> {
    let after = units.partition_point(|unit| unit.offset <= offset);
    let unit = *units.get(after.checked_sub(1)?)?;
    (offset - unit.offset < unit.length).then_some(unit)
}

/// Calls back with the address ranges of an entry, until the budget, 16 bytes a range, is used up.
fn ranges_of<'s>(
    dwarf: &Dwarf<Bytes<'s>>,
    unit: &Unit<Bytes<'s>>,
    entry: &DebuggingInformationEntry<Bytes<'s>>,
    budget: &Budget,
    mut found: impl FnMut(u64, u64),
) {
    let (mut low, mut high, mut size) = (None, None, None);
    for attribute in entry.attrs() {
        match (attribute.name(), attribute.value()) {
            (dw::DW_AT_low_pc, value) => low = dwarf.attr_address(unit, value).ok().flatten(),
            (dw::DW_AT_high_pc, AttributeValue::Udata(value)) => size = Some(value),
            (dw::DW_AT_high_pc, value) => high = dwarf.attr_address(unit, value).ok().flatten(),
            (dw::DW_AT_ranges, value) => {
                if let Ok(Some(mut list)) = dwarf.attr_ranges(unit, value) {
                    while let Ok(Some(range)) = list.next() {
                        if !budget.take(16) {
                            return;
                        }
                        found(range.begin, range.end);
                    }
                    return;
                }
            }
            _ => {}
        }
    }
    if let Some(low) = low
        && let Some(end) = size.and_then(|size| low.checked_add(size)).or(high)
    {
        found(low, end);
    }
}

/// Where tables of abbreviations begin and how long they are.
struct Abbreviations {
    /// (start, length), sorted.
    tables: Vec<(usize, usize)>,
    whole: usize,
}

impl Abbreviations {
    /// Tables lie one behind the other, each ends with a zero.
    fn of(section: &[u8]) -> Abbreviations {
        let mut tables = Vec::new();
        let mut rest = section;
        let mut start = 0;
        while !rest.is_empty() && tables.len() < MAX_UNITS {
            let is_whole = skip_table(&mut rest).is_some();
            let end = section.len() - rest.len();
            tables.push((start, end - start));
            start = end;
            if !is_whole {
                break;
            }
        }
        Abbreviations { tables, whole: section.len() }
    }

    /// What a table at an offset may cost: all, if it is none of those that were seen.
    fn size_at(&self, offset: usize) -> usize {
        match self.tables.binary_search_by_key(&offset, |(start, _)| *start) {
            Ok(at) => self.tables[at].1,
            Err(_) => self.whole,
        }
    }
}

fn skip_table(rest: &mut &[u8]) -> Option<()> {
    fn leb(rest: &mut &[u8]) -> Option<u64> {
        let mut value = 0;
        for shift in (0..70).step_by(7) {
            let (&byte, after) = rest.split_first()?;
            *rest = after;
            value |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
            if byte < 0x80 {
                return Some(value);
            }
        }
        None
    }
    while leb(rest)? != 0 {
        leb(rest)?; // tag
        *rest = rest.get(1..)?; // whether it has children
        loop {
            let (name, form) = (leb(rest)?, leb(rest)?);
            if form == u64::from(dw::DW_FORM_implicit_const.0) {
                leb(rest)?;
            }
            if (name, form) == (0, 0) {
                break;
            }
        }
    }
    Some(())
}

/// A function or inlined call that holds an address.
#[derive(Debug, Clone, Copy)]
struct Scope {
    entry: UnitOffset,
    call_file: u64,
    call_line: u32,
}

/// One pass over a unit for sorted addresses.
struct Walk<'a, 's> {
    table: &'a LineTable<'s>,
    unit: &'a Unit<Bytes<'s>>,
    svmas: &'a [u64],
    budget: &'a Budget,
    report: &'a mut LineReport,
}

impl<'s> Walk<'_, 's> {
    fn frames(&mut self) -> Vec<Vec<LineFrame>> {
        let places = self.places();
        let scopes = self.scopes();
        let frames = places.iter().zip(&scopes).map(|(place, scopes)| {
            let (mut file, mut line) = place.unwrap_or_default();
            if scopes.is_empty() && place.is_none() {
                return Vec::new();
            }
            let mut frames = Vec::new();
            for scope in scopes.iter().rev() {
                let name = self.name(scope.entry);
                let start_line = name.line;
                let function = name.linkage.or(name.plain).unwrap_or_default();
                frames.push(LineFrame { function, file: self.path(file), line, start_line });
                (file, line) = (scope.call_file, scope.call_line);
            }
            if scopes.is_empty() {
                frames.push(LineFrame { file: self.path(file), line, ..LineFrame::default() });
            }
            frames
        });
        frames.collect()
    }

    /// File and line of each address, by running the unit's line program.
    fn places(&mut self) -> Vec<Option<(u64, u32)>> {
        let mut places = vec![None; self.svmas.len()];
        let Some(program) = self.unit.line_program.clone() else { return places };
        if !self.budget.take(program.header().unit_length() as u64) {
            self.report.over_budget += self.svmas.len() as u64;
            return places;
        }
        let mut rows = program.rows();
        // (address, file, line) of the row before in the same sequence.
        let mut before: Option<(u64, u64, u32)> = None;
        loop {
            let row = match rows.next_row() {
                Ok(Some((_, row))) => row,
                Ok(None) => break,
                Err(_) => {
                    self.report.damaged += 1;
                    break;
                }
            };
            let address = row.address();
            if let Some((start, file, line)) = before
                && address > start
            {
                let from = self.svmas.partition_point(|svma| *svma < start);
                let covered = self.svmas[from..].iter().take_while(|svma| **svma < address).count();
                places[from..from + covered].fill(Some((file, line)));
            }
            let line = row.line().map_or(0, |line| u32::try_from(line.get()).unwrap_or(0));
            before = (!row.end_sequence()).then_some((address, row.file_index(), line));
        }
        places
    }

    /// The functions and inlined calls around each address, outermost first.
    fn scopes(&mut self) -> Vec<Vec<Scope>> {
        let mut scopes: Vec<Vec<Scope>> = vec![Vec::new(); self.svmas.len()];
        let mut cursor = self.unit.entries();
        loop {
            let entry = match cursor.next_dfs() {
                Ok(Some(entry)) => entry,
                Ok(None) => return scopes,
                Err(_) => {
                    self.report.damaged += 1;
                    return scopes;
                }
            };
            let is_function = entry.tag() == dw::DW_TAG_subprogram;
            if !is_function && entry.tag() != dw::DW_TAG_inlined_subroutine {
                continue;
            }
            let number = |name| {
                entry.attr_value(name).and_then(|value| match value {
                    AttributeValue::FileIndex(number) => Some(number),
                    value => value.udata_value(),
                })
            };
            let scope = Scope {
                entry: entry.offset(),
                call_file: number(dw::DW_AT_call_file).unwrap_or(0),
                call_line: number(dw::DW_AT_call_line).and_then(|line| u32::try_from(line).ok()).unwrap_or(0),
            };
            let svmas = self.svmas;
            ranges_of(&self.table.dwarf, self.unit, entry, self.budget, |start, end| {
                let from = svmas.partition_point(|svma| *svma < start);
                let covered = svmas[from..].iter().take_while(|svma| **svma < end).count();
                for scopes in &mut scopes[from..from + covered] {
                    // A function inside another one has code of its own.
                    if is_function {
                        scopes.clear();
                    }
                    let is_new = scopes.last().is_none_or(|last| last.entry != scope.entry);
                    if is_new && scopes.len() < MAX_INLINED {
                        scopes.push(scope);
                    }
                }
            });
        }
    }

    /// The path of a file of the unit's line program.
    fn path(&self, index: u64) -> String {
        let text = |value| self.table.dwarf.attr_string(self.unit, value).ok().map(|text| text.to_string_lossy());
        let Some(header) = self.unit.line_program.as_ref().map(|program| program.header()) else {
            return String::new();
        };
        let Some(file) = header.file(index) else { return String::new() };
        let Some(name) = text(file.path_name()) else { return String::new() };
        let mut path = String::new();
        if !name.starts_with('/') {
            let directory = file.directory(header).and_then(text).unwrap_or_default();
            if !directory.starts_with('/')
                && let Some(base) = self.unit.comp_dir
            {
                path.push_str(&base.to_string_lossy());
            }
            for part in [&directory, &name] {
                if !path.is_empty() && !path.ends_with('/') && !part.is_empty() {
                    path.push('/');
                }
                path.push_str(part);
            }
        } else {
            path.push_str(&name);
        }
        cut(path)
    }

    fn name(&self, entry: UnitOffset) -> Name {
        let mut name = Name::default();
        self.add_name(&self.table.dwarf, self.unit, entry, MAX_HOPS, &mut name);
        name
    }

    /// Collects what an entry and those it refers to say of its name.
    fn add_name(
        &self,
        dwarf: &Dwarf<Bytes<'s>>,
        unit: &Unit<Bytes<'s>>,
        entry: UnitOffset,
        hops: u32,
        name: &mut Name,
    ) {
        let Ok(entry) = unit.entry(entry) else { return };
        let text = |value| dwarf.attr_string(unit, value).ok().map(|text| cut(text.to_string_lossy().into_owned()));
        let mut next = None;
        for attribute in entry.attrs() {
            match attribute.name() {
                dw::DW_AT_linkage_name | dw::DW_AT_MIPS_linkage_name if name.linkage.is_none() => {
                    name.linkage = text(attribute.value());
                }
                dw::DW_AT_name if name.plain.is_none() => name.plain = text(attribute.value()),
                // The line of the definition, which the entry nearest to the code has, counts.
                dw::DW_AT_decl_line if name.line == 0 => {
                    name.line = attribute.udata_value().and_then(|line| u32::try_from(line).ok()).unwrap_or(0);
                }
                dw::DW_AT_abstract_origin | dw::DW_AT_specification => next = Some(attribute.value()),
                _ => {}
            }
        }
        let is_complete = name.linkage.is_some() && name.line != 0;
        let Some(next) = next.filter(|_| hops > 0 && !is_complete) else { return };
        let parsed = |dwarf: &Dwarf<Bytes<'s>>, units: &[IndexedUnit], offset: usize| {
            let found = unit_at(units, offset)?;
            if !self.budget.take(found.cost - found.length as u64) {
                return None;
            }
            let unit = dwarf.unit(dwarf.unit_header(DebugInfoOffset(found.offset)).ok()?).ok()?;
            Some((unit, UnitOffset(offset - found.offset)))
        };
        match next {
            AttributeValue::UnitRef(offset) => self.add_name(dwarf, unit, offset, hops - 1, name),
            AttributeValue::DebugInfoRef(offset) => {
                let is_main = std::ptr::eq(dwarf, &self.table.dwarf);
                let units = if is_main { &self.table.units } else { &self.table.supplementary_units };
                if let Some((unit, offset)) = parsed(dwarf, units, offset.0) {
                    self.add_name(dwarf, &unit, offset, hops - 1, name);
                }
            }
            AttributeValue::DebugInfoRefSup(offset) => {
                if let Some(supplementary) = dwarf.sup()
                    && let Some((unit, offset)) = parsed(supplementary, &self.table.supplementary_units, offset.0)
                {
                    self.add_name(supplementary, &unit, offset, hops - 1, name);
                }
            }
            _ => {}
        }
    }
}

#[derive(Debug, Default)]
struct Name {
    linkage: Option<String>,
    plain: Option<String>,
    line: u32,
}

/// At most [`MAX_NAME`] bytes.
fn cut(mut text: String) -> String {
    if text.len() > MAX_NAME {
        text.truncate(text.floor_char_boundary(MAX_NAME));
    }
    text
}
