//! Bytes of the log and of the manifest: LEB128 varints, length-prefixed text, little-endian fixed words.

/// Appends `value` as an unsigned LEB128 varint: 7 bits a byte, low ones first.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a signed number: zigzag, then varint.
pub(crate) fn put_signed(out: &mut Vec<u8>, value: i64) {
    put_varint(out, ((value << 1) ^ (value >> 63)) as u64);
}

/// Appends the length and the bytes of `text`.
pub(crate) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_varint(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Bytes that do not follow the format.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {offset}")]
pub struct DecodeError {
    /// Where in the payload.
    pub offset: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

/// Reads what the `put_` functions wrote; any bytes are fine, wrong ones give [`DecodeError`].
#[derive(Debug)]
pub(crate) struct Decoder<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Decoder<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    pub(crate) fn error(&self, reason: &'static str) -> DecodeError {
        DecodeError { offset: self.at, reason }
    }

    pub(crate) fn bytes(&mut self, len: usize) -> Result<&'a [u8], DecodeError> {
        let end = self.at.checked_add(len).filter(|&end| end <= self.bytes.len());
        let end = end.ok_or_else(|| self.error("unexpected end"))?;
        let bytes = &self.bytes[self.at..end];
        self.at = end;
        Ok(bytes)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        Ok(self.bytes(N)?.try_into().expect("a slice of N bytes"))
    }

    pub(crate) fn byte(&mut self) -> Result<u8, DecodeError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    pub(crate) fn varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let low = u64::from(byte & 0x7F);
            if shift == 63 && low > 1 {
                break;
            }
            value |= low << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.error("number exceeds 64 bits"))
    }

    pub(crate) fn varint_u32(&mut self) -> Result<u32, DecodeError> {
        let value = self.varint()?;
        u32::try_from(value).map_err(|_| self.error("number exceeds 32 bits"))
    }

    pub(crate) fn signed(&mut self) -> Result<i64, DecodeError> {
        let value = self.varint()?;
        Ok((value >> 1) as i64 ^ -((value & 1) as i64))
    }

    /// Number of entries that follow, each at least `min_bytes` long: so it bounds what a caller allocates.
    pub(crate) fn count(&mut self, min_bytes: usize) -> Result<usize, DecodeError> {
        let count = self.varint()?;
        let possible = (self.remaining() / min_bytes) as u64;
        if count > possible {
            return Err(self.error("more entries than bytes"));
        }
        Ok(count as usize)
    }

    pub(crate) fn text(&mut self) -> Result<&'a str, DecodeError> {
        let len = self.count(1)?;
        let bytes = self.bytes(len)?;
        std::str::from_utf8(bytes).map_err(|_| self.error("text is not UTF-8"))
    }

    pub(crate) fn end(&self) -> Result<(), DecodeError> {
        if self.remaining() == 0 { Ok(()) } else { Err(self.error("bytes after the end")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_round_trip() {
        let mut out = Vec::new();
        let unsigned = [0, 1, 127, 128, 300, u64::from(u32::MAX), u64::MAX];
        let signed = [0, -1, 1, i64::MIN, i64::MAX, -64, 64];
        unsigned.iter().for_each(|&v| put_varint(&mut out, v));
        signed.iter().for_each(|&v| put_signed(&mut out, v));
        let mut decoder = Decoder::new(&out);
        assert_eq!(unsigned.map(|_| decoder.varint().unwrap()), unsigned);
        assert_eq!(signed.map(|_| decoder.signed().unwrap()), signed);
        assert_eq!(decoder.end(), Ok(()));
    }

    #[test]
    fn overlong_and_cut_numbers_are_refused() {
        assert!(Decoder::new(&[0xFF; 11]).varint().is_err());
        assert!(Decoder::new(&[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02]).varint().is_err());
        assert!(Decoder::new(&[0x80]).varint().is_err());
        assert!(Decoder::new(&[0x80, 0x80, 0x80, 0x80, 0x10]).varint_u32().is_err());
    }

    #[test]
    fn a_count_never_exceeds_what_can_follow() {
        let mut out = Vec::new();
        put_varint(&mut out, 1 << 40);
        out.extend([0; 10]);
        assert_eq!(Decoder::new(&out).count(1).unwrap_err().reason, "more entries than bytes");
    }
}
