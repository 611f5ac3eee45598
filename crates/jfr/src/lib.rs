//! Java Flight Recorder files to profiles.
//!
//! Reads recordings of async-profiler and of the JDK: bytes in, values out, no I/O. A recording is a sequence of
//! chunks; each describes its own types (module `metadata`), holds tables of constants (`pools`, `constants`) that refer
//! to each other by key, and events (`events`) that refer to the constants. Only constants that an event leads to are
//! decoded.
//! Not here: decompression, request parsing, series labels.
//!
//! Source: the chunk format of OpenJDK's `jdk.jfr` and of async-profiler; the mapping of events to profile types is
//! the one of Pyroscope's `/ingest?format=jfr`, so that stored series keep their names.

mod budget;
mod chunk;
mod constants;
mod cursor;
mod events;
mod labels;
mod metadata;
mod names;
mod pools;
mod profiles;

#[cfg(test)]
mod tests;

use argand_model::Profile;

pub use budget::Limits;
pub use labels::LabelsSnapshot;

use budget::Budget;
use chunk::Header;
use cursor::Fault;
use profiles::Builder;

/// How to turn a recording into profiles.
#[derive(Clone, Debug)]
pub struct Options {
    /// Samples per second of the sampling events; their values become `10^9 / rate` ns. 0 makes them 0.
    pub sample_rate_hz: u32,
    /// Becomes [`Profile::time_ns`].
    pub time_ns: i64,
    /// Becomes [`Profile::duration_ns`].
    pub duration_ns: i64,
    /// Whether samples get the label `thread_name` where their context has none.
    pub thread_names: bool,
    /// What may be spent.
    pub limits: Limits,
}

impl Default for Options {
    /// 100 samples per second, no window, no thread names.
    fn default() -> Self {
        Self { sample_rate_hz: 100, time_ns: 0, duration_ns: 0, thread_names: false, limits: Limits::default() }
    }
}

/// What a recording holds.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// One profile per metric and period type, sorted by metric; none is empty.
    pub profiles: Vec<MetricProfile>,
    /// Last value of the profiler's setting `event`, such as `itimer`; empty where there is none.
    pub jfr_event: String,
    /// What could not be read.
    pub losses: Losses,
}

/// A profile and the metric that it belongs to.
#[derive(Clone, Debug)]
pub struct MetricProfile {
    /// First part of the profile types, such as `process_cpu`.
    pub metric: &'static str,
    /// The samples.
    pub profile: Profile,
}

/// Why a part of a recording is missing from the profiles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// A chunk without readable header, metadata or end.
    Chunk,
    /// A chunk that the recording ends in; counted once, its readable events are there.
    TruncatedChunk,
    /// Bytes after the last chunk that are no chunk.
    TrailingBytes,
    /// A part of the constants that cannot be read.
    Constants,
    /// The remaining events of a chunk: one of them has no valid size.
    EventList,
    /// An event whose fields do not fit its size.
    Event,
    /// A sample without stack trace.
    MissingStack,
    /// A CPU sample of a thread whose state is not in the recording.
    UnknownThreadState,
    /// A frame whose method is not in the recording; it shows as `[unknown]`.
    UnknownMethod,
}

impl Loss {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::Chunk,
        Self::TruncatedChunk,
        Self::TrailingBytes,
        Self::Constants,
        Self::EventList,
        Self::Event,
        Self::MissingStack,
        Self::UnknownThreadState,
        Self::UnknownMethod,
    ];

    /// Name as the value of a metric's label.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Chunk => "chunk",
            Self::TruncatedChunk => "truncated_chunk",
            Self::TrailingBytes => "trailing_bytes",
            Self::Constants => "constants",
            Self::EventList => "event_list",
            Self::Event => "event",
            Self::MissingStack => "missing_stack",
            Self::UnknownThreadState => "unknown_thread_state",
            Self::UnknownMethod => "unknown_method",
        }
    }
}

/// How often each [`Loss`] happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses([u64; Loss::ALL.len()]);

impl Losses {
    /// How often `loss` happened.
    pub fn count(&self, loss: Loss) -> u64 {
        self.0[loss as usize]
    }

    /// The losses that happened.
    pub fn iter(&self) -> impl Iterator<Item = (Loss, u64)> {
        Loss::ALL.into_iter().map(|loss| (loss, self.count(loss))).filter(|&(_, count)| count > 0)
    }

    fn add(&mut self, loss: Loss) {
        self.0[loss as usize] += 1;
    }
}

/// Why nothing of a recording is usable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JfrError {
    /// No bytes.
    #[error("recording is empty")]
    Empty,
    /// The first bytes are not those of a chunk.
    #[error("not a flight recording: it does not start with a chunk header (\"FLR\\0\")")]
    NotARecording,
    /// No chunk could be read.
    #[error("no chunk of the recording is readable: {what} at byte {offset}")]
    Unreadable {
        /// What is wrong with the first chunk.
        what: &'static str,
        /// Where.
        offset: usize,
    },
    /// Reading would cost more than allowed.
    #[error("recording exceeds the limit of {limit} {what}")]
    Limit {
        /// What there is too much of.
        what: &'static str,
        /// How much is allowed.
        limit: u64,
    },
    /// The labels that came with the recording are no valid message.
    #[error("labels of the recording are malformed: {what} at byte {offset}")]
    Labels {
        /// What is wrong.
        what: &'static str,
        /// Where.
        offset: usize,
    },
}

/// Reads a recording.
///
/// Errors: only where no chunk is readable or a limit is exceeded; damage elsewhere is counted in
/// [`Recording::losses`]. No panic on foreign bytes; time and memory are bounded by `options.limits` and by the
/// length of the input.
pub fn decode(recording: &[u8], labels: &LabelsSnapshot<'_>, options: &Options) -> Result<Recording, JfrError> {
    if recording.is_empty() {
        return Err(JfrError::Empty);
    }
    let budget = Budget::new(&options.limits, recording.len());
    let mut builder = Builder::new(options, &budget);
    let mut readable = 0;
    let mut first_damage = None;
    let mut start = 0;
    while start < recording.len() {
        let rest = &recording[start..];
        let Some(header) = Header::parse(rest) else {
            if start == 0 {
                return Err(JfrError::NotARecording);
            }
            builder.losses.add(Loss::TrailingBytes);
            break;
        };
        let chunk = &rest[..header.size.min(rest.len())];
        if chunk.len() < header.size {
            builder.losses.add(Loss::TruncatedChunk);
        }
        match chunk::read(chunk, &header, &mut builder) {
            Ok(()) => readable += 1,
            Err(Fault::Damaged { what, offset }) => {
                builder.losses.add(Loss::Chunk);
                first_damage.get_or_insert(JfrError::Unreadable { what, offset: start + offset });
            }
            Err(Fault::Limit { what, limit }) => return Err(JfrError::Limit { what, limit }),
        }
        start += chunk.len();
    }
    match first_damage {
        Some(damage) if readable == 0 => Err(damage),
        _ => builder.finish(labels).map_err(|fault| fault.into_error(0)),
    }
}
