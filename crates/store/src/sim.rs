//! The simulator: random work on the engine, on one thread, with a disk that fails and a machine that stops at any
//! call; after each restart the store is compared with a model in memory.
//!
//! `ARGAND_SIM_SEEDS=100000` runs more seeds, `ARGAND_SIM_FIRST_SEED=77 ARGAND_SIM_SEEDS=1` repeats one.

mod disk;
mod model;

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use argand_model::{TenantId, Upload};

pub(crate) use disk::{Crash, Faults, SimDisk};
use model::{Fate, Model};
pub(crate) use model::{collect, show};

use crate::engine::{Engine, Environment};
use crate::testing::{TestRng, random_upload};
use crate::{Ack, Clock, Rng, StoreConfig, StoreError, lock};

/// Clocks that stand still until they are moved.
#[derive(Debug)]
pub(crate) struct SimClock {
    wall_ns: AtomicI64,
    monotonic_ns: AtomicU64,
}

impl Default for SimClock {
    fn default() -> Self {
        Self { wall_ns: AtomicI64::new(1_790_000_000_000_000_000), monotonic_ns: AtomicU64::new(0) }
    }
}

impl SimClock {
    pub(crate) fn pass(&self, time: Duration) {
        self.wall_ns.fetch_add(time.as_nanos() as i64, Ordering::Relaxed);
        self.monotonic_ns.fetch_add(time.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(crate) fn jump(&self, seconds: i64) {
        self.wall_ns.fetch_add(seconds * 1_000_000_000, Ordering::Relaxed);
    }
}

impl Clock for SimClock {
    fn wall_ns(&self) -> i64 {
        self.wall_ns.load(Ordering::Relaxed)
    }

    fn monotonic_ns(&self) -> u64 {
        self.monotonic_ns.load(Ordering::Relaxed)
    }
}

/// Seeded randomness for the engine.
pub(crate) struct SimRng(Mutex<TestRng>);

impl SimRng {
    pub(crate) fn new(seed: u64) -> Self {
        Self(Mutex::new(TestRng(seed)))
    }
}

impl Rng for SimRng {
    fn next_u64(&self) -> u64 {
        lock::mutex(&self.0).next()
    }
}

/// Small bounds, so that everything happens often.
pub(crate) fn small_config() -> StoreConfig {
    StoreConfig {
        head_bytes: 12 << 10,
        flush_interval: Duration::from_mins(2),
        max_queue_count: 20,
        max_series_per_tenant: 25,
        reserve_bytes: 10_000,
        retention: Some(Duration::from_hours(48)),
        compaction_fan_in: 3,
        compaction_dataset_rows: 400,
        cache_bytes: 4_000,
        max_open_blocks: 3,
        ..StoreConfig::default()
    }
}

struct World {
    rng: TestRng,
    disk: SimDisk,
    clock: Arc<SimClock>,
    engine: Option<Engine>,
    model: Model,
    uploads: u64,
    /// What happened in all lives, so that a simulator that stopped simulating is noticed.
    coverage: [u64; COVERAGE.len()],
}

/// Names of the entries of [`World::coverage`].
const COVERAGE: [&str; 15] = [
    "lives",
    "crashes",
    "crashed starts",
    "commits",
    "log failures",
    "duplicates",
    "refused: overloaded",
    "refused: disk full",
    "refused: series",
    "flushes",
    "flush failures",
    "compactions",
    "compaction failures",
    "blocks deleted by retention",
    "torn bytes",
];

const TENANTS: [&str; 2] = ["anonymous", "team-b"];
const SERVICES: [&str; 3] = ["shop", "cart", "mail"];

impl World {
    fn new(seed: u64) -> Self {
        Self {
            rng: TestRng(seed),
            disk: SimDisk::new(seed ^ 0xD15C),
            clock: Arc::default(),
            engine: None,
            model: Model::default(),
            uploads: 0,
            coverage: [0; COVERAGE.len()],
        }
    }

    fn environment(&mut self) -> Environment {
        let rng = Arc::new(SimRng::new(self.rng.next()));
        Environment { disk: Arc::new(self.disk.clone()), clock: self.clock.clone(), rng }
    }

    /// One life of the store: open, work, stop somehow.
    fn live(&mut self) {
        // Some lives end during the start.
        let crash_after = if self.rng.chance(15) { self.rng.below(30) } else { 30 + self.rng.below(600) };
        self.disk.crash_after(crash_after);
        let environment = self.environment();
        self.coverage[0] += 1;
        match Engine::open(environment, small_config()) {
            Ok(engine) => self.engine = Some(engine),
            Err(error) => {
                assert!(self.disk.has_crashed(), "a whole store does not open: {error:?}");
                self.coverage[2] += 1;
            }
        }
        self.model.clock.restart();
        for _ in 0..self.rng.below(120) {
            if self.disk.has_crashed() {
                break;
            }
            self.step();
        }
        let is_clean = !self.disk.has_crashed() && self.rng.chance(20);
        self.coverage[1] += u64::from(self.disk.has_crashed());
        if let Some(engine) = self.engine.take() {
            self.cover(&engine);
            if is_clean {
                engine.close();
                engine.commit();
            }
        }
        self.model.end_of_life();
        let crash = if self.rng.chance(40) { Crash::Process } else { Crash::Power };
        self.disk.crash(crash);
    }

    fn cover(&mut self, engine: &Engine) {
        let m = &engine.metrics;
        let numbers = [
            &m.log_records,
            &m.log_failures,
            &m.duplicates,
            &m.refused_overloaded,
            &m.refused_disk_full,
            &m.refused_limits,
            &m.flushes,
            &m.flush_failures,
            &m.compactions,
            &m.compaction_failures,
            &m.retained_out_blocks,
            &m.torn_bytes,
        ];
        self.coverage[3..].iter_mut().zip(numbers).for_each(|(sum, number)| *sum += number.get());
    }

    /// After a crash: the store opens without faults and holds what the model says.
    fn check(&mut self) {
        self.disk.set_faults(Faults::default());
        self.disk.set_capacity(u64::MAX / 2);
        let environment = self.environment();
        let engine = Engine::open(environment, small_config()).expect("a store opens after any crash");
        assert_eq!(engine.status().ready, Ok(()));
        assert_eq!(engine.status().damage, Vec::<String>::new(), "nothing was damaged, only lost");
        self.model.clock.restart();
        self.model.compare(&engine);
        self.cover(&engine);
    }

    fn step(&mut self) {
        match self.rng.below(100) {
            0..45 => self.append(),
            45..65 => self.engine().commit(),
            65..70 => self.pass(),
            70..75 => drop(self.engine().flush_one()),
            75..80 => drop(self.engine().compact_one()),
            80..83 => self.retain(),
            83..85 => drop(self.engine().scrub_one()),
            85..88 => self.engine().remove_dead_files(),
            88..90 => self.engine().request_roll(),
            90..92 => self.engine().probe(Box::new(|_| {})),
            92..94 => self.jump(),
            94..96 => self.fail(),
            96..97 => self.fill(),
            _ => self.query(),
        }
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("steps are taken while the store is open")
    }

    fn append(&mut self) {
        let tenant: TenantId = TENANTS[self.rng.below(2) as usize].parse().unwrap();
        let repeated = self.rng.chance(15).then(|| self.model.any_keyed(&mut self.rng)).flatten();
        let (tenant, upload) = repeated.unwrap_or_else(|| (tenant, self.new_upload()));
        let outcome = self.model.sent(&tenant, &upload);
        self.engine().append(
            &tenant,
            &upload,
            Box::new(move |result| {
                *lock::mutex(&outcome) = match result {
                    Ok(Ack::Stored | Ack::Duplicate) => Fate::Acknowledged,
                    Err(StoreError::NotDurable { .. }) => Fate::Unknown,
                    Err(_) => Fate::Refused,
                }
            }),
        );
    }

    fn new_upload(&mut self) -> Upload {
        self.uploads += 1;
        let service = SERVICES[self.rng.below(3) as usize];
        let series = 1 + self.rng.below(3) as usize;
        let mut upload = random_upload(self.rng.next(), service, series);
        for profile in &mut upload.series {
            let max_age_s = if self.rng.chance(5) { 200_000 } else { 300 };
            let age_s = self.rng.below(max_age_s);
            profile.time_ns = self.clock.wall_ns() - age_s as i64 * 1_000_000_000;
        }
        upload.idempotency_key = self.rng.chance(60).then(|| u128::from(self.rng.next()));
        upload
    }

    fn pass(&mut self) {
        let seconds = if self.rng.chance(20) { self.rng.below(7_200) } else { self.rng.below(120) };
        self.clock.pass(Duration::from_secs(seconds));
    }

    fn jump(&mut self) {
        const JUMPS: [i64; 6] = [3_700, -3_700, 86_400, -86_400, 315_360_000, -315_360_000];
        self.clock.jump(JUMPS[self.rng.below(6) as usize]);
    }

    fn retain(&mut self) {
        let (wall, monotonic) = (self.clock.wall_ns(), self.clock.monotonic_ns());
        self.model.retention_runs(wall, monotonic, Duration::from_hours(48));
        // Errors are retried; the model allows for both outcomes.
        drop(self.engine().retain());
    }

    fn fail(&mut self) {
        let percent = |rng: &mut TestRng| if rng.chance(50) { rng.below(30) } else { 0 };
        let faults = Faults { write_percent: percent(&mut self.rng), read_percent: percent(&mut self.rng) };
        self.disk.set_faults(faults);
    }

    fn fill(&mut self) {
        let room = if self.rng.chance(50) { self.rng.below(20_000) } else { u64::MAX / 4 };
        self.disk.set_capacity(self.disk.used() + room);
    }

    /// Reading while things fail may miss parts, but must say so, and never shows anything twice.
    fn query(&mut self) {
        let engine = self.engine.as_ref().expect("steps are taken while the store is open");
        self.model.compare_while_running(engine);
    }
}

fn run(seed: u64) -> [u64; COVERAGE.len()] {
    let mut world = World::new(seed);
    for _ in 0..1 + seed % 5 {
        world.live();
        world.check();
        // The check is a life of its own, that ends in a crash too.
        let crash = if world.rng.chance(50) { Crash::Process } else { Crash::Power };
        world.disk.crash(crash);
        world.check();
        world.disk.crash(Crash::Process);
    }
    world.coverage
}

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |text| text.parse().expect("a number"))
}

#[test]
fn nothing_acknowledged_is_lost_or_counted_twice() {
    let first = number("ARGAND_SIM_FIRST_SEED", 0);
    let count = number("ARGAND_SIM_SEEDS", 400);
    let threads = std::thread::available_parallelism().map_or(1, |n| n.get() as u64);
    let next = AtomicU64::new(first);
    let coverage = Mutex::new([0; COVERAGE.len()]);
    std::thread::scope(|scope| {
        let worker = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= first + count {
                    break;
                }
                let failure = Announce(seed);
                let covered = run(seed);
                drop(failure);
                lock::mutex(&coverage).iter_mut().zip(covered).for_each(|(sum, number)| *sum += number);
            }
        };
        (0..threads).for_each(|_| drop(scope.spawn(worker)));
    });
    let coverage = *lock::mutex(&coverage);
    println!("{:?}", COVERAGE.iter().zip(coverage).collect::<Vec<_>>());
    if count >= 100 {
        let missing: Vec<_> = COVERAGE.iter().zip(coverage).filter(|(_, number)| *number == 0).collect();
        assert!(missing.is_empty(), "never happened: {missing:?}");
    }
}

/// Prints the seed when its run panics.
struct Announce(u64);

impl Drop for Announce {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("failing seed: ARGAND_SIM_FIRST_SEED={} ARGAND_SIM_SEEDS=1", self.0);
        }
    }
}
