//! OTLP profiles: the export request of `opentelemetry.proto.profiles.v1development`, 1.10 and newer.
//!
//! One request holds many profiles over shared tables. [`decode`] first counts the tables and checks them against the
//! limits, then fills columns of that size, then makes one [`Profile`] after the other with a copy of just the symbols
//! that it uses. Everything that is allocated on the way, copies included, is paid from one budget: a profile of a few
//! bytes that points to all of the tables is refused for what it would become.
//! Source: <https://github.com/open-telemetry/opentelemetry-proto>, `profiles.proto` and `common.proto`.

mod dictionary;
mod json;
mod profiles;

use std::borrow::Cow;

use argand_model::Profile;

pub use json::{JsonError, transcode};
pub use profiles::decode;

use crate::{LimitError, ProtoError, Quantity};

/// The attribute that names a service, of a resource or of a sample.
pub const SERVICE_NAME: &str = "service.name";

/// A part of a profile: the samples of one service.
#[derive(Debug)]
pub struct ServiceProfile<'a> {
    /// [`SERVICE_NAME`] of the samples themselves, which wins over that of the resource.
    pub service: Option<&'a str>,
    /// Attributes of the resource, then of the scope, as text: texts, integers and lists of one of these. Of equal
    /// names the first counts.
    pub attributes: &'a [(Cow<'a, str>, Cow<'a, str>)],
    /// One value per sample: the sum of those sent or, where none is, the number of timestamps. Text attributes of
    /// samples and the ids of links (`trace_id`, `span_id`, in hexadecimal) are labels.
    ///
    /// A mapping's build id is the GNU one; `has_functions` says that all of its locations have names.
    pub profile: Profile,
}

/// Why a request cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtlpError {
    /// Damage of the encoding.
    #[error(transparent)]
    Proto(#[from] ProtoError),
    /// Too much of something.
    #[error(transparent)]
    Limit(#[from] LimitError),
    /// A text is not UTF-8.
    #[error("{what} is not valid UTF-8")]
    Utf8 {
        /// What the text is.
        what: &'static str,
    },
    /// An index into a table that is shorter.
    #[error("{what} {index} is outside of its table, which has {len} entries")]
    Reference {
        /// What refers.
        what: &'static str,
        /// The index as sent.
        index: u64,
        /// Length of the table.
        len: usize,
    },
}

/// Memory that may still be used.
#[derive(Clone, Copy, Debug)]
struct Budget {
    limit: usize,
    left: usize,
}

impl Budget {
    fn new(limit: usize) -> Self {
        // Positions in tables and in texts are `u32`.
        let limit = limit.min(u32::MAX as usize);
        Self { limit, left: limit }
    }

    /// Pays for bytes that are about to be allocated.
    fn take(&mut self, bytes: usize) -> Result<(), LimitError> {
        let limit = self.limit;
        self.left = self.left.checked_sub(bytes).ok_or(LimitError { quantity: Quantity::MemoryBytes, limit })?;
        Ok(())
    }

    /// Returns what was only needed for a while.
    fn give(&mut self, bytes: usize) {
        self.left += bytes;
    }
}

#[cfg(test)]
mod tests;
