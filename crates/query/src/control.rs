//! How a question is run: when to give up and on how many threads.

use crate::QueryError;

/// How a question is run.
#[derive(Clone, Copy)]
pub struct Control<'a> {
    /// Says that nobody waits any longer; asked about once per million rows and once per dataset.
    pub cancelled: &'a (dyn Fn() -> bool + Sync),
    /// Most threads to use, the calling one included.
    pub threads: usize,
}

impl Default for Control<'_> {
    /// Never cancelled; as many threads as there are processors.
    fn default() -> Self {
        Self { cancelled: &|| false, threads: std::thread::available_parallelism().map_or(1, usize::from) }
    }
}

impl Control<'_> {
    /// `Err(Cancelled)` once nobody waits any longer.
    pub(crate) fn check(&self) -> Result<(), QueryError> {
        if (self.cancelled)() { Err(QueryError::Cancelled) } else { Ok(()) }
    }
}
