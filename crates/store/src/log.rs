//! Framing of the log: records in a file, and which of them survived. `docs/format/log.md` draws it.

use std::io;
use std::sync::Arc;

use argand_block::ReadAt;

use crate::disk::{Disk, DiskFile};

/// First bytes of a log file.
const MAGIC: [u8; 8] = *b"ARGANDLG";
/// Version of the format.
const VERSION: u32 = 1;
/// Magic, version, checksum, generation, salt.
const FILE_HEADER_LEN: u64 = 32;
/// Salt, sequence number, start of batch, length, checksum of the payload, checksum of this header.
const RECORD_HEADER_LEN: usize = 36;
/// Longest payload that is written or read.
pub(crate) const MAX_PAYLOAD_BYTES: usize = 1 << 30;

/// Path of the log of a generation.
pub(crate) fn path(generation: u64) -> String {
    format!("log/{generation:016}.log")
}

/// The generation that a file name in `log/` names.
pub(crate) fn generation_of(name: &str) -> Option<u64> {
    name.strip_suffix(".log")?.parse().ok()
}

/// A payload and its checksum, ready for the log.
#[derive(Debug)]
pub(crate) struct Payload {
    pub(crate) bytes: Vec<u8>,
    crc: u32,
}

impl Payload {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        assert!(bytes.len() <= MAX_PAYLOAD_BYTES, "uploads are bounded before they are encoded");
        let crc = crc32c::crc32c(&bytes);
        Self { bytes, crc }
    }
}

/// A log that is being written.
pub(crate) struct LogFile {
    file: Box<dyn DiskFile>,
    salt: u64,
    next_seq: u64,
    len: u64,
    buffer: Vec<u8>,
}

/// Capacity of the write buffer that is kept between batches.
const KEPT_BUFFER_BYTES: usize = 4 << 20;

impl LogFile {
    /// Makes an empty log that is durable with its name.
    pub(crate) fn create(disk: &dyn Disk, generation: u64, salt: u64) -> io::Result<Self> {
        let mut file = disk.create(&path(generation))?;
        file.append(&file_header(generation, salt))?;
        file.sync()?;
        disk.sync_dir("log")?;
        Ok(Self { file, salt, next_seq: 0, len: FILE_HEADER_LEN, buffer: Vec::new() })
    }

    /// Bytes of the file.
    pub(crate) fn len(&self) -> u64 {
        self.len
    }

    /// Appends a batch in one write. An error is final for this file.
    pub(crate) fn append<'a>(&mut self, batch: impl Iterator<Item = &'a Payload>) -> io::Result<()> {
        self.buffer.clear();
        for payload in batch {
            self.buffer.extend_from_slice(&record_header(self.salt, self.next_seq, self.len, payload));
            self.buffer.extend_from_slice(&payload.bytes);
            self.next_seq += 1;
        }
        self.file.append(&self.buffer)?;
        self.len += self.buffer.len() as u64;
        self.buffer.shrink_to(KEPT_BUFFER_BYTES);
        Ok(())
    }

    /// Makes all batches durable. An error is final for this file.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        self.file.sync()
    }
}

fn file_header(generation: u64, salt: u64) -> [u8; FILE_HEADER_LEN as usize] {
    let mut header = [0; FILE_HEADER_LEN as usize];
    header[..8].copy_from_slice(&MAGIC);
    header[8..12].copy_from_slice(&VERSION.to_le_bytes());
    header[16..24].copy_from_slice(&generation.to_le_bytes());
    header[24..].copy_from_slice(&salt.to_le_bytes());
    let crc = crc32c::crc32c(&header);
    header[12..16].copy_from_slice(&crc.to_le_bytes());
    header
}

fn record_header(salt: u64, seq: u64, batch_start: u64, payload: &Payload) -> [u8; RECORD_HEADER_LEN] {
    let mut header = [0; RECORD_HEADER_LEN];
    header[..8].copy_from_slice(&salt.to_le_bytes());
    header[8..16].copy_from_slice(&seq.to_le_bytes());
    header[16..24].copy_from_slice(&batch_start.to_le_bytes());
    header[24..28].copy_from_slice(&(payload.bytes.len() as u32).to_le_bytes());
    header[28..32].copy_from_slice(&payload.crc.to_le_bytes());
    let crc = crc32c::crc32c(&header[..32]);
    header[32..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// What was found in a log besides its records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LogReport {
    /// Records given to the visitor.
    pub(crate) records: u64,
    /// Bytes of the file.
    pub(crate) bytes: u64,
    /// Bytes at the end that were being written when the machine stopped. Nothing in them was acknowledged, unless
    /// they are the very last batch and the medium damaged it.
    pub(crate) torn_bytes: u64,
    /// What the medium lost: damaged places before a later batch, whose existence proves that they were durable.
    pub(crate) damage: Vec<String>,
    /// Where the good records of the last batch start. Nothing proves that they are on disk rather than in the page
    /// cache, where they may stay even after a failed sync and a successful one after it.
    pub(crate) last_batch_start: u64,
    /// The bytes from there to the end of the last good record: writing them again makes them durable.
    pub(crate) last_batch: Vec<u8>,
}

/// Calls `visit` with the payload of every record that can be trusted, in order.
///
/// A record after a damaged place is visited too; the visitor decides whether it can do without the lost ones, and
/// returns what is wrong if it cannot.
pub(crate) fn replay(
    file: Arc<dyn ReadAt>,
    generation: u64,
    mut visit: impl FnMut(&[u8]) -> Result<(), String>,
) -> io::Result<LogReport> {
    let mut reader = Reader { len: file.len(), window: Window { file, start: 0, bytes: Vec::new() }, salt: None };
    let mut report = LogReport { bytes: reader.len, ..LogReport::default() };
    let header_is_good = reader.file_header(generation)?;
    if !header_is_good && !reader.adopt_salt()? {
        report.torn_bytes = reader.len;
        return Ok(report);
    }
    if !header_is_good {
        report.damage.push("file header".to_owned());
    }

    let (mut offset, mut next_seq) = (FILE_HEADER_LEN, 0);
    // Where the last batch starts: everything before it was durable. Looked up when the first damage is met.
    let mut durable_end: Option<u64> = None;
    while offset < reader.len {
        if let Some(record) = reader.record(offset)?.filter(|record| record.seq >= next_seq) {
            if record.batch_start > report.last_batch_start || report.last_batch.is_empty() {
                report.last_batch_start = offset;
                report.last_batch.clear();
            }
            let bytes = reader.window.bytes(offset, RECORD_HEADER_LEN + record.len)?;
            report.last_batch.extend_from_slice(bytes);
            match visit(&bytes[RECORD_HEADER_LEN..]) {
                Ok(()) => report.records += 1,
                Err(reason) => report.damage.push(format!("record {} at {offset}: {reason}", record.seq)),
            }
            (offset, next_seq) = (record.end(), record.seq + 1);
            continue;
        }
        let durable_end = match durable_end {
            Some(known) => known,
            None => *durable_end.insert(reader.last_batch_start(offset)?),
        };
        let next = reader.find(offset + 1, next_seq)?.filter(|_| offset < durable_end);
        let Some(next) = next else {
            report.torn_bytes = reader.len - offset;
            break;
        };
        let lost = reader.record_seq(next)? - next_seq;
        report.damage.push(format!("bytes {offset} to {next}, {lost} records lost"));
        offset = next;
    }
    Ok(report)
}

/// Reads records at given places.
struct Reader {
    window: Window,
    len: u64,
    salt: Option<[u8; 8]>,
}

struct Found {
    seq: u64,
    batch_start: u64,
    payload: u64,
    len: usize,
}

impl Found {
    fn end(&self) -> u64 {
        self.payload + self.len as u64
    }
}

impl Reader {
    /// Whether the header is whole and this generation's; takes the salt from it.
    fn file_header(&mut self, generation: u64) -> io::Result<bool> {
        if self.len < FILE_HEADER_LEN {
            return Ok(false);
        }
        let bytes = self.window.bytes(0, FILE_HEADER_LEN as usize)?;
        let salt = u64_at(bytes, 24);
        let is_good = bytes == file_header(generation, salt);
        if is_good {
            self.salt = Some(salt.to_le_bytes());
        }
        Ok(is_good)
    }

    /// Takes the salt from the first record where the file header is lost.
    fn adopt_salt(&mut self) -> io::Result<bool> {
        if self.len < FILE_HEADER_LEN + 8 {
            return Ok(false);
        }
        let bytes = self.window.bytes(FILE_HEADER_LEN, 8)?;
        self.salt = Some(bytes.try_into().expect("8 bytes were asked for"));
        Ok(self.record(FILE_HEADER_LEN)?.is_some())
    }

    /// The record at `offset`, if all its bytes are there and right.
    fn record(&mut self, offset: u64) -> io::Result<Option<Found>> {
        let payload = offset + RECORD_HEADER_LEN as u64;
        if payload > self.len {
            return Ok(None);
        }
        let header = self.window.bytes(offset, RECORD_HEADER_LEN)?;
        let is_good = Some(&header[..8]) == self.salt.as_ref().map(<[u8; 8]>::as_slice)
            && crc32c::crc32c(&header[..32]) == u32_at(header, 32);
        let found = Found {
            seq: u64_at(header, 8),
            batch_start: u64_at(header, 16),
            payload,
            len: u32_at(header, 24) as usize,
        };
        let crc = u32_at(header, 28);
        if !is_good || found.len > MAX_PAYLOAD_BYTES || found.end() > self.len || found.batch_start > offset {
            return Ok(None);
        }
        let payload = self.window.bytes(payload, found.len)?;
        Ok((crc32c::crc32c(payload) == crc).then_some(found))
    }

    fn record_seq(&mut self, offset: u64) -> io::Result<u64> {
        Ok(self.record(offset)?.map_or(0, |record| record.seq))
    }

    /// The first good record at or after `from`. The salt, which no client knows, marks where to look.
    fn find(&mut self, from: u64, min_seq: u64) -> io::Result<Option<u64>> {
        let salt = self.salt.expect("salt is known before records are read");
        let mut at = from;
        while at + RECORD_HEADER_LEN as u64 <= self.len {
            let len = (WINDOW_BYTES as u64).min(self.len - at) as usize;
            let bytes = self.window.bytes(at, len)?;
            let Some(hit) = bytes.windows(salt.len()).position(|window| window == salt) else {
                at += (len - salt.len() + 1) as u64;
                continue;
            };
            let candidate = at + hit as u64;
            if self.record(candidate)?.is_some_and(|record| record.seq >= min_seq) {
                return Ok(Some(candidate));
            }
            at = candidate + 1;
        }
        Ok(None)
    }

    /// Start of the last batch that left a good record after `from`; 0 without one.
    fn last_batch_start(&mut self, from: u64) -> io::Result<u64> {
        let (mut last, mut offset) = (0, from);
        while offset < self.len {
            offset = match self.record(offset)? {
                Some(record) => {
                    last = last.max(record.batch_start);
                    record.end()
                }
                None => match self.find(offset + 1, 0)? {
                    Some(next) => next,
                    None => break,
                },
            };
        }
        Ok(last)
    }
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("4 bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("8 bytes"))
}

/// Bytes read ahead at once.
const WINDOW_BYTES: usize = 1 << 20;

/// A part of a file in memory.
struct Window {
    file: Arc<dyn ReadAt>,
    start: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// `len` bytes from `offset`, which lie inside the file.
    fn bytes(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let end = offset + len as u64;
        if offset < self.start || end > self.start + self.bytes.len() as u64 {
            let wanted = (len.max(WINDOW_BYTES) as u64).min(self.file.len() - offset) as usize;
            self.bytes.clear();
            self.bytes.resize(wanted, 0);
            self.start = offset;
            if let Err(error) = self.file.read_at(offset, &mut self.bytes) {
                self.bytes.clear();
                return Err(error);
            }
        }
        let from = (offset - self.start) as usize;
        Ok(&self.bytes[from..from + len])
    }
}

#[cfg(test)]
mod tests;
