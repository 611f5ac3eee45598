//! Bounded decompression.
//!
//! A compressed body says nothing reliable about its size, so output grows only as bytes really arrive and stops
//! at a limit. Nested compression is not looked into: what comes out is data.

use std::borrow::Cow;
use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use libdeflater::Decompressor;

/// When to stop inflating.
///
/// The output may reach `max(ratio_free_bytes, input length * max_ratio)`, and never exceeds `output_bytes`.
/// Profiles are repetitive: folded text of an idle service reaches 1:500, and zeros reach gzip's bound of 1:1030.
/// So the ratio only catches what is large as well; small outputs are bounded well enough by their size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InflateLimits {
    /// Bytes of output that are always too many.
    pub output_bytes: usize,
    /// Bytes of output per byte of input.
    pub max_ratio: usize,
    /// Bytes of output that are fine at any ratio.
    pub ratio_free_bytes: usize,
}

impl InflateLimits {
    /// At most `output_bytes`, and at most 200:1 for outputs of more than 8 MiB.
    pub fn new(output_bytes: usize) -> Self {
        Self { output_bytes, max_ratio: 200, ratio_free_bytes: 8 << 20 }
    }

    fn check(&self, input_bytes: usize, output_bytes: usize) -> Result<(), InflateError> {
        if output_bytes > self.output_bytes {
            return Err(InflateError::TooLarge { limit: self.output_bytes });
        }
        if output_bytes > self.ratio_bytes(input_bytes) {
            return Err(InflateError::Ratio { limit: self.max_ratio, input_bytes });
        }
        Ok(())
    }

    fn ratio_bytes(&self, input_bytes: usize) -> usize {
        input_bytes.saturating_mul(self.max_ratio).max(self.ratio_free_bytes)
    }
}

/// Why something could not be inflated.
#[derive(Debug, thiserror::Error)]
pub enum InflateError {
    /// More output than allowed.
    #[error("decompressed size exceeds the limit of {limit} bytes")]
    TooLarge {
        /// Allowed bytes.
        limit: usize,
    },
    /// More output for the input than allowed: most likely an attack.
    #[error("decompressed size exceeds {limit} times the compressed size of {input_bytes} bytes")]
    Ratio {
        /// Allowed bytes of output per byte of input.
        limit: usize,
        /// Length of the input.
        input_bytes: usize,
    },
    /// Not the format that it claims to be, damaged or cut short.
    #[error("damaged {format} data: {reason}")]
    Damaged {
        /// `gzip` or `zstd`.
        format: &'static str,
        /// What the decompressor says.
        reason: String,
    },
}

/// Whether `bytes` start like a gzip member.
pub fn is_gzip(bytes: &[u8]) -> bool {
    bytes.starts_with(&[0x1F, 0x8B])
}

/// Inflates gzip, told by its magic bytes; anything else is passed on as it is, if it is not too large.
pub fn gunzip_if_needed(input: &[u8], limits: InflateLimits) -> Result<Cow<'_, [u8]>, InflateError> {
    if is_gzip(input) {
        return gunzip(input, limits).map(Cow::Owned);
    }
    if input.len() > limits.output_bytes {
        return Err(InflateError::TooLarge { limit: limits.output_bytes });
    }
    Ok(Cow::Borrowed(input))
}

/// Inflates all members of a gzip file; their outputs count together.
pub fn gunzip(input: &[u8], limits: InflateLimits) -> Result<Vec<u8>, InflateError> {
    let allowed = limits.output_bytes.min(limits.ratio_bytes(input.len()));
    match gunzip_at_once(input, allowed) {
        Some(output) => Ok(output),
        None => read_bounded("gzip", MultiGzDecoder::new(input), input.len(), limits),
    }
}

/// The size that a gzip file says it has when inflated: true of a file with one member, modulo 2^32.
///
/// Source: RFC 1952, `ISIZE`.
pub fn gunzipped_bytes(input: &[u8]) -> usize {
    input.last_chunk().map_or(0, |size| u32::from_le_bytes(*size) as usize)
}

/// Inflates a gzip file that has one member, which is undamaged and as large as it says; `None` for all others, and
/// for those of more than `max_bytes`.
///
/// Twice as fast as inflating piece by piece; needs the memory for the whole output, [`gunzipped_bytes`], beforehand.
pub fn gunzip_at_once(input: &[u8], max_bytes: usize) -> Option<Vec<u8>> {
    const MEMBER_START: &[u8] = &[0x1F, 0x8B, 8];
    let size = gunzipped_bytes(input);
    // The library stops after the first member without saying where. What looks like another one may be by chance.
    let has_one_member = memchr::memmem::find_iter(input, MEMBER_START).nth(1).is_none();
    if size > max_bytes || !has_one_member {
        return None;
    }
    let mut output = vec![0; size];
    let written = Decompressor::new().gzip_decompress(input, &mut output).ok()?;
    // Bytes behind the member, where the size was read, are damage.
    let checksum = input.len().checked_sub(8).and_then(|at| input[at..].first_chunk())?;
    let is_whole = written == size && libdeflater::crc32(&output) == u32::from_le_bytes(*checksum);
    is_whole.then_some(output)
}

fn read_bounded(
    format: &'static str,
    reader: impl Read,
    input_bytes: usize,
    limits: InflateLimits,
) -> Result<Vec<u8>, InflateError> {
    let allowed = limits.output_bytes.min(limits.ratio_bytes(input_bytes));
    let mut output = Vec::with_capacity(allowed.min(input_bytes.saturating_mul(4)));
    reader
        .take((allowed as u64).saturating_add(1))
        .read_to_end(&mut output)
        .map_err(|error| InflateError::Damaged { format, reason: error.to_string() })?;
    limits.check(input_bytes, output.len())?;
    Ok(output)
}

#[cfg(test)]
mod tests;
