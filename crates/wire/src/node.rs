//! The node layout that the tree and trie formats share.

use crate::{FormatError, ProtoError, Reader};

/// A node as on the wire.
pub(crate) struct WireNode<'a> {
    pub(crate) name: &'a [u8],
    pub(crate) value: i64,
    pub(crate) child_count: u64,
}

/// Reads one node after the other.
pub(crate) struct NodeReader<'a> {
    format: &'static str,
    len: usize,
    reader: Reader<'a>,
}

/// Bytes of a node without name, value and children.
const SMALLEST_NODE_BYTES: usize = 3;

impl<'a> NodeReader<'a> {
    pub(crate) fn new(format: &'static str, bytes: &'a [u8]) -> Self {
        Self { format, len: bytes.len(), reader: Reader::new(bytes) }
    }

    pub(crate) fn node(&mut self) -> Result<WireNode<'a>, FormatError> {
        let name_bytes = self.number()?;
        let name = self.reader.bytes(name_bytes).map_err(|_| self.damaged("name is longer than the rest"))?;
        let value = i64::try_from(self.number()?).map_err(|_| FormatError::Overflow)?;
        let child_count = self.number()?;
        if child_count > (self.reader.remaining() / SMALLEST_NODE_BYTES) as u64 {
            return Err(self.damaged("more children than the rest can hold"));
        }
        Ok(WireNode { name, value, child_count })
    }

    /// Checks that all bytes were read.
    pub(crate) fn finish(&self) -> Result<(), FormatError> {
        if self.reader.remaining() > 0 { Err(self.damaged("bytes after the last node")) } else { Ok(()) }
    }

    pub(crate) fn damaged(&self, reason: &'static str) -> FormatError {
        FormatError::Binary { format: self.format, offset: self.len - self.reader.remaining(), reason }
    }

    fn number(&mut self) -> Result<u64, FormatError> {
        self.reader.varint().map_err(|error| {
            self.damaged(match error {
                ProtoError::Truncated => "the bytes end early",
                _ => "number exceeds 64 bits",
            })
        })
    }
}
