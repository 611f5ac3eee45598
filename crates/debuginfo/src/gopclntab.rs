//! Go's own table of functions, files, lines and inlined calls, which is there also in stripped binaries.
//!
//! Source: `runtime/symtab.go`, `runtime/runtime2.go` (`_func`), `runtime/symtabinl.go` and `cmd/link` of Go 1.2 to 1.26. The
//! table's header:
//!
//! ```text
//! magic u32 | 0 | 0 | instruction quantum u8 | pointer size u8 | then words of pointer size:
//!   0xfffffffb (1.2)   functions
//!   0xfffffffa (1.16)  functions files            names cu files-table pc-tables functions-table   (offsets)
//!   0xfffffff0 (1.18)  functions files text-start names cu files-table pc-tables functions-table
//!   0xfffffff1 (1.20)  the same; the text start is 0 from 1.26 on and is then found in the module data
//! ```
//!
//! Inlined calls are read from 1.18 on. 32-bit tables are not read.

use crate::Elf;
use crate::unwind::{Cfa, ReturnAddress, Rule, SavedFp};

#[cfg(test)]
mod tests;

/// Bound on frames that one address stands for; the compiler's budget keeps honest ones below 20.
const MAX_INLINED: usize = 64;

/// Bound on bytes of a name or of a path.
const MAX_NAME: usize = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Version {
    V2,
    V16,
    V18,
    V20,
}

/// A view of the table; borrows the file.
#[derive(Debug, Clone, Copy)]
pub struct GoTable<'d> {
    version: Version,
    quantum: u64,
    /// The table, and from 1.20 on with what follows it, as inlined calls may lie there.
    table: &'d [u8],
    /// svma that function entries are relative to, 0 before 1.18.
    text: u64,
    count: usize,
    names: usize,
    units: usize,
    files: usize,
    pcs: usize,
    functions: usize,
    /// What `funcdata` offsets are relative to (`go:func.*`), if it was found.
    funcdata: Option<&'d [u8]>,
}

/// A function of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoFunction<'d> {
    /// First address.
    pub svma: u64,
    /// First address of the next function.
    pub end: u64,
    /// Name with package path, as the compiler writes it.
    pub name: &'d [u8],
    /// Line of the `func` keyword, 0 if unknown (before 1.20).
    pub start_line: u32,
    /// Position of its record.
    record: usize,
}

/// One frame of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoFrame<'d> {
    /// Name with package path.
    pub function: &'d [u8],
    /// Path of the source file, empty if unknown.
    pub file: &'d [u8],
    /// Line in it, 0 if unknown.
    pub line: u32,
    /// Line of the `func` keyword, 0 if unknown.
    pub start_line: u32,
}

impl<'d> GoTable<'d> {
    /// Finds the table by its section, or by its magic in read-only data if there are no section headers.
    pub fn find(elf: &Elf<'d>) -> Option<GoTable<'d>> {
        for name in [".gopclntab", ".data.rel.ro.gopclntab"] {
            if let Some(section) = elf.section_named(name).filter(|section| !section.compressed)
                && let Some(table) = GoTable::at(elf, section.svma, section.data)
            {
                return Some(table);
            }
        }
        if elf.sections().next().is_some() && elf.section_named(".go.buildinfo").is_none() {
            return None;
        }
        for segment in elf.segments() {
            let Some(bytes) = elf.bytes_at(segment.svma) else { continue };
            for magic in [0xf1u8, 0xf0, 0xfa, 0xfb] {
                let pattern = [magic, 0xff, 0xff, 0xff, 0, 0];
                for at in memchr::memmem::find_iter(bytes, &pattern) {
                    if let Some(table) = GoTable::at(elf, segment.svma.wrapping_add(at as u64), &bytes[at..]) {
                        return Some(table);
                    }
                }
            }
        }
        None
    }

    fn at(elf: &Elf<'d>, svma: u64, table: &'d [u8]) -> Option<GoTable<'d>> {
        let version = match u32_at(table, 0)? {
            0xffff_fffb => Version::V2,
            0xffff_fffa => Version::V16,
            0xffff_fff0 => Version::V18,
            0xffff_fff1 => Version::V20,
            _ => return None,
        };
        let [0, 0, quantum @ (1 | 4), 8] = *table.get(4..8)? else { return None };
        let field = |index: usize| u64_at(table, 8 + index * 8);
        let offset = |index: usize| field(index).and_then(|offset| usize::try_from(offset).ok());
        let mut found = GoTable {
            version,
            quantum: u64::from(quantum),
            table,
            text: 0,
            count: offset(0)?,
            names: 0,
            units: 0,
            files: 0,
            pcs: 0,
            functions: 16,
            funcdata: None,
        };
        match version {
            Version::V2 => {}
            Version::V16 => {
                (found.names, found.units, found.files) = (offset(2)?, offset(3)?, offset(4)?);
                (found.pcs, found.functions) = (offset(5)?, offset(6)?);
            }
            Version::V18 | Version::V20 => {
                found.text = field(2)?;
                (found.names, found.units, found.files) = (offset(3)?, offset(4)?, offset(5)?);
                (found.pcs, found.functions) = (offset(6)?, offset(7)?);
            }
        }
        // The functions must fit into the table; this also bounds every loop over them.
        let entry = if version >= Version::V18 { 8 } else { 16 };
        if found.functions.checked_add(found.count.checked_mul(entry)?)? > table.len() || found.count == 0 {
            return None;
        }
        if version == Version::V2 {
            let files = found.functions + found.count * 16 + 8;
            found.files = u32_at(table, files)? as usize;
        } else if version >= Version::V18 {
            let module = Module::find(elf, svma);
            if found.text == 0 {
                let by_symbol = || elf.section_named(".text").map(|text| text.svma);
                found.text = module.as_ref().map(|module| module.text).or_else(by_symbol)?;
            }
            let gofunc =
                module.and_then(|module| if version == Version::V18 { module.gofunc_18 } else { module.gofunc_20 });
            found.funcdata = gofunc.and_then(|svma| elf.bytes_at(svma));
        }
        let first = found.function(0)?;
        elf.is_code(first.svma).then_some(found)
    }

    /// Number of functions.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Never, as such a table is not found.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The functions in order of address, without those that are damaged.
    pub fn functions(&self) -> impl Iterator<Item = GoFunction<'d>> + '_ {
        (0..self.count).filter_map(|index| self.function(index))
    }

    /// The entry address and the record's offset of a row; the row after the last gives the end.
    fn row(&self, index: usize) -> Option<(u64, usize)> {
        if self.version >= Version::V18 {
            let at = self.functions + index * 8;
            let entry = self.text.wrapping_add(u64::from(u32_at(self.table, at)?));
            Some((entry, u32_at(self.table, at + 4).unwrap_or(0) as usize))
        } else {
            let at = self.functions + index * 16;
            Some((u64_at(self.table, at)?, usize::try_from(u64_at(self.table, at + 8).unwrap_or(0)).ok()?))
        }
    }

    /// The function with this number, `None` if its record is damaged.
    pub(crate) fn function(&self, index: usize) -> Option<GoFunction<'d>> {
        if index >= self.count {
            return None;
        }
        let (svma, offset) = self.row(index)?;
        let (end, _) = self.row(index + 1)?;
        let base = if self.version == Version::V2 { 0 } else { self.functions };
        let record = base.checked_add(offset)?;
        let name = u32_at(self.table, self.after_entry(record)?)? as usize;
        let start_line = if self.version == Version::V20 { self.record_field(record, 8).unwrap_or(0) } else { 0 };
        (end > svma).then_some(GoFunction { svma, end, name: self.name(name)?, start_line, record })
    }

    /// Where a record goes on after its entry, which is an offset since 1.18 and an address before.
    fn after_entry(&self, record: usize) -> Option<usize> {
        record.checked_add(if self.version >= Version::V18 { 4 } else { 8 })
    }

    /// The 32-bit fields after the entry: 0 name, 1 args, 2 frame or deferreturn, 3 pcsp, 4 pcfile, 5 pcln, 6 npcdata,
    /// then since 1.16 7 unit, since 1.20 8 start line; the last word ends with the number of funcdata.
    fn record_field(&self, record: usize, index: usize) -> Option<u32> {
        u32_at(self.table, self.after_entry(record)?.checked_add(index * 4)?)
    }

    fn name(&self, offset: usize) -> Option<&'d [u8]> {
        text_at(self.table, self.names.checked_add(offset)?)
    }

    /// The function that holds an address.
    pub fn function_at(&self, svma: u64) -> Option<GoFunction<'d>> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.row(middle)?.0 <= svma { low = middle + 1 } else { high = middle }
        }
        let function = self.function(low.checked_sub(1)?)?;
        (function.svma..function.end).contains(&svma).then_some(function)
    }

    /// The frames of an address, innermost first: inlined calls, then the function. Empty if it is in no function.
    pub fn lookup(&self, svma: u64) -> Vec<GoFrame<'d>> {
        let Some(function) = self.function_at(svma) else { return Vec::new() };
        let mut frames = Vec::new();
        let mut at = svma;
        // Each step goes to the place of a call; the chain of a damaged tree ends at the bound.
        while let Some((name, start_line, parent)) = self.inlined_at(&function, at) {
            frames.push(self.frame(&function, at, name, start_line));
            let next = function.svma.wrapping_add(u64::from(parent));
            if frames.len() == MAX_INLINED || !(function.svma..function.end).contains(&next) {
                break;
            }
            at = next;
        }
        frames.push(self.frame(&function, at, function.name, function.start_line));
        frames
    }

    fn frame(&self, function: &GoFunction<'d>, at: u64, name: &'d [u8], start_line: u32) -> GoFrame<'d> {
        let value = |field| self.value_at(function, self.record_field(function.record, field)? as usize, at);
        let line = value(5).and_then(|line| u32::try_from(line).ok()).unwrap_or(0);
        let file = value(4).and_then(|file| self.file(function, u32::try_from(file).ok()?)).unwrap_or_default();
        GoFrame { function: name, file, line, start_line }
    }

    fn file(&self, function: &GoFunction<'d>, number: u32) -> Option<&'d [u8]> {
        let offset = if self.version == Version::V2 {
            let entry = self.files.checked_add(number as usize * 4)?;
            return text_at(self.table, u32_at(self.table, entry)? as usize);
        } else {
            let unit = self.record_field(function.record, 7)? as usize;
            u32_at(self.table, self.units.checked_add(unit.checked_add(number as usize)?.checked_mul(4)?)?)?
        };
        if offset == u32::MAX { None } else { text_at(self.table, self.files.checked_add(offset as usize)?) }
    }

    /// The innermost inlined call at an address: its name, start line and the offset of the call in the function.
    fn inlined_at(&self, function: &GoFunction<'d>, at: u64) -> Option<(&'d [u8], u32, u32)> {
        const TREE_INDEX: usize = 2;
        const TREE: usize = 3;
        let base = self.funcdata?;
        let (fields, entry_size) = match self.version {
            Version::V18 => (9, 20),
            Version::V20 => (10, 16),
            _ => return None,
        };
        let pc_tables = self.record_field(function.record, 6)? as usize;
        let end = self.after_entry(function.record)?.checked_add(fields * 4)?;
        let data_tables = usize::from(*self.table.get(end - 1)?);
        if pc_tables <= TREE_INDEX || data_tables <= TREE || pc_tables > 64 {
            return None;
        }
        let index = self.value_at(function, u32_at(self.table, end + TREE_INDEX * 4)? as usize, at)?;
        let index = usize::try_from(index).ok()?;
        let tree = u32_at(self.table, end + pc_tables * 4 + TREE * 4)?;
        if tree == u32::MAX {
            return None;
        }
        let entry = (tree as usize).checked_add(index.checked_mul(entry_size)?)?;
        let (name, start_line, parent) = match self.version {
            // parent i16, func id, pad, file, line, name, parent pc
            Version::V18 => (u32_at(base, entry + 12)?, 0, u32_at(base, entry + 16)?),
            // func id, 3 of padding, name, parent pc, start line
            _ => (u32_at(base, entry + 4)?, u32_at(base, entry + 12)?, u32_at(base, entry + 8)?),
        };
        Some((self.name(name as usize)?, start_line, parent))
    }

    /// The value of a pc table at an address.
    fn value_at(&self, function: &GoFunction<'d>, table: usize, at: u64) -> Option<i32> {
        self.values(function, table)?.find(|(end, _)| at < *end).map(|(_, value)| value)
    }

    /// The runs of a pc table: (end address, value).
    fn values(&self, function: &GoFunction<'d>, table: usize) -> Option<impl Iterator<Item = (u64, i32)> + use<'d>> {
        if table == 0 {
            return None;
        }
        let mut rest = self.table.get(self.pcs.checked_add(table)?..)?;
        let (mut pc, mut value, limit, quantum) = (function.svma, -1i32, function.end, self.quantum);
        let mut is_first = true;
        Some(std::iter::from_fn(move || {
            if pc >= limit {
                return None;
            }
            let delta = varint(&mut rest)?;
            if delta == 0 && !is_first {
                return None;
            }
            is_first = false;
            value = value.wrapping_add((delta >> 1) as i32 ^ -((delta & 1) as i32));
            let step = varint(&mut rest)?;
            pc = pc.checked_add(u64::from(step).checked_mul(quantum)?)?;
            Some((pc.min(limit), value))
        }))
    }

    /// The unwind rules of a function: (end address, rule) runs that cover it.
    ///
    /// From the distance between stack pointer and frame that the compiler states for each instruction. rbp is saved right
    /// below the return address by every function with a frame. Where the stack is switched (`systemstack`,
    /// `asmcgocall`), rbp still belongs to the goroutine's frame.
    pub(crate) fn unwind_rows(&self, function: &GoFunction<'d>) -> Vec<(u64, Rule)> {
        const WORD: i32 = 8;
        let below_cfa = ReturnAddress::AtCfa { words: -1 };
        let saved = SavedFp::AtCfa { words: -2 };
        match function.name {
            // Nobody called these: a goroutine or a thread begins in them.
            b"runtime.goexit" | b"runtime.mstart" | b"runtime.rt0_go" | b"runtime.mcall" | b"_rt0_amd64_linux"
            | b"_rt0_amd64" => return vec![(function.end, Rule::Stop)],
            b"runtime.systemstack" | b"runtime.asmcgocall" => {
                let rule = Rule::Frame { cfa: Cfa::Fp { offset: 2 * WORD }, fp: saved, ra: below_cfa };
                return vec![(function.end, rule)];
            }
            _ => {}
        }
        let Some(runs) = self.record_field(function.record, 3).and_then(|table| self.values(function, table as usize))
        else {
            return Vec::new();
        };
        let rule = |delta: i32| match delta {
            0 => Rule::Frame { cfa: Cfa::Sp { offset: WORD }, fp: SavedFp::Same, ra: below_cfa },
            1.. if delta % WORD == 0 => match delta.checked_add(WORD) {
                Some(offset) => Rule::Frame { cfa: Cfa::Sp { offset }, fp: saved, ra: below_cfa },
                None => Rule::Unsupported,
            },
            _ => Rule::Unsupported,
        };
        runs.map(|(end, delta)| (end, rule(delta))).collect()
    }
}

/// What of the module data is needed.
struct Module {
    text: u64,
    gofunc_18: Option<u64>,
    gofunc_20: Option<u64>,
}

impl Module {
    /// Offsets in `runtime.moduledata`: `text` after `pcHeader`, six slices, `findfunctab`, `minpc` and `maxpc`.
    const TEXT: u64 = 176;
    const GOFUNC_18: u64 = 304;
    /// Two words of coverage counters came in between.
    const GOFUNC_20: u64 = 320;

    /// Its first word points to the table. In position-independent files that word may be in a relocation only.
    fn find(elf: &Elf<'_>, table: u64) -> Option<Module> {
        let relocations = Relocations::of(elf);
        let at_word = |svma: u64| {
            let value = elf.bytes_at(svma).and_then(|bytes| u64_at(bytes, 0)).filter(|value| *value != 0);
            value.or_else(|| relocations.addend_at(svma))
        };
        let check = |svma: u64| {
            let (minimum, text) = (at_word(svma.checked_add(160)?)?, at_word(svma.checked_add(Self::TEXT)?)?);
            (elf.is_code(text) && minimum >= text).then_some(Module {
                text,
                gofunc_18: at_word(svma.checked_add(Self::GOFUNC_18)?),
                gofunc_20: at_word(svma.checked_add(Self::GOFUNC_20)?),
            })
        };
        let needle = table.to_le_bytes();
        let in_data = elf.segments().iter().filter(|segment| !segment.executable).find_map(|segment| {
            let bytes = elf.bytes_at(segment.svma)?;
            memchr::memmem::find_iter(bytes, &needle)
                .filter_map(|at| segment.svma.checked_add(at as u64))
                .filter(|svma| svma % 8 == 0)
                .find_map(&check)
        });
        in_data.or_else(|| relocations.places_of(table).find_map(check))
    }
}

/// `R_*_RELATIVE` entries of `.rela.dyn`.
struct Relocations<'d>(&'d [u8]);

impl<'d> Relocations<'d> {
    const SIZE: usize = 24;

    fn of(elf: &Elf<'d>) -> Relocations<'d> {
        let section = elf.section_named(".rela.dyn").or_else(|| elf.section_named(".rela"));
        Relocations(section.map(|section| section.data).unwrap_or_default())
    }

    fn entries(&self) -> impl Iterator<Item = (u64, u64)> + use<'d> {
        const RELATIVE: [u32; 2] = [8, 1027]; // x86-64, aarch64
        self.0.chunks_exact(Self::SIZE).filter_map(|entry| {
            let kind = u32_at(entry, 8)?;
            RELATIVE.contains(&kind).then_some((u64_at(entry, 0)?, u64_at(entry, 16)?))
        })
    }

    fn addend_at(&self, svma: u64) -> Option<u64> {
        self.entries().find(|(place, _)| *place == svma).map(|(_, addend)| addend)
    }

    /// At most a few, so that a table of equal entries costs no square.
    fn places_of(&self, addend: u64) -> impl Iterator<Item = u64> + use<'d> {
        self.entries().filter(move |(_, value)| *value == addend).map(|(place, _)| place).take(4)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().expect("four bytes")))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let word = bytes.get(at..at.checked_add(8)?)?;
    Some(u64::from_le_bytes(word.try_into().expect("eight bytes")))
}

/// A zero-terminated text of at most [`MAX_NAME`] bytes.
fn text_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let rest = bytes.get(at..)?;
    let rest = &rest[..rest.len().min(MAX_NAME + 1)];
    Some(&rest[..memchr::memchr(0, rest)?])
}

/// A variable-length number of seven bits a byte, low bits first, at most 32 bits.
fn varint(rest: &mut &[u8]) -> Option<u32> {
    let mut value = 0u32;
    for shift in (0..35).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u32::from(byte & 0x7f).checked_shl(shift).unwrap_or(0);
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
