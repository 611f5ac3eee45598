//! An ELF file as far as a profiler asks: segments, sections, addresses, identity.

#[cfg(test)]
mod tests;

use object::elf;
use object::read::elf::{FileHeader, NoteIterator, ProgramHeader, SectionHeader};
use object::{LittleEndian as LE, StringTable};
use sha2::{Digest, Sha256};

type Header = elf::FileHeader64<LE>;

/// Bound on program headers and on sections that are looked at; the largest seen are some dozen, and 60,000 in objects
/// built with a section per function.
pub const MAX_HEADERS: usize = 1 << 17;

/// Bound on the bytes of a build id that is kept; GNU ids have 20 or 16 bytes, Go's 83.
pub const MAX_BUILD_ID: usize = 256;

/// Why a file is not read at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ElfError {
    /// No ELF header.
    #[error("not an ELF file: the first bytes are not an ELF header")]
    NotElf,
    /// 32 bits or big-endian.
    #[error("unsupported ELF class: only 64-bit little-endian files are read")]
    Class,
    /// Another processor.
    #[error("unsupported machine {0}: only x86-64 (62) and aarch64 (183) are read")]
    Machine(u16),
    /// Program headers point out of the file.
    #[error("damaged ELF file: the program headers are not inside the file")]
    ProgramHeaders,
}

/// The processor that a file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Machine {
    /// AMD64.
    X86_64,
    /// 64-bit ARM, little-endian.
    Aarch64,
}

/// A `PT_LOAD` segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the file, bytes.
    pub file_offset: u64,
    /// Bytes in the file.
    pub file_size: u64,
    /// Where it is meant to lie in memory.
    pub svma: u64,
    /// Bytes in memory.
    pub memory_size: u64,
    /// Whether code runs in it.
    pub executable: bool,
    /// Whether it may be written to.
    pub writable: bool,
}

impl Segment {
    /// Whether the address lies in the part of it that comes from the file.
    pub fn holds(&self, svma: u64) -> bool {
        svma.checked_sub(self.svma).is_some_and(|offset| offset < self.file_size)
    }
}

/// A section with its bytes as they lie in the file, which may be compressed.
#[derive(Debug, Clone, Copy)]
pub struct Section<'d> {
    /// Its name, without a terminating zero.
    pub name: &'d [u8],
    /// `sh_type`.
    pub kind: u32,
    /// Where it lies in memory, 0 if it is not loaded.
    pub svma: u64,
    /// Bytes in memory.
    pub size: u64,
    /// `sh_link`: another section's index.
    pub link: u32,
    /// `sh_entsize`: bytes of one entry, 0 if it has none.
    pub entry_size: u64,
    /// Whether it is loaded and executable.
    pub executable: bool,
    /// Whether `data` begins with a compression header.
    pub compressed: bool,
    /// Bytes in the file, empty for `SHT_NOBITS`.
    pub data: &'d [u8],
}

/// A parsed ELF file.
///
/// Shape: borrows the file's bytes, allocates only the list of loaded segments.
/// Errors: only what makes everything else meaningless is an error; damaged section headers read as no sections.
/// Source: System V gABI, chapters 4 and 5; a vDSO image is read the same way, as its offsets equal its addresses.
#[derive(Debug, Clone)]
pub struct Elf<'d> {
    data: &'d [u8],
    header: &'d Header,
    programs: &'d [elf::ProgramHeader64<LE>],
    sections: &'d [elf::SectionHeader64<LE>],
    section_names: StringTable<'d>,
    segments: Vec<Segment>,
    machine: Machine,
}

impl<'d> Elf<'d> {
    /// Reads the headers.
    pub fn parse(data: &'d [u8]) -> Result<Elf<'d>, ElfError> {
        let ident = data.get(..16).ok_or(ElfError::NotElf)?;
        if !ident.starts_with(b"\x7fELF") {
            return Err(ElfError::NotElf);
        }
        if (ident[4], ident[5]) != (2, 1) {
            return Err(ElfError::Class);
        }
        let header = Header::parse(data).map_err(|_| ElfError::NotElf)?;
        let machine = match header.e_machine(LE).0 {
            62 => Machine::X86_64,
            183 => Machine::Aarch64,
            other => return Err(ElfError::Machine(other)),
        };
        let programs = header.program_headers(LE, data).map_err(|_| ElfError::ProgramHeaders)?;
        let programs = &programs[..programs.len().min(MAX_HEADERS)];
        let sections = header.section_headers(LE, data).unwrap_or_default();
        let sections = &sections[..sections.len().min(MAX_HEADERS)];
        let section_names = header.section_strings(LE, data, sections).unwrap_or_default();
        let segments = programs
            .iter()
            .filter(|program| program.p_type(LE) == elf::PT_LOAD)
            .map(|program| {
                let flags = program.p_flags(LE);
                Segment {
                    file_offset: program.p_offset(LE),
                    file_size: program.p_filesz(LE),
                    svma: program.p_vaddr(LE),
                    memory_size: program.p_memsz(LE),
                    executable: flags.contains(elf::PF_X),
                    writable: flags.contains(elf::PF_W),
                }
            })
            .collect();
        Ok(Elf { data, header, programs, sections, section_names, segments, machine })
    }

    /// The whole file.
    pub fn data(&self) -> &'d [u8] {
        self.data
    }

    /// The processor that the file is for.
    pub fn machine(&self) -> Machine {
        self.machine
    }

    /// The loaded segments in the order of the file.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// The svma at which the program starts, 0 if it does not.
    pub fn entry(&self) -> u64 {
        self.header.e_entry(LE)
    }

    /// The lowest svma of a loaded segment, 0 without segments.
    pub fn base(&self) -> u64 {
        self.segments.iter().map(|segment| segment.svma).min().unwrap_or(0)
    }

    /// Whether the loader chooses the address: shared libraries and position-independent executables.
    pub fn is_position_independent(&self) -> bool {
        self.header.e_type(LE) == elf::ET_DYN
    }

    /// Whether the file is a position-independent executable: marked so, or else with an interpreter.
    pub fn is_pie(&self) -> bool {
        self.is_position_independent()
            && (self.flags_1() & elf::DF_1_PIE.0 != 0
                || self.programs.iter().any(|program| program.p_type(LE) == elf::PT_INTERP))
    }

    /// Whether the address lies in an executable segment.
    pub fn is_code(&self, svma: u64) -> bool {
        let holds =
            |segment: &Segment| svma.checked_sub(segment.svma).is_some_and(|offset| offset < segment.memory_size);
        self.segments.iter().any(|segment| segment.executable && holds(segment))
    }

    /// The file offset of an address, if it comes from the file.
    pub fn file_offset_of(&self, svma: u64) -> Option<u64> {
        let segment = self.segments.iter().find(|segment| segment.holds(svma))?;
        segment.file_offset.checked_add(svma - segment.svma)
    }

    /// The address at which a byte of the file is loaded. Where segments share a page of the file, code wins.
    pub fn svma_of(&self, file_offset: u64) -> Option<u64> {
        let holds = |segment: &&Segment| {
            file_offset.checked_sub(segment.file_offset).is_some_and(|offset| offset < segment.file_size)
        };
        self.by_offset(holds).map(|segment| segment.svma.wrapping_add(file_offset - segment.file_offset))
    }

    /// What to add to an svma to get an avma (wrapping), given a mapping of this file.
    ///
    /// `start` and `file_offset` are the mapping's as in `/proc/PID/maps`, so the offset is a multiple of the page size and
    /// may lie before the segment's.
    pub fn bias(&self, start: u64, file_offset: u64) -> Option<u64> {
        const PAGE: u64 = 4096;
        let holds = |segment: &&Segment| {
            let first = segment.file_offset & !(PAGE - 1);
            let size = segment.file_size.saturating_add(segment.file_offset - first);
            file_offset.checked_sub(first).is_some_and(|offset| offset < size)
        };
        let segment = self.by_offset(holds)?;
        let svma = segment.svma.wrapping_add(file_offset.wrapping_sub(segment.file_offset));
        Some(start.wrapping_sub(svma))
    }

    fn by_offset(&self, holds: impl Fn(&&Segment) -> bool) -> Option<&Segment> {
        let code = self.segments.iter().filter(|segment| segment.executable).find(&holds);
        code.or_else(|| self.segments.iter().find(&holds))
    }

    /// The bytes from an address to the end of what the file gives for its segment.
    pub fn bytes_at(&self, svma: u64) -> Option<&'d [u8]> {
        let segment = self.segments.iter().find(|segment| segment.holds(svma))?;
        let from = segment.file_offset.checked_add(svma - segment.svma)?;
        // A truncated file still gives what it has.
        let to = segment.file_offset.saturating_add(segment.file_size).min(self.data.len() as u64);
        self.data.get(usize::try_from(from).ok()?..usize::try_from(to).ok()?)
    }

    /// All sections, in the order of their indexes; what points out of the file has no bytes.
    pub fn sections(&self) -> impl Iterator<Item = Section<'d>> + '_ {
        self.sections.iter().map(|header| self.section(header))
    }

    /// The section with this index.
    pub fn section_at(&self, index: u32) -> Option<Section<'d>> {
        self.sections.get(index as usize).map(|header| self.section(header))
    }

    /// The first section with this name.
    pub fn section_named(&self, name: &str) -> Option<Section<'d>> {
        self.sections().find(|section| section.name == name.as_bytes())
    }

    fn section(&self, header: &'d elf::SectionHeader64<LE>) -> Section<'d> {
        let flags = header.sh_flags(LE);
        Section {
            name: header.name(LE, self.section_names).unwrap_or_default(),
            kind: header.sh_type(LE).0,
            svma: header.sh_addr(LE),
            size: header.sh_size(LE),
            link: header.sh_link(LE),
            entry_size: header.sh_entsize(LE),
            executable: flags.contains(elf::SHF_ALLOC) && flags.contains(elf::SHF_EXECINSTR),
            compressed: flags.contains(elf::SHF_COMPRESSED),
            data: header.data(LE, self.data).unwrap_or_default(),
        }
    }

    /// The svma and bytes of `.eh_frame_hdr`, by program header, so also in files without section headers.
    pub fn eh_frame_header(&self) -> Option<(u64, &'d [u8])> {
        let program = self.programs.iter().find(|program| program.p_type(LE) == elf::PT_GNU_EH_FRAME)?;
        let svma = program.p_vaddr(LE);
        let bytes = self.bytes_at(svma)?;
        let size = usize::try_from(program.p_memsz(LE)).unwrap_or(usize::MAX).min(bytes.len());
        Some((svma, &bytes[..size]))
    }

    /// The GNU build id (`NT_GNU_BUILD_ID`), raw bytes.
    pub fn gnu_build_id(&self) -> Option<&'d [u8]> {
        self.note(b"GNU", elf::NT_GNU_BUILD_ID.0)
    }

    /// Go's build id (`.note.go.buildid`), text such as `action/…/content`.
    pub fn go_build_id(&self) -> Option<&'d [u8]> {
        const NT_GO_BUILD_ID: u32 = 4;
        self.note(b"Go", NT_GO_BUILD_ID)
    }

    fn note(&self, name: &[u8], kind: u32) -> Option<&'d [u8]> {
        let by_program =
            self.programs.iter().filter(|program| program.p_type(LE) == elf::PT_NOTE).filter_map(|program| {
                let from = usize::try_from(program.p_offset(LE)).ok()?;
                let to = from.checked_add(usize::try_from(program.p_filesz(LE)).ok()?)?;
                Some((program.p_align(LE), self.data.get(from..to)?))
            });
        let by_section = self
            .sections
            .iter()
            .filter(|header| header.sh_type(LE) == elf::SHT_NOTE)
            .map(|header| (header.sh_addralign(LE), header.data(LE, self.data).unwrap_or_default()));
        for (align, bytes) in by_program.chain(by_section) {
            let Ok(notes) = NoteIterator::<Header>::new(LE, align, bytes) else { continue };
            // Each note takes at least 12 bytes, so this ends.
            for note in notes.flatten() {
                if note.name() == name && note.n_type(LE).0 == kind && (1..=MAX_BUILD_ID).contains(&note.desc().len()) {
                    return Some(note.desc());
                }
            }
        }
        None
    }

    fn flags_1(&self) -> u64 {
        let Some(program) = self.programs.iter().find(|program| program.p_type(LE) == elf::PT_DYNAMIC) else {
            return 0;
        };
        let from = usize::try_from(program.p_offset(LE)).unwrap_or(usize::MAX);
        let bytes = self.data.get(from..).unwrap_or_default();
        let size = usize::try_from(program.p_filesz(LE)).unwrap_or(usize::MAX).min(bytes.len());
        bytes[..size]
            .chunks_exact(16)
            .map(|entry| (word(entry, 0), word(entry, 8)))
            .take_while(|(tag, _)| *tag != 0)
            .find(|(tag, _)| *tag == elf::DT_FLAGS_1.0 as u64)
            .map_or(0, |(_, value)| value)
    }
}

/// The little-endian word at `at`, which the caller knows to be there.
fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

/// The identity of a file without a build id: `process.executable.build_id.htlhash` of OTLP.
///
/// SHA-256 over the first 4,096 bytes, the last 4,096 bytes and the length as a big-endian u64; its first 16 bytes. In a
/// file shorter than that, head and tail are both the whole file.
pub fn head_tail_length_hash(file: &[u8]) -> [u8; 16] {
    const PART: usize = 4096;
    let mut hash = Sha256::new();
    hash.update(&file[..file.len().min(PART)]);
    hash.update(&file[file.len().saturating_sub(PART)..]);
    hash.update((file.len() as u64).to_be_bytes());
    let digest = hash.finalize();
    let mut id = [0; 16];
    id.copy_from_slice(&digest[..16]);
    id
}
