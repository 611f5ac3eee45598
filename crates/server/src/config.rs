//! What can be set about the server, with the defaults that users of Pyroscope know.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Everything that can be set about the server.
///
/// Units: names end in them; times are milliseconds, sizes bytes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ServerConfig {
    /// Address of the main port: user interface, ingest, queries, RPC.
    pub listen: String,
    /// Address of the port for metrics, profiles of ourselves and admin verbs; empty for none.
    pub admin_listen: String,
    /// Path below which a proxy serves us, such as `/argand`; routes answer with and without it.
    pub base_path: String,
    /// Names by which browsers may reach a server bound to a loopback address, besides `localhost` and the loopback
    /// addresses. Guards against DNS rebinding.
    pub allowed_hosts: Vec<String>,
    /// Whether `X-Scope-OrgID` names the tenant; otherwise all data belongs to `anonymous`.
    pub multitenancy: bool,
    /// Whether `/metrics` answers on the main port too.
    pub metrics_on_main: bool,
    /// Bounds of connections and requests.
    pub connections: ConnectionLimits,
    /// How much ingest there is at once.
    pub ingest: IngestConfig,
    /// How much querying there is at once.
    pub query: QueryConfig,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:4040".to_owned(),
            admin_listen: "127.0.0.1:4042".to_owned(),
            base_path: String::new(),
            allowed_hosts: Vec::new(),
            multitenancy: false,
            metrics_on_main: true,
            connections: ConnectionLimits::default(),
            ingest: IngestConfig::default(),
            query: QueryConfig::default(),
        }
    }
}

/// Bounds of connections and requests.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConnectionLimits {
    /// Connections open at once on one port; more wait in the kernel's queue.
    pub max_connections: usize,
    /// HTTP/2 streams open at once on one connection.
    pub max_concurrent_streams: u32,
    /// Bytes of a request's head.
    pub max_header_bytes: u32,
    /// Number of headers of a request.
    pub max_headers: usize,
    /// Time to send a request's head, and to send the first one after connecting.
    pub header_timeout_ms: u64,
    /// Time without a request after which a connection is closed.
    pub idle_timeout_ms: u64,
    /// Time without progress after which a response that is not being read is given up.
    pub write_timeout_ms: u64,
    /// Time after which a body must keep up [`ConnectionLimits::body_min_bytes_per_second`].
    pub body_grace_ms: u64,
    /// Average rate below which a body is given up.
    pub body_min_bytes_per_second: u64,
    /// Body of a request other than ingest.
    pub max_body_bytes: u64,
    /// Memory for the bodies of all requests in flight together.
    pub body_memory_bytes: u64,
    /// Time for requests in flight to finish when the server stops.
    pub shutdown_timeout_ms: u64,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            max_concurrent_streams: 100,
            max_header_bytes: 32 << 10,
            max_headers: 100,
            header_timeout_ms: 10_000,
            idle_timeout_ms: 120_000,
            write_timeout_ms: 30_000,
            body_grace_ms: 10_000,
            body_min_bytes_per_second: 1 << 10,
            max_body_bytes: 16 << 20,
            body_memory_bytes: 1 << 30,
            shutdown_timeout_ms: 10_000,
        }
    }
}

/// How much ingest there is at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct IngestConfig {
    /// Requests that are decoded and stored at once.
    pub concurrency: usize,
    /// Requests that may wait for that.
    pub queue: usize,
}

impl Default for IngestConfig {
    fn default() -> Self {
        Self { concurrency: 16, queue: 1024 }
    }
}

/// How much querying there is at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct QueryConfig {
    /// Longest time that one query may take.
    pub timeout_ms: u64,
    /// Queries that run at once.
    pub concurrency: usize,
    /// Queries that may wait for that.
    pub queue: usize,
}

impl Default for QueryConfig {
    fn default() -> Self {
        Self {
            timeout_ms: 60_000,
            concurrency: std::thread::available_parallelism().map_or(2, usize::from),
            queue: 256,
        }
    }
}

/// A duration that the configuration gives in milliseconds.
pub(crate) fn millis(ms: u64) -> Duration {
    Duration::from_millis(ms)
}
