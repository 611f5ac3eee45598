//! The eBPF agent: as `argand agent`, which pushes to a server, and inside `argand up`, which stores directly.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use argand_ingest::{Context, IngestLimits, Relabeling};
use argand_model::{TenantId, Upload, name};
use argand_profiler::{FigureKind, Options, ProcessProfile, Profiler, StartError, Watch};
use argand_server::{Reading, ReadingValue};
use argand_store::{Rng, SystemRng};
use argand_wire::pprof;
use argand_wire::proto::put_bytes;

use crate::cli::{AgentOptions, LogFormat};
use crate::client::{Client, Refused};
use crate::serve;

/// Profiles on their way from the profiler; it waits for none. Two intervals of 1,000 processes.
const MAX_PROFILES: usize = 2048;

/// Bound on the profiles that wait for the server, encoded; the oldest are dropped and counted. An hour of 30 processes.
const MAX_WAITING_BYTES: usize = 64 << 20;

/// Bound on one push; servers take some megabytes.
const MAX_PUSH_BYTES: usize = 2 << 20;

/// Pause before the first repetition of a push; it doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// How long the last pushes may take at the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// `argand agent`.
pub(crate) fn run(options: &AgentOptions, log_format: LogFormat) -> anyhow::Result<()> {
    serve::start_logging_from_environment(log_format);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let stop = runtime.block_on(async { stop_signal() })?;
    let (profiler, profiles) = start(options.sampling.rate, options.interval).context("nothing is profiled")?;
    println!(
        "Profiling every process of this machine {} times a second, to {}",
        options.sampling.rate, options.address.server
    );
    let address = options.address.clone();
    let pushing = std::thread::Builder::new()
        .name("push".to_owned())
        .spawn(move || Outbox::default().serve(&Client::new(&address), &profiles))?;
    runtime.block_on(stop);
    tracing::info!("stopped sampling, pushing what is left");
    profiler.stop();
    // A panic there has been told.
    let _ = pushing.join();
    Ok(())
}

fn stop_signal() -> anyhow::Result<impl Future<Output = ()>> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn start(rate_hz: u32, interval: Duration) -> Result<(Profiler, Receiver<ProcessProfile>), StartError> {
    let (output, profiles) = sync_channel(MAX_PROFILES);
    let defaults = Options::default();
    let options = Options { rate_hz, interval, first_interval: interval.min(defaults.first_interval), ..defaults };
    Ok((Profiler::start(options, output)?, profiles))
}

/// The agent inside the server's process. Dropping it stores the last profiles.
pub(crate) struct InProcess {
    profiler: Option<Profiler>,
    storing: Option<JoinHandle<()>>,
    watch: Watch,
}

impl InProcess {
    /// `store` takes what is to be kept; its errors are logged.
    ///
    /// Errors: what the machine does not allow, and what to do.
    pub(crate) fn start(
        rate_hz: u32,
        next_id: impl Fn() -> u128 + Send + 'static,
        store: impl Fn(&TenantId, Upload) -> Result<(), String> + Send + 'static,
    ) -> anyhow::Result<Self> {
        let (profiler, profiles) = start(rate_hz, Options::default().interval)?;
        let watch = profiler.watch();
        let storing = std::thread::Builder::new().name("store-profiles".to_owned()).spawn(move || {
            let tenant = TenantId::anonymous();
            for profile in profiles {
                let kept = to_upload(&profile, &next_id).and_then(|upload| match upload {
                    Some(upload) => store(&tenant, upload),
                    None => Ok(()),
                });
                if let Err(error) = kept {
                    tracing::warn!(pid = profile.pid, error, "profile not stored");
                }
            }
        })?;
        Ok(Self { profiler: Some(profiler), storing: Some(storing), watch })
    }

    /// Numbers for the metrics.
    pub(crate) fn readings(&self) -> Arc<dyn Fn() -> Vec<Reading> + Send + Sync> {
        let watch = self.watch.clone();
        Arc::new(move || readings(&watch))
    }
}

impl Drop for InProcess {
    fn drop(&mut self) {
        // The thread ends when the profiler has handed out its last profile.
        drop(self.profiler.take());
        if let Some(storing) = self.storing.take() {
            let _ = storing.join();
        }
    }
}

fn readings(watch: &Watch) -> Vec<Reading> {
    let figures = watch.figures().into_iter().map(|figure| Reading {
        name: format!("agent_{}", figure.name),
        help: figure.help.to_owned(),
        value: match figure.kind {
            FigureKind::Counter => ReadingValue::Counter(figure.value),
            FigureKind::Gauge => ReadingValue::Gauge(figure.value as f64),
        },
    });
    let ends = watch.ends().into_iter().map(|(end, count)| Reading {
        name: format!("agent_stacks_{}", end.name()),
        help: format!("user stacks that end so: {}", end.help()),
        value: ReadingValue::Counter(count),
    });
    figures.chain(ends).collect()
}

fn labels(profile: &ProcessProfile) -> Vec<(String, String)> {
    let own = [(name::NAME, profile.metric), ("pyroscope_spy", "argand")];
    own.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).chain(profile.labels.clone()).collect()
}

/// The way of every client's profile, without the network.
fn to_upload(profile: &ProcessProfile, next_id: &impl Fn() -> u128) -> Result<Option<Upload>, String> {
    let limits = IngestLimits { profile_size_bytes: 64 << 20, ..IngestLimits::default() };
    let relabel = Relabeling::default();
    let now_ns = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64);
    let mut next_id = || next_id();
    let mut context = Context { limits: &limits, relabel: &relabel, now_ns, next_id: &mut next_id };
    let raw = pprof::encode(&profile.profile);
    argand_ingest::push(&labels(profile), &raw, "", &mut context).map_err(|rejection| rejection.to_string())
}

/// Profiles that wait for the server.
#[derive(Default)]
struct Outbox {
    /// Encoded `push.v1` requests, oldest first.
    waiting: VecDeque<Vec<u8>>,
    waiting_bytes: usize,
    dropped: u64,
    pause: Duration,
    next_try: Option<Instant>,
}

impl Outbox {
    /// Pushes until no more profiles can come, and then for a little while what is left.
    fn serve(mut self, client: &Client<'_>, profiles: &Receiver<ProcessProfile>) {
        loop {
            let wait = match self.next_try {
                Some(at) => at.saturating_duration_since(Instant::now()),
                None if self.waiting.is_empty() => Duration::from_secs(3600),
                None => Duration::ZERO,
            };
            match profiles.recv_timeout(wait) {
                Ok(profile) => {
                    self.put(&profile);
                    // What came together goes together.
                    while let Ok(profile) = profiles.try_recv() {
                        self.put(&profile);
                    }
                }
                Err(RecvTimeoutError::Timeout) => self.push_one(client),
                Err(RecvTimeoutError::Disconnected) => break,
            }
        }
        let deadline = Instant::now() + FAREWELL;
        while !self.waiting.is_empty() && Instant::now() < deadline {
            self.push_one(client);
            if self.next_try.is_some() {
                break;
            }
        }
        if !self.waiting.is_empty() || self.dropped > 0 {
            tracing::warn!(unsent = self.waiting.len(), dropped = self.dropped, "pushes that the server did not take");
        }
    }

    fn put(&mut self, profile: &ProcessProfile) {
        let series = encode_series(profile);
        let fits = |last: &Vec<u8>| last.len() + series.len() <= MAX_PUSH_BYTES;
        self.waiting_bytes += series.len() + 8;
        match self.waiting.back_mut().filter(|last| fits(last)) {
            Some(last) => put_bytes(last, push::SERIES, &series),
            None => {
                let mut request = Vec::new();
                put_bytes(&mut request, push::SERIES, &series);
                self.waiting.push_back(request);
            }
        }
        while self.waiting_bytes > MAX_WAITING_BYTES && self.waiting.len() > 1 {
            self.take_first();
            self.dropped += 1;
        }
    }

    fn take_first(&mut self) {
        if self.waiting.pop_front().is_some() {
            self.waiting_bytes = self.waiting.iter().map(Vec::len).sum();
        }
    }

    fn push_one(&mut self, client: &Client<'_>) {
        let Some(request) = self.waiting.front() else { return };
        let answer = client.post("/push.v1.PusherService/Push", &[], "application/proto", request);
        let error = match answer {
            Ok(_) => {
                self.take_first();
                (self.pause, self.next_try) = (Duration::ZERO, None);
                return;
            }
            Err(error) => error,
        };
        let status = error.downcast_ref::<Refused>().map(|refused| refused.status);
        if let Some(400..=428 | 430..=499) = status {
            // It will never be taken.
            tracing::warn!(error = format!("{error:#}"), "a push was refused and is dropped");
            self.dropped += 1;
            return self.take_first();
        }
        self.pause = (self.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        self.next_try = Some(Instant::now() + self.pause);
        tracing::warn!(error = format!("{error:#}"), retry_in = ?self.pause, "a push failed");
    }
}

/// Field numbers of `push.v1`. Source: Pyroscope's `push/v1/push.proto`.
mod push {
    pub(super) const SERIES: u32 = 1;
    pub(super) const SERIES_LABELS: u32 = 1;
    pub(super) const SERIES_SAMPLES: u32 = 2;
    pub(super) const LABEL_NAME: u32 = 1;
    pub(super) const LABEL_VALUE: u32 = 2;
    pub(super) const SAMPLE_RAW_PROFILE: u32 = 1;
    pub(super) const SAMPLE_ID: u32 = 2;
}

fn encode_series(profile: &ProcessProfile) -> Vec<u8> {
    let mut series = Vec::new();
    for (name, value) in labels(profile) {
        let mut pair = Vec::new();
        put_bytes(&mut pair, push::LABEL_NAME, name.as_bytes());
        put_bytes(&mut pair, push::LABEL_VALUE, value.as_bytes());
        put_bytes(&mut series, push::SERIES_LABELS, &pair);
    }
    let mut sample = Vec::new();
    put_bytes(&mut sample, push::SAMPLE_RAW_PROFILE, &pprof::encode_gzip(&profile.profile));
    put_bytes(&mut sample, push::SAMPLE_ID, uuid().as_bytes());
    put_bytes(&mut series, push::SERIES_SAMPLES, &sample);
    series
}

/// A random UUID (version 4), by which a server tells a repeated push.
fn uuid() -> String {
    let (high, low) = (SystemRng.next_u64(), SystemRng.next_u64());
    let (high, low) = (high & !0xf000 | 0x4000, low & !(0xc << 60) | 0x8 << 60);
    format!(
        "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
        high >> 32,
        high >> 16 & 0xffff,
        high & 0xffff,
        low >> 48,
        low << 16 >> 16
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uuids_have_version_and_variant() {
        let id = uuid();
        let parts: Vec<usize> = id.split('-').map(str::len).collect();
        assert_eq!(parts, [8, 4, 4, 4, 12]);
        assert_eq!(&id[14..15], "4");
        assert!("89ab".contains(&id[19..20]), "{id}");
    }

    #[test]
    fn the_oldest_pushes_give_way() {
        let profile = |length: usize| ProcessProfile {
            pid: 1,
            metric: "process_cpu",
            labels: vec![("service_name".to_owned(), "x".repeat(length))],
            profile: argand_model::Profile::default(),
        };
        let mut outbox = Outbox::default();
        for _ in 0..40 {
            outbox.put(&profile(MAX_PUSH_BYTES - 100));
        }
        assert!(outbox.waiting_bytes <= MAX_WAITING_BYTES);
        assert_eq!(outbox.dropped as usize + outbox.waiting.len(), 40);
        // Small ones share a push.
        let before = outbox.waiting.len();
        outbox.put(&profile(10));
        outbox.put(&profile(10));
        assert_eq!(outbox.waiting.len(), before + 1 - usize::from(outbox.dropped as usize + before > 40));
    }
}
