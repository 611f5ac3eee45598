//! Numbers and texts of a chunk, in either of the two integer encodings.

use std::borrow::Cow;

use crate::JfrError;
use crate::budget::Allowance;

/// Why reading stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The bytes are not what they should be; `offset` counts from the start of the chunk.
    Damaged { what: &'static str, offset: usize },
    /// A limit is exceeded; nothing more may be read.
    Limit { what: &'static str, limit: u64 },
}

impl Fault {
    pub(crate) fn into_error(self, chunk_start: usize) -> JfrError {
        match self {
            Self::Damaged { what, offset } => JfrError::Unreadable { what, offset: chunk_start + offset },
            Self::Limit { what, limit } => JfrError::Limit { what, limit },
        }
    }
}

/// How integers of two bytes and more are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Integers {
    /// Seven bits per byte, least significant first, at most nine bytes of which the ninth holds eight bits.
    Compressed,
    /// Big endian at full width.
    Fixed,
}

/// A text as written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Text<'a> {
    Null,
    Here(Cow<'a, str>),
    /// Key in the table of strings.
    Constant(u64),
}

/// A position in a chunk. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
    integers: Integers,
    steps: &'a Allowance,
}

impl<'a> Cursor<'a> {
    pub(crate) fn new(bytes: &'a [u8], integers: Integers, steps: &'a Allowance) -> Self {
        Self { bytes, at: 0, integers, steps }
    }

    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// The same chunk at another position; positions behind the end read as truncated.
    pub(crate) fn at(&self, position: usize) -> Self {
        Self { at: position.min(self.bytes.len()), ..self.clone() }
    }

    /// The same position with an earlier end.
    pub(crate) fn until(&self, end: usize) -> Self {
        let end = end.min(self.bytes.len());
        Self { bytes: &self.bytes[..end], at: self.at.min(end), ..self.clone() }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn damaged(&self, what: &'static str) -> Fault {
        Fault::Damaged { what, offset: self.at }
    }

    /// Counts work that need not consume bytes.
    pub(crate) fn step(&self) -> Result<(), Fault> {
        self.steps.take(1)
    }

    pub(crate) fn advance(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let bytes = self.bytes[self.at..].get(..count).ok_or(self.damaged("data ends early"))?;
        self.at += count;
        Ok(bytes)
    }

    pub(crate) fn byte(&mut self) -> Result<u8, Fault> {
        let byte = *self.bytes.get(self.at).ok_or(self.damaged("data ends early"))?;
        self.at += 1;
        Ok(byte)
    }

    pub(crate) fn short(&mut self) -> Result<u64, Fault> {
        match self.integers {
            Integers::Compressed => self.varint(),
            Integers::Fixed => Ok(i64::from(i16::from_be_bytes(self.array()?)) as u64),
        }
    }

    /// Negative values are those of `i64` or of `i32`, depending on the writer.
    pub(crate) fn int(&mut self) -> Result<u64, Fault> {
        match self.integers {
            Integers::Compressed => self.varint(),
            Integers::Fixed => Ok(i64::from(i32::from_be_bytes(self.array()?)) as u64),
        }
    }

    pub(crate) fn long(&mut self) -> Result<u64, Fault> {
        match self.integers {
            Integers::Compressed => self.varint(),
            Integers::Fixed => Ok(u64::from_be_bytes(self.array()?)),
        }
    }

    /// A number of things that take at least one byte each.
    pub(crate) fn count(&mut self) -> Result<usize, Fault> {
        let count = self.int()?;
        match usize::try_from(count) {
            Ok(count) if count <= self.remaining() => Ok(count),
            _ => Err(self.damaged("count exceeds the data")),
        }
    }

    pub(crate) fn text(&mut self) -> Result<Text<'a>, Fault> {
        match self.byte()? {
            0 => Ok(Text::Null),
            1 => Ok(Text::Here(Cow::Borrowed(""))),
            2 => Ok(Text::Constant(self.long()?)),
            3 => Ok(Text::Here(String::from_utf8_lossy(self.text_bytes()?))),
            4 => self.utf16().map(|text| Text::Here(Cow::Owned(text))),
            5 => Ok(Text::Here(latin1(self.text_bytes()?))),
            _ => Err(self.damaged("unknown text encoding")),
        }
    }

    pub(crate) fn skip_text(&mut self) -> Result<(), Fault> {
        match self.byte()? {
            0 | 1 => {}
            2 => {
                self.long()?;
            }
            3 | 5 => {
                let count = self.count()?;
                self.advance(count)?;
            }
            4 => {
                for _ in 0..self.count()? {
                    self.short()?;
                }
            }
            _ => return Err(self.damaged("unknown text encoding")),
        }
        Ok(())
    }

    fn text_bytes(&mut self) -> Result<&'a [u8], Fault> {
        let count = self.count()?;
        self.steps.take(count)?;
        self.advance(count)
    }

    fn utf16(&mut self) -> Result<String, Fault> {
        let count = self.count()?;
        self.steps.take(count)?;
        let units = (0..count).map(|_| self.short().map(|unit| unit as u16)).collect::<Result<Vec<_>, _>>()?;
        Ok(String::from_utf16_lossy(&units))
    }

    fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0;
        for shift in (0..56).step_by(7) {
            let byte = u64::from(self.byte()?);
            value |= (byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Ok(value | u64::from(self.byte()?) << 56)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        Ok(self.advance(N)?.try_into().expect("advance returns as many bytes as asked for"))
    }
}

fn latin1(bytes: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.is_ascii() => Cow::Borrowed(text),
        _ => Cow::Owned(bytes.iter().map(|&byte| char::from(byte)).collect()),
    }
}
