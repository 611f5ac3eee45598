//! What can go wrong with the store.

use std::io;

use argand_block::BlockError;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The disk failed.
    #[error("cannot {operation} {path}")]
    Io {
        /// What was tried, as a verb.
        operation: &'static str,
        /// File or directory inside the data directory.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// Another process owns the data directory.
    #[error("data directory {path} is in use by process {holder}")]
    Locked {
        /// The data directory.
        path: String,
        /// Process id that the lock file names.
        holder: String,
    },
    /// The data directory was written by another version or is none of ours.
    #[error("data directory has format {found:?}, this program reads {supported:?}")]
    Format {
        /// First line of `FORMAT`.
        found: String,
        /// What this version writes.
        supported: &'static str,
    },
    /// A file that the store cannot live without is damaged.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// File inside the data directory.
        path: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Somebody else changed the manifest.
    #[error("manifest has revision {found} instead of {expected}")]
    Conflict {
        /// Revision that was to be replaced.
        expected: u64,
        /// Revision that is there.
        found: u64,
    },
    /// A block could not be written or read.
    #[error("cannot use block {path}")]
    Block {
        /// File inside the data directory.
        path: String,
        /// What is wrong with it.
        source: BlockError,
    },
    /// Too much waits to be written; try again later.
    #[error("too much waits to be written: {what}")]
    Overloaded {
        /// The bound that was hit.
        what: &'static str,
    },
    /// The disk is nearly full: nothing new is accepted until space returns.
    #[error("disk is full: {free_bytes} bytes are free, {reserve_bytes} are kept in reserve")]
    DiskFull {
        /// Space left.
        free_bytes: u64,
        /// See [`crate::StoreConfig::reserve_bytes`].
        reserve_bytes: u64,
    },
    /// The log cannot be written at present; the store keeps trying.
    #[error("writes are not accepted: {reason}")]
    Unavailable {
        /// The failure that led here.
        reason: String,
    },
    /// The upload was accepted, but writing it failed: it may or may not survive a restart.
    #[error("write failed: {reason}")]
    NotDurable {
        /// The failure.
        reason: String,
    },
    /// An upload exceeds what one log record may hold.
    #[error("upload of up to {bytes} bytes is too large: at most {limit} are allowed")]
    TooLarge {
        /// Estimated size of its record.
        bytes: usize,
        /// See [`crate::StoreConfig::max_record_bytes`].
        limit: usize,
    },
    /// The tenant has too many active series.
    #[error("tenant has more than {limit} active series; label {worst_label:?} has the most values")]
    SeriesLimit {
        /// See [`crate::StoreConfig::max_series_per_tenant`].
        limit: usize,
        /// Label with the most distinct values among the tenant's recent series.
        worst_label: String,
    },
    /// There are too many tenants.
    #[error("more than {limit} tenants write")]
    TenantLimit {
        /// See [`crate::StoreConfig::max_tenants`].
        limit: usize,
    },
    /// An upload whose ids point nowhere: a bug of the caller.
    #[error("malformed upload: {0}")]
    Malformed(&'static str),
    /// The store is shutting down.
    #[error("store is shutting down")]
    ShuttingDown,
}

/// Adds what was tried on which path to an I/O error.
pub(crate) fn io_error(operation: &'static str, path: &str) -> impl FnOnce(io::Error) -> StoreError {
    move |source| StoreError::Io { operation, path: path.to_owned(), source }
}

/// An error with its sources on one line, for reasons that are kept as text.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
