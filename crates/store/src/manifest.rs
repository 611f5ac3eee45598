//! The manifest: which files make up the store. `docs/format/manifest.md` draws it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use argand_model::{TenantId, TimeRange};

use crate::StoreError;
use crate::codec::{DecodeError, Decoder, put_signed, put_text, put_varint};
use crate::disk::{self, Disk};
use crate::error::io_error;
use crate::lock;

/// First bytes of the file.
const MAGIC: [u8; 8] = *b"ARGANDMF";
/// Version of the format.
const VERSION: u32 = 1;
/// Largest file that is read.
const MAX_BYTES: u64 = 1 << 30;

/// A block as the manifest knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockInfo {
    /// ULID, unique in the store.
    pub id: u128,
    /// Whose data it holds.
    pub tenant: TenantId,
    /// 0 as flushed, 1 and 2 as compacted.
    pub level: u8,
    /// From the first profile's time to the last one's.
    pub time: TimeRange,
    /// Size of the file.
    pub bytes: u64,
    /// CRC-32C of the file.
    pub crc: u32,
    /// Number of profiles.
    pub profiles: u64,
    /// Number of rows.
    pub rows: u64,
    /// Rows of the largest dataset: what bounds the memory of a compaction.
    pub largest_dataset_rows: u32,
}

/// Milliseconds since the Unix epoch that a ULID states.
pub(crate) fn ulid_ms(id: u128) -> u64 {
    (id >> 80) as u64
}

/// A ULID from a time and random bits.
pub(crate) fn ulid(ms: u64, random: u128) -> u128 {
    u128::from(ms & ((1 << 48) - 1)) << 80 | random & ((1 << 80) - 1)
}

/// A ULID as text: 26 digits of Crockford's base 32.
pub(crate) fn ulid_text(id: u128) -> String {
    const DIGITS: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    (0..26).rev().map(|digit| char::from(DIGITS[(id >> (5 * digit) & 31) as usize])).collect()
}

impl BlockInfo {
    /// Directory of a tenant's blocks: a hash, so that no tenant id becomes a path.
    pub(crate) fn directory(tenant: &TenantId) -> String {
        format!("blocks/{:016x}", twox_hash::XxHash3_64::oneshot(tenant.as_str().as_bytes()))
    }

    /// File inside the data directory.
    pub(crate) fn path(&self) -> String {
        format!("{}/{}", Self::directory(&self.tenant), self.file_name())
    }

    /// Name of the file.
    pub(crate) fn file_name(&self) -> String {
        format!("{}.blk", ulid_text(self.id))
    }
}

/// A damaged block that was put aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuarantinedBlock {
    /// The block.
    pub block: BlockInfo,
    /// What is wrong with it.
    pub reason: String,
}

/// The state of the store: what is not named here does not exist.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Counts the changes.
    pub revision: u64,
    /// Logs up to this generation are in blocks.
    pub flushed_through: u64,
    /// Blocks by id.
    pub blocks: BTreeMap<u128, Arc<BlockInfo>>,
    /// Damaged blocks by id; queries leave them out.
    pub quarantined: BTreeMap<u128, QuarantinedBlock>,
}

/// Where the manifest is kept.
pub trait Metastore: Send + Sync {
    /// The newest manifest, empty in a new store, and what was found damaged on the way.
    fn load(&self) -> Result<(Manifest, Vec<String>), StoreError>;

    /// Replaces the manifest of revision `expected`; `next` has a greater one that was never tried before.
    ///
    /// On success it is durable. Errors: [`StoreError::Conflict`] if the revision is another one: somebody else
    /// writes; after any other error either of the two may be found later.
    fn swap(&self, expected: u64, next: &Manifest) -> Result<(), StoreError>;
}

/// The manifest as two equal files, so that damage to one is survived.
pub(crate) struct FileMetastore {
    disk: Arc<dyn Disk>,
    revision: Mutex<u64>,
}

/// Written in this order.
const COPIES: [&str; 2] = ["MANIFEST", "MANIFEST.copy"];

impl FileMetastore {
    pub(crate) fn new(disk: Arc<dyn Disk>) -> Self {
        Self { disk, revision: Mutex::new(0) }
    }

    fn read(&self, path: &str) -> Result<Manifest, StoreError> {
        let file = self.disk.open(path).map_err(io_error("open", path))?;
        let damaged = |reason: String| StoreError::Damaged { path: path.to_owned(), reason };
        if file.len() > MAX_BYTES {
            return Err(damaged(format!("{} bytes are too many", file.len())));
        }
        let mut bytes = vec![0; file.len() as usize];
        file.read_at(0, &mut bytes).map_err(io_error("read", path))?;
        decode(&bytes).map_err(|error| damaged(error.to_string()))
    }
}

impl Metastore for FileMetastore {
    fn load(&self) -> Result<(Manifest, Vec<String>), StoreError> {
        let names = self.disk.list("").map_err(io_error("list", "data directory"))?;
        let (mut newest, mut damage) = (None::<Manifest>, Vec::new());
        let mut worst = None;
        for path in COPIES.into_iter().filter(|path| names.iter().any(|name| name == path)) {
            match self.read(path) {
                Ok(manifest) if newest.as_ref().is_none_or(|other| other.revision < manifest.revision) => {
                    newest = Some(manifest);
                }
                Ok(_) => {}
                Err(error @ StoreError::Damaged { .. }) => {
                    damage.push(error.to_string());
                    worst = Some(error);
                }
                Err(error) => return Err(error),
            }
        }
        let manifest = match (newest, worst) {
            (Some(manifest), _) => manifest,
            (None, Some(error)) => return Err(error),
            (None, None) => Manifest::default(),
        };
        *lock::mutex(&self.revision) = manifest.revision;
        Ok((manifest, damage))
    }

    fn swap(&self, expected: u64, next: &Manifest) -> Result<(), StoreError> {
        let mut revision = lock::mutex(&self.revision);
        if *revision != expected || next.revision <= expected {
            return Err(StoreError::Conflict { expected, found: *revision });
        }
        let bytes = encode(next);
        for path in COPIES {
            disk::publish(self.disk.as_ref(), path, |file| file.append(&bytes)).map_err(io_error("write", path))?;
        }
        *revision = next.revision;
        Ok(())
    }
}

fn encode(manifest: &Manifest) -> Vec<u8> {
    let Manifest { revision, flushed_through, blocks, quarantined } = manifest;
    let mut out = Vec::with_capacity(64 + 128 * (blocks.len() + quarantined.len()));
    out.extend_from_slice(&MAGIC);
    out.extend_from_slice(&VERSION.to_le_bytes());
    put_varint(&mut out, *revision);
    put_varint(&mut out, *flushed_through);
    put_varint(&mut out, blocks.len() as u64);
    blocks.values().for_each(|block| put_block(&mut out, block));
    put_varint(&mut out, quarantined.len() as u64);
    for QuarantinedBlock { block, reason } in quarantined.values() {
        put_block(&mut out, block);
        put_text(&mut out, reason);
    }
    let crc = crc32c::crc32c(&out);
    out.extend_from_slice(&crc.to_le_bytes());
    out
}

fn put_block(out: &mut Vec<u8>, block: &BlockInfo) {
    let BlockInfo { id, tenant, level, time, bytes, crc, profiles, rows, largest_dataset_rows } = block;
    out.extend_from_slice(&id.to_le_bytes());
    put_text(out, tenant.as_str());
    out.push(*level);
    put_signed(out, time.start_ns);
    put_signed(out, time.end_ns);
    put_varint(out, *bytes);
    out.extend_from_slice(&crc.to_le_bytes());
    for number in [*profiles, *rows, u64::from(*largest_dataset_rows)] {
        put_varint(out, number);
    }
}

fn decode(bytes: &[u8]) -> Result<Manifest, DecodeError> {
    let too_short = DecodeError { offset: bytes.len(), reason: "unexpected end" };
    let (content, crc) = bytes.split_last_chunk::<4>().ok_or(too_short)?;
    let mut decoder = Decoder::new(content);
    if decoder.array()? != MAGIC {
        return Err(decoder.error("not a manifest"));
    }
    if crc32c::crc32c(content) != u32::from_le_bytes(*crc) {
        return Err(decoder.error("checksum does not match"));
    }
    if u32::from_le_bytes(decoder.array()?) != VERSION {
        return Err(decoder.error("version is not supported"));
    }
    let mut manifest =
        Manifest { revision: decoder.varint()?, flushed_through: decoder.varint()?, ..Manifest::default() };
    for _ in 0..decoder.count(32)? {
        let block = decode_block(&mut decoder)?;
        manifest.blocks.insert(block.id, Arc::new(block));
    }
    for _ in 0..decoder.count(32)? {
        let block = decode_block(&mut decoder)?;
        let reason = decoder.text()?.to_owned();
        manifest.quarantined.insert(block.id, QuarantinedBlock { block, reason });
    }
    decoder.end()?;
    Ok(manifest)
}

fn decode_block(decoder: &mut Decoder<'_>) -> Result<BlockInfo, DecodeError> {
    let id = u128::from_le_bytes(decoder.array()?);
    let tenant = decoder.text()?.parse().map_err(|_| decoder.error("invalid tenant"))?;
    Ok(BlockInfo {
        id,
        tenant,
        level: decoder.byte()?,
        time: TimeRange { start_ns: decoder.signed()?, end_ns: decoder.signed()? },
        bytes: decoder.varint()?,
        crc: u32::from_le_bytes(decoder.array()?),
        profiles: decoder.varint()?,
        rows: decoder.varint()?,
        largest_dataset_rows: decoder.varint_u32()?,
    })
}

#[cfg(test)]
mod tests;
