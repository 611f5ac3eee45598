//! The program from outside: the built `argand` as a process, spoken to over its public interface only.
//!
//! Every test starts its own server on a free port with its own data directory, so the tests run side by side.
//! A test that needs a runtime which this machine lacks prints `SKIPPED <name>: <what is missing>` and passes.

mod agent;
mod cli;
mod clients;
mod config;
mod durability;
mod grpc;
mod http;
mod ingest;
mod metrics;
mod process;
mod proto;
mod query;
mod server;
