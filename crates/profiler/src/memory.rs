//! The only module with unsafe code besides the generated one: bytes of plain values, memory shared with the kernel, perf
//! events.

#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;

use perf_event_open_sys as perf;
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};

use crate::shared::Plain;

/// The bytes of a value.
pub(crate) fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: Plain types are repr(C) or integers, without padding: their fields fill them.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

/// The value at the start of `bytes`, `None` if they are too few.
pub(crate) fn read_plain<T: Plain>(bytes: &[u8]) -> Option<T> {
    let bytes = bytes.get(..size_of::<T>())?;
    // SAFETY: the bytes are there, and any bytes are a value of a Plain type, which has integers only.
    Some(unsafe { std::ptr::read_unaligned(bytes.as_ptr().cast()) })
}

/// An array of values in memory that the kernel side reads at the same time.
pub(crate) struct SharedArray<T: Plain> {
    start: NonNull<T>,
    length: usize,
}

// SAFETY: the mapping belongs to this value alone on this side; the kernel side only reads.
unsafe impl<T: Plain> Send for SharedArray<T> {}

impl<T: Plain> SharedArray<T> {
    /// Maps a BPF array made with `BPF_F_MMAPABLE`, which holds `length` values.
    pub(crate) fn map(map: impl AsFd, length: usize) -> io::Result<Self> {
        let (protection, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED);
        // SAFETY: a new mapping at an address that the kernel chooses.
        let start = unsafe { mmap(std::ptr::null_mut(), length * size_of::<T>(), protection, flags, map, 0) }?;
        Ok(Self { start: NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?, length })
    }

    /// Writes a value. Panics where there is no such place.
    pub(crate) fn write(&mut self, index: usize, value: T) {
        assert!(index < self.length, "the caller keeps to the array");
        // SAFETY: within the mapping. Volatile, as the kernel side may look at any moment; it checks what it sees.
        unsafe { self.start.add(index).write_volatile(value) }
    }
}

impl<T: Plain> Drop for SharedArray<T> {
    fn drop(&mut self) {
        // SAFETY: mapped by `map` with this size, and nothing refers to it any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length * size_of::<T>()) };
    }
}

/// Private memory of zeros that takes room only where it is written to.
pub(crate) struct ZeroedMemory {
    start: NonNull<u8>,
    length: usize,
}

// SAFETY: the mapping belongs to this value alone.
unsafe impl Send for ZeroedMemory {}

impl ZeroedMemory {
    /// Maps `length` bytes.
    pub(crate) fn new(length: usize) -> io::Result<Self> {
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses. At least one byte, as the kernel refuses none.
        let start = unsafe { mmap_anonymous(std::ptr::null_mut(), length.max(1), protection, flags) }?;
        Ok(Self { start: NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?, length })
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: mapped with this length as long as this value lives, and initialised by the kernel.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.length) }
    }

    /// The bytes, to write.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as above, and borrowed exclusively.
        unsafe { std::slice::from_raw_parts_mut(self.start.as_ptr(), self.length) }
    }
}

impl Drop for ZeroedMemory {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this size, and nothing refers to it any more.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.length.max(1)) };
    }
}

/// Opens an event that ticks every `period_ns` of the CPU's clock, for all processes.
pub(crate) fn open_cpu_clock(cpu: u32, period_ns: u64) -> io::Result<OwnedFd> {
    let mut attributes = perf::bindings::perf_event_attr {
        type_: perf::bindings::PERF_TYPE_SOFTWARE,
        size: size_of::<perf::bindings::perf_event_attr>() as u32,
        config: perf::bindings::PERF_COUNT_SW_CPU_CLOCK.into(),
        ..Default::default()
    };
    attributes.__bindgen_anon_1.sample_period = period_ns;
    let cpu = i32::try_from(cpu).map_err(|_| io::ErrorKind::InvalidInput)?;
    // SAFETY: the attributes are initialised and say their size; the result is checked.
    let fd =
        unsafe { perf::perf_event_open(&mut attributes, -1, cpu, -1, perf::bindings::PERF_FLAG_FD_CLOEXEC.into()) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
