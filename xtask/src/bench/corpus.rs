//! Profiles that resemble production: 20 services with 4,000 stacks each of depth about 30; a profile sees part of
//! its service's stacks, the hot ones nearly always.

use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

use argand_model::{Function, FunctionId, Line, LocationId, MappingId, Profile, Symbols, ValueType};
use argand_wire::{Reader, pprof, proto};
use flate2::Compression;
use flate2::write::GzEncoder;

pub(crate) const PROFILE_TYPE: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";
const SERVICES: usize = 20;
const STACKS_PER_SERVICE: usize = 4_000;
const FUNCTIONS_PER_SERVICE: usize = 2_000;

/// Ready requests and what they hold.
pub(crate) struct Corpus {
    /// gzipped `PushRequest`s.
    pub(crate) requests: Vec<Vec<u8>>,
    /// Bytes of all profiles as plain pprof.
    pub(crate) plain_bytes: u64,
    /// Bytes of all profiles as `pprof.gz`.
    pub(crate) gzip_bytes: u64,
    /// Samples of all profiles.
    pub(crate) rows: u64,
}

/// One profile as the corpus keeps it.
struct Encoded {
    index: usize,
    plain_bytes: u64,
    gzip_bytes: u64,
    request: Vec<u8>,
}

/// A small generator of its own, so that the corpus is the same everywhere. Source: SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Small numbers are much likelier than large ones.
    fn skewed(&mut self, bound: usize) -> usize {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        ((unit * unit * unit) * bound as f64) as usize
    }
}

/// A program: its symbols and the stacks that it can be in.
struct Service {
    name: String,
    symbols: Symbols,
    stacks: Vec<Vec<LocationId>>,
}

impl Service {
    fn generate(index: usize) -> Self {
        let mut random = Random(index as u64 + 1);
        let name = format!("service-{index:02}");
        let mut symbols = Symbols::default();
        let mut locations = Vec::new();
        for function in 0..FUNCTIONS_PER_SERVICE {
            let module = random.below(200);
            let full = format!("github.com/example/{name}/internal/module{module}.(*Worker).method{function}");
            let file = format!("/build/{name}/internal/module{module}/worker.go");
            let function = Function {
                name: symbols.strings.push(&full),
                filename: symbols.strings.push(&file),
                start_line: random.below(900) as u32,
                ..Function::default()
            };
            let function: FunctionId = symbols.push_function(function);
            for _ in 0..2 {
                let line = Line { function, line: random.below(1000) as u32 };
                locations.push(symbols.push_location(
                    MappingId(0),
                    0x40_0000 + random.next() % (1 << 24),
                    false,
                    &[line],
                ));
            }
        }
        // Stacks grow like a program's: each leaves an earlier one somewhere and goes on by itself.
        let mut stacks: Vec<Vec<LocationId>> = vec![vec![locations[0]]];
        while stacks.len() < STACKS_PER_SERVICE {
            let parent = &stacks[random.below(stacks.len())];
            let kept = 1 + random.below(parent.len());
            let depth = (20 + random.below(21)).max(kept + 1);
            let mut stack = parent[..kept].to_vec();
            while stack.len() < depth {
                stack.push(locations[random.skewed(locations.len())]);
            }
            stacks.push(stack);
        }
        Self { name, symbols, stacks }
    }

    fn profile(&self, random: &mut Random, samples: usize, time_ns: i64) -> Profile {
        let mut profile =
            Profile { symbols: self.symbols.clone(), time_ns, duration_ns: 10_000_000_000, ..Profile::default() };
        let strings = &mut profile.symbols.strings;
        let cpu = ValueType { kind: strings.push("cpu"), unit: strings.push("nanoseconds") };
        (profile.sample_types, profile.period_type, profile.period) = (vec![cpu], cpu, 10_000_000);
        let mut chosen: Vec<usize> = Vec::with_capacity(samples);
        let mut seen = vec![false; self.stacks.len()];
        while chosen.len() < samples.min(self.stacks.len()) {
            let stack = random.skewed(self.stacks.len());
            if !std::mem::replace(&mut seen[stack], true) {
                chosen.push(stack);
            }
        }
        for stack in chosen {
            let value = 10_000_000 * (1 + random.skewed(50) as i64);
            profile.samples.push(self.stacks[stack].iter().rev().copied(), &[value], &[]);
        }
        profile
    }
}

impl Corpus {
    pub(crate) fn generate(count: usize, samples: usize) -> Self {
        let services: Vec<Service> = (0..SERVICES).map(Service::generate).collect();
        let now_ns = now_ns();
        let encode = |index: usize| {
            let service = &services[index % SERVICES];
            let mut random = Random(1_000_000 + index as u64);
            // Every service sends one profile per 10 s, the last one now.
            let age = (count - 1 - index) / SERVICES;
            let plain = pprof::encode(&service.profile(&mut random, samples, now_ns - age as i64 * 10_000_000_000));
            let request = gzip(&push_request(&service.name, &plain));
            Encoded { index, plain_bytes: plain.len() as u64, gzip_bytes: gzip(&plain).len() as u64, request }
        };
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let mut all: Vec<Encoded> = std::thread::scope(|scope| {
            let encode = &encode;
            let part = |core| move || (core..count).step_by(cores).map(encode).collect::<Vec<_>>();
            let threads: Vec<_> = (0..cores).map(|core| scope.spawn(part(core))).collect();
            threads.into_iter().flat_map(|thread| thread.join().expect("generating does not panic")).collect()
        });
        all.sort_unstable_by_key(|encoded| encoded.index);
        Self {
            plain_bytes: all.iter().map(|encoded| encoded.plain_bytes).sum(),
            gzip_bytes: all.iter().map(|encoded| encoded.gzip_bytes).sum(),
            rows: (count * samples) as u64,
            requests: all.into_iter().map(|encoded| encoded.request).collect(),
        }
    }

    /// Name of the service that the profile at `index` belongs to.
    pub(crate) fn service(&self, index: usize) -> String {
        format!("service-{:02}", index % SERVICES)
    }

    /// The profile in an uncompressed request: its last field, as [`push_request`] writes it.
    pub(crate) fn raw_profile<'a>(&self, request: &'a [u8]) -> &'a [u8] {
        let mut message = request;
        for number in [1, 2, 1] {
            let mut reader = Reader::new(message);
            while let Ok(Some(field)) = reader.field() {
                if field.number == number {
                    message = field.bytes().expect("requests consist of messages");
                }
            }
        }
        message
    }

    pub(crate) fn description(&self) -> String {
        let count = self.requests.len();
        format!(
            "{count} profiles of {SERVICES} services, {} samples each, {:.0} KiB as pprof, {:.0} KiB as pprof.gz",
            self.rows / count as u64,
            self.plain_bytes as f64 / count as f64 / 1024.0,
            self.gzip_bytes as f64 / count as f64 / 1024.0,
        )
    }
}

/// Now, ns since the Unix epoch.
pub(crate) fn now_ns() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}

/// `PushRequest { series: [{ labels, samples: [{ raw_profile }] }] }`.
fn push_request(service: &str, raw_profile: &[u8]) -> Vec<u8> {
    let label = |name: &str, value: &str| {
        let mut message = Vec::new();
        proto::put_bytes(&mut message, 1, name.as_bytes());
        proto::put_bytes(&mut message, 2, value.as_bytes());
        message
    };
    let mut series = Vec::new();
    for (name, value) in
        [("__name__", "process_cpu"), ("service_name", service), ("region", "eu-west-1"), ("version", "1.2.3")]
    {
        proto::put_bytes(&mut series, 1, &label(name, value));
    }
    let mut sample = Vec::new();
    proto::put_bytes(&mut sample, 1, raw_profile);
    proto::put_bytes(&mut series, 2, &sample);
    let mut request = Vec::new();
    proto::put_bytes(&mut request, 1, &series);
    request
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).expect("writing to memory does not fail");
    encoder.finish().expect("writing to memory does not fail")
}
