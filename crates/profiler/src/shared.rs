//! Types that the kernel side and this side share; mirrors `bpf/include/types.h`.

mod lists {
    // What of it leaves the crate, lib.rs says; not every list needs every method.
    #![allow(unreachable_pub, dead_code)]
    include!(concat!(env!("OUT_DIR"), "/lists.rs"));
}

pub use lists::{Counter, End};
pub(crate) use lists::{EventKind, Frame, Unwinder};

use argand_debuginfo::unwind::RawRule;

/// Entries of all processes' mapping tables together.
pub(crate) const MAPPING_POOL: usize = 65_536;
/// Rows of a slab.
pub(crate) const SLAB_ROWS: usize = 16_383;
/// Slabs.
pub(crate) const SLABS: usize = 512;
/// Unwind rules of all files together.
pub(crate) const RULES: usize = 16_384;
/// Entries of the table of processes.
pub(crate) const PROCESSES: usize = 16_384;
/// Entries of the table of pages.
pub(crate) const PAGES: usize = 32_768;

/// Flag of a frame: the address is behind the call.
pub(crate) const FRAME_RETURN_ADDRESS: u16 = 1;

/// A value that is read from and written to maps and rings as its bytes.
pub(crate) trait Plain: Copy {}

/// Head of a sample; the words of its stacks follow.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Sample {
    pub(crate) time_ns: u64,
    pub(crate) value: u64,
    pub(crate) start_ns: u64,
    pub(crate) exec_id: u32,
    pub(crate) pid: u32,
    pub(crate) tid: u32,
    pub(crate) parent_pid: u32,
    pub(crate) cpu: u16,
    pub(crate) origin: u8,
    pub(crate) end: u8,
    pub(crate) kernel_words: u16,
    pub(crate) words: u16,
    pub(crate) comm: [u8; 16],
}

/// A request of the kernel side.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Event {
    pub(crate) kind: u32,
    pub(crate) pid: u32,
    pub(crate) start_ns: u64,
    pub(crate) a: u64,
    pub(crate) exec_id: u32,
    pub(crate) pad: u32,
}

/// A process of the kernel side.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Process {
    pub(crate) start_ns: u64,
    pub(crate) asked_ns: u64,
    pub(crate) quota_window: u64,
    pub(crate) quota_value: u64,
    pub(crate) exec_id: u32,
    pub(crate) serial: u32,
    pub(crate) first: u32,
    pub(crate) count: u32,
    pub(crate) asks: u32,
    pub(crate) quota_used: u32,
}

/// A mapping of the kernel side.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct Mapping {
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) bias: u64,
    pub(crate) file: u32,
    pub(crate) serial: u32,
    pub(crate) unwinder: u8,
    pub(crate) pad: [u8; 7],
}

/// Whether the rows of a page are there.
#[derive(Debug, Clone, Copy)]
#[repr(u16)]
pub(crate) enum PageState {
    Loaded = 1,
    Empty = 2,
}

/// Where the rows of a page lie.
#[derive(Debug, Clone, Copy, Default)]
#[repr(C)]
pub(crate) struct PageEntry {
    pub(crate) generation: u32,
    pub(crate) slab: u16,
    pub(crate) first: u16,
    pub(crate) count: u16,
    pub(crate) state: u16,
}

/// The first word of a slab is its generation.
pub(crate) const SLAB_WORDS: usize = SLAB_ROWS + 1;

impl Plain for Sample {}
impl Plain for Event {}
impl Plain for Process {}
impl Plain for Mapping {}
impl Plain for PageEntry {}
impl Plain for RawRule {}
impl Plain for u32 {}
impl Plain for u64 {}

// The sizes that types.h asserts on its side.
const _: () = assert!(size_of::<Sample>() == 64);
const _: () = assert!(size_of::<Event>() == 32);
const _: () = assert!(size_of::<Process>() == 56);
const _: () = assert!(size_of::<Mapping>() == 40);
const _: () = assert!(size_of::<PageEntry>() == 12);
const _: () = assert!(size_of::<RawRule>() == 12);
const _: () = assert!(SLAB_WORDS * 4 == 65_536);
