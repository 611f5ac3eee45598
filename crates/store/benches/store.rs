//! What an upload costs before it reaches the disk, and how fast logs replay.
//!
//! The disk is memory, so that only the store's own work shows.
#![allow(clippy::unwrap_used)] // a benchmark that fails may panic

use std::collections::BTreeMap;
use std::hint::black_box;
use std::io;
use std::sync::{Arc, Mutex, mpsc};

use argand_block::ReadAt;
use argand_model::{Labels, LocationId, SeriesProfile, TenantId, Upload, name};
use argand_store::{Disk, DiskFile, Environment, Store, StoreConfig, SystemClock, SystemRng};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

type Bytes = Arc<Mutex<Vec<u8>>>;

/// Files in memory; copies on `open`.
#[derive(Clone, Default)]
struct MemoryDisk(Arc<Mutex<BTreeMap<String, Bytes>>>);

struct MemoryFile(Bytes);

impl MemoryDisk {
    fn file(&self, path: &str) -> io::Result<Bytes> {
        self.0.lock().unwrap().get(path).cloned().ok_or(io::ErrorKind::NotFound.into())
    }

    fn log_bytes(&self) -> u64 {
        let files = self.0.lock().unwrap();
        let logs = files.iter().filter(|(path, _)| path.ends_with(".log"));
        logs.map(|(_, file)| file.lock().unwrap().len() as u64).sum()
    }

    fn fork(&self) -> Self {
        let files = self.0.lock().unwrap();
        let copy = |file: &Bytes| Arc::new(Mutex::new(file.lock().unwrap().clone()));
        Self(Arc::new(Mutex::new(files.iter().map(|(path, file)| (path.clone(), copy(file))).collect())))
    }
}

impl Disk for MemoryDisk {
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let file = Arc::new(Mutex::new(Vec::new()));
        self.0.lock().unwrap().insert(path.to_owned(), file.clone());
        Ok(Box::new(MemoryFile(file)))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn ReadAt>> {
        let bytes = self.file(path)?.lock().unwrap().clone();
        Ok(Arc::new(bytes))
    }

    fn overwrite(&self, _: &str, _: u64, _: &[u8]) -> io::Result<()> {
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut files = self.0.lock().unwrap();
        let file = files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        files.insert(to.to_owned(), file);
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.0.lock().unwrap().remove(path).map(drop).ok_or(io::ErrorKind::NotFound.into())
    }

    fn create_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn sync_dir(&self, _: &str) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let files = self.0.lock().unwrap();
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        let below = files.keys().filter_map(|file| file.strip_prefix(&prefix)?.split('/').next());
        let mut names: Vec<String> = below.map(str::to_owned).collect();
        names.dedup();
        Ok(names)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        Ok(u64::MAX)
    }
}

impl DiskFile for MemoryFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *state >> 33
}

const ROWS: u64 = 2_000;
const DISTINCT_STACKS: u64 = 20_000;
const DEPTH: usize = 28;

/// An upload of [`ROWS`] rows out of [`DISTINCT_STACKS`] stacks of depth [`DEPTH`] over 5,000 locations.
///
/// Stack `n` is a walk down a tree that `n` decides, so stacks share their callers.
fn upload(seed: u64) -> Upload {
    let mut upload = Upload::default();
    let mut known: BTreeMap<u64, LocationId> = BTreeMap::new();
    let mut state = seed;
    let first = random(&mut state) % DISTINCT_STACKS;
    for row in 0..ROWS {
        let stack = (first + row * 7) % DISTINCT_STACKS;
        let locations: Vec<LocationId> = (0..DEPTH as u64)
            .rev()
            .map(|level| {
                let place = (stack >> (DEPTH as u64 - 1 - level).min(14)) * 31 + level * 977;
                let symbols = &mut upload.symbols;
                let function = place % 5_000;
                let named = || format!("github.com/example/shop/internal/package{}.function{function}", function % 97);
                *known.entry(function).or_insert_with(|| symbols.push_named_location(&named()))
            })
            .collect();
        upload.stacks.push(locations);
    }
    upload.series.push(SeriesProfile {
        labels: Labels::new([(name::SERVICE_NAME, "shop".to_owned()), ("pod", format!("pod{}", seed % 10))]),
        id: u128::from(seed),
        time_ns: seed as i64,
        duration_ns: 10_000_000_000,
        stack: (0..ROWS as u32).collect(),
        value: (0..ROWS).map(|_| 10_000_000 * (1 + random(&mut state) % 20) as i64).collect(),
        ..SeriesProfile::default()
    });
    upload
}

fn start(disk: &MemoryDisk, config: StoreConfig) -> Store {
    let environment =
        Environment { disk: Arc::new(disk.clone()), clock: Arc::new(SystemClock::default()), rng: Arc::new(SystemRng) };
    Store::start(environment, config).unwrap()
}

/// One head that takes everything.
fn one_head() -> StoreConfig {
    StoreConfig {
        head_bytes: usize::MAX,
        head_dataset_rows: usize::MAX,
        max_queue_bytes: usize::MAX,
        max_queue_count: usize::MAX,
        ..StoreConfig::default()
    }
}

fn append(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Elements(ROWS)).sample_size(20);
    let uploads: Vec<Upload> = (0..200).map(upload).collect();

    let store = start(&MemoryDisk::default(), one_head());
    let tenant = store.tenant(&TenantId::anonymous());
    uploads.iter().for_each(|upload| assert!(tenant.append_and_wait(upload).is_ok()));
    let mut next = uploads.iter().cycle();
    group.bench_function("rows of known stacks", |bencher| {
        bencher.iter(|| tenant.append(black_box(next.next().unwrap()), |outcome| assert!(outcome.is_ok())));
    });
    store.shutdown();

    group.bench_function("rows of new stacks", |bencher| {
        let fresh = || {
            let store = start(&MemoryDisk::default(), one_head());
            (store.tenant(&TenantId::anonymous()), store)
        };
        bencher.iter_batched(
            fresh,
            |(tenant, store)| {
                tenant.append(black_box(&uploads[0]), |outcome| assert!(outcome.is_ok()));
                (tenant, store)
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

fn replay(criterion: &mut Criterion) {
    let disk = MemoryDisk::default();
    let store = start(&disk, one_head());
    let tenant = store.tenant(&TenantId::anonymous());
    let (sender, receiver) = mpsc::channel();
    for seed in 0..5_000 {
        let sender = sender.clone();
        let mut upload = upload(seed);
        upload.series[0].id = u128::from(seed);
        tenant.append(&upload, move |outcome| sender.send(outcome.unwrap()).unwrap());
    }
    drop(sender);
    assert_eq!(receiver.iter().count(), 5_000);
    store.shutdown();

    let mut group = criterion.benchmark_group("replay");
    group.throughput(Throughput::Bytes(disk.log_bytes())).sample_size(10);
    group.bench_function("log bytes", |bencher| {
        bencher.iter_batched(
            || disk.fork(),
            |disk| {
                let store = start(&disk, one_head());
                assert_eq!(store.metrics().replayed_records.get(), 5_001);
                store
            },
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, append, replay);
criterion_main!(benches);
