//! Protocol Buffers wire format: fields in, fields out, without a schema.
//!
//! For messages that are decoded by hand because generated code would allocate before anybody counted.
//! Source: <https://protobuf.dev/programming-guides/encoding/>.

/// Damage at the level of the wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtoError {
    /// The bytes end inside a field.
    #[error("protobuf message is truncated")]
    Truncated,
    /// A number takes more than 64 bits or 10 bytes.
    #[error("protobuf varint exceeds 64 bits")]
    VarintTooLong,
    /// Field numbers go from 1 to 2^29 - 1.
    #[error("protobuf tag {tag} holds an invalid field number")]
    FieldNumber {
        /// The tag as read.
        tag: u64,
    },
    /// Groups (wire types 3 and 4) and the unassigned wire types 6 and 7.
    #[error("protobuf field {field} has unsupported wire type {wire_type}")]
    UnsupportedWireType {
        /// Number of the field.
        field: u32,
        /// Its wire type.
        wire_type: u8,
    },
    /// The wire type of a known field does not fit its type.
    #[error("protobuf field {field} has the wrong wire type, expected {expected}")]
    WrongWireType {
        /// Number of the field.
        field: u32,
        /// What it should have been.
        expected: &'static str,
    },
}

/// Reads the fields of one message in their order on the wire.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the first byte of `message`.
    pub fn new(message: &'a [u8]) -> Self {
        Self { rest: message }
    }

    /// Number of bytes that were not read yet.
    pub fn remaining(&self) -> usize {
        self.rest.len()
    }

    /// The next field, `None` at the end of the message.
    #[inline(always)] // returned through memory, its large result costs a fifth of decoding a profile
    #[allow(clippy::inline_always)]
    pub fn field(&mut self) -> Result<Option<Field<'a>>, ProtoError> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let tag = self.varint()?;
        let number = u32::try_from(tag >> 3).unwrap_or(0);
        if number == 0 || number >= 1 << 29 {
            return Err(ProtoError::FieldNumber { tag });
        }
        let value = match (tag & 7) as u8 {
            0 => Value::Varint(self.varint()?),
            1 => Value::Fixed64(u64::from_le_bytes(self.array()?)),
            2 => {
                let len = self.varint()?;
                Value::Bytes(self.bytes(len)?)
            }
            5 => Value::Fixed32(u32::from_le_bytes(self.array()?)),
            wire_type => return Err(ProtoError::UnsupportedWireType { field: number, wire_type }),
        };
        Ok(Some(Field { number, value }))
    }

    /// A base 128 varint.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, ProtoError> {
        match *self.rest {
            [low, ref rest @ ..] if low < 0x80 => {
                self.rest = rest;
                Ok(u64::from(low))
            }
            [low, high, ref rest @ ..] if high < 0x80 => {
                self.rest = rest;
                Ok(u64::from(low & 0x7F) | u64::from(high) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, ProtoError> {
        let mut value = 0;
        for (i, &byte) in self.rest.iter().take(10).enumerate() {
            value |= u64::from(byte & 0x7F) << (7 * i);
            if byte < 0x80 {
                if i == 9 && byte > 1 {
                    return Err(ProtoError::VarintTooLong);
                }
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        Err(if self.rest.len() < 10 { ProtoError::Truncated } else { ProtoError::VarintTooLong })
    }

    /// The next `len` bytes.
    #[inline]
    pub fn bytes(&mut self, len: u64) -> Result<&'a [u8], ProtoError> {
        let len = usize::try_from(len).map_err(|_| ProtoError::Truncated)?;
        let (head, rest) = self.rest.split_at_checked(len).ok_or(ProtoError::Truncated)?;
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], ProtoError> {
        let (head, rest) = self.rest.split_first_chunk().ok_or(ProtoError::Truncated)?;
        self.rest = rest;
        Ok(*head)
    }
}

/// One field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// Its number in the schema, 1 to 2^29 - 1.
    pub number: u32,
    /// Its value.
    pub value: Value<'a>,
}

/// Value of a field by wire type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// Integers, booleans, enums.
    Varint(u64),
    /// 8 bytes, little endian.
    Fixed64(u64),
    /// Strings, bytes, messages, packed numbers.
    Bytes(&'a [u8]),
    /// 4 bytes, little endian.
    Fixed32(u32),
}

impl<'a> Field<'a> {
    /// As an unsigned number.
    #[inline]
    pub fn uint(&self) -> Result<u64, ProtoError> {
        match self.value {
            Value::Varint(value) => Ok(value),
            _ => Err(self.wrong_wire_type("a varint")),
        }
    }

    /// As an `int64`: two's complement, not zigzag.
    #[inline]
    pub fn int(&self) -> Result<i64, ProtoError> {
        Ok(self.uint()?.cast_signed())
    }

    /// As a string, bytes or a message.
    #[inline]
    pub fn bytes(&self) -> Result<&'a [u8], ProtoError> {
        match self.value {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(self.wrong_wire_type("a length")),
        }
    }

    /// How many numbers the field adds to a repeated integer, packed or not, without reading them.
    #[inline]
    pub fn uint_count(&self) -> Result<usize, ProtoError> {
        match self.value {
            Value::Varint(_) => Ok(1),
            Value::Bytes(packed) => match packed.last() {
                Some(0x80..) => Err(ProtoError::Truncated),
                _ => Ok(packed.chunks(255).map(last_bytes).sum()),
            },
            _ => Err(self.wrong_wire_type("a varint or packed varints")),
        }
    }

    /// Calls `visit` with the numbers that the field adds to a repeated integer, packed or not.
    #[inline(always)] // where most of a profile's bytes are read
    #[allow(clippy::inline_always)]
    pub fn each_uint<E: From<ProtoError>>(&self, mut visit: impl FnMut(u64) -> Result<(), E>) -> Result<(), E> {
        let mut packed = match self.value {
            Value::Varint(value) => return visit(value),
            Value::Bytes(packed) => packed,
            _ => return Err(self.wrong_wire_type("a varint or packed varints").into()),
        };
        // Nearly all numbers take one or two bytes, in no order that a branch could guess.
        while let [first, second, ..] = *packed {
            if first & second & 0x80 != 0 {
                let mut reader = Reader::new(packed);
                visit(reader.long_varint()?)?;
                packed = reader.rest;
                continue;
            }
            let two = first >> 7;
            visit(u64::from(first & 0x7F) | u64::from((second & 0x7F) * two) << 7)?;
            packed = &packed[1 + usize::from(two)..];
        }
        match packed {
            [] => Ok(()),
            _ => visit(Reader::new(packed).varint()?),
        }
    }

    #[cold]
    fn wrong_wire_type(&self, expected: &'static str) -> ProtoError {
        ProtoError::WrongWireType { field: self.number, expected }
    }
}

/// How many of at most 255 bytes end a varint.
fn last_bytes(bytes: &[u8]) -> usize {
    bytes.iter().map(|&byte| u8::from(byte < 0x80)).sum::<u8>().into()
}

/// Appends a base 128 varint.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a number field; 0 is left out, as proto3 does.
pub fn put_uint(out: &mut Vec<u8>, field: u32, value: u64) {
    if value != 0 {
        put_varint(out, u64::from(field) << 3);
        put_varint(out, value);
    }
}

/// Appends a string, bytes or message field, also when it is empty.
pub fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_varint(out, u64::from(field) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests;
