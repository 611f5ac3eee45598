//! Rows in pages: the unit of reading, each with its own checksum.
//!
//! Page `i` holds the rows from `i * page_rows` on. Stacks and values are one stream of pages, spans and traces two
//! more of the same rows, so that a reader fetches only what it was asked for.

use std::ops::{Range, RangeInclusive};

use argand_model::{ProfileTable, RowSlice, StackId};
use hashbrown::HashMap;

use crate::codec::{Decoded, Decoder, Encoder, Scratch, as_u32, put_varint};

/// Rows of a page, except for the last one. Larger pages are hardly smaller per row, and cost small reads more.
pub(crate) const PAGE_ROWS: u32 = 1 << 14;

/// Bounds of a page's rows that readers accept.
const PAGE_ROWS_ACCEPTED: RangeInclusive<u32> = 1 << 10..=1 << 20;

/// A stream of pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Rows = 0,
    Spans = 1,
    Traces = 2,
}

/// Where pages lie in the section of their stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pages {
    page_rows: u32,
    row_count: u32,
    /// By [`Stream`]; a stream that the dataset lacks has no pages.
    streams: [Vec<Page>; 3],
}

/// One page of a stream. An empty one says that its rows have no id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Page {
    /// First byte in the section.
    pub(crate) offset: u64,
    /// Number of bytes.
    pub(crate) length: u64,
    /// CRC-32C of its bytes.
    pub(crate) crc: u32,
}

impl Page {
    /// Byte after the last one in the section.
    pub(crate) fn end(&self) -> u64 {
        self.offset + self.length
    }
}

impl Pages {
    pub(crate) fn new(row_count: u32) -> Self {
        Self { page_rows: PAGE_ROWS, row_count, streams: Default::default() }
    }

    /// Rows of every page in order.
    pub(crate) fn row_ranges(&self) -> impl Iterator<Item = Range<u32>> {
        (0..self.page_count()).map(|page| self.rows_of(page))
    }

    /// Rows of one page.
    pub(crate) fn rows_of(&self, page: usize) -> Range<u32> {
        let start = page as u32 * self.page_rows;
        start..start.saturating_add(self.page_rows).min(self.row_count)
    }

    /// Ranges of pages that together hold `rows`, which are ascending: neighbours up to `max_bytes` together.
    pub(crate) fn fetches(&self, rows: &[Range<u32>], max_bytes: u64) -> Vec<Range<usize>> {
        let pages = self.stream(Stream::Rows);
        let mut fetches: Vec<Range<usize>> = Vec::new();
        for rows in rows.iter().filter(|rows| !rows.is_empty()) {
            let end = rows.end.min(self.row_count).div_ceil(self.page_rows) as usize;
            let start = fetches.last().map_or(0, |last| last.end).max((rows.start / self.page_rows) as usize);
            for page in start..end {
                let page_end = pages[page].end();
                match fetches.last_mut() {
                    Some(last) if last.end == page && page_end - pages[last.start].offset <= max_bytes => {
                        last.end += 1;
                    }
                    _ => fetches.push(page..page + 1),
                }
            }
        }
        fetches
    }

    /// Pages of a stream; empty where the dataset lacks it.
    pub(crate) fn stream(&self, stream: Stream) -> &[Page] {
        &self.streams[stream as usize]
    }

    /// Appends a page to a stream.
    pub(crate) fn push(&mut self, stream: Stream, bytes: &[u8]) {
        let pages = &mut self.streams[stream as usize];
        let offset = pages.last().map_or(0, Page::end);
        pages.push(Page { offset, length: bytes.len() as u64, crc: crc32c::crc32c(bytes) });
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        self.streams.iter().map(|pages| pages.capacity() * size_of::<Page>()).sum()
    }

    fn page_count(&self) -> usize {
        self.row_count.div_ceil(self.page_rows) as usize
    }

    pub(crate) fn encode(&self, encoder: &mut Encoder) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, u64::from(self.page_rows));
        let present =
            (0..3).filter(|&stream| !self.streams[stream].is_empty()).fold(0, |bits, stream| bits | 1 << stream);
        put_varint(&mut out, present);
        let pages = || self.streams.iter().flatten();
        encoder.integers(&mut out, pages().map(|page| page.length));
        encoder.bytes(&mut out, &pages().flat_map(|page| page.crc.to_le_bytes()).collect::<Vec<u8>>());
        out
    }

    pub(crate) fn decode(bytes: &[u8], row_count: u32) -> Decoded<Self> {
        let scratch = &mut Scratch::new();
        let mut section = Decoder::new(bytes);
        let page_rows = as_u32(section.varint()?)?;
        if !PAGE_ROWS_ACCEPTED.contains(&page_rows) {
            return Err("impossible number of rows in a page");
        }
        let present = section.count(0b111)?;
        let mut pages = Self { page_rows, row_count, streams: Default::default() };
        let page_count = pages.page_count();
        let total = page_count * present.count_ones() as usize;
        let lengths = section.integers(scratch, total, |length| Ok(u64::from(as_u32(length)?)))?;
        let crcs_len = (total * size_of::<u32>()) as u64;
        let crcs = section.column(scratch, crcs_len..=crcs_len)?;
        let mut page_parts = lengths.iter().zip(crcs.chunks_exact(size_of::<u32>()));
        for (index, stream) in pages.streams.iter_mut().enumerate().filter(|(index, _)| present >> index & 1 == 1) {
            let mut offset = 0;
            for (&length, crc) in page_parts.by_ref().take(page_count) {
                if length == 0 && index == Stream::Rows as usize {
                    return Err("a page of rows is empty");
                }
                stream.push(Page { offset, length, crc: u32::from_le_bytes(crc.try_into().expect("four bytes")) });
                offset += length;
            }
        }
        section.end()?;
        if page_count > 0 && present & 1 == 0 { Err("rows without pages") } else { Ok(pages) }
    }
}

/// Values of consecutive rows are `base + scale * x`, with the same two numbers along a series.
struct Run {
    rows: u64,
    base: i64,
    scale: u64,
}

/// A page of stacks and values. `stack` is by index into the dataset's leaves, `leaf_count` their number.
/// `series_runs`: lengths of consecutive rows of the same series, together as long as the page.
pub(crate) fn encode_rows(
    stack: impl Iterator<Item = u32>,
    leaf_count: u32,
    value: &[i64],
    series_runs: &[usize],
    encoder: &mut Encoder,
) -> Vec<u8> {
    let mut rest = value;
    let mut codes = Vec::with_capacity(value.len());
    let mut runs: Vec<Run> = Vec::new();
    for &len in series_runs.iter().filter(|&&len| len > 0) {
        let (values, left) = rest.split_at(len);
        rest = left;
        let base = values.iter().copied().min().unwrap_or(0);
        let scale = values.iter().fold(0, |scale, &value| gcd(scale, value.wrapping_sub(base) as u64)).max(1);
        codes.extend(values.iter().map(|&value| value.wrapping_sub(base) as u64 / scale));
        match runs.last_mut() {
            Some(last) if last.base == base && last.scale == scale => last.rows += len as u64,
            _ => runs.push(Run { rows: len as u64, base, scale }),
        }
    }
    let mut before = 0;
    let steps: Vec<u64> = stack
        .map(|leaf| {
            let back = std::mem::replace(&mut before, leaf);
            u64::from(if leaf >= back { leaf - back } else { leaf + (leaf_count - back) })
        })
        .collect();
    let mut out = Vec::new();
    put_varint(&mut out, runs.len() as u64);
    encoder.integers(&mut out, runs.iter().flat_map(|run| [run.rows, run.base as u64, run.scale]));
    encoder.planes(&mut out, &steps);
    encoder.planes(&mut out, &codes);
    out
}

/// Decoded columns of a page, with room for the next one.
#[derive(Debug, Default)]
pub(crate) struct Columns {
    pub(crate) stack: Vec<StackId>,
    pub(crate) value: Vec<i64>,
    pub(crate) span_id: Vec<u64>,
    pub(crate) trace_id: Vec<u128>,
    /// Integers on the way to one of the others.
    codes: Vec<u64>,
}

impl Columns {
    /// Some `rows` of the page that starts at row `first`.
    pub(crate) fn slice(&self, first: u32, rows: Range<u32>) -> RowSlice<'_> {
        let in_page = (rows.start - first) as usize..(rows.end - first) as usize;
        RowSlice {
            first_row: rows.start,
            stack: &self.stack[in_page.clone()],
            value: &self.value[in_page.clone()],
            span_id: self.span_id.get(in_page.clone()).unwrap_or_default(),
            trace_id: self.trace_id.get(in_page).unwrap_or_default(),
        }
    }
}

/// Decodes what [`encode_rows`] made of `row_count` rows into `columns`.
pub(crate) fn decode_rows(
    bytes: &[u8],
    row_count: usize,
    leaves: &[StackId],
    scratch: &mut Scratch,
    columns: &mut Columns,
) -> Decoded<()> {
    let mut page = Decoder::new(bytes);
    let run_count = page.count(row_count as u64)?;
    let runs = page.integers(scratch, run_count * 3, Ok)?;
    page.planes_into(scratch, row_count, &mut columns.codes)?;
    let leaf_count = leaves.len() as u64;
    let mut at = 0u64;
    columns.stack.clear();
    columns.stack.reserve(row_count);
    for &step in &columns.codes {
        if step >= leaf_count {
            return Err("stack out of range");
        }
        at += step;
        if at >= leaf_count {
            at -= leaf_count;
        }
        columns.stack.push(leaves[at as usize]);
    }
    page.planes_into(scratch, row_count, &mut columns.codes)?;
    page.end()?;
    columns.value.clear();
    columns.value.reserve(row_count);
    let mut rest = columns.codes.as_slice();
    for run in runs.chunks_exact(3) {
        let len = usize::try_from(run[0]).map_err(|_| "run exceeds the page")?;
        let (codes, left) = rest.split_at_checked(len).ok_or("run exceeds the page")?;
        columns.value.extend(codes.iter().map(|&code| run[1].wrapping_add(run[2].wrapping_mul(code)) as i64));
        rest = left;
    }
    if rest.is_empty() { Ok(()) } else { Err("runs do not fill the page") }
}

/// An id of a row that is 0 where the row has none.
pub(crate) trait RowId: Copy + Default + Eq + std::hash::Hash {
    const BYTES: usize;
    fn put(self, out: &mut Vec<u8>);
    fn of(bytes: &[u8]) -> Self;
}

impl RowId for u64 {
    const BYTES: usize = 8;
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
    fn of(bytes: &[u8]) -> Self {
        Self::from_be_bytes(bytes.try_into().expect("as long as the id"))
    }
}

impl RowId for u128 {
    const BYTES: usize = 16;
    fn put(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_be_bytes());
    }
    fn of(bytes: &[u8]) -> Self {
        Self::from_be_bytes(bytes.try_into().expect("as long as the id"))
    }
}

/// A page of ids: the distinct ones, and per row 0 for none or the place of its id among them, from 1.
/// Empty where no row has one.
pub(crate) fn encode_ids<T: RowId>(ids: &[T], encoder: &mut Encoder) -> Vec<u8> {
    let mut place_of: HashMap<T, u64> = HashMap::new();
    let mut distinct = Vec::new();
    let places: Vec<u64> = ids
        .iter()
        .map(|&id| {
            if id == T::default() {
                return 0;
            }
            let next = place_of.len() as u64 + 1;
            *place_of.entry(id).or_insert_with(|| {
                id.put(&mut distinct);
                next
            })
        })
        .collect();
    let mut out = Vec::new();
    if !distinct.is_empty() {
        put_varint(&mut out, place_of.len() as u64);
        encoder.bytes(&mut out, &distinct);
        encoder.integers(&mut out, places);
    }
    out
}

/// Decodes what [`encode_ids`] made of `row_count` rows into `ids`, which stays empty for an empty page.
pub(crate) fn decode_ids<T: RowId>(
    bytes: &[u8],
    row_count: usize,
    scratch: &mut Scratch,
    ids: &mut Vec<T>,
) -> Decoded<()> {
    ids.clear();
    if bytes.is_empty() {
        return Ok(());
    }
    let mut page = Decoder::new(bytes);
    let distinct_count = page.count(row_count as u64)?;
    let distinct_len = (distinct_count * T::BYTES) as u64;
    let distinct = page.column(scratch, distinct_len..=distinct_len)?;
    let distinct: Vec<T> = std::iter::once(T::default()).chain(distinct.chunks_exact(T::BYTES).map(T::of)).collect();
    page.integers_into(scratch, row_count, ids, |place| {
        usize::try_from(place).ok().and_then(|place| distinct.get(place).copied()).ok_or("id out of range")
    })?;
    page.end()
}

/// Lengths of consecutive rows of the same series within `rows`; `profile` is the first one that reaches into them.
pub(crate) fn series_runs(profiles: &ProfileTable, profile: usize, rows: &Range<u32>) -> Vec<usize> {
    let mut runs = Vec::new();
    let mut series = None;
    for profile in profile..profiles.len() {
        let of_profile = profiles.rows(profile);
        if of_profile.start >= rows.end {
            break;
        }
        let len = (of_profile.end.min(rows.end) - of_profile.start.max(rows.start)) as usize;
        match runs.last_mut() {
            Some(last) if series == Some(profiles.series[profile]) => *last += len,
            _ => runs.push(len),
        }
        series = Some(profiles.series[profile]);
    }
    runs
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests;
