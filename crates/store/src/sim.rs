//! The simulator.
mod disk;
pub(crate) use disk::SimDisk;
