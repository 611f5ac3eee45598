//! The file around the sections: header, sections back to back, table of contents, footer.
//!
//! Knows groups of sections, their lengths and checksums; what is inside them is the business of others.
//!
//! ```text
//! header   magic "ARGANDBK", version u32, CRC-32C of these 12 bytes
//! sections back to back, in the order of the table of contents
//! contents see `docs/format/block.md`
//! footer   length of the contents u64, their CRC-32C, version u32, CRC-32C of these 16 bytes, magic "ABKE"
//! ```
//! Fixed-width integers are little endian.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::codec::{Decoded, Decoder, put_bytes, put_varint};
use crate::{BlockError, ReadAt};

/// Newest format version; readers accept this and older ones.
pub const VERSION: u32 = 1;

const HEADER_MAGIC: [u8; 8] = *b"ARGANDBK";
const FOOTER_MAGIC: [u8; 4] = *b"ABKE";
const HEADER_BYTES: u64 = 16;
const FOOTER_BYTES: u64 = 24;

/// Bound of the table of contents: some 100,000 groups.
const MAX_CONTENTS_BYTES: u64 = 16 << 20;

/// Bytes that [`Container::verify`] holds at a time.
const VERIFY_STEP_BYTES: u64 = 1 << 20;

/// What a section holds, as the table of contents numbers it.
pub type SectionKind = u8;

/// A stretch of bytes with a checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Section {
    /// What it holds.
    pub kind: SectionKind,
    /// First byte in the file.
    pub offset: u64,
    /// Number of bytes.
    pub length: u64,
    /// CRC-32C of its bytes.
    pub crc: u32,
}

/// Sections that belong together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Name for people and error messages.
    pub name: String,
    /// Whatever readers need before they read a section.
    pub attributes: Vec<u8>,
    /// In order of their offsets.
    pub sections: Vec<Section>,
}

/// Writes a container from front to back.
#[derive(Debug)]
pub struct ContainerWriter<W: io::Write> {
    out: W,
    position: u64,
    crc: u32,
    groups: Vec<Group>,
}

impl<W: io::Write> ContainerWriter<W> {
    /// Writes the header.
    pub fn new(out: W) -> Result<Self, BlockError> {
        let mut writer = Self { out, position: 0, crc: 0, groups: Vec::new() };
        writer.put(&header())?;
        Ok(writer)
    }

    /// Starts a group; following sections are of it.
    pub fn begin_group(&mut self, name: &str, attributes: Vec<u8>) {
        self.groups.push(Group { name: name.to_owned(), attributes, sections: Vec::new() });
    }

    /// Starts a section of the last group. Panics when there is none.
    pub fn begin_section(&mut self, kind: SectionKind) {
        let group = self.groups.last_mut().expect("a group was begun");
        group.sections.push(Section { kind, offset: self.position, length: 0, crc: 0 });
    }

    /// Appends to the last section. Panics when there is none.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), BlockError> {
        self.put(bytes)?;
        let section = self.groups.last_mut().and_then(|group| group.sections.last_mut());
        let section = section.expect("a section was begun");
        section.length += bytes.len() as u64;
        section.crc = crc32c::crc32c_append(section.crc, bytes);
        Ok(())
    }

    /// Writes the table of contents with `meta`, then the footer, and flushes.
    /// Gives the size of the file in bytes and the CRC-32C of all of it.
    pub fn finish(mut self, meta: &[u8]) -> Result<(u64, u32), BlockError> {
        let contents = encode_contents(meta, &self.groups);
        if contents.len() as u64 > MAX_CONTENTS_BYTES {
            let source = io::Error::new(io::ErrorKind::FileTooLarge, "the table of contents exceeds its limit");
            return Err(BlockError::Write { source });
        }
        self.put(&contents)?;
        self.put(&footer(&contents))?;
        self.out.flush()?;
        Ok((self.position, self.crc))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), BlockError> {
        self.out.write_all(bytes)?;
        self.position += bytes.len() as u64;
        self.crc = crc32c::crc32c_append(self.crc, bytes);
        Ok(())
    }
}

/// An open container: its table of contents is in memory.
pub struct Container {
    bytes: Arc<dyn ReadAt>,
    kind_name: fn(SectionKind) -> &'static str,
    contents: Range<u64>,
    meta: Vec<u8>,
    groups: Vec<Group>,
}

impl Container {
    /// Reads footer and table of contents, nothing else. `kind_name` names kinds of sections in error messages.
    pub fn open(bytes: Arc<dyn ReadAt>, kind_name: fn(SectionKind) -> &'static str) -> Result<Self, BlockError> {
        let length = bytes.len();
        let whole = Place { name: "block", offset: 0, length };
        let footer_offset = length
            .checked_sub(FOOTER_BYTES)
            .filter(|&at| at >= HEADER_BYTES)
            .ok_or_else(|| whole.damaged("too short for a block"))?;
        let place = Place { name: "footer", offset: footer_offset, length: FOOTER_BYTES };
        let footer = place.read(&*bytes)?;
        let (contents_length, contents_crc) = place.decode(decode_footer(&footer))??;
        let offset = footer_offset
            .checked_sub(contents_length)
            .filter(|&at| at >= HEADER_BYTES && contents_length <= MAX_CONTENTS_BYTES)
            .ok_or_else(|| place.damaged("impossible length of the table of contents"))?;
        let place = Place { name: "table of contents", offset, length: contents_length };
        let contents = place.read(&*bytes)?;
        if !checksum_matches(&contents, contents_crc) {
            return Err(place.damaged("checksum differs"));
        }
        let (meta, groups) = place.decode(decode_contents(&contents, offset))?;
        Ok(Self { bytes, kind_name, contents: offset..footer_offset, meta, groups })
    }

    /// What the writer wanted known about the whole.
    pub fn meta(&self) -> &[u8] {
        &self.meta
    }

    /// The groups in order.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The first section of `kind` of the group at `group`.
    pub fn section(&self, group: usize, kind: SectionKind) -> Option<&Section> {
        self.groups[group].sections.iter().find(|section| section.kind == kind)
    }

    /// A whole section, its checksum verified. Errors: also where the group has no such section.
    pub fn read(&self, group: usize, kind: SectionKind) -> Result<Vec<u8>, BlockError> {
        let Some(section) = self.section(group, kind) else {
            return Err(self.damaged(group, kind, "section is missing"));
        };
        let bytes = self.read_range(group, kind, 0..section.length)?;
        if checksum_matches(&bytes, section.crc) {
            Ok(bytes)
        } else {
            Err(self.damaged(group, kind, "checksum differs"))
        }
    }

    /// Bytes of a section, counted from its start. Not verified: for sections with checksums inside.
    pub fn read_range(&self, group: usize, kind: SectionKind, range: Range<u64>) -> Result<Vec<u8>, BlockError> {
        let section =
            self.section(group, kind).filter(|section| range.start <= range.end && range.end <= section.length);
        let Some(section) = section else {
            return Err(self.damaged(group, kind, "section is missing or too short"));
        };
        let mut bytes = vec![0; (range.end - range.start) as usize];
        self.bytes.read_at(section.offset + range.start, &mut bytes).map_err(|source| BlockError::Read {
            place: self.place(group, kind),
            offset: section.offset,
            length: section.length,
            source,
        })?;
        Ok(bytes)
    }

    /// Says that a section cannot be what was written.
    pub fn damaged(&self, group: usize, kind: SectionKind, reason: &str) -> BlockError {
        let (offset, length) = self.section(group, kind).map_or((0, 0), |section| (section.offset, section.length));
        BlockError::Damaged { place: self.place(group, kind), offset, length, reason: reason.to_owned() }
    }

    /// Says that `meta`, or a group's name or attributes, cannot be what was written.
    pub fn contents_damaged(&self, reason: &str) -> BlockError {
        Place {
            name: "table of contents",
            offset: self.contents.start,
            length: self.contents.end - self.contents.start,
        }
        .damaged(reason)
    }

    /// Reads every byte again and says what differs from its checksum.
    pub fn verify(&self) -> Vec<BlockError> {
        let header = self.verify_header().err();
        let sections = self.groups.iter().enumerate().flat_map(|(index, group)| {
            group.sections.iter().filter_map(move |section| self.verify_section(index, section).err())
        });
        header.into_iter().chain(sections).collect()
    }

    fn verify_header(&self) -> Result<(), BlockError> {
        let place = Place { name: "header", offset: 0, length: HEADER_BYTES };
        let found = place.read(&*self.bytes)?;
        if found == header() { Ok(()) } else { Err(place.damaged("not the header of a block")) }
    }

    fn verify_section(&self, group: usize, section: &Section) -> Result<(), BlockError> {
        let mut buffer = Vec::new();
        let mut crc = 0;
        let mut at = 0;
        while at < section.length {
            let step = VERIFY_STEP_BYTES.min(section.length - at);
            buffer.resize(step as usize, 0);
            self.bytes.read_at(section.offset + at, &mut buffer).map_err(|source| BlockError::Read {
                place: self.place(group, section.kind),
                offset: section.offset + at,
                length: step,
                source,
            })?;
            crc = crc32c::crc32c_append(crc, &buffer);
            at += step;
        }
        if crc == section.crc { Ok(()) } else { Err(self.damaged(group, section.kind, "checksum differs")) }
    }

    fn place(&self, group: usize, kind: SectionKind) -> String {
        format!("dataset {:?}, section {}", self.groups[group].name, (self.kind_name)(kind))
    }
}

/// Whether `bytes` are what was written. Fuzzers get past it, to reach what lies behind.
#[allow(unexpected_cfgs)] // set by cargo-fuzz
pub(crate) fn checksum_matches(bytes: &[u8], crc: u32) -> bool {
    cfg!(fuzzing) || crc32c::crc32c(bytes) == crc
}

/// A part of the frame that every container has.
struct Place {
    name: &'static str,
    offset: u64,
    length: u64,
}

impl Place {
    fn read(&self, bytes: &dyn ReadAt) -> Result<Vec<u8>, BlockError> {
        let mut buffer = vec![0; self.length as usize];
        let (place, offset, length) = (self.name.to_owned(), self.offset, self.length);
        match bytes.read_at(offset, &mut buffer) {
            Ok(()) => Ok(buffer),
            Err(source) => Err(BlockError::Read { place, offset, length, source }),
        }
    }

    fn decode<T>(&self, decoded: Decoded<T>) -> Result<T, BlockError> {
        decoded.map_err(|reason| self.damaged(reason))
    }

    fn damaged(&self, reason: &str) -> BlockError {
        let (place, offset, length) = (self.name.to_owned(), self.offset, self.length);
        BlockError::Damaged { place, offset, length, reason: reason.to_owned() }
    }
}

fn header() -> [u8; HEADER_BYTES as usize] {
    let mut bytes = [0; HEADER_BYTES as usize];
    bytes[..8].copy_from_slice(&HEADER_MAGIC);
    bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..12]);
    bytes[12..].copy_from_slice(&crc.to_le_bytes());
    bytes
}

fn footer(contents: &[u8]) -> [u8; FOOTER_BYTES as usize] {
    let mut bytes = [0; FOOTER_BYTES as usize];
    bytes[..8].copy_from_slice(&(contents.len() as u64).to_le_bytes());
    bytes[8..12].copy_from_slice(&crc32c::crc32c(contents).to_le_bytes());
    bytes[12..16].copy_from_slice(&VERSION.to_le_bytes());
    let crc = crc32c::crc32c(&bytes[..16]);
    bytes[16..20].copy_from_slice(&crc.to_le_bytes());
    bytes[20..].copy_from_slice(&FOOTER_MAGIC);
    bytes
}

/// Length and checksum of the contents.
fn decode_footer(bytes: &[u8]) -> Decoded<Result<(u64, u32), BlockError>> {
    let mut footer = Decoder::new(bytes);
    let length = u64::from_le_bytes(footer.array()?);
    let contents_crc = u32::from_le_bytes(footer.array()?);
    let version = u32::from_le_bytes(footer.array()?);
    let crc = u32::from_le_bytes(footer.array()?);
    if footer.array()? != FOOTER_MAGIC {
        return Err("not a block: the last bytes are not its magic");
    }
    if !checksum_matches(&bytes[..16], crc) {
        return Err("checksum differs");
    }
    if version == 0 || version > VERSION {
        return Ok(Err(BlockError::Version { found: version, supported: VERSION }));
    }
    Ok(Ok((length, contents_crc)))
}

fn encode_contents(meta: &[u8], groups: &[Group]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, meta);
    put_varint(&mut out, groups.len() as u64);
    for group in groups {
        put_bytes(&mut out, group.name.as_bytes());
        put_bytes(&mut out, &group.attributes);
        put_varint(&mut out, group.sections.len() as u64);
        for section in &group.sections {
            out.push(section.kind);
            put_varint(&mut out, section.length);
            out.extend_from_slice(&section.crc.to_le_bytes());
        }
    }
    out
}

/// Sections lie back to back from the header to the contents at `end`, so no two can overlap and no byte is unchecked.
fn decode_contents(bytes: &[u8], end: u64) -> Decoded<(Vec<u8>, Vec<Group>)> {
    let mut contents = Decoder::new(bytes);
    let meta = contents.bytes()?.to_vec();
    let group_count = contents.varint()?;
    let mut groups = Vec::new();
    let mut offset = HEADER_BYTES;
    for _ in 0..group_count {
        let name = contents.text()?.to_owned();
        let attributes = contents.bytes()?.to_vec();
        let section_count = contents.varint()?;
        let mut sections = Vec::new();
        for _ in 0..section_count {
            let [kind] = contents.array()?;
            let length = contents.varint()?;
            let crc = u32::from_le_bytes(contents.array()?);
            sections.push(Section { kind, offset, length, crc });
            offset = offset.checked_add(length).filter(|&at| at <= end).ok_or("sections exceed the block")?;
        }
        groups.push(Group { name, attributes, sections });
    }
    contents.end()?;
    if offset == end { Ok((meta, groups)) } else { Err("sections do not fill the block") }
}

#[cfg(test)]
mod tests;
