//! What can go wrong with a question, and what may be missing from an answer.

use argand_model::{DatasetError, MatcherError, ProfileTypeError};

/// Why a question has no answer. All but [`QueryError::Cancelled`] are mistakes of whoever asked.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    /// The caller's deadline passed or its client went away.
    #[error("the query was cancelled")]
    Cancelled,
    /// A selector that does not parse.
    #[error("invalid selector at byte {position}: expected {expected}, found {found}")]
    Selector {
        /// Offset in bytes into the text.
        position: usize,
        /// What could stand there.
        expected: &'static str,
        /// What stands there.
        found: String,
    },
    /// A selector with a bad regular expression.
    #[error(transparent)]
    Matcher(#[from] MatcherError),
    /// A query whose part before the braces is no profile type.
    #[error(transparent)]
    ProfileType(#[from] ProfileTypeError),
    /// A span, trace or profile id of the wrong form.
    #[error("invalid {what} {text:?}: expected {expected}")]
    Id {
        /// Which kind of id.
        what: &'static str,
        /// Text as given, shortened.
        text: String,
        /// The right form.
        expected: &'static str,
    },
    /// A step below a millisecond, negative, or not a number.
    #[error("invalid step of {0} s: expected at least 0.001 s")]
    Step(f64),
    /// A time range that ends before it starts.
    #[error("invalid time range: it starts at {start_ms} ms, after its end at {end_ms} ms")]
    TimeRange {
        /// Start as given.
        start_ms: i64,
        /// End as given.
        end_ms: i64,
    },
    /// Zero filling would take too many points.
    #[error("{count} points are too many: at most {max} are allowed, ask for a longer step or a shorter range")]
    TooManyPoints {
        /// Points that the range and step make.
        count: i64,
        /// The bound.
        max: i64,
    },
    /// A tree with a negative value cannot be compared.
    #[error("a difference needs values that are not negative, found {0}")]
    NegativeValue(i64),
}

/// An answer from what could be read, with the parts of the store that could not.
#[derive(Clone, Debug, Default)]
pub struct Partial<T> {
    /// The answer.
    pub value: T,
    /// Parts that are missing from it; usually none.
    pub damaged: Vec<DatasetError>,
}

impl<T> Partial<T> {
    /// The same damage with another value.
    pub fn map<U>(self, f: impl FnOnce(T) -> U) -> Partial<U> {
        Partial { value: f(self.value), damaged: self.damaged }
    }
}
