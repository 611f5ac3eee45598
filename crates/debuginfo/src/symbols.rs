//! Function names of an ELF file, from all the tables it may carry.
//!
//! `.symtab`, `.dynsym`, MiniDebugInfo (`.gnu_debugdata`: an xz-packed ELF file with a `.symtab`), Go's table, and the stubs of
//! the PLT as `name@plt`. Names stay mangled; see [`crate::demangle`].

use std::io::Read;

use hashbrown::HashMap;

use crate::elf::Section;
use crate::gopclntab::GoTable;
use crate::names::{MAX_NAME, NameTable, NameTableBuilder, Rank};
use crate::{Elf, Machine};

#[cfg(test)]
mod tests;

/// Bound on the unpacked bytes of MiniDebugInfo; Fedora's largest have about 10 MiB.
const MAX_MINI_DEBUG: u64 = 64 << 20;

/// Bound on the memory of the unpacker; xz -9 needs 65 MiB, what packagers use 9.
const MAX_XZ_MEMORY_KIB: u32 = 80 << 10;

/// Bound on PLT stubs.
const MAX_STUBS: usize = 1 << 17;

impl NameTable {
    /// The functions of a file and of the files with its debug information, whose addresses are the same.
    pub fn of_elf(elf: &Elf<'_>, debug_files: &[&Elf<'_>]) -> NameTable {
        let packed = elf.section_named(".gnu_debugdata").and_then(|section| mini_debug(section.data));
        let packed = packed.as_deref().and_then(|bytes| Elf::parse(bytes).ok());
        let stubs = stub_names(elf);

        let mut builder = NameTableBuilder::new(elf.base());
        for file in std::iter::once(elf).chain(debug_files.iter().copied()).chain(packed.as_ref()) {
            for section in file.sections() {
                add_symbols(elf, file, &section, &mut builder);
            }
        }
        if let Some(go) = GoTable::find(elf) {
            for function in go.functions() {
                if !builder.add(function.svma, function.end - function.svma, Rank::Global, function.name) {
                    break;
                }
            }
        }
        for (svma, size, name) in &stubs {
            builder.add(*svma, *size, Rank::Label, name.as_bytes());
        }

        let mut ends: Vec<(u64, u64)> = elf
            .sections()
            .filter(|section| section.executable)
            .map(|section| (section.svma, section.svma.saturating_add(section.size)))
            .collect();
        if ends.is_empty() {
            let code = elf.segments().iter().filter(|segment| segment.executable);
            ends.extend(code.map(|segment| (segment.svma, segment.svma.saturating_add(segment.memory_size))));
        }
        ends.sort_unstable();
        builder.build(|svma| {
            let after = ends.partition_point(|(start, _)| *start <= svma);
            after.checked_sub(1).map_or(u64::MAX, |index| ends[index].1)
        })
    }
}

const SHT_SYMTAB: u32 = 2;
const SHT_DYNSYM: u32 = 11;
const SHT_RELA: u32 = 4;
const SYMBOL_SIZE: usize = 24;

/// The functions of a symbol table. `elf` says what is code, as debug files only list segments.
fn add_symbols<'a>(elf: &Elf<'_>, file: &Elf<'a>, section: &Section<'a>, builder: &mut NameTableBuilder<'a>) {
    const FUNCTION: u8 = 2;
    const INDIRECT_FUNCTION: u8 = 10;
    const NO_TYPE: u8 = 0;
    if ![SHT_SYMTAB, SHT_DYNSYM].contains(&section.kind) || section.compressed {
        return;
    }
    let Some(strings) = file.section_at(section.link).filter(|strings| !strings.compressed) else { return };
    for entry in section.data.chunks_exact(SYMBOL_SIZE) {
        let symbol = ElfSymbol::read(entry);
        if symbol.section == 0 || !elf.is_code(symbol.svma) {
            continue;
        }
        let rank = match (symbol.kind, symbol.binding) {
            (FUNCTION | INDIRECT_FUNCTION, 1) => Rank::Global,
            (FUNCTION | INDIRECT_FUNCTION, 2) => Rank::Weak,
            // GNU unique
            (FUNCTION | INDIRECT_FUNCTION, 10) => Rank::Global,
            (FUNCTION | INDIRECT_FUNCTION, _) => Rank::Local,
            (NO_TYPE, _) => Rank::Label,
            _ => continue,
        };
        let Some(name) = name_at(strings.data, symbol.name) else {
            builder.count_damaged();
            continue;
        };
        // Compilers' labels, and the marks of code and data on ARM.
        if rank == Rank::Label && (name.is_empty() || name.starts_with(b".L") || name.starts_with(b"$")) {
            continue;
        }
        if !builder.add(symbol.svma, symbol.size, rank, without_version(name)) {
            return;
        }
    }
}

struct ElfSymbol {
    name: u32,
    kind: u8,
    binding: u8,
    section: u16,
    svma: u64,
    size: u64,
}

impl ElfSymbol {
    /// From the 24 bytes of an entry.
    fn read(entry: &[u8]) -> ElfSymbol {
        let word = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().expect("eight bytes"));
        ElfSymbol {
            name: word(0) as u32,
            kind: entry[4] & 15,
            binding: entry[4] >> 4,
            section: u16::from_le_bytes([entry[6], entry[7]]),
            svma: word(8),
            size: word(16),
        }
    }
}

/// A zero-terminated name, cut at [`MAX_NAME`].
fn name_at(strings: &[u8], offset: u32) -> Option<&[u8]> {
    let rest = strings.get(offset as usize..)?;
    let rest = &rest[..rest.len().min(MAX_NAME)];
    Some(&rest[..memchr::memchr(0, rest).unwrap_or(rest.len())])
}

/// `memcpy@@GLIBC_2.14` is `memcpy`.
fn without_version(name: &[u8]) -> &[u8] {
    match memchr::memchr(b'@', name) {
        Some(at) if at > 0 => &name[..at],
        _ => name,
    }
}

/// The ELF file in `.gnu_debugdata`.
fn mini_debug(packed: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let reader = lzma_rust2::XzReader::new_mem_limit(packed, false, MAX_XZ_MEMORY_KIB);
    reader.take(MAX_MINI_DEBUG + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 <= MAX_MINI_DEBUG).then_some(bytes)
}

/// PLT stubs: (svma, size, `name@plt`). A stub jumps through a slot of the GOT, and a relocation names what fills the slot.
fn stub_names(elf: &Elf<'_>) -> Vec<(u64, u64, String)> {
    let mut slots: HashMap<u64, u32> = HashMap::new();
    let mut dynamic: Option<(&[u8], &[u8])> = None;
    for section in elf.sections() {
        let is_plt = [&b".rela.plt"[..], b".rela.dyn"].contains(&section.name);
        if section.kind != SHT_RELA || !is_plt || section.compressed {
            continue;
        }
        let Some(symbols) = elf.section_at(section.link).filter(|symbols| symbols.kind == SHT_DYNSYM) else { continue };
        let Some(strings) = elf.section_at(symbols.link) else { continue };
        dynamic = Some((symbols.data, strings.data));
        for entry in section.data.chunks_exact(24) {
            let word = |at: usize| u64::from_le_bytes(entry[at..at + 8].try_into().expect("eight bytes"));
            let symbol = (word(8) >> 32) as u32;
            if symbol != 0 && slots.len() < MAX_STUBS {
                slots.insert(word(0), symbol);
            }
        }
    }
    let Some((symbols, strings)) = dynamic else { return Vec::new() };

    let mut stubs = Vec::new();
    for section in elf.sections().filter(|section| section.executable) {
        let size = match section.name {
            b".plt" | b".plt.sec" => 16,
            b".plt.got" => section.entry_size.clamp(8, 16) as usize,
            _ => continue,
        };
        for (index, code) in section.data.chunks_exact(size).enumerate() {
            let svma = section.svma.wrapping_add((index * size) as u64);
            let Some(symbol) = jump_slot(elf.machine(), svma, code).and_then(|slot| slots.get(&slot)) else { continue };
            let entry = symbols.chunks_exact(SYMBOL_SIZE).nth(*symbol as usize).map(ElfSymbol::read);
            let Some(name) = entry.and_then(|entry| name_at(strings, entry.name)).filter(|name| !name.is_empty())
            else {
                continue;
            };
            if stubs.len() < MAX_STUBS {
                stubs.push((svma, size as u64, format!("{}@plt", String::from_utf8_lossy(without_version(name)))));
            }
        }
    }
    stubs
}

/// The svma of the GOT slot that a stub jumps through.
fn jump_slot(machine: Machine, svma: u64, code: &[u8]) -> Option<u64> {
    match machine {
        Machine::X86_64 => {
            // [endbr64] [bnd] jmp *offset(%rip)
            let at = if code.starts_with(&[0xf3, 0x0f, 0x1e, 0xfa]) { 4 } else { 0 };
            let at = at + usize::from(code.get(at) == Some(&0xf2));
            let offset = code.get(at..)?.strip_prefix(&[0xff, 0x25])?.first_chunk()?;
            Some(svma.wrapping_add(at as u64 + 6).wrapping_add_signed(i64::from(i32::from_le_bytes(*offset))))
        }
        Machine::Aarch64 => {
            // adrp x16, page; ldr x17, [x16, offset]; add; br x17 — after [bti c]
            let mut words = code.chunks_exact(4).map(|word| u32::from_le_bytes(word.try_into().expect("four bytes")));
            let mut address = svma;
            let mut adrp = words.next()?;
            if adrp == 0xd503_245f {
                (adrp, address) = (words.next()?, svma.wrapping_add(4));
            }
            let load = words.next()?;
            if adrp & 0x9f00_001f != 0x9000_0010 || load & 0xffc0_03ff != 0xf940_0211 {
                return None;
            }
            let pages = (adrp >> 5 & 0x7_ffff) << 2 | (adrp >> 29 & 3);
            let pages = i64::from((pages << 11) as i32 >> 11);
            let page = (address & !4095).wrapping_add_signed(pages << 12);
            Some(page.wrapping_add(u64::from(load >> 10 & 0xfff) * 8))
        }
    }
}
