//! The disk as a parameter: real files, or the simulator's.

mod fs;

use std::io;
use std::sync::Arc;

use argand_block::ReadAt;

pub use fs::FsDisk;

/// The data directory. Paths are relative to it and use `/`; `""` is the directory itself.
///
/// What a crash of the machine may do: lose bytes after the last [`DiskFile::sync`] of a file, and lose entries of a
/// directory that changed after its last [`Disk::sync_dir`]. The store relies on nothing beyond that.
pub trait Disk: Send + Sync {
    /// An empty file to append to; one that exists is emptied.
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>>;

    /// A file to read. What is appended later need not be seen.
    fn open(&self, path: &str) -> io::Result<Arc<dyn ReadAt>>;

    /// Writes `bytes` over what is at `offset` and makes the whole file durable.
    fn overwrite(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Gives a file another name in the same directory, replacing what has it.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Makes a directory; one that exists is fine. Its parent exists.
    fn create_dir(&self, path: &str) -> io::Result<()>;

    /// Makes the entries of a directory durable.
    fn sync_dir(&self, path: &str) -> io::Result<()>;

    /// Names in a directory, ascending.
    fn list(&self, path: &str) -> io::Result<Vec<String>>;

    /// Bytes that can still be written.
    fn free_bytes(&self) -> io::Result<u64>;
}

/// A file that only grows.
pub trait DiskFile: Send {
    /// Appends all of `bytes`. After an error any part of them may have been written.
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;

    /// Makes everything appended so far durable. An error is final: what was not durable may be lost for good.
    fn sync(&mut self) -> io::Result<()>;
}

/// Writes a whole file so that after a crash it is there completely or not at all.
///
/// Temporary file, sync, rename, sync of the directory. `fill` gets the temporary file; its errors leave nothing
/// behind.
pub(crate) fn publish<T, E: From<io::Error>>(
    disk: &dyn Disk,
    path: &str,
    fill: impl FnOnce(&mut dyn DiskFile) -> Result<T, E>,
) -> Result<T, E> {
    let temporary = format!("{path}{TEMPORARY}");
    let written = disk.create(&temporary).map_err(E::from).and_then(|mut file| {
        let value = fill(file.as_mut())?;
        file.sync()?;
        Ok(value)
    });
    let published = written.and_then(|value| {
        disk.rename(&temporary, path)?;
        Ok(value)
    });
    if published.is_err() {
        // Whatever stays is removed at the next start.
        let _ = disk.remove(&temporary);
    }
    let value = published?;
    disk.sync_dir(parent(path))?;
    Ok(value)
}

/// End of the names of files that are not published yet.
pub(crate) const TEMPORARY: &str = ".tmp";

/// Copies a file so that the copy is durable.
pub(crate) fn copy(disk: &dyn Disk, from: &str, to: &str) -> io::Result<()> {
    let source = disk.open(from)?;
    publish(disk, to, |file| {
        let mut buffer = vec![0; 1 << 20];
        let mut offset = 0;
        while offset < source.len() {
            let len = buffer.len().min((source.len() - offset) as usize);
            source.read_at(offset, &mut buffer[..len])?;
            file.append(&buffer[..len])?;
            offset += len as u64;
        }
        Ok(())
    })
}

/// The directory that holds `path`.
pub(crate) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(parent, _)| parent)
}

/// A disk file as a buffered [`io::Write`].
pub(crate) struct FileWriter<'a> {
    file: &'a mut dyn DiskFile,
    buffer: Vec<u8>,
}

/// Bytes that a [`FileWriter`] collects before it appends.
const WRITE_BUFFER_BYTES: usize = 256 << 10;

impl<'a> FileWriter<'a> {
    pub(crate) fn new(file: &'a mut dyn DiskFile) -> Self {
        Self { file, buffer: Vec::with_capacity(WRITE_BUFFER_BYTES) }
    }
}

impl io::Write for FileWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > WRITE_BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() >= WRITE_BUFFER_BYTES {
            self.file.append(bytes)?;
        } else {
            self.buffer.extend_from_slice(bytes);
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.file.append(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}
