//! The network face of the store: ingest, queries, metrics and the user interface on one port.
//!
//! The way of a request:
//! ```text
//! listen ─ accept loop, HTTP/1.1 and cleartext HTTP/2, timeouts
//!   app ─ host check, path without repeated slashes and base path, panic catch, metrics
//!     rpc ─ Connect, gRPC, gRPC-Web        web ─ /ingest, /pyroscope/*, /api/v1, pages
//!       intake ─ body: bounded, decompressed, paid for from the memory budget
//!         ingest / query ─ blocking work on a bounded pool, through [`Storage`]
//! ```
//! Only this crate knows status codes. What it needs from the rest of the program is in [`Dependencies`].

mod accept;
mod activity;
mod admission;
mod app;
mod backend;
mod config;
mod error;
mod host;
mod ingest;
mod intake;
mod listen;
mod metrics;
mod policy;
pub mod proto;
mod query;
mod rate;
mod rpc;
mod server;
mod settings;
mod tenancy;
mod ui;
mod web;

pub use backend::{
    BuildInfo, Clock, ConfigText, Dependencies, IdSource, SelfProfile, SettingsFile, Storage, StorageError,
    StorageStatus,
};
pub use config::{ConnectionLimits, IngestConfig, QueryConfig, ServerConfig};
pub use error::{ApiError, ServerError};
pub use metrics::{Reading, ReadingSource, ReadingValue};
pub use policy::{Policy, PolicyHandle, QueryLimits, TenantLimits};
pub use server::Server;
