//! The head: what the log holds, in memory and readable.
//!
//! A generation is one log file and the datasets of its uploads. Rows stay packed as in the log.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, RwLock};

use argand_model::{
    Dataset, DatasetError, Dictionary, Labels, MemoryDataset, ProfileTable, RowColumns, RowSlice, StackId, TenantId,
    TimeRange, Upload,
};
use hashbrown::HashTable;

use crate::interner::Interner;
use crate::lock;
use crate::record::{ProfileHeader, TableLengths, UploadRecord};
use crate::rows::{self, Rows};

/// Datasets by service.
type Services = BTreeMap<Box<str>, Arc<HeadDataset>>;

/// One log file and what it holds.
pub(crate) struct Generation {
    pub(crate) number: u64,
    /// Unguessable; block ids and hash seeds derive from it.
    pub(crate) seed: u128,
    datasets: RwLock<BTreeMap<TenantId, Services>>,
    memory: AtomicUsize,
    /// Rows of the largest dataset.
    largest_rows: AtomicUsize,
    /// Monotonic time of the first commit in ns; `u64::MAX` before.
    first_commit_ns: AtomicU64,
    /// Wall clock when it was sealed, in ns: the time in the ids of its blocks.
    sealed_wall_ns: AtomicU64,
    /// Nothing more comes, and its keys are safe in a later log: it may be flushed.
    closed: AtomicBool,
}

impl Generation {
    pub(crate) fn new(number: u64, seed: u128) -> Self {
        Self {
            number,
            seed,
            datasets: RwLock::default(),
            memory: AtomicUsize::new(0),
            largest_rows: AtomicUsize::new(0),
            first_commit_ns: AtomicU64::new(u64::MAX),
            sealed_wall_ns: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    /// The dataset of a service, if there is one.
    pub(crate) fn find_dataset(&self, tenant: &TenantId, service: &str) -> Option<Arc<HeadDataset>> {
        lock::read(&self.datasets).get(tenant)?.get(service).cloned()
    }

    /// The dataset of a service; made where there is none.
    pub(crate) fn dataset(&self, tenant: &TenantId, service: &str) -> Arc<HeadDataset> {
        if let Some(dataset) = self.find_dataset(tenant, service) {
            return dataset;
        }
        let seed = [self.seed as u64, (self.seed >> 64) as u64];
        let mut datasets = lock::write(&self.datasets);
        let services = datasets.entry(tenant.clone()).or_default();
        services.entry(service.into()).or_insert_with(|| Arc::new(HeadDataset::new(service, seed))).clone()
    }

    /// Datasets of a tenant, ascending by service.
    pub(crate) fn datasets_of(&self, tenant: &TenantId) -> Vec<Arc<HeadDataset>> {
        lock::read(&self.datasets).get(tenant).map(|services| services.values().cloned().collect()).unwrap_or_default()
    }

    /// Tenants with a dataset, ascending.
    pub(crate) fn tenants(&self) -> Vec<TenantId> {
        lock::read(&self.datasets).keys().cloned().collect()
    }

    /// Heap memory in bytes.
    pub(crate) fn memory_bytes(&self) -> usize {
        self.memory.load(Ordering::Relaxed)
    }

    /// Rows of the largest dataset.
    pub(crate) fn largest_rows(&self) -> usize {
        self.largest_rows.load(Ordering::Relaxed)
    }

    /// Replaces a dataset's share of [`Self::memory_bytes`].
    pub(crate) fn account(&self, before: usize, after: usize) {
        self.memory.fetch_add(after.wrapping_sub(before), Ordering::Relaxed);
    }

    /// Makes the rows of a durable upload visible.
    pub(crate) fn commit(&self, upload: &CommittedUpload, monotonic_ns: u64) {
        self.first_commit_ns.fetch_min(monotonic_ns, Ordering::Relaxed);
        let mut committed = lock::mutex(&upload.dataset.committed);
        let before = committed.memory_bytes();
        committed.push(upload);
        self.account(before, committed.memory_bytes());
        self.largest_rows.fetch_max(committed.row_count() as usize, Ordering::Relaxed);
    }

    /// Monotonic time of the first commit in ns, if there was one.
    pub(crate) fn first_commit_ns(&self) -> Option<u64> {
        Some(self.first_commit_ns.load(Ordering::Relaxed)).filter(|&ns| ns != u64::MAX)
    }

    /// Notes when it was sealed.
    pub(crate) fn seal(&self, wall_ns: i64) {
        self.sealed_wall_ns.store(wall_ns.max(0) as u64, Ordering::Relaxed);
    }

    /// When it was sealed: wall clock in ms.
    pub(crate) fn sealed_wall_ms(&self) -> u64 {
        self.sealed_wall_ns.load(Ordering::Relaxed) / 1_000_000
    }

    /// Says that it may be flushed; drops what only writers need.
    pub(crate) fn close(&self) {
        if self.closed.swap(true, Ordering::AcqRel) {
            return;
        }
        for dataset in lock::read(&self.datasets).values().flat_map(BTreeMap::values) {
            let mut writing = lock::mutex(&dataset.writing);
            let before = writing.memory_bytes();
            writing.freeze();
            self.account(before, writing.memory_bytes());
        }
    }

    /// Whether it may be flushed.
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    /// Adds a record of a log that is replayed. Errors: its tables do not continue what the log gave so far.
    pub(crate) fn replay(&self, record: &UploadRecord<'_>, monotonic_ns: u64) -> Result<(), String> {
        let tenant = record.tenant.as_ref().ok_or("record without a tenant")?;
        let dataset = self.dataset(tenant, record.service);
        let mut writing = lock::mutex(&dataset.writing);
        let before = writing.memory_bytes();
        writing.replay(record)?;
        self.account(before, writing.memory_bytes());
        drop(writing);
        let (new_series, profiles, rows) = (record.series.clone(), record.profiles.clone(), record.rows.into());
        self.commit(&CommittedUpload { dataset, new_series, profiles, rows }, monotonic_ns);
        Ok(())
    }
}

/// A durable upload on its way into the head.
pub(crate) struct CommittedUpload {
    pub(crate) dataset: Arc<HeadDataset>,
    /// Series that the dataset did not have before.
    pub(crate) new_series: Vec<Labels>,
    pub(crate) profiles: Vec<ProfileHeader>,
    pub(crate) rows: Arc<[u8]>,
}

/// The uploads of one service in one generation.
pub(crate) struct HeadDataset {
    service: Box<str>,
    /// Held by the one upload that is being prepared.
    pub(crate) writing: Mutex<Writing>,
    committed: Mutex<Committed>,
}

/// Tables that uploads add to before they are durable.
pub(crate) enum Writing {
    /// Uploads come in.
    Open {
        /// Symbols and stacks.
        interner: Box<Interner>,
        /// Distinct series.
        series: Vec<Labels>,
        /// Indexes of `series` by fingerprint.
        by_fingerprint: HashTable<u32>,
        /// What records in the queue or in the log brought; the next record starts there.
        logged: TableLengths,
    },
    /// Nothing comes any more, or it comes from a log with its ids given.
    Frozen {
        /// Symbols and stacks.
        dictionary: Arc<Dictionary>,
        /// Distinct series.
        series: Vec<Labels>,
    },
}

impl Writing {
    pub(crate) fn dictionary(&self) -> &Arc<Dictionary> {
        match self {
            Writing::Open { interner, .. } => interner.dictionary(),
            Writing::Frozen { dictionary, .. } => dictionary,
        }
    }

    pub(crate) fn series(&self) -> &[Labels] {
        match self {
            Writing::Open { series, .. } | Writing::Frozen { series, .. } => series,
        }
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        // A series is an allocation of its own; its text is counted roughly.
        const SERIES_BYTES: usize = 512;
        let series = self.series().len() * SERIES_BYTES;
        match self {
            Writing::Open { interner, by_fingerprint, .. } => {
                interner.memory_bytes() + by_fingerprint.allocation_size() + series
            }
            Writing::Frozen { dictionary, .. } => dictionary.memory_bytes() + series,
        }
    }

    /// Index of a series, if it has one.
    pub(crate) fn find_series(&self, labels: &Labels) -> Option<u32> {
        let Writing::Open { series, by_fingerprint, .. } = self else { return None };
        by_fingerprint.find(labels.fingerprint(), |&i| series[i as usize] == *labels).copied()
    }

    /// Index of a series; added where it is new.
    pub(crate) fn add_series(&mut self, labels: &Labels) -> u32 {
        if let Some(index) = self.find_series(labels) {
            return index;
        }
        let Writing::Open { series, by_fingerprint, .. } = self else {
            unreachable!("only the current generation gets uploads");
        };
        let index = series.len() as u32;
        series.push(labels.clone());
        by_fingerprint.insert_unique(labels.fingerprint(), index, |&i| series[i as usize].fingerprint());
        index
    }

    /// Adds the stacks that rows of an upload use; returns the node of each stack, see [`Interner::intern_stacks`].
    pub(crate) fn intern_stacks(&mut self, upload: &Upload) -> Vec<StackId> {
        let Writing::Open { interner, .. } = self else {
            unreachable!("only the current generation gets uploads");
        };
        let used = upload.series.iter().flat_map(|series| series.stack.iter().copied());
        interner.intern_stacks(&upload.symbols, &upload.stacks, used)
    }

    /// Notes that the next record brings everything up to `now`; returns where it starts.
    pub(crate) fn start_record(&mut self, now: TableLengths) -> TableLengths {
        let Writing::Open { logged, .. } = self else {
            unreachable!("only the current generation gets uploads");
        };
        std::mem::replace(logged, now)
    }

    fn freeze(&mut self) {
        let frozen = Writing::Frozen { dictionary: self.dictionary().clone(), series: self.series().to_vec() };
        *self = frozen;
    }

    /// Appends the tables of a record.
    fn replay(&mut self, record: &UploadRecord<'_>) -> Result<(), String> {
        if matches!(self, Writing::Open { .. }) {
            self.freeze();
        }
        let Writing::Frozen { dictionary, series } = self else { unreachable!("it was frozen above") };
        let have = TableLengths::of(series.len(), dictionary);
        if have != record.base {
            return Err(format!("needs tables {:?}, has {have:?}", record.base));
        }
        series.extend_from_slice(&record.series);
        let Dictionary { symbols, stacks } = Arc::make_mut(dictionary);
        for text in &record.strings {
            symbols.strings.push(text);
        }
        symbols.functions.extend_from_slice(&record.functions);
        symbols.mappings.extend_from_slice(&record.mappings);
        let mut lines_start = 0;
        for &(mapping, address, is_folded, lines_end) in &record.locations {
            symbols.push_location(mapping, address, is_folded, &record.lines[lines_start..lines_end]);
            lines_start = lines_end;
        }
        for &(parent, location) in &record.nodes {
            stacks.push(parent, location);
        }
        Ok(())
    }
}

/// Rows that are durable.
#[derive(Default)]
struct Committed {
    series: Arc<Vec<Labels>>,
    profiles: Arc<ProfileTable>,
    packed: Arc<Vec<Packed>>,
    /// Bytes of all packed rows, with the overhead of their allocations.
    packed_bytes: usize,
}

/// Rows of one profile inside the bytes of its upload.
#[derive(Clone)]
struct Packed {
    upload: Arc<[u8]>,
    start: u32,
    len: u32,
}

impl Packed {
    fn bytes(&self) -> &[u8] {
        &self.upload[self.start as usize..][..self.len as usize]
    }
}

impl Committed {
    fn row_count(&self) -> u32 {
        self.profiles.row_end.last().copied().unwrap_or(0)
    }

    fn memory_bytes(&self) -> usize {
        const PROFILE_BYTES: usize = 4 + 3 * 8 + 16 + 4 + size_of::<Packed>();
        self.packed_bytes + self.packed.capacity() * PROFILE_BYTES
    }

    fn push(&mut self, upload: &CommittedUpload) {
        const ALLOCATION_BYTES: usize = 32;
        let CommittedUpload { new_series, profiles, rows, .. } = upload;
        if !new_series.is_empty() {
            Arc::make_mut(&mut self.series).extend_from_slice(new_series);
        }
        self.packed_bytes += rows.len() + ALLOCATION_BYTES;
        let mut row_end = self.row_count();
        let (table, packed) = (Arc::make_mut(&mut self.profiles), Arc::make_mut(&mut self.packed));
        let mut start = 0;
        for profile in profiles {
            row_end += profile.row_count;
            table.series.push(profile.series);
            table.time_ns.push(profile.time_ns);
            table.duration_ns.push(profile.duration_ns);
            table.total.push(profile.total);
            table.id.push(profile.id);
            table.row_end.push(row_end);
            packed.push(Packed { upload: rows.clone(), start, len: profile.rows_len });
            start += profile.rows_len;
        }
    }
}

impl HeadDataset {
    fn new(service: &str, seed: [u64; 2]) -> Self {
        let writing = Writing::Open {
            interner: Box::new(Interner::new(seed)),
            series: Vec::new(),
            by_fingerprint: HashTable::new(),
            logged: TableLengths::empty(),
        };
        Self { service: service.into(), writing: Mutex::new(writing), committed: Mutex::default() }
    }

    /// Series of committed profiles.
    pub(crate) fn committed_series(&self) -> Arc<Vec<Labels>> {
        lock::mutex(&self.committed).series.clone()
    }

    /// What is committed now; `None` while there is nothing.
    pub(crate) fn snapshot(&self) -> Option<HeadPart> {
        // Rows first: whatever they point to is in the tables by then.
        let (series, profiles, packed) = {
            let committed = lock::mutex(&self.committed);
            (committed.series.clone(), committed.profiles.clone(), committed.packed.clone())
        };
        if profiles.is_empty() {
            return None;
        }
        let dictionary = lock::mutex(&self.writing).dictionary().clone();
        Some(HeadPart { service: self.service.clone(), series: series.as_slice().into(), profiles, packed, dictionary })
    }
}

/// The committed part of a head dataset at one moment.
pub(crate) struct HeadPart {
    service: Box<str>,
    series: Arc<[Labels]>,
    profiles: Arc<ProfileTable>,
    packed: Arc<Vec<Packed>>,
    dictionary: Arc<Dictionary>,
}

impl HeadPart {
    /// From the first profile's time to the last one's.
    pub(crate) fn time(&self) -> TimeRange {
        let times = &self.profiles.time_ns;
        let (start_ns, end_ns) = (times.iter().min(), times.iter().max());
        TimeRange { start_ns: start_ns.copied().unwrap_or(0), end_ns: end_ns.copied().unwrap_or(0) }
    }

    pub(crate) fn profile_count(&self) -> usize {
        self.profiles.len()
    }

    pub(crate) fn row_count(&self) -> u32 {
        self.profiles.row_end.last().copied().unwrap_or(0)
    }

    /// All of it as columns.
    pub(crate) fn to_memory(&self) -> MemoryDataset {
        let mut rows = Rows::with_capacity(self.row_count() as usize);
        for index in 0..self.packed.len() {
            self.unpack(index, &mut rows);
        }
        MemoryDataset {
            service_name: self.service.to_string(),
            series: self.series.to_vec(),
            profiles: self.profiles.clone(),
            dictionary: self.dictionary.clone(),
            stack: rows.stack,
            value: rows.value,
            span_id: rows.span_id,
            trace_id: rows.trace_id,
        }
    }

    fn unpack(&self, profile: usize, rows: &mut Rows) {
        let count = self.profiles.rows(profile).len();
        rows::unpack(self.packed[profile].bytes(), count, self.dictionary.stacks.len(), rows)
            .expect("rows were packed here, or checked when the log was replayed");
    }
}

/// Rows that a scan decodes before it shows them.
const SCAN_ROWS: usize = 16 << 10;

impl Dataset for HeadPart {
    fn service_name(&self) -> &str {
        &self.service
    }

    fn series(&self) -> Result<Arc<[Labels]>, DatasetError> {
        Ok(self.series.clone())
    }

    fn profiles(&self) -> Result<Arc<ProfileTable>, DatasetError> {
        Ok(self.profiles.clone())
    }

    fn dictionary(&self) -> Result<Arc<Dictionary>, DatasetError> {
        Ok(self.dictionary.clone())
    }

    fn scan(
        &self,
        ranges: &[Range<u32>],
        columns: RowColumns,
        visit: &mut dyn FnMut(RowSlice<'_>),
    ) -> Result<(), DatasetError> {
        let mut rows = Rows::default();
        for range in ranges.iter().filter(|range| !range.is_empty()) {
            let mut profile = self.profiles.row_end.partition_point(|&end| end <= range.start);
            while profile < self.packed.len() && self.profiles.rows(profile).start < range.end {
                rows.clear();
                let first = self.profiles.rows(profile).start;
                while profile < self.packed.len()
                    && self.profiles.rows(profile).start < range.end
                    && rows.stack.len() < SCAN_ROWS
                {
                    self.unpack(profile, &mut rows);
                    profile += 1;
                }
                let start = range.start.max(first);
                let end = range.end.min(first + rows.stack.len() as u32);
                show(&rows, first, start..end, columns, visit);
            }
        }
        Ok(())
    }
}

/// Visits the rows `range` of a dataset out of `rows`, which start at `first`.
fn show(rows: &Rows, first: u32, range: Range<u32>, columns: RowColumns, visit: &mut dyn FnMut(RowSlice<'_>)) {
    let part = (range.start - first) as usize..(range.end - first) as usize;
    visit(RowSlice {
        first_row: range.start,
        stack: &rows.stack[part.clone()],
        value: &rows.value[part.clone()],
        span_id: if columns.span_id { rows.span_id.get(part.clone()).unwrap_or(&[]) } else { &[] },
        trace_id: if columns.trace_id { rows.trace_id.get(part).unwrap_or(&[]) } else { &[] },
    });
}
