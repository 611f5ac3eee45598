use std::collections::BTreeMap;
use std::sync::mpsc;
use std::time::Duration;

use argand_model::{Labels, MemoryDataset, TimeRange, Upload, name};

use super::*;
use crate::sim::{Crash, SimClock, SimDisk, SimRng, collect, show, small_config};
use crate::testing::{TestRng, random_upload};
use crate::{Ack, Done};

/// A store on a simulated disk without faults.
struct Fixture {
    disk: SimDisk,
    clock: Arc<SimClock>,
    config: StoreConfig,
    engine: Engine,
    tenant: TenantId,
}

impl Fixture {
    fn new(config: StoreConfig) -> Self {
        let (disk, clock) = (SimDisk::new(1), Arc::<SimClock>::default());
        let engine = open(&disk, &clock, &config).unwrap();
        Self { disk, clock, config, engine, tenant: TenantId::anonymous() }
    }

    /// Another store on a copy of the disk as it is now.
    fn fork(&self) -> Self {
        let disk = self.disk.fork();
        disk.crash(Crash::Process);
        let (clock, config, tenant) = (self.clock.clone(), self.config.clone(), self.tenant.clone());
        let engine = open(&disk, &clock, &config).unwrap();
        Self { disk, clock, config, engine, tenant }
    }

    fn send(&self, upload: &Upload) -> mpsc::Receiver<Result<Ack, StoreError>> {
        let (sender, receiver) = mpsc::channel();
        let done: Done = Box::new(move |outcome| sender.send(outcome).unwrap());
        self.engine.append(&self.tenant, upload, done);
        receiver
    }

    fn store(&self, upload: &Upload) -> Result<Ack, StoreError> {
        let outcome = self.send(upload);
        self.engine.commit();
        outcome.try_recv().expect("a commit answers everything")
    }

    /// Seals the head and makes blocks of it.
    fn flush(&self) {
        self.engine.request_roll();
        self.engine.commit();
        while self.engine.flush_one().unwrap() {}
    }

    fn profiles(&self) -> BTreeMap<u128, impl PartialEq + std::fmt::Debug + use<>> {
        let snapshot = self.engine.snapshot(&self.tenant, TimeRange::ALL);
        let datasets = snapshot.datasets.iter().filter_map(|dataset| collect(dataset.as_ref()).ok());
        datasets.flat_map(|dataset| show(&dataset)).collect()
    }
}

fn open(disk: &SimDisk, clock: &Arc<SimClock>, config: &StoreConfig) -> Result<Engine, StoreError> {
    let rng = Arc::new(SimRng::new(7));
    Engine::open(Environment { disk: Arc::new(disk.clone()), clock: clock.clone(), rng }, config.clone())
}

fn roomy() -> StoreConfig {
    StoreConfig { reserve_bytes: 0, ..StoreConfig::default() }
}

fn keyed(seed: u64) -> Upload {
    Upload { idempotency_key: Some(seed.into()), ..random_upload(seed, "shop", 2) }
}

#[test]
fn an_upload_shows_when_it_is_durable_and_stays_through_its_moves() {
    let store = Fixture::new(roomy());
    let waiting = store.send(&keyed(1));
    assert!(store.profiles().is_empty() && waiting.try_recv().is_err(), "not durable yet");
    store.engine.commit();
    assert_eq!(waiting.try_recv().unwrap().unwrap(), Ack::Stored);
    let expected = show(&MemoryDataset::of_upload(&keyed(1)));
    let shown = |store: &Fixture| format!("{:?}", store.profiles());
    assert_eq!(shown(&store), format!("{expected:?}"), "in the head");
    assert_eq!(shown(&store.fork()), format!("{expected:?}"), "from the log");
    store.flush();
    assert_eq!(shown(&store), format!("{expected:?}"), "in a block");
    assert!(!store.disk.files().contains(&"log/0000000000000001.log".to_owned()));
    let stats = store.engine.tenant_stats(&store.tenant);
    assert_eq!((stats.blocks, stats.profiles), (1, 2));
    assert_eq!(shown(&store.fork()), format!("{expected:?}"), "in a block, after a restart");
}

#[test]
fn a_repeated_upload_is_acknowledged_and_not_stored_even_after_its_log_is_gone() {
    let store = Fixture::new(roomy());
    let (first, second) = (store.send(&keyed(1)), store.send(&keyed(1)));
    store.engine.commit();
    assert_eq!((first.recv().unwrap().unwrap(), second.recv().unwrap().unwrap()), (Ack::Stored, Ack::Duplicate));
    store.flush();
    assert_eq!(store.store(&keyed(1)).unwrap(), Ack::Duplicate);
    let store = store.fork();
    assert_eq!(store.store(&keyed(1)).unwrap(), Ack::Duplicate);
    assert_eq!(store.store(&keyed(2)).unwrap(), Ack::Stored);
    assert_eq!(store.profiles().len(), 4);
}

#[test]
fn tenants_do_not_see_each_other() {
    let store = Fixture::new(roomy());
    store.store(&keyed(1)).unwrap();
    let other: TenantId = "other".parse().unwrap();
    for _ in 0..2 {
        assert!(store.engine.snapshot(&other, TimeRange::ALL).datasets.is_empty());
        assert_eq!(store.engine.tenants(), [TenantId::anonymous()]);
        store.flush();
    }
    assert_eq!(store.engine.tenant_stats(&other), TenantStats::default());
}

#[test]
fn snapshots_hold_what_overlaps_and_keep_it() {
    let store = Fixture::new(StoreConfig { compaction_fan_in: 2, ..roomy() });
    for (seed, time_ns) in [(1, 100), (2, 200), (3, 300)] {
        let mut upload = keyed(seed);
        upload.series.iter_mut().for_each(|series| series.time_ns = time_ns);
        store.store(&upload).unwrap();
        if seed < 3 {
            store.flush();
        }
    }
    let parts = |start_ns, end_ns| store.engine.snapshot(&store.tenant, TimeRange { start_ns, end_ns }).datasets;
    assert_eq!([parts(0, 99).len(), parts(100, 100).len(), parts(150, 300).len(), parts(301, 999).len()], [0, 1, 2, 0]);
    let held = parts(0, 200);
    assert!(store.engine.compact_one().unwrap());
    store.engine.remove_dead_files();
    assert!(held.iter().all(|dataset| collect(dataset.as_ref()).is_ok()), "files stay while they are read");
    let blocks = || store.disk.files().iter().filter(|path| path.ends_with(".blk")).count();
    assert_eq!((blocks(), parts(0, 250).len()), (3, 1));
    drop(held);
    store.engine.remove_dead_files();
    assert_eq!(blocks(), 1);
}

#[test]
fn too_many_series_are_refused_by_name_of_the_worst_label() {
    let store = Fixture::new(StoreConfig { max_series_per_tenant: 10, ..roomy() });
    let upload = |pod: u32| {
        let mut upload = random_upload(1, "shop", 1);
        upload.series[0].labels = Labels::new([(name::SERVICE_NAME, "shop".to_owned()), ("pod", pod.to_string())]);
        upload
    };
    (0..10).for_each(|pod| assert_eq!(store.store(&upload(pod)).unwrap(), Ack::Stored));
    match store.store(&upload(10)) {
        Err(StoreError::SeriesLimit { limit: 10, worst_label }) => assert_eq!(worst_label, "pod"),
        other => panic!("{other:?}"),
    }
    assert_eq!(store.store(&upload(3)).unwrap(), Ack::Stored, "known series go on");
    store.flush();
    store.clock.pass(Duration::from_secs(3_700));
    assert_eq!(store.store(&upload(10)).unwrap(), Ack::Stored, "old series make room");
    let mut other_service = upload(11);
    other_service.series[0].labels = Labels::new([(name::SERVICE_NAME, "cart")]);
    assert_eq!(store.store(&other_service).unwrap(), Ack::Stored);
}

#[test]
fn malformed_and_huge_uploads_are_refused() {
    let store = Fixture::new(StoreConfig { max_record_bytes: 100_000, ..roomy() });
    let mut row_without_stack = keyed(1);
    row_without_stack.series[0].stack[0] = 1_000;
    let mut short_column = keyed(1);
    short_column.series[0].value.pop();
    let mut two_services = keyed(1);
    two_services.series[1].labels = Labels::new([(name::SERVICE_NAME, "cart")]);
    let mut bad_location = keyed(1);
    bad_location.symbols.locations[0].lines_len = 99;
    for upload in [row_without_stack, short_column, two_services, bad_location, Upload::default()] {
        assert!(matches!(store.store(&upload), Err(StoreError::Malformed(_))));
    }
    let mut huge = keyed(1);
    huge.symbols.strings.push(&"x".repeat(100_000));
    assert!(matches!(store.store(&huge), Err(StoreError::TooLarge { limit: 100_000, .. })));
    assert_eq!(store.store(&keyed(1)).unwrap(), Ack::Stored);
}

#[test]
fn a_full_disk_refuses_uploads_answers_queries_and_resumes() {
    let store = Fixture::new(StoreConfig { reserve_bytes: 5_000, ..roomy() });
    store.store(&keyed(1)).unwrap();
    store.disk.set_capacity(store.disk.used() + 4_000);
    store.engine.commit();
    assert!(matches!(store.store(&keyed(2)), Err(StoreError::DiskFull { reserve_bytes: 5_000, .. })));
    assert!(store.engine.status().ready.unwrap_err().contains("disk is full"));
    assert_eq!(store.profiles().len(), 2);
    store.flush();
    assert_eq!(store.profiles().len(), 2, "the reserve is for flushes");
    store.disk.set_capacity(u64::MAX / 2);
    store.engine.commit();
    assert_eq!(store.engine.status().ready, Ok(()));
    assert_eq!(store.store(&keyed(2)).unwrap(), Ack::Stored);
}

#[test]
fn no_space_in_the_middle_of_a_commit_loses_nothing_acknowledged() {
    let store = Fixture::new(roomy());
    store.store(&keyed(1)).unwrap();
    let waiting = store.send(&keyed(2));
    store.disk.set_capacity(store.disk.used() + 10);
    store.engine.commit();
    assert!(matches!(waiting.recv().unwrap(), Err(StoreError::NotDurable { .. })));
    assert!(store.engine.status().ready.is_err());
    assert!(matches!(store.store(&keyed(3)), Err(StoreError::Unavailable { .. })));
    store.disk.set_capacity(u64::MAX / 2);
    store.engine.commit();
    assert_eq!(store.store(&keyed(2)).unwrap(), Ack::Stored);
    assert_eq!(store.profiles().len(), 4);
    assert_eq!(store.fork().profiles().len(), 4);
}

#[test]
fn heads_that_wait_for_their_flush_hold_uploads_back() {
    let store = Fixture::new(StoreConfig { head_bytes: 1, max_sealed_heads: 2, ..roomy() });
    let mut outcomes: Vec<_> = (0..4).map(|seed| store.store(&keyed(seed)).is_ok()).collect();
    assert!(store.engine.flush_one().unwrap());
    store.engine.commit();
    outcomes.push(store.store(&keyed(4)).is_ok());
    assert_eq!(outcomes, [true, true, true, false, true]);
    assert_eq!(store.engine.metrics.refused_overloaded.get(), 1);
}

#[test]
fn the_queue_is_bounded() {
    let store = Fixture::new(StoreConfig { max_queue_count: 3, ..roomy() });
    let outcomes: Vec<_> = (0..5).map(|seed| store.send(&keyed(seed))).collect();
    store.engine.commit();
    let stored = outcomes.iter().map(|outcome| outcome.recv().unwrap().is_ok());
    assert_eq!(stored.collect::<Vec<_>>(), [true, true, true, false, false]);
}

#[test]
fn an_old_head_is_sealed_and_an_idle_one_is_not() {
    let store = Fixture::new(roomy());
    let sealed = || {
        store.engine.commit();
        store.engine.status().sealed_heads
    };
    store.clock.pass(Duration::from_hours(5));
    assert_eq!(sealed(), 0, "empty");
    store.store(&keyed(1)).unwrap();
    store.clock.pass(Duration::from_secs(119));
    assert_eq!(sealed(), 0);
    store.clock.pass(Duration::from_secs(1));
    assert_eq!(sealed(), 1);
}

/// Uploads in several blocks and in the log.
fn full_store() -> Fixture {
    let store = Fixture::new(StoreConfig { reserve_bytes: 0, ..small_config() });
    for seed in 0..12 {
        store.store(&Upload { idempotency_key: Some(seed.into()), ..random_upload(seed, "shop", 3) }).unwrap();
        if seed % 4 == 3 && seed < 11 {
            store.flush();
        }
    }
    store
}

#[test]
fn compaction_and_flush_always_make_the_same_bytes() {
    let compacted = || {
        let store = full_store();
        store.flush();
        store.clock.pass(Duration::from_hours(3));
        assert!(store.engine.compact_one().unwrap());
        store.engine.remove_dead_files();
        let files = store.disk.files().into_iter().filter(|path| path.ends_with(".blk"));
        files.map(|path| (store.disk.bytes(&path), path)).collect::<Vec<_>>()
    };
    let (first, second) = (compacted(), compacted());
    assert_eq!(first.len(), 1);
    assert_eq!(first, second);
}

#[test]
fn any_damage_is_noticed_and_costs_one_file_at_most() {
    let whole = full_store();
    let expected = format!("{:?}", whole.profiles());
    let profile_count = whole.profiles().len();
    let mut rng = TestRng(5);
    let files: Vec<String> = whole.disk.files();
    for round in 0..400 {
        let path = &files[rng.below(files.len() as u64) as usize];
        let disk = whole.disk.fork();
        disk.crash(Crash::Process);
        let len = disk.bytes(path).len();
        let at = rng.below(len as u64) as usize;
        let kind = rng.below(3);
        disk.damage(path, |bytes| match kind {
            0 => bytes[at] ^= 1 << rng.below(8),
            1 => bytes.truncate(at),
            _ => {
                let end = len.min(at + 512);
                let before = bytes[at..end].to_vec();
                bytes[at..end].fill(0);
                if before == bytes[at..end] {
                    bytes[at] ^= 1;
                }
            }
        });
        let context = format!("round {round}: {path} of {len} bytes, kind {kind} at {at}");
        let engine = match open(&disk, &whole.clock, &whole.config) {
            Ok(engine) => engine,
            Err(StoreError::Format { .. }) if path == "FORMAT" => continue,
            Err(error) => panic!("{context}: {error:?}"),
        };
        let store = Fixture {
            disk,
            engine,
            clock: whole.clock.clone(),
            config: whole.config.clone(),
            tenant: whole.tenant.clone(),
        };
        let before_scrub = store.profiles().len();
        for _ in 0..8 {
            store.engine.scrub_one().unwrap();
        }
        let shown = store.profiles();
        let status = store.engine.status();
        let is_noticed = !status.damage.is_empty() || store.engine.metrics.torn_bytes.get() > 0;
        assert!(is_noticed || path == "FORMAT", "{context}: not noticed");
        if shown.len() == profile_count {
            assert_eq!(format!("{shown:?}"), expected, "{context}");
        } else {
            assert!(before_scrub >= shown.len(), "{context}");
            let is_block = path.ends_with(".blk");
            assert!(is_block || path.starts_with("log/"), "{context}: lost {}", profile_count - shown.len());
            assert!(shown.len() >= profile_count - 12, "{context}: more than one file is lost");
            assert!(shown.iter().all(|(_, profile)| expected.contains(&format!("{profile:?}"))), "{context}");
            if is_block {
                assert_eq!(status.quarantined.len(), 1, "{context}");
                let kept = format!("quarantine/{}", path.rsplit('/').next().unwrap());
                assert!(store.disk.files().contains(&kept), "{context}");
                let warnings = store.engine.snapshot(&store.tenant, TimeRange::ALL).warnings;
                assert_eq!(warnings.len(), 1, "{context}");
            }
        }
        assert_eq!(store.store(&keyed(1_000)).unwrap(), Ack::Stored, "{context}");
    }
}

#[test]
fn a_missing_block_is_named() {
    let store = full_store();
    let block = store.disk.files().into_iter().find(|path| path.ends_with(".blk")).unwrap();
    let disk = store.disk.fork();
    disk.crash(Crash::Process);
    disk.remove(&block).unwrap();
    let engine = open(&disk, &store.clock, &store.config).unwrap();
    assert_eq!(engine.status().quarantined.len(), 1);
    assert!(engine.status().damage[0].contains("is missing"), "{:?}", engine.status().damage);
    assert_eq!(engine.snapshot(&store.tenant, TimeRange::ALL).warnings.len(), 1);
}

#[test]
fn swapped_blocks_are_noticed() {
    let store = full_store();
    let blocks: Vec<String> = store.disk.files().into_iter().filter(|path| path.ends_with(".blk")).collect();
    let (first, second) = (store.disk.bytes(&blocks[0]), store.disk.bytes(&blocks[1]));
    let disk = store.disk.fork();
    disk.crash(Crash::Process);
    disk.damage(&blocks[0], |bytes| *bytes = second);
    disk.damage(&blocks[1], |bytes| *bytes = first);
    let engine = open(&disk, &store.clock, &store.config).unwrap();
    (0..4).for_each(|_| assert!(engine.scrub_one().is_ok()));
    assert_eq!(engine.status().quarantined.len(), 2);
}

#[test]
fn stray_files_go() {
    let store = full_store();
    let disk = store.disk.fork();
    disk.crash(Crash::Process);
    let block = disk.files().into_iter().find(|path| path.ends_with(".blk")).unwrap();
    let strays = [format!("{block}.tmp"), block.replace(".blk", "Z.blk"), "MANIFEST.tmp".to_owned()];
    strays.iter().for_each(|path| drop(disk.create(path).unwrap()));
    open(&disk, &store.clock, &store.config).unwrap();
    assert!(disk.files().iter().all(|path| !strays.contains(path)));
    assert!(disk.files().contains(&block));
}

#[test]
fn another_format_is_refused() {
    let store = full_store();
    let disk = store.disk.fork();
    disk.crash(Crash::Process);
    disk.damage("FORMAT", |bytes| *bytes = b"argand store 2\n".to_vec());
    let error = open(&disk, &store.clock, &store.config).err().unwrap();
    assert!(error.to_string().contains("argand store 2"), "{error}");
    disk.remove("FORMAT").unwrap();
    assert!(matches!(open(&disk, &store.clock, &store.config), Err(StoreError::Format { .. })));
}

#[test]
fn retention_waits_for_a_confirmed_clock() {
    let config = StoreConfig { retention: Some(Duration::from_hours(10)), ..roomy() };
    let store = Fixture::new(config);
    let mut upload = keyed(1);
    upload.series.iter_mut().for_each(|series| series.time_ns = store.clock.wall_ns());
    store.store(&upload).unwrap();
    store.flush();
    let observe = |minutes: u64| {
        store.clock.pass(Duration::from_mins(minutes));
        store.engine.retain().unwrap()
    };
    assert_eq!([observe(1), observe(10)], [0, 0], "too young");
    store.clock.jump(1_000 * 3_600);
    assert_eq!([observe(1), observe(5)], [0, 0], "a jump deletes nothing");
    store.clock.jump(-1_000 * 3_600);
    assert_eq!([observe(1), observe(10)], [0, 0], "and was none after all");
    store.clock.pass(Duration::from_hours(10));
    assert_eq!(observe(1), 1);
    store.engine.remove_dead_files();
    assert!(store.disk.files().iter().all(|path| !path.ends_with(".blk")));
}

#[test]
fn retention_by_size_deletes_the_oldest() {
    let store = Fixture::new(StoreConfig { retention_bytes: Some(1), ..roomy() });
    store.store(&keyed(1)).unwrap();
    store.flush();
    assert_eq!(store.engine.retain().unwrap(), 1);
    assert!(store.profiles().is_empty());
}

#[test]
fn retention_can_change_while_the_store_is_open() {
    let store = Fixture::new(StoreConfig { retention_bytes: Some(1), ..roomy() });
    store.store(&keyed(1)).unwrap();
    store.flush();
    store.engine.set_retention(None, None);
    assert_eq!(store.engine.retain().unwrap(), 0);
    store.engine.set_retention(None, Some(1));
    assert_eq!(store.engine.retain().unwrap(), 1);
}

#[test]
fn the_cache_keeps_to_its_budget() {
    let store = full_store();
    store.flush();
    for _ in 0..3 {
        assert_eq!(store.profiles().len(), 36);
        assert!(store.engine.metrics.cache_bytes.get() <= store.config.cache_bytes as u64);
    }
}
