//! From the bytes of a block to datasets.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use argand_model::{Dataset, DatasetError, Dictionary, Labels, Matcher, ProfileTable, RowColumns, RowSlice, StackId};

use crate::codec::{Decoded, Scratch};
use crate::container::{Container, SectionKind, checksum_matches};
use crate::profiles::labels::Postings;
use crate::profiles::rows::{self, Columns, Pages, Stream};
use crate::profiles::{kind, stacks, summary, symbols, table};
use crate::{BlockError, BlockMeta, DatasetSummary, ReadAt};

/// Neighbouring pages are fetched together up to so many bytes, since a read may be a request over the network.
const FETCH_BYTES: u64 = 1 << 20;

/// An open block: its table of contents is in memory, everything else is read when asked for.
pub struct Block {
    container: Arc<Container>,
    meta: BlockMeta,
    summaries: Vec<DatasetSummary>,
    datasets: Vec<Arc<BlockDataset>>,
}

impl Block {
    /// Reads the footer and the table of contents.
    pub fn open(bytes: Arc<dyn ReadAt>) -> Result<Self, BlockError> {
        let container = Arc::new(Container::open(bytes, kind::name)?);
        let damaged = |reason| container.contents_damaged(reason);
        let meta = summary::decode_meta(container.meta()).map_err(damaged)?;
        let mut summaries: Vec<DatasetSummary> = Vec::new();
        for group in container.groups() {
            let summary = summary::decode_summary(&group.name, &group.attributes).map_err(damaged)?;
            if summaries.last().is_some_and(|last| last.service_name >= summary.service_name) {
                return Err(damaged("services do not ascend"));
            }
            summaries.push(summary);
        }
        let datasets = summaries.iter().enumerate().map(|(group, summary)| {
            let block = format!("block {}", meta.ulid());
            Arc::new(BlockDataset::new(container.clone(), block, group, summary.clone()))
        });
        Ok(Self { datasets: datasets.collect(), container, meta, summaries })
    }

    /// What the block says about itself.
    pub fn meta(&self) -> &BlockMeta {
        &self.meta
    }

    /// What it says about its datasets, ascending by service name.
    pub fn datasets(&self) -> &[DatasetSummary] {
        &self.summaries
    }

    /// The dataset at `index` of [`Block::datasets`]; every call returns the same one with the same cache.
    pub fn dataset(&self, index: usize) -> Arc<BlockDataset> {
        self.datasets[index].clone()
    }

    /// Reads everything and checks all checksums: what is damaged, empty when all is well.
    pub fn verify(&self) -> Vec<BlockError> {
        self.container.verify()
    }
}

/// One dataset of a block. Keeps what it decoded until [`BlockDataset::evict`]; rows are not kept.
pub struct BlockDataset {
    container: Arc<Container>,
    block: String,
    group: usize,
    summary: DatasetSummary,
    postings: Cached<Postings>,
    series: Cached<[Labels]>,
    profiles: Cached<ProfileTable>,
    dictionary: Cached<Dictionary>,
    leaves: Cached<[StackId]>,
    pages: Cached<Pages>,
}

impl BlockDataset {
    fn new(container: Arc<Container>, block: String, group: usize, summary: DatasetSummary) -> Self {
        Self {
            container,
            block,
            group,
            summary,
            postings: Cached::default(),
            series: Cached::default(),
            profiles: Cached::default(),
            dictionary: Cached::default(),
            leaves: Cached::default(),
            pages: Cached::default(),
        }
    }

    /// What the table of contents says about it.
    pub fn summary(&self) -> &DatasetSummary {
        &self.summary
    }

    /// Heap memory in bytes of the decoded parts that it keeps.
    pub fn cached_bytes(&self) -> usize {
        self.postings.bytes()
            + self.series.bytes()
            + self.profiles.bytes()
            + self.dictionary.bytes()
            + self.leaves.bytes()
            + self.pages.bytes()
    }

    /// Forgets the decoded parts; whoever holds one keeps it.
    pub fn evict(&self) {
        self.postings.evict();
        self.series.evict();
        self.profiles.evict();
        self.dictionary.evict();
        self.leaves.evict();
        self.pages.evict();
    }

    fn postings(&self) -> Result<Arc<Postings>, BlockError> {
        self.postings.get_or(|| {
            let decode = |bytes: &[u8]| Postings::decode(bytes, self.summary.series_count);
            let postings = self.decode(kind::LABELS, decode)?;
            let bytes = postings.memory_bytes();
            Ok((Arc::new(postings), bytes))
        })
    }

    fn leaves(&self) -> Result<Arc<[StackId]>, BlockError> {
        self.leaves.get_or(|| {
            let leaves = self.decode(kind::LEAVES, stacks::decode_leaves)?;
            let bytes = leaves.len() * size_of::<StackId>();
            Ok((leaves.into(), bytes))
        })
    }

    fn pages(&self) -> Result<Arc<Pages>, BlockError> {
        self.pages.get_or(|| {
            let pages = self.decode(kind::PAGES, |bytes| Pages::decode(bytes, self.summary.row_count))?;
            let bytes = pages.memory_bytes();
            Ok((Arc::new(pages), bytes))
        })
    }

    fn read_dictionary(&self) -> Result<Dictionary, BlockError> {
        let symbols = self.decode(kind::SYMBOLS, symbols::decode)?;
        let stacks = self.decode(kind::STACKS, |bytes| stacks::decode(bytes, symbols.locations.len()))?;
        if self.leaves()?.last().is_some_and(|leaf| leaf.index() >= stacks.len()) {
            return Err(self.container.damaged(self.group, kind::LEAVES, "a leaf is no node"));
        }
        Ok(Dictionary { symbols, stacks })
    }

    fn decode<T>(&self, kind: SectionKind, decode: impl FnOnce(&[u8]) -> Decoded<T>) -> Result<T, BlockError> {
        let bytes = self.container.read(self.group, kind)?;
        decode(&bytes).map_err(|reason| self.container.damaged(self.group, kind, reason))
    }

    /// Reads and verifies consecutive pages of a stream; nothing where the dataset lacks the stream.
    fn fetch(&self, pages: &Pages, stream: Stream, range: Range<usize>) -> Result<Fetched, BlockError> {
        let pages = pages.stream(stream).get(range).unwrap_or_default();
        let (Some(first), Some(last)) = (pages.first(), pages.last()) else {
            return Ok(Fetched::default());
        };
        let bytes = match first.offset..last.end() {
            nothing if nothing.is_empty() => Vec::new(),
            range => self.container.read_range(self.group, section_of(stream), range)?,
        };
        let mut ends = Vec::with_capacity(pages.len());
        let mut start = 0;
        for page in pages {
            let end = start + page.length as usize;
            if !checksum_matches(&bytes[start..end], page.crc) {
                return Err(self.damaged(stream, &format!("checksum of the page at {} differs", page.offset)));
            }
            ends.push(end);
            start = end;
        }
        Ok(Fetched { bytes, ends })
    }

    fn scan_rows(
        &self,
        mut ranges: &[Range<u32>],
        wanted: RowColumns,
        visit: &mut dyn FnMut(RowSlice<'_>),
    ) -> Result<(), BlockError> {
        let (pages, leaves) = (self.pages()?, self.leaves()?);
        let mut scratch = Scratch::new();
        let mut columns = Columns::default();
        for fetch in pages.fetches(ranges, FETCH_BYTES) {
            let fetched = |stream, is_wanted| match is_wanted {
                true => self.fetch(&pages, stream, fetch.clone()),
                false => Ok(Fetched::default()),
            };
            let rows = fetched(Stream::Rows, true)?;
            let spans = fetched(Stream::Spans, wanted.span_id)?;
            let traces = fetched(Stream::Traces, wanted.trace_id)?;
            for (index, page) in fetch.clone().enumerate() {
                let of_page = pages.rows_of(page);
                rows::decode_rows(rows.page(index), of_page.len(), &leaves, &mut scratch, &mut columns)
                    .map_err(|reason| self.damaged(Stream::Rows, reason))?;
                rows::decode_ids(spans.page(index), of_page.len(), &mut scratch, &mut columns.span_id)
                    .map_err(|reason| self.damaged(Stream::Spans, reason))?;
                rows::decode_ids(traces.page(index), of_page.len(), &mut scratch, &mut columns.trace_id)
                    .map_err(|reason| self.damaged(Stream::Traces, reason))?;
                let done = ranges.partition_point(|range| range.end <= of_page.start);
                ranges = &ranges[done..];
                for range in ranges.iter().take_while(|range| range.start < of_page.end) {
                    let rows = range.start.max(of_page.start)..range.end.min(of_page.end);
                    if !rows.is_empty() {
                        visit(columns.slice(of_page.start, rows));
                    }
                }
            }
        }
        Ok(())
    }

    fn damaged(&self, stream: Stream, reason: &str) -> BlockError {
        self.container.damaged(self.group, section_of(stream), reason)
    }

    /// For callers that know datasets, but not blocks.
    fn dataset_error(&self, error: &BlockError) -> DatasetError {
        let reason = match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        };
        DatasetError { place: self.block.clone(), reason }
    }
}

impl Dataset for BlockDataset {
    fn service_name(&self) -> &str {
        &self.summary.service_name
    }

    fn series(&self) -> Result<Arc<[Labels]>, DatasetError> {
        let decode = || {
            let series = self.postings()?.to_series();
            let bytes = series.iter().map(labels_bytes).sum();
            Ok((series.into(), bytes))
        };
        self.series.get_or(decode).map_err(|error| self.dataset_error(&error))
    }

    fn matching_series(&self, matchers: &[Matcher]) -> Result<Vec<u32>, DatasetError> {
        let postings = self.postings().map_err(|error| self.dataset_error(&error))?;
        Ok(postings.matching(matchers))
    }

    fn profiles(&self) -> Result<Arc<ProfileTable>, DatasetError> {
        let decode = || {
            let profiles = self.decode(kind::PROFILES, |bytes| table::decode(bytes, &self.summary))?;
            let bytes = table::memory_bytes(&profiles);
            Ok((Arc::new(profiles), bytes))
        };
        self.profiles.get_or(decode).map_err(|error| self.dataset_error(&error))
    }

    fn dictionary(&self) -> Result<Arc<Dictionary>, DatasetError> {
        let decode = || {
            let dictionary = self.read_dictionary()?;
            let bytes = dictionary.memory_bytes();
            Ok((Arc::new(dictionary), bytes))
        };
        self.dictionary.get_or(decode).map_err(|error| self.dataset_error(&error))
    }

    fn scan(
        &self,
        ranges: &[Range<u32>],
        columns: RowColumns,
        visit: &mut dyn FnMut(RowSlice<'_>),
    ) -> Result<(), DatasetError> {
        self.scan_rows(ranges, columns, visit).map_err(|error| self.dataset_error(&error))
    }
}

/// Consecutive pages of one stream.
#[derive(Default)]
struct Fetched {
    bytes: Vec<u8>,
    /// End of each page in `bytes`; empty where nothing was fetched.
    ends: Vec<usize>,
}

impl Fetched {
    /// Bytes of the page at `index`, none where nothing was fetched.
    fn page(&self, index: usize) -> &[u8] {
        let Some(&end) = self.ends.get(index) else { return &[] };
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        &self.bytes[start..end]
    }
}

/// A decoded part that is kept until evicted. Whoever comes while it is being decoded waits for the result.
struct Cached<T: ?Sized> {
    value: Mutex<Option<Arc<T>>>,
    bytes: AtomicUsize,
}

impl<T: ?Sized> Default for Cached<T> {
    fn default() -> Self {
        Self { value: Mutex::new(None), bytes: AtomicUsize::new(0) }
    }
}

impl<T: ?Sized> Cached<T> {
    /// The kept value, or else the one of `decode`, which also says how many bytes of memory it takes.
    fn get_or(&self, decode: impl FnOnce() -> Result<(Arc<T>, usize), BlockError>) -> Result<Arc<T>, BlockError> {
        let mut kept = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(value) = &*kept {
            return Ok(value.clone());
        }
        let (value, bytes) = decode()?;
        self.bytes.store(bytes, Ordering::Relaxed);
        *kept = Some(value.clone());
        Ok(value)
    }

    fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    fn evict(&self) {
        let mut kept = self.value.lock().unwrap_or_else(PoisonError::into_inner);
        self.bytes.store(0, Ordering::Relaxed);
        *kept = None;
    }
}

fn section_of(stream: Stream) -> SectionKind {
    match stream {
        Stream::Rows => kind::ROWS,
        Stream::Spans => kind::SPANS,
        Stream::Traces => kind::TRACES,
    }
}

fn labels_bytes(labels: &Labels) -> usize {
    let of_pair = |(name, value): (&str, &str)| 2 * size_of::<Box<str>>() + name.len() + value.len();
    size_of::<Labels>() + labels.iter().map(of_pair).sum::<usize>()
}

#[cfg(test)]
mod tests;
