//! Names of functions: of the kernel, of executables, of code that a runtime generated.

use std::sync::Arc;

use crate::files::Binary;
use crate::stats::Stats;

/// A function as the source has it. A place in the code has several where calls were inlined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct SourceFrame {
    pub(crate) function: String,
    pub(crate) file: String,
    pub(crate) line: u32,
    /// Line where the function begins.
    pub(crate) start_line: u32,
}

impl SourceFrame {
    pub(crate) fn named(function: &str) -> Self {
        Self { function: function.to_owned(), ..Self::default() }
    }
}

/// Gives names, and remembers them.
pub(crate) struct Names {
    _stats: Arc<Stats>,
}

impl Names {
    pub(crate) fn new(stats: Arc<Stats>) -> Self {
        Self { _stats: stats }
    }

    /// To be called before the stacks of an interval.
    pub(crate) fn begin_batch(&mut self) {}

    /// The function of the kernel at an address.
    pub(crate) fn kernel(&mut self, address: u64) -> Arc<[SourceFrame]> {
        Arc::from([SourceFrame::named(&format!("[kernel+{address:#x}]"))])
    }

    /// The functions of an executable at an address of it, innermost first.
    pub(crate) fn native(&mut self, binary: &Binary, svma: u64) -> Arc<[SourceFrame]> {
        Arc::from([SourceFrame::named(&format!("{}+{svma:#x}", binary.short_name()))])
    }

    /// The function at an address of a process that lies in no file.
    pub(crate) fn memory(&mut self, _pid: u32, _avma: u64) -> Arc<[SourceFrame]> {
        Arc::from([SourceFrame::named("[anonymous memory]")])
    }
}
