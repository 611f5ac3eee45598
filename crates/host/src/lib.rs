//! What the kernel tells about processes: who they are, what they have mapped, which service they belong to.
//!
//! Reads `/proc` only, and only bounded amounts of it: what stands there was written by the processes themselves.
//! A process may end at any moment, so every reader gives what it got; nothing of it is an error of ours.

mod cgroup;
mod mappings;
mod process;
mod service;

pub use cgroup::Cgroup;
pub use mappings::{FileId, MAX_MAPPINGS, Mapped, Mappings, executable_mappings, has_procmap_query};
pub use process::{ProcessFacts, comm, pids, start_ticks, threads_of};
pub use service::{ServiceName, service_name};

/// Name of this machine.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
