//! Names of functions: of the kernel, of executables, of code that a runtime generated.

use std::io::Read;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use argand_debuginfo::{Elf, NameTable, demangle};
use hashbrown::HashMap;

use crate::files::Binary;
use crate::stats::Stats;

/// Bound on the bytes of all name tables; the one used longest ago gives way. A table of a large server has 5 MB.
const MAX_TABLE_BYTES: usize = 32 << 20;

/// Bound on the kernel's list of functions; 5 MB are usual.
const MAX_KALLSYMS_BYTES: u64 = 64 << 20;

/// Bound on names kept as they are shown, some 100 bytes each; all are forgotten when they are more.
const MAX_NAMES: usize = 65_536;

/// Bound on the bytes read of a file for its names.
const MAX_IMAGE_BYTES: u64 = 512 << 20;

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
    kernel: NameTable,
    /// `/proc/modules` when the kernel's functions were read.
    modules: Vec<u8>,
    kernel_shown: HashMap<String, Arc<[SourceFrame]>>,
    tables: Tables,
    /// By file and address of the function.
    shown: HashMap<(u32, u64), Arc<[SourceFrame]>>,
    stop: Arc<AtomicBool>,
    farewell: Option<Duration>,
    stopped: Option<Instant>,
    stats: Arc<Stats>,
}

impl Names {
    /// After `stop`, files are read for as long as `farewell`.
    pub(crate) fn new(stop: Arc<AtomicBool>, farewell: Option<Duration>, stats: Arc<Stats>) -> Self {
        Self {
            stop,
            farewell,
            stopped: None,
            kernel: NameTable::default(),
            modules: Vec::new(),
            kernel_shown: HashMap::new(),
            tables: Tables::default(),
            shown: HashMap::new(),
            stats,
        }
    }

    /// To be called before the stacks of an interval.
    pub(crate) fn begin_batch(&mut self) {
        // Modules come and go, and their functions with them.
        let modules = std::fs::read("/proc/modules").unwrap_or_default();
        if self.kernel.is_empty() || modules != self.modules {
            (self.kernel, self.modules) = (kernel_functions(), modules);
            self.kernel_shown.clear();
        }
        if self.shown.len() > MAX_NAMES {
            self.shown.clear();
        }
    }

    /// The function of the kernel at an address.
    pub(crate) fn kernel(&mut self, address: u64) -> Arc<[SourceFrame]> {
        match self.kernel.lookup(address).map(|function| function.name) {
            Some(name) => match self.kernel_shown.get(name) {
                Some(known) => known.clone(),
                None => self.kernel_shown.entry(name.to_owned()).or_insert(one(name)).clone(),
            },
            None => one("[kernel]"),
        }
    }

    /// The functions of an executable at an address of it, innermost first.
    pub(crate) fn native(&mut self, binary: &Binary, svma: u64) -> Arc<[SourceFrame]> {
        let may_read = self.may_read();
        let table = self.tables.get(binary, may_read, &self.stats);
        let Some(symbol) = table.lookup(svma) else {
            return one(&format!("{}+{svma:#x}", binary.short_name()));
        };
        let known = self.shown.entry((binary.number, symbol.address));
        known.or_insert_with(|| one(&demangle(symbol.name))).clone()
    }

    fn may_read(&mut self) -> bool {
        let Some(farewell) = self.farewell.filter(|_| self.stop.load(Ordering::Relaxed)) else { return true };
        self.stopped.get_or_insert_with(Instant::now).elapsed() < farewell
    }

    /// What stands for code that lies in no file.
    pub(crate) fn memory() -> Arc<[SourceFrame]> {
        one("[anonymous memory]")
    }
}

/// The running kernel's functions. Empty where their addresses are hidden from us.
fn kernel_functions() -> NameTable {
    let mut text = Vec::new();
    let file = std::fs::File::open("/proc/kallsyms");
    if let Err(error) = file.and_then(|file| file.take(MAX_KALLSYMS_BYTES).read_to_end(&mut text)) {
        tracing::warn!(%error, "the kernel's functions have no names: /proc/kallsyms cannot be read");
    }
    NameTable::of_kallsyms(&text)
}

fn one(name: &str) -> Arc<[SourceFrame]> {
    Arc::from([SourceFrame::named(name)])
}

/// The name tables of the files used last.
#[derive(Default)]
struct Tables {
    by_file: HashMap<u32, (Arc<NameTable>, u64)>,
    bytes: usize,
    clock: u64,
}

impl Tables {
    fn get(&mut self, binary: &Binary, may_read: bool, stats: &Stats) -> Arc<NameTable> {
        self.clock += 1;
        if let Some((table, used)) = self.by_file.get_mut(&binary.number) {
            *used = self.clock;
            return table.clone();
        }
        if !may_read {
            return Arc::default();
        }
        let table = read_names(binary).unwrap_or_else(|error| {
            tracing::debug!(path = binary.path, %error, "no names can be read");
            NameTable::default()
        });
        let table = Arc::new(table);
        self.bytes += table.size_bytes();
        self.by_file.insert(binary.number, (table.clone(), self.clock));
        while self.bytes > MAX_TABLE_BYTES && self.by_file.len() > 1 {
            let oldest = self.by_file.iter().min_by_key(|(_, (_, used))| *used).map(|(file, _)| *file);
            let Some((table, _)) = oldest.and_then(|file| self.by_file.remove(&file)) else { break };
            self.bytes -= table.size_bytes();
        }
        stats.name_bytes.set(self.bytes as u64);
        table
    }
}

fn read_names(binary: &Binary) -> std::io::Result<NameTable> {
    let image = binary.image(|image, file| {
        image.read_sections(file, MAX_IMAGE_BYTES, is_name_section)?;
        let is_go = Elf::parse(image.bytes()).is_ok_and(|elf| elf.section_named(".go.buildinfo").is_some());
        // Go's tables refer to its data.
        if is_go { image.read_segments(file, MAX_IMAGE_BYTES, |_| true) } else { Ok(()) }
    })?;
    let elf = Elf::parse(image.bytes()).map_err(|error| std::io::Error::new(std::io::ErrorKind::InvalidData, error))?;
    Ok(NameTable::of_elf(&elf, &[]))
}

/// Sections with names of functions, and those that say what they name.
fn is_name_section(name: &str) -> bool {
    matches!(
        name,
        ".symtab" | ".strtab" | ".dynsym" | ".dynstr" | ".gnu_debugdata" | ".rela.plt" | ".rela.dyn" | ".gopclntab"
    ) || name.starts_with(".plt")
}
