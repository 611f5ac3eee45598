//! Unpacking of compressed sections under a bound.

use std::borrow::Cow;
use std::io::Read;

use crate::elf::Section;

/// Bound on the bytes of one unpacked section. `.debug_info` of a browser has about a gigabyte; more than this is left
/// to servers of debug information.
pub const MAX_UNPACKED: u64 = 512 << 20;

/// Bytes of a section may grow by this factor at most; compilers' tables reach about 10.
const MAX_RATIO: u64 = 200;

impl<'d> Section<'d> {
    /// The bytes, unpacked if they are compressed (`SHF_COMPRESSED` with zlib or zstd). `None` if they are damaged or would
    /// become larger than [`MAX_UNPACKED`] or than 200 times their packed size.
    pub fn unpacked(&self) -> Option<Cow<'d, [u8]>> {
        self.unpacked_within(MAX_UNPACKED)
    }

    /// The same with another bound on the bytes.
    pub fn unpacked_within(&self, max_bytes: u64) -> Option<Cow<'d, [u8]>> {
        const HEADER: usize = 24;
        const ZLIB: u32 = 1;
        const ZSTD: u32 = 2;
        if !self.compressed {
            return Some(Cow::Borrowed(self.data));
        }
        let (header, packed) = self.data.split_at_checked(HEADER)?;
        let kind = u32::from_le_bytes(header[..4].try_into().expect("four bytes"));
        let size = u64::from_le_bytes(header[8..16].try_into().expect("eight bytes"));
        if size > max_bytes.min((packed.len() as u64).saturating_mul(MAX_RATIO)) {
            return None;
        }
        let unpacked = match kind {
            ZLIB => read_exactly(flate2::read::ZlibDecoder::new(packed), size),
            ZSTD => {
                let mut decoder = zstd::Decoder::with_buffer(packed).ok()?;
                decoder.window_log_max(27).ok()?;
                read_exactly(decoder, size)
            }
            _ => None,
        }?;
        Some(Cow::Owned(unpacked))
    }
}

/// Exactly `size` bytes, or nothing.
fn read_exactly(reader: impl Read, size: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(usize::try_from(size).ok()?);
    // One byte more would show that the header lies.
    reader.take(size + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 == size).then_some(bytes)
}
