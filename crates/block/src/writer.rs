//! From datasets to the bytes of a block.

use std::io;

use argand_model::{Labels, MemoryDataset, ProfileType};

use crate::codec::Encoder;
use crate::container::{ContainerWriter, SectionKind};
use crate::profiles::labels::Postings;
use crate::profiles::rows::{self, Pages, Stream};
use crate::profiles::{kind, limit, stacks, summary, symbols, table};
use crate::{BlockError, BlockMeta, DatasetSummary};

/// zstd level of rows: higher ones gain 1 % and take twice the time.
const ROWS_LEVEL: i32 = 3;

/// zstd level of everything else, which is small and read with every query.
const TABLES_LEVEL: i32 = 9;

/// Writes a block.
///
/// Datasets come one after another, ascending by service name, each as [`crate::sort_dataset`] leaves it.
/// The same input gives the same bytes. Memory: the encoded dictionary of one dataset, and one page of rows.
pub struct BlockWriter<W: io::Write> {
    container: ContainerWriter<W>,
    meta: BlockMeta,
    datasets: Vec<DatasetSummary>,
    rows_encoder: Encoder,
    tables_encoder: Encoder,
}

/// What was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockSummary {
    /// Size of the block in bytes.
    pub bytes: u64,
    /// One entry per dataset, in order.
    pub datasets: Vec<DatasetSummary>,
    /// CRC-32C of all bytes of the block.
    pub crc: u32,
}

impl<W: io::Write> BlockWriter<W> {
    /// Starts a block.
    pub fn new(out: W, meta: BlockMeta) -> Result<Self, BlockError> {
        Ok(Self {
            container: ContainerWriter::new(out)?,
            meta,
            datasets: Vec::new(),
            rows_encoder: Encoder::new(ROWS_LEVEL),
            tables_encoder: Encoder::new(TABLES_LEVEL),
        })
    }

    /// Writes a dataset.
    ///
    /// Errors: [`BlockError::Input`] before anything is written, when the dataset is not as
    /// [`crate::sort_dataset`] leaves it, has profiles outside of the block's time, or exceeds a limit of the format.
    pub fn add(&mut self, dataset: &MemoryDataset) -> Result<(), BlockError> {
        self.check(dataset).map_err(|reason| BlockError::Input {
            service_name: dataset.service_name.clone(),
            reason: reason.to_owned(),
        })?;
        let summary = summarise(dataset);
        self.container.begin_group(&summary.service_name, summary::encode_summary(&summary));
        self.datasets.push(summary);

        let encoder = &mut self.tables_encoder;
        let dictionary = &dataset.dictionary;
        let leaves = stacks::leaves_of(&dataset.stack, dictionary.stacks.len());
        let tables: [(SectionKind, Vec<u8>); 5] = [
            (kind::LABELS, Postings::of_series(&dataset.series).encode(encoder)),
            (kind::PROFILES, table::encode(&dataset.profiles, encoder)),
            (kind::SYMBOLS, symbols::encode(&dictionary.symbols, encoder)),
            (kind::STACKS, stacks::encode(&dictionary.stacks, encoder)),
            (kind::LEAVES, stacks::encode_leaves(&leaves, encoder)),
        ];
        for (kind, bytes) in tables {
            self.write_section(kind, &bytes)?;
        }

        let mut leaf_of = vec![0; dictionary.stacks.len()];
        (0u32..).zip(&leaves).for_each(|(index, leaf)| leaf_of[leaf.index()] = index);
        let mut pages = Pages::new(dataset.stack.len() as u32);
        self.write_rows(dataset, &leaf_of, leaves.len() as u32, &mut pages)?;
        self.write_ids(kind::SPANS, Stream::Spans, &dataset.span_id, &mut pages)?;
        self.write_ids(kind::TRACES, Stream::Traces, &dataset.trace_id, &mut pages)?;
        let pages = pages.encode(&mut self.tables_encoder);
        self.write_section(kind::PAGES, &pages)
    }

    /// Writes the table of contents and flushes.
    pub fn finish(self) -> Result<BlockSummary, BlockError> {
        let (bytes, crc) = self.container.finish(&summary::encode_meta(&self.meta))?;
        Ok(BlockSummary { bytes, datasets: self.datasets, crc })
    }

    fn write_rows(
        &mut self,
        dataset: &MemoryDataset,
        leaf_of: &[u32],
        leaf_count: u32,
        pages: &mut Pages,
    ) -> Result<(), BlockError> {
        self.container.begin_section(kind::ROWS);
        let profiles = &dataset.profiles;
        let ranges: Vec<_> = pages.row_ranges().collect();
        for range in ranges {
            let first_profile = profiles.row_end.partition_point(|&end| end <= range.start);
            let runs = rows::series_runs(profiles, first_profile, &range);
            let in_page = range.start as usize..range.end as usize;
            let leaves = dataset.stack[in_page.clone()].iter().map(|node| leaf_of[node.index()]);
            let page = rows::encode_rows(leaves, leaf_count, &dataset.value[in_page], &runs, &mut self.rows_encoder);
            pages.push(Stream::Rows, &page);
            self.container.write(&page)?;
        }
        Ok(())
    }

    /// Writes nothing where no row has an id.
    fn write_ids<T: rows::RowId>(
        &mut self,
        kind: SectionKind,
        stream: Stream,
        ids: &[T],
        pages: &mut Pages,
    ) -> Result<(), BlockError> {
        if ids.iter().all(|&id| id == T::default()) {
            return Ok(());
        }
        self.container.begin_section(kind);
        let ranges: Vec<_> = pages.row_ranges().collect();
        for range in ranges {
            let page = rows::encode_ids(&ids[range.start as usize..range.end as usize], &mut self.rows_encoder);
            pages.push(stream, &page);
            self.container.write(&page)?;
        }
        Ok(())
    }

    fn write_section(&mut self, kind: SectionKind, bytes: &[u8]) -> Result<(), BlockError> {
        self.container.begin_section(kind);
        self.container.write(bytes)
    }

    fn check(&self, dataset: &MemoryDataset) -> Result<(), &'static str> {
        let in_time = |&time_ns: &i64| self.meta.time.contains(time_ns);
        let ascends = self.datasets.last().is_none_or(|last| last.service_name < dataset.service_name);
        rule(ascends, "services do not ascend")?;
        rule(dataset.profiles.time_ns.iter().all(in_time), "a profile lies outside of the block's time")?;
        check_limits(dataset)?;
        check_shape(dataset)?;
        check_order(dataset)
    }
}

fn rule(holds: bool, broken: &'static str) -> Result<(), &'static str> {
    if holds { Ok(()) } else { Err(broken) }
}

fn check_limits(dataset: &MemoryDataset) -> Result<(), &'static str> {
    let within = |len: usize, limit: u64| len as u64 <= limit;
    let MemoryDataset { series, profiles, dictionary, stack, .. } = dataset;
    let symbols = &dictionary.symbols;
    let label_bytes = |labels: &Labels| labels.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>();
    rule(within(series.len(), limit::SERIES), "too many series")?;
    rule(within(series.iter().map(Labels::len).sum(), limit::POSTINGS), "too many labels")?;
    rule(within(series.iter().map(label_bytes).sum(), limit::TEXT_BYTES), "too much text in labels")?;
    rule(within(profiles.len(), limit::PROFILES), "too many profiles")?;
    rule(within(stack.len(), u64::from(u32::MAX)), "too many rows")?;
    rule(within(dictionary.stacks.len(), limit::NODES), "too many stack nodes")?;
    let tables = [symbols.strings.len(), symbols.functions.len(), symbols.mappings.len(), symbols.locations.len()];
    rule(tables.iter().all(|&len| within(len, limit::SYMBOLS)), "too many symbols")?;
    let line_count = symbols.locations.iter().map(|location| location.lines_len as usize).sum();
    rule(within(line_count, limit::SYMBOLS), "too many lines")?;
    rule(within(symbols.strings.iter().map(str::len).sum(), limit::TEXT_BYTES), "too much text in strings")
}

fn check_shape(dataset: &MemoryDataset) -> Result<(), &'static str> {
    let MemoryDataset { series, profiles, dictionary, stack, value, span_id, trace_id, .. } = dataset;
    rule(!series.iter().any(Labels::is_empty), "a series has no labels")?;
    rule(profiles.series.iter().all(|&index| (index as usize) < series.len()), "a profile is of no series")?;
    let optional = |len: usize| len == 0 || len == stack.len();
    let equally_long = value.len() == stack.len() && optional(span_id.len()) && optional(trace_id.len());
    rule(equally_long, "row columns differ in length")?;
    let columns = [profiles.time_ns.len(), profiles.duration_ns.len(), profiles.total.len(), profiles.id.len()];
    let equally_long = columns.iter().chain([&profiles.row_end.len()]).all(|&len| len == profiles.len());
    rule(equally_long, "profile columns differ in length")?;
    let last_row = profiles.row_end.last().copied().unwrap_or(0);
    rule(profiles.row_end.is_sorted() && last_row as usize == stack.len(), "profiles do not cover the rows")?;
    rule(stack.iter().all(|leaf| leaf.index() < dictionary.stacks.len()), "a row is of no stack")
}

fn check_order(dataset: &MemoryDataset) -> Result<(), &'static str> {
    let MemoryDataset { series, profiles, dictionary, stack, .. } = dataset;
    rule(series.windows(2).all(|pair| pair[0] < pair[1]), "series do not ascend")?;
    let key = |profile: usize| (profiles.series[profile], profiles.time_ns[profile]);
    rule((0..profiles.len()).is_sorted_by_key(key), "profiles are not sorted by series and time")?;
    let stacks_of = |profile: usize| {
        let rows = profiles.rows(profile);
        &stack[rows.start as usize..rows.end as usize]
    };
    rule(
        (0..profiles.len()).all(|profile| stacks_of(profile).is_sorted()),
        "rows of a profile are not sorted by stack",
    )?;
    rule(stacks::is_depth_first(&dictionary.stacks), "stack nodes are not in depth-first order")
}

fn summarise(dataset: &MemoryDataset) -> DatasetSummary {
    let mut profile_types: Vec<ProfileType> = dataset.series.iter().filter_map(ProfileType::of).collect();
    profile_types.sort_unstable();
    profile_types.dedup();
    DatasetSummary {
        service_name: dataset.service_name.clone(),
        series_count: dataset.series.len() as u32,
        profile_count: dataset.profiles.len() as u32,
        row_count: dataset.stack.len() as u32,
        time: table::time_range(&dataset.profiles),
        profile_types,
    }
}
