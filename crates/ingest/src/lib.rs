//! From uploaded bytes to what the store commits: decode, relabel, validate, normalise, split by labels.
//!
//! Pure: bytes and parameters in, [`argand_model::Upload`]s or a [`Rejection`] out. The clock and the source of
//! profile ids come in with the [`Context`]; HTTP, multipart and status codes belong to `server`.
//! Source of the rules: the behaviour of Pyroscope's distributor and of its `/ingest` endpoint as clients see it.

mod app;
mod go;
mod labels;
mod legacy;
mod limits;
mod normalise;
mod otlp;
mod params;
mod push;
mod rejection;
mod relabel;
mod source_link;
mod strings;

pub use app::{AppName, AppNameError};
pub use legacy::{Ingested, LegacyBody, SampleTypeConfig, ingest};
pub use limits::IngestLimits;
pub use otlp::{Exported, export};
pub use params::{Format, IngestParams, ParamError, parse_time};
pub use push::push;
pub use rejection::{Reason, Rejection};
pub use relabel::{BuiltInRules, RelabelAction, RelabelRule, RelabelRuleError, Relabeling};

/// What an upload is judged by, besides its own bytes.
pub struct Context<'a> {
    /// Limits of the tenant.
    pub limits: &'a IngestLimits,
    /// The rules for its labels.
    pub relabel: &'a Relabeling,
    /// The present, ns since the Unix epoch.
    pub now_ns: i64,
    /// Source of random profile ids (128 bits each).
    pub next_id: &'a mut dyn FnMut() -> u128,
}
