//! Requests over real sockets against a server in this process.

#![allow(clippy::unwrap_used, clippy::needless_pass_by_value)]

mod harness;
mod ingest;
mod limits;
mod otlp;
mod pages;
mod push;
mod query;
mod statuses;
mod tenants;
