//! What executables and runtimes say about their code: unwind rows, function names, lines.
//!
//! Pure: bytes in, values out; no files, no `/proc`, no async. Opening, mapping and caching are the caller's.
//!
//! Bytes are foreign: whoever may run a program may hand us its ELF file. Nothing here panics on them; what is
//! allocated is bounded by named limits and by the size of the input, work is linear in it, and what could not be read
//! is counted.
//!
//! Addresses: *svma* is an address as stated in the file, *avma* one in a process, *file offset* a position in the
//! file. `avma = svma + bias`, with one bias for each mapped file ([`Elf::bias`]).

mod demangle;
pub mod elf;
pub mod gopclntab;
pub mod jit;
mod kallsyms;
pub mod lines;
mod names;
mod symbols;
mod unpack;
pub mod unwind;

pub use demangle::{MAX_DEMANGLED, demangle};
pub use elf::{Elf, ElfError, Machine};
pub use names::{MAX_NAME, MAX_NAME_BYTES, MAX_SYMBOLS, NameReport, NameTable, Symbol};
pub use unpack::MAX_UNPACKED;
