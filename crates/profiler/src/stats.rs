//! What the profiler counts about itself.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::shared::{Counter, End};

/// A number that several threads write.
#[derive(Debug, Default)]
pub(crate) struct Number(AtomicU64);

impl Number {
    pub(crate) fn add(&self, value: u64) {
        self.0.fetch_add(value, Ordering::Relaxed);
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Makes the struct, and the list that metrics are made of.
macro_rules! stats {
    ($($(#[doc = $help:literal])* $name:ident: $kind:ident,)*) => {
        /// Counters and gauges of user space.
        #[derive(Debug, Default)]
        pub(crate) struct Stats {
            $($(#[doc = $help])* pub(crate) $name: Number,)*
            pub(crate) counters: [Number; Counter::ALL.len()],
            pub(crate) ends: [Number; End::ALL.len()],
        }

        impl Stats {
            /// The state of everything.
            pub(crate) fn figures(&self) -> Vec<Figure> {
                let mut all = vec![$(Figure {
                    name: stringify!($name),
                    help: concat!($($help),*).trim_start(),
                    kind: FigureKind::$kind,
                    value: self.$name.get(),
                },)*];
                all.extend(Counter::ALL.iter().zip(&self.counters).map(|(counter, number)| Figure {
                    name: counter.name(),
                    help: counter.help(),
                    kind: FigureKind::Counter,
                    value: number.get(),
                }));
                all
            }
        }
    };
}

stats! {
    /// processes whose mappings are known
    processes: Gauge,
    /// processes that ended before their mappings could be read
    processes_gone: Counter,
    /// processes whose mappings found no room
    mappings_full: Counter,
    /// executables and libraries known
    files: Gauge,
    /// files not known because there were too many
    files_full: Counter,
    /// mapped files that could not be opened
    files_unreadable: Counter,
    /// pages of unwind rows loaded
    pages_loaded: Counter,
    /// pages of code that have no unwind rows
    pages_empty: Counter,
    /// pages of unwind rows dropped to make room
    pages_evicted: Counter,
    /// pages asked for again later because too many were asked for at once
    pages_postponed: Counter,
    /// bytes of unwind rows in the kernel
    slab_bytes: Gauge,
    /// bytes of the tables of functions' names
    name_bytes: Gauge,
    /// samples whose stack was merged into one for all because there were too many
    stacks_full: Counter,
    /// samples that were not understood
    samples_invalid: Counter,
    /// profiles dropped because they were not taken in time
    profiles_dropped: Counter,
    /// profiles made
    profiles: Counter,
}

/// Whether a figure only grows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FigureKind {
    /// It only grows.
    Counter,
    /// It goes up and down.
    Gauge,
}

/// One figure of the profiler about itself.
#[derive(Debug, Clone, Copy)]
pub struct Figure {
    /// Identifier, as in metrics.
    pub name: &'static str,
    /// What it means.
    pub help: &'static str,
    /// Whether it only grows.
    pub kind: FigureKind,
    /// Its value.
    pub value: u64,
}
