//! Messages and services generated from `proto/`.

#![allow(
    missing_docs,
    unreachable_pub,
    rust_2018_idioms,
    clippy::all,
    clippy::cloned_instead_of_copied,
    clippy::needless_pass_by_value,
    clippy::semicolon_if_nothing_returned,
    clippy::unwrap_used
)]

connectrpc::include_generated!();
