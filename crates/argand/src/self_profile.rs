//! Profiles of the program itself, taken in the process and stored like anybody's.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use argand_ingest::{Context, IngestLimits, Relabeling};
use argand_model::{Function, Line, LocationId, MappingId, Profile, Stacks, TenantId, Upload, ValueType, name};
use argand_wire::DecodeLimits;
use argand_wire::inflate::{self, InflateLimits};
use argand_wire::pprof::{self as pprof_wire, PprofOptions};

/// Service that the profiles appear as.
const SERVICE: &str = "argand";

/// jemalloc reads this before `main`: sample the heap about every 512 KiB that is allocated, which costs little.
#[allow(unsafe_code)] // exporting a symbol by name is the only way to configure the allocator at start
#[allow(non_upper_case_globals)]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub(crate) static malloc_conf: &[u8] = b"prof:true,prof_active:true,lg_prof_sample:19\0";

/// Takes profiles of this process. One CPU profile at a time: the second waits for the first.
pub(crate) struct SelfProfiler {
    rate_hz: u32,
    cpu: Mutex<()>,
}

impl SelfProfiler {
    pub(crate) fn new(rate_hz: u32) -> Self {
        Self { rate_hz: rate_hz.clamp(1, 1000), cpu: Mutex::new(()) }
    }

    /// CPU time of all threads until `wait` returns.
    fn cpu_profile(&self, wait: impl FnOnce()) -> Result<Profile, String> {
        let _alone = self.cpu.lock().unwrap_or_else(PoisonError::into_inner);
        let start = SystemTime::now();
        let guard = pprof::ProfilerGuardBuilder::default().frequency(self.rate_hz as i32).build();
        let guard = guard.map_err(|error| format!("the CPU profiler does not start: {error}"))?;
        wait();
        let report = guard.report().build().map_err(|error| format!("the CPU profile cannot be read: {error}"))?;
        Ok(to_profile(&report, self.rate_hz, start))
    }
}

impl argand_server::SelfProfile for SelfProfiler {
    fn cpu(&self, seconds: u32) -> Result<Vec<u8>, String> {
        let profile = self.cpu_profile(|| std::thread::sleep(Duration::from_secs(seconds.into())))?;
        Ok(pprof_wire::encode_gzip(&profile))
    }

    fn heap(&self) -> Result<Vec<u8>, String> {
        let control = jemalloc_pprof::PROF_CTL.as_ref().ok_or("the allocator does not sample the heap")?;
        let raw = control.blocking_lock().dump_pprof().map_err(|error| format!("the heap cannot be read: {error}"))?;
        without_allocator(&raw).map(|profile| pprof_wire::encode_gzip(&profile))
    }
}

/// How the functions of the allocator itself begin, which stand at the leaf of every stack.
const ALLOCATOR: [&str; 8] =
    ["prof_", "_rjem_", "rjem_", "je_", "tikv_jemallocator::", "<tikv_jemallocator::", "__rustc::__r", "__rust_"];

/// A heap profile whose stacks end at whoever asked for memory.
fn without_allocator(raw: &[u8]) -> Result<Profile, String> {
    let plain =
        inflate::gunzip_if_needed(raw, InflateLimits::new(HEAP_LIMIT_BYTES)).map_err(|error| error.to_string())?;
    let limits = DecodeLimits { samples: 1 << 20, memory_bytes: HEAP_LIMIT_BYTES, ..DecodeLimits::default() };
    let options = PprofOptions { limits, ..PprofOptions::default() };
    let mut profile = pprof_wire::decode(&plain, &options).map_err(|error| error.to_string())?;
    let symbols = &profile.symbols;
    let is_allocator = |location: LocationId| {
        let lines = symbols.lines_of(location);
        let mut names = lines.iter().map(|line| symbols.function_name(line.function));
        !lines.is_empty() && names.all(|name| ALLOCATOR.iter().any(|start| name.starts_with(start)))
    };
    let mut stacks = Stacks::default();
    for stack in profile.samples.stacks.iter() {
        let own = stack.iter().take_while(|&&location| is_allocator(location)).count();
        stacks.push(stack[own..].iter().copied());
    }
    profile.samples.stacks = stacks;
    Ok(profile)
}

/// Largest heap profile of ourselves, decoded.
const HEAP_LIMIT_BYTES: usize = 64 << 20;

/// Samples of the profiler as a profile in ns of CPU time.
fn to_profile(report: &pprof::Report, rate_hz: u32, start: SystemTime) -> Profile {
    let period_ns = 1_000_000_000 / i64::from(rate_hz);
    let mut profile = Profile {
        time_ns: nanoseconds(start),
        duration_ns: nanoseconds(SystemTime::now()) - nanoseconds(start),
        period: period_ns,
        ..Profile::default()
    };
    let strings = &mut profile.symbols.strings;
    let cpu = ValueType { kind: strings.push("cpu"), unit: strings.push("nanoseconds") };
    (profile.sample_types, profile.period_type) = (vec![cpu], cpu);
    for (frames, count) in &report.data {
        let mut stack = Vec::with_capacity(frames.frames.len());
        for frame in &frames.frames {
            let lines: Vec<Line> = frame.iter().map(|symbol| line(&mut profile, symbol)).collect();
            stack.push(profile.symbols.push_location(MappingId(0), 0, false, &lines));
        }
        profile.samples.push(stack, &[*count as i64 * period_ns], &[]);
    }
    profile
}

fn line(profile: &mut Profile, symbol: &pprof::Symbol) -> Line {
    let strings = &mut profile.symbols.strings;
    let function = Function {
        name: strings.push(&symbol.name()),
        filename: strings.push(&symbol.filename()),
        ..Function::default()
    };
    Line { function: profile.symbols.push_function(function), line: symbol.lineno.unwrap_or(0) }
}

fn nanoseconds(time: SystemTime) -> i64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Stores profiles of this process, interval by interval, until dropped.
pub(crate) struct SelfProfiling {
    stop: Arc<Stop>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Stop {
    asked: AtomicBool,
    lock: Mutex<()>,
    changed: Condvar,
}

impl Stop {
    /// Waits for `time`, or shorter where the end is asked for.
    fn wait(&self, time: Duration) {
        let guard = self.lock.lock().unwrap_or_else(PoisonError::into_inner);
        let result = self.changed.wait_timeout_while(guard, time, |()| !self.asked.load(Ordering::Relaxed));
        drop(result);
    }
}

impl SelfProfiling {
    /// `store` takes what is to be kept; its errors are logged.
    pub(crate) fn start(
        profiler: Arc<SelfProfiler>,
        interval: Duration,
        next_id: impl Fn() -> u128 + Send + 'static,
        store: impl Fn(&TenantId, Upload) -> Result<(), String> + Send + 'static,
    ) -> std::io::Result<Self> {
        let stop = Arc::new(Stop::default());
        let stopping = stop.clone();
        let thread = std::thread::Builder::new().name("self-profile".to_owned()).spawn(move || {
            let tenant = TenantId::anonymous();
            // The first window is short, so that a new user sees something at once.
            let mut window = Duration::from_secs(2).min(interval);
            while !stopping.asked.load(Ordering::Relaxed) {
                let cpu = profiler.cpu_profile(|| stopping.wait(window)).map(|profile| pprof_wire::encode(&profile));
                let heap = argand_server::SelfProfile::heap(profiler.as_ref());
                for (metric, raw) in [("process_cpu", cpu), ("memory", heap)] {
                    let kept = raw.and_then(|raw| match to_upload(metric, &raw, &next_id)? {
                        Some(upload) => store(&tenant, upload),
                        None => Ok(()),
                    });
                    if let Err(error) = kept {
                        tracing::warn!(metric, error, "own profile not stored");
                        // Without a profiler there is nothing that paces the loop.
                        stopping.wait(interval);
                    }
                }
                window = interval;
            }
        })?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for SelfProfiling {
    fn drop(&mut self) {
        self.stop.asked.store(true, Ordering::Relaxed);
        self.stop.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// The way of every client's profile, without the network.
fn to_upload(metric: &str, raw: &[u8], next_id: &impl Fn() -> u128) -> Result<Option<Upload>, String> {
    let labels = [
        (name::NAME, metric),
        (name::SERVICE_NAME, SERVICE),
        ("pyroscope_spy", "argand"),
        ("version", env!("CARGO_PKG_VERSION")),
    ];
    let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let limits = IngestLimits { profile_size_bytes: 64 << 20, ..IngestLimits::default() };
    let relabel = Relabeling::default();
    let now_ns = nanoseconds(SystemTime::now());
    let mut next_id = || next_id();
    let mut context = Context { limits: &limits, relabel: &relabel, now_ns, next_id: &mut next_id };
    argand_ingest::push(&labels, raw, "", &mut context).map_err(|rejection| rejection.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[inline(never)]
    fn spin_for_the_profiler(until: std::time::Instant) -> u64 {
        let mut x = 1u64;
        while std::time::Instant::now() < until {
            for _ in 0..10_000 {
                x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
            }
        }
        x
    }

    #[test]
    fn work_shows_under_its_name() {
        let profiler = SelfProfiler::new(200);
        let profile = profiler
            .cpu_profile(|| {
                spin_for_the_profiler(std::time::Instant::now() + Duration::from_millis(500));
            })
            .unwrap();
        let raw = pprof_wire::encode(&profile);
        let upload = to_upload("process_cpu", &raw, &|| 1).unwrap().unwrap();
        assert_eq!(upload.service_name(), "argand");
        assert!(
            upload.symbols.strings.iter().any(|s| s.contains("spin_for_the_profiler")),
            "{:?}",
            upload.symbols.strings
        );
        assert!(upload.series[0].total() > 100_000_000, "{} ns", upload.series[0].total());
    }

    #[test]
    fn the_heap_is_a_profile_of_bytes() {
        let kept: Vec<Vec<u8>> = (0..64).map(|_| vec![1; 1 << 20]).collect();
        let raw = argand_server::SelfProfile::heap(&SelfProfiler::new(1)).unwrap();
        let upload = to_upload("memory", &raw, &|| 1).unwrap().unwrap();
        assert_eq!(upload.series[0].labels.get("__profile_type__"), Some("memory:inuse_space:bytes:space:bytes"));
        assert!(upload.series[0].total() > (kept.len() as i64) << 19, "{} bytes", upload.series[0].total());
        let names: Vec<&str> = upload.symbols.strings.iter().collect();
        assert!(names.iter().any(|name| name.contains("the_heap_is_a_profile")), "{names:?}");
        assert!(!names.iter().any(|name| name.starts_with("prof_backtrace")), "{names:?}");
    }
}
