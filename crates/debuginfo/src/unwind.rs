//! Unwind rows: for each address of the code, how to find the caller.
//!
//! `.eh_frame`, `.debug_frame` and a few known stubs become an [`UnwindTable`]: sorted rows of (svma, [`Rule`]), equal
//! neighbours merged. [`pages`] cuts it into pages of 64 KiB of address space, whose rows take four bytes each and refer
//! to one [`RuleDictionary`] for all files; this is what the kernel side searches.
//!
//! [`step`] applies a rule in user space. It says what each rule means and is the oracle of both sides' tests.

mod cfi;
mod page;
mod rule;
mod step;
mod table;
#[cfg(test)]
mod tests;

pub use cfi::{FrameIndex, FrameSections};
pub use page::{MAX_RULES, PAGE_BITS, Page, RuleDictionary, pages};
pub use rule::{Cfa, RawRule, ReturnAddress, Rule, SavedFp, raw};
pub use step::{Caller, Registers, Step, step};
pub use table::{Row, UnwindReport, UnwindTable};
