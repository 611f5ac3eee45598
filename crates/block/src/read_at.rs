//! Where the bytes of a block come from.

use std::io;

/// Ranged reads from an immutable sequence of bytes: a file, an object in a store, memory.
#[allow(clippy::len_without_is_empty)] // nobody asks
pub trait ReadAt: Send + Sync {
    /// Fills `buf` from `offset` on. Errors: `UnexpectedEof` where the bytes end before.
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()>;

    /// Number of bytes.
    fn len(&self) -> u64;
}

impl ReadAt for Vec<u8> {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let bytes = usize::try_from(offset).ok().and_then(|start| self.get(start..)?.get(..buf.len()));
        buf.copy_from_slice(bytes.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn len(&self) -> u64 {
        self.as_slice().len() as u64
    }
}
