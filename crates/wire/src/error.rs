//! What can be wrong with formats other than pprof.

use crate::LimitError;

/// Why bytes are no profile in the format that they were said to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Too much of something.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// Damage in a line of text.
    #[error("line {line}: {reason}")]
    Line {
        /// Number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Damage in a binary format.
    #[error("damaged {format} at byte {offset}: {reason}")]
    Binary {
        /// `tree` or `trie`.
        format: &'static str,
        /// Where reading stopped.
        offset: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// Not a speedscope file, or one that contradicts itself.
    #[error("invalid speedscope profile: {0}")]
    Speedscope(String),
    /// Values, or their sum for one stack, do not fit.
    #[error("values exceed 63 bits")]
    Overflow,
}
