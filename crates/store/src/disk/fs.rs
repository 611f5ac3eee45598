//! The data directory on a real file system.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use argand_block::ReadAt;

use super::{Disk, DiskFile};
use crate::StoreError;
use crate::error::io_error;

/// Name of the lock file.
const LOCK: &str = "LOCK";

/// A directory of the file system, locked for this process as long as the value lives.
#[derive(Debug)]
pub struct FsDisk {
    root: PathBuf,
    /// Held for its lock.
    _lock: File,
}

impl FsDisk {
    /// Makes the directory where there is none and locks it.
    ///
    /// Errors: [`StoreError::Locked`] names the process that has it.
    pub fn open(root: &Path) -> Result<Self, StoreError> {
        let shown = root.display().to_string();
        fs::create_dir_all(root).map_err(io_error("create", &shown))?;
        let lock = lock(root, &shown)?;
        Ok(Self { root: root.to_owned(), _lock: lock })
    }

    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

/// The lock is the kernel's, so it goes with the process; the pid inside is for people.
fn lock(root: &Path, shown: &str) -> Result<File, StoreError> {
    let path = root.join(LOCK);
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let mut file = open.map_err(io_error("open the lock of", shown))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            // The name of the holder is a courtesy.
            let _ = file.take(64).read_to_string(&mut holder);
            return Err(StoreError::Locked { path: shown.to_owned(), holder: holder.trim().to_owned() });
        }
        Err(TryLockError::Error(source)) => return Err(io_error("lock", shown)(source)),
    }
    let write_pid = |file: &mut File| {
        file.set_len(0)?;
        file.rewind()?;
        writeln!(file, "{}", std::process::id())
    };
    write_pid(&mut file).map_err(io_error("write the lock of", shown))?;
    Ok(file)
}

impl Disk for FsDisk {
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(Box::new(File::create(self.path(path))?))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn ReadAt>> {
        let file = File::open(self.path(path))?;
        let len = file.metadata()?.len();
        Ok(Arc::new(FsFile { file, len }))
    }

    fn overwrite(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let file = OpenOptions::new().write(true).open(self.path(path))?;
        file.write_all_at(bytes, offset)?;
        file.sync_data()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        match fs::create_dir(self.path(path)) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            other => other,
        }
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        File::open(self.path(path))?.sync_all()
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path(path))? {
            // Names that are not UTF-8 are none of ours.
            names.extend(entry?.file_name().into_string());
        }
        names.sort();
        Ok(names)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }
}

impl DiskFile for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// An open file and its length at that time.
struct FsFile {
    file: File,
    len: u64,
}

impl ReadAt for FsFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.file.read_exact_at(buf, offset)
    }

    fn len(&self) -> u64 {
        self.len
    }
}
