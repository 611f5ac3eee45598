//! Rows of one profile as bytes: what the log stores and the head keeps.
//!
//! ```text
//! links u8: 0 or 1
//! rows_len varint                 only with links: bytes of the rows that follow
//! per row, ascending by stack:    stack - previous stack, varint | value as u64, varint
//! per row, only with links:       mask u8 | span id, 8 bytes, with mask 1 | trace id, 16 bytes, with mask 2
//! ```

use argand_model::{SeriesProfile, StackId};

use crate::codec::{DecodeError, Decoder, put_varint};

const SPAN: u8 = 1;
const TRACE: u8 = 2;

/// Appends the rows of `profile`, whose stack `i` is `nodes[i]`.
pub(crate) fn pack(out: &mut Vec<u8>, profile: &SeriesProfile, nodes: &[StackId]) {
    let mut order: Vec<u64> =
        (0u64..).zip(&profile.stack).map(|(row, &stack)| u64::from(nodes[stack as usize].0) << 32 | row).collect();
    order.sort_unstable();
    let has_links = !profile.span_id.is_empty() || !profile.trace_id.is_empty();
    if !has_links {
        out.push(0);
        return pack_values(out, profile, &order);
    }
    out.push(1);
    let mut values = Vec::with_capacity(order.len() * 4);
    pack_values(&mut values, profile, &order);
    put_varint(out, values.len() as u64);
    out.extend_from_slice(&values);
    for key in order {
        let row = key as u32 as usize;
        let span = profile.span_id.get(row).copied().unwrap_or(0);
        let trace = profile.trace_id.get(row).copied().unwrap_or(0);
        out.push(if span != 0 { SPAN } else { 0 } | if trace != 0 { TRACE } else { 0 });
        if span != 0 {
            out.extend_from_slice(&span.to_le_bytes());
        }
        if trace != 0 {
            out.extend_from_slice(&trace.to_le_bytes());
        }
    }
}

fn pack_values(out: &mut Vec<u8>, profile: &SeriesProfile, order: &[u64]) {
    let mut previous = 0;
    for &key in order {
        let (stack, row) = (key >> 32, key as u32 as usize);
        put_varint(out, stack - previous);
        put_varint(out, profile.value[row] as u64);
        previous = stack;
    }
}

/// Rows as columns; a buffer to be used again.
///
/// Shape: `stack` and `value` of equal length; `span_id` and `trace_id` of that length, or empty where no row of any
/// profile read into it has one.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) stack: Vec<StackId>,
    pub(crate) value: Vec<i64>,
    pub(crate) span_id: Vec<u64>,
    pub(crate) trace_id: Vec<u128>,
}

impl Rows {
    pub(crate) fn clear(&mut self) {
        self.stack.clear();
        self.value.clear();
        self.span_id.clear();
        self.trace_id.clear();
    }

    /// Makes room for exactly `rows` rows.
    pub(crate) fn with_capacity(rows: usize) -> Self {
        Self { stack: Vec::with_capacity(rows), value: Vec::with_capacity(rows), ..Self::default() }
    }
}

/// Appends the rows of a profile to `rows`.
///
/// `count` is their number, already bounded by the caller to the length of `bytes`; every stack must be below
/// `node_count`.
pub(crate) fn unpack(bytes: &[u8], count: usize, node_count: usize, rows: &mut Rows) -> Result<(), DecodeError> {
    let mut decoder = Decoder::new(bytes);
    let has_links = match decoder.byte()? {
        0 => false,
        1 => true,
        _ => return Err(decoder.error("unknown kind of rows")),
    };
    let mut values = if has_links {
        let len = decoder.count(1)?;
        Decoder::new(decoder.bytes(len)?)
    } else {
        Decoder::new(decoder.bytes(decoder.remaining())?)
    };
    if count > values.remaining() / 2 {
        return Err(values.error("more rows than bytes"));
    }
    let first = rows.stack.len();
    rows.stack.reserve(count);
    rows.value.reserve(count);
    let mut stack = 0u64;
    for _ in 0..count {
        stack = stack.saturating_add(values.varint()?);
        if stack >= node_count as u64 {
            return Err(values.error("stack is not in the dictionary"));
        }
        rows.stack.push(StackId(stack as u32));
        rows.value.push(values.varint()? as i64);
    }
    values.end()?;
    if has_links {
        rows.span_id.resize(first, 0);
        rows.trace_id.resize(first, 0);
        for _ in 0..count {
            let mask = decoder.byte()?;
            if mask > SPAN | TRACE {
                return Err(decoder.error("unknown kind of link"));
            }
            rows.span_id.push(if mask & SPAN != 0 { u64::from_le_bytes(decoder.array()?) } else { 0 });
            rows.trace_id.push(if mask & TRACE != 0 { u128::from_le_bytes(decoder.array()?) } else { 0 });
        }
    } else if !rows.span_id.is_empty() {
        rows.span_id.resize(rows.stack.len(), 0);
        rows.trace_id.resize(rows.stack.len(), 0);
    }
    decoder.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(links: bool) -> SeriesProfile {
        SeriesProfile {
            stack: vec![1, 0, 2, 0],
            value: vec![10, 20, i64::MAX, 40],
            span_id: if links { vec![0, 5, 6, 0] } else { vec![] },
            trace_id: if links { vec![9, 0, 7, 0] } else { vec![] },
            ..SeriesProfile::default()
        }
    }

    #[test]
    fn rows_come_back_ordered_by_stack() {
        let nodes = [StackId(300), StackId(2), StackId(70_000)];
        let mut bytes = Vec::new();
        pack(&mut bytes, &profile(false), &nodes);
        let mut rows = Rows::default();
        unpack(&bytes, 4, 70_001, &mut rows).unwrap();
        assert_eq!(rows.stack, [StackId(2), StackId(300), StackId(300), StackId(70_000)]);
        assert_eq!(rows.value, [10, 20, 40, i64::MAX]);
        assert!(rows.span_id.is_empty() && rows.trace_id.is_empty());
    }

    #[test]
    fn links_stay_with_their_rows_across_profiles() {
        let nodes = [StackId(3), StackId(1), StackId(2)];
        let mut rows = Rows::default();
        for links in [false, true, false] {
            let mut bytes = Vec::new();
            pack(&mut bytes, &profile(links), &nodes);
            unpack(&bytes, 4, 4, &mut rows).unwrap();
        }
        assert_eq!(rows.span_id, [0, 0, 0, 0, 0, 6, 5, 0, 0, 0, 0, 0]);
        assert_eq!(rows.trace_id, [0, 0, 0, 0, 9, 7, 0, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn wrong_bytes_are_refused() {
        let mut bytes = Vec::new();
        pack(&mut bytes, &profile(true), &[StackId(3), StackId(1), StackId(2)]);
        let check = |bytes: &[u8], count, nodes| unpack(bytes, count, nodes, &mut Rows::default());
        assert!(check(&bytes, 4, 4).is_ok());
        assert!(check(&bytes, 3, 4).is_err());
        assert!(check(&bytes, 5, 4).is_err());
        assert!(check(&bytes, usize::MAX, 4).is_err());
        assert!(check(&bytes, 4, 3).is_err());
        for cut in 0..bytes.len() {
            assert!(check(&bytes[..cut], 4, 4).is_err(), "cut at {cut}");
        }
    }
}
