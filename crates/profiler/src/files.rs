//! The executables that processes have mapped.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::sync::Arc;
use std::time::{Duration, Instant};

use argand_debuginfo::Elf;
use argand_host::{FileId, Mapped};
use hashbrown::HashMap;

use crate::image::Image;
use crate::stats::Stats;

/// Bound on files known at once; each holds a descriptor. 300 processes with different containers' libraries stay below.
pub(crate) const MAX_FILES: usize = 8192;

/// How long a file that no process has mapped is remembered: its tables and names may be wanted again soon.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// Number of memory without a file: a JIT's code. Addresses in it are those of the process.
pub(crate) const ANONYMOUS: u32 = 0;

/// Bound on the headers kept of a file.
const HEADER_BYTES: usize = 4096;

/// Where the bytes of an executable are.
pub(crate) enum Content {
    /// In a regular file.
    File(File),
    /// In memory: the vDSO.
    Bytes(Vec<u8>),
    /// Nowhere that can be read.
    Gone,
}

/// An executable or library.
pub(crate) struct Binary {
    /// Number, never used again for another one.
    pub(crate) number: u32,
    /// Path in the root of the process that was seen first with it, or a name such as `[vdso]`.
    pub(crate) path: String,
    /// GNU build id; empty without one.
    pub(crate) build_id: Vec<u8>,
    /// Its bytes.
    pub(crate) content: Content,
    /// ELF header and program headers; empty for what is no ELF file.
    headers: Vec<u8>,
}

impl Binary {
    /// What to add to an svma to get an avma in this mapping (wrapping). Without ELF headers svma means file offset.
    pub(crate) fn bias(&self, mapped: &Mapped) -> u64 {
        let by_headers = Elf::parse(&self.headers).ok().and_then(|elf| elf.bias(mapped.start, mapped.offset));
        by_headers.unwrap_or(mapped.start.wrapping_sub(mapped.offset))
    }

    /// An image with the headers, and with what `read` adds from the file.
    pub(crate) fn image(&self, read: impl FnOnce(&mut Image, &File) -> std::io::Result<()>) -> std::io::Result<Image> {
        match &self.content {
            Content::File(file) => {
                let mut image = Image::open(file)?;
                read(&mut image, file)?;
                Ok(image)
            }
            Content::Bytes(bytes) => Image::of_bytes(bytes),
            Content::Gone => Err(std::io::ErrorKind::NotFound.into()),
        }
    }

    /// The last part of the path.
    pub(crate) fn short_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// What tells files apart: an inode may be used again, so what it holds counts too.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    file: FileId,
    build_id: Vec<u8>,
    /// Length and time of the last change, for files without build id.
    version: (u64, i64, i64),
    /// For memory that has a name: the vDSO.
    name: String,
}

/// All files.
pub(crate) struct Files {
    by_key: HashMap<Key, u32>,
    by_number: HashMap<u32, (Arc<Binary>, Key, Instant)>,
    next: u32,
    stats: Arc<Stats>,
}

impl Files {
    pub(crate) fn new(stats: Arc<Stats>) -> Self {
        Self { by_key: HashMap::new(), by_number: HashMap::new(), next: ANONYMOUS + 1, stats }
    }

    /// The file with this number.
    pub(crate) fn get(&self, number: u32) -> Option<&Arc<Binary>> {
        self.by_number.get(&number).map(|(binary, ..)| binary)
    }

    /// The file of a mapping of a live process. `None` for memory without a file, and when there are too many.
    pub(crate) fn of_mapping(&mut self, pid: u32, mapped: &Mapped) -> Option<Arc<Binary>> {
        let is_vdso = mapped.name == "[vdso]";
        if mapped.file.inode == 0 && !is_vdso {
            return None;
        }
        let link = format!("/proc/{pid}/map_files/{:x}-{:x}", mapped.start, mapped.end);
        let by_path = || format!("/proc/{pid}/root{}", mapped.name);
        let mut key = Key {
            file: mapped.file,
            build_id: mapped.build_id.clone(),
            version: (0, 0, 0),
            name: if is_vdso { mapped.name.clone() } else { String::new() },
        };
        if key.build_id.is_empty() && !is_vdso {
            // map_files needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN; the path may by now be another file.
            let metadata = std::fs::metadata(&link).or_else(|_| std::fs::metadata(by_path()));
            if let Ok(metadata) = metadata {
                key.version = (metadata.len(), metadata.mtime(), metadata.mtime_nsec());
            }
        }
        if let Some(number) = self.by_key.get(&key) {
            let (binary, _, seen) = self.by_number.get_mut(number)?;
            *seen = Instant::now();
            return Some(binary.clone());
        }
        if self.by_number.len() >= MAX_FILES {
            self.stats.files_full.add(1);
            return None;
        }
        let content = if is_vdso {
            read_own_vdso().map_or(Content::Gone, Content::Bytes)
        } else {
            let opened = open_regular(&link).or_else(|_| open_regular(&by_path()));
            opened.map_or(Content::Gone, Content::File)
        };
        if matches!(content, Content::Gone) {
            self.stats.files_unreadable.add(1);
        }
        let number = self.next;
        self.next += 1;
        let mut binary =
            Binary { number, path: mapped.name.clone(), build_id: Vec::new(), content, headers: Vec::new() };
        if let Ok(image) = binary.image(|_, _| Ok(())) {
            let headers = &image.bytes()[..image.bytes().len().min(HEADER_BYTES)];
            binary.headers = if Elf::parse(headers).is_ok() { headers.to_vec() } else { Vec::new() };
            binary.build_id = mapped.build_id.clone();
        }
        let binary = Arc::new(binary);
        self.by_key.insert(key.clone(), number);
        self.by_number.insert(number, (binary.clone(), key, Instant::now()));
        self.stats.files.set(self.by_number.len() as u64);
        Some(binary)
    }

    /// Forgets files that no process has mapped for long.
    pub(crate) fn forget_unused(&mut self, now: Instant) {
        let by_key = &mut self.by_key;
        self.by_number.retain(|_, (binary, key, seen)| {
            if Arc::strong_count(binary) > 1 {
                *seen = now;
            }
            let keep = now.duration_since(*seen) < FORGET_AFTER;
            if !keep {
                by_key.remove(key);
            }
            keep
        });
        self.stats.files.set(self.by_number.len() as u64);
    }
}

/// Opens what is a regular file, without waiting: a FIFO or device in its place must not hold us up.
fn open_regular(path: &str) -> std::io::Result<File> {
    const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits() as i32;
    const FUSE_SUPER_MAGIC: u64 = 0x6573_5546;
    let refuse = |why: &'static str| Err(std::io::Error::new(std::io::ErrorKind::InvalidInput, why));
    if !std::fs::metadata(path)?.is_file() {
        return refuse("not a regular file");
    }
    let file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return refuse("not a regular file");
    }
    // A program serves the reads of such a file and may take for ever.
    if rustix::fs::fstatfs(&file)?.f_type as u64 == FUSE_SUPER_MAGIC {
        return refuse("on a file system of a user-space program");
    }
    Ok(file)
}

/// The vDSO is the same for all 64-bit processes, so ours tells.
fn read_own_vdso() -> Option<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    /// The kernel's has two pages.
    const MAX_VDSO_BYTES: u64 = 1 << 20;
    let own = argand_host::executable_mappings(std::process::id()).ok()?;
    let vdso = own.mappings.into_iter().find(|mapped| mapped.name == "[vdso]")?;
    let mut bytes = vec![0; (vdso.end - vdso.start).min(MAX_VDSO_BYTES) as usize];
    File::open("/proc/self/mem").ok()?.read_exact_at(&mut bytes, vdso.start).ok()?;
    Some(bytes)
}
