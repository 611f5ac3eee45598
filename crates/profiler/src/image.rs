//! Parts of an executable as one slice, read without trusting the file.
//!
//! A mapping of the file itself would be simpler, but whoever owns the file may truncate it and so kill us (SIGBUS). This is
//! memory as long as the file, of which only the parts that were read take room.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;

use argand_debuginfo::Elf;
use argand_debuginfo::elf::Segment;

use crate::memory::ZeroedMemory;

/// Bound on the length of a file, as it takes that much of the address space.
const MAX_FILE_BYTES: u64 = 4 << 30;
/// Bound on program headers and on section headers, in bytes.
const MAX_HEADER_BYTES: u64 = 8 << 20;

/// Memory with the parts of a file that were read; everything else reads as zero.
pub(crate) struct Image {
    memory: ZeroedMemory,
    read_bytes: u64,
}

impl Image {
    /// Reads the ELF header, the program headers and the section headers with their names.
    ///
    /// Errors: those of reading; `InvalidData` for a file that is too long. What is damaged just stays zero.
    pub(crate) fn open(file: &File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        if length > MAX_FILE_BYTES {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "longer than 4 GiB"));
        }
        let mut image = Self { memory: ZeroedMemory::new(length as usize)?, read_bytes: 0 };
        image.read(file, 0..4096)?;
        let header = image.bytes();
        let field = |at: usize, size: usize| {
            header.get(at..at + size).map_or(0, |bytes| bytes.iter().rev().fold(0, |all, b| all << 8 | u64::from(*b)))
        };
        // e_phoff, e_phnum; e_shoff, e_shnum, e_shstrndx
        let (programs, program_count) = (field(32, 8), field(56, 2));
        let (sections, section_count, names) = (field(40, 8), field(60, 2), field(62, 2));
        let table = |start: u64, size: u64| start..start.saturating_add(size.min(MAX_HEADER_BYTES));
        image.read(file, table(programs, program_count * 56))?;
        if sections != 0 {
            // More than 65,279 sections are counted in the first header.
            image.read(file, table(sections, section_count.max(1) * 64))?;
            let first = sections as usize;
            let word = |at: usize| {
                let bytes = image.bytes().get(at..at + 8)?;
                Some(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
            };
            if section_count == 0
                && let Some(count) = word(first.saturating_add(32))
            {
                image.read(file, table(sections, count.saturating_mul(64)))?;
            }
            let header = sections.saturating_add(names * 64) as usize;
            let place = |image: &Self| {
                let word = |at: usize| {
                    let bytes = image.bytes().get(at..at.checked_add(8)?)?;
                    Some(u64::from_le_bytes(bytes.try_into().expect("eight bytes")))
                };
                Some((word(header.checked_add(24)?)?, word(header.checked_add(32)?)?))
            };
            if let Some((offset, size)) = place(&image) {
                image.read(file, table(offset, size))?;
            }
        }
        Ok(image)
    }

    /// Makes an image of bytes that are at hand.
    pub(crate) fn of_bytes(bytes: &[u8]) -> io::Result<Self> {
        let mut memory = ZeroedMemory::new(bytes.len())?;
        memory.bytes_mut().copy_from_slice(bytes);
        Ok(Self { memory, read_bytes: bytes.len() as u64 })
    }

    /// Everything; zero where nothing was read.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.memory.bytes()
    }

    /// Reads a part of the file; what lies behind its end stays zero.
    pub(crate) fn read(&mut self, file: &File, part: Range<u64>) -> io::Result<()> {
        let length = self.memory.bytes().len() as u64;
        let (start, end) = (part.start.min(length), part.end.min(length));
        let mut rest = &mut self.memory.bytes_mut()[start as usize..end as usize];
        let mut at = start;
        while !rest.is_empty() {
            match file.read_at(rest, at) {
                Ok(0) => break,
                Ok(size) => {
                    rest = &mut rest[size..];
                    at += size as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.read_bytes += at - start;
        Ok(())
    }

    /// Reads the sections that `wanted` chooses by name; in a file without section headers all that is loaded.
    ///
    /// Sections that would bring the bytes read above `limit` are left out.
    pub(crate) fn read_sections(&mut self, file: &File, limit: u64, wanted: impl Fn(&str) -> bool) -> io::Result<()> {
        let start = self.bytes().as_ptr() as usize;
        let Ok(elf) = Elf::parse(self.bytes()) else { return Ok(()) };
        let mut parts: Vec<Range<u64>> = elf
            .sections()
            .filter(|section| std::str::from_utf8(section.name).is_ok_and(&wanted))
            .map(|section| {
                let offset = (section.data.as_ptr() as usize).wrapping_sub(start) as u64;
                offset..offset.saturating_add(section.data.len() as u64)
            })
            .collect();
        if elf.sections().next().is_none() {
            let segments = elf.segments().iter();
            parts = segments.map(|s| s.file_offset..s.file_offset.saturating_add(s.file_size)).collect();
        }
        for part in parts {
            if self.read_bytes.saturating_add(part.end.saturating_sub(part.start)) <= limit {
                self.read(file, part)?;
            }
        }
        Ok(())
    }

    /// Reads the loaded segments that `wanted` chooses, but for those longer than `limit`.
    pub(crate) fn read_segments(
        &mut self,
        file: &File,
        limit: u64,
        wanted: impl Fn(&Segment) -> bool,
    ) -> io::Result<()> {
        let Ok(elf) = Elf::parse(self.bytes()) else { return Ok(()) };
        let segments = elf.segments().iter().filter(|segment| wanted(segment) && segment.file_size <= limit);
        let parts: Vec<Range<u64>> =
            segments.map(|s| s.file_offset..s.file_offset.saturating_add(s.file_size)).collect();
        for part in parts {
            self.read(file, part)?;
        }
        Ok(())
    }
}
