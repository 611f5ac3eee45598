//! A disk in memory that fails and crashes on purpose.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};

use argand_block::ReadAt;

use crate::disk::{Disk, DiskFile, parent};
use crate::lock;
use crate::testing::TestRng;

/// Unit in which unsynced bytes are lost.
const SECTOR: usize = 512;

/// A simulated disk; clones are the same disk.
#[derive(Clone)]
pub(crate) struct SimDisk(Arc<Mutex<State>>);

/// What a crash takes away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The process is gone; the machine keeps everything that was written.
    Process,
    /// The machine is gone: unsynced sectors and directory entries may be lost, each by itself.
    Power,
}

/// How often calls fail, in percent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) write_percent: u64,
    pub(crate) read_percent: u64,
}

#[derive(Clone)]
struct State {
    rng: TestRng,
    inodes: Vec<Inode>,
    dirs: BTreeMap<String, Dir>,
    faults: Faults,
    /// Calls that change something until all calls fail, if a crash is due.
    calls_to_crash: Option<u64>,
    has_crashed: bool,
    capacity: u64,
    /// Counts handles of a life: those of an earlier one are dead.
    life: u64,
}

#[derive(Clone, Default)]
struct Inode {
    bytes: Vec<u8>,
    synced: usize,
    /// A sync failed: what was not durable then never will be, whatever later syncs say.
    is_poisoned: bool,
}

#[derive(Clone, Default)]
struct Dir {
    names: BTreeMap<String, usize>,
    durable: BTreeMap<String, usize>,
    /// Values that names had since the last sync.
    history: BTreeMap<String, Vec<Option<usize>>>,
    is_durable: bool,
}

fn error(kind: io::ErrorKind, text: &str) -> io::Error {
    io::Error::new(kind, text.to_owned())
}

impl SimDisk {
    pub(crate) fn new(seed: u64) -> Self {
        let root = Dir { is_durable: true, ..Dir::default() };
        Self(Arc::new(Mutex::new(State {
            rng: TestRng(seed),
            inodes: Vec::new(),
            dirs: [(String::new(), root)].into(),
            faults: Faults::default(),
            calls_to_crash: None,
            has_crashed: false,
            capacity: u64::MAX / 2,
            life: 0,
        })))
    }

    /// A copy that goes its own way.
    pub(crate) fn fork(&self) -> Self {
        Self(Arc::new(Mutex::new(lock::mutex(&self.0).clone())))
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        lock::mutex(&self.0).faults = faults;
    }

    pub(crate) fn set_capacity(&self, bytes: u64) {
        lock::mutex(&self.0).capacity = bytes;
    }

    /// All files together.
    pub(crate) fn used(&self) -> u64 {
        lock::mutex(&self.0).used()
    }

    /// After `calls` more changes every call fails until [`Self::crash`].
    pub(crate) fn crash_after(&self, calls: u64) {
        lock::mutex(&self.0).calls_to_crash = Some(calls);
    }

    pub(crate) fn has_crashed(&self) -> bool {
        lock::mutex(&self.0).has_crashed
    }

    /// Ends this life of the machine or process and starts the next one.
    pub(crate) fn crash(&self, crash: Crash) {
        let state = &mut *lock::mutex(&self.0);
        state.life += 1;
        state.has_crashed = false;
        state.calls_to_crash = None;
        state.faults = Faults::default();
        if crash == Crash::Power {
            state.lose_names();
            state.lose_bytes();
        }
    }

    /// Paths of all files, ascending.
    pub(crate) fn files(&self) -> Vec<String> {
        let state = lock::mutex(&self.0);
        let join = |dir: &str, name: &str| if dir.is_empty() { name.to_owned() } else { format!("{dir}/{name}") };
        state
            .dirs
            .iter()
            .flat_map(|(dir, entries)| entries.names.keys().map(|name| join(dir, name)).collect::<Vec<_>>())
            .collect()
    }

    /// Changes the bytes of a file behind the store's back.
    pub(crate) fn damage(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = lock::mutex(&self.0);
        let inode = state.find(path).unwrap();
        let inode = &mut state.inodes[inode];
        change(&mut inode.bytes);
        inode.synced = inode.synced.min(inode.bytes.len());
    }

    pub(crate) fn flip_bit(&self, path: &str, bit: usize) {
        self.damage(path, |bytes| bytes[bit / 8] ^= 1 << (bit % 8));
    }

    pub(crate) fn bytes(&self, path: &str) -> Vec<u8> {
        let state = lock::mutex(&self.0);
        state.inodes[state.find(path).unwrap()].bytes.clone()
    }
}

impl State {
    fn used(&self) -> u64 {
        let live: BTreeSet<usize> = self.dirs.values().flat_map(|dir| dir.names.values().copied()).collect();
        live.iter().map(|&inode| self.inodes[inode].bytes.len() as u64).sum()
    }

    /// Before every call that changes something.
    fn change(&mut self) -> io::Result<()> {
        if self.has_crashed {
            return Err(error(io::ErrorKind::Other, "the machine is gone"));
        }
        if let Some(calls) = &mut self.calls_to_crash {
            if *calls == 0 {
                self.has_crashed = true;
                return Err(error(io::ErrorKind::Other, "the machine is gone"));
            }
            *calls -= 1;
        }
        let percent = self.faults.write_percent;
        if self.rng.chance(percent) { Err(error(io::ErrorKind::Other, "simulated write error")) } else { Ok(()) }
    }

    /// Before every call that reads.
    fn look(&mut self) -> io::Result<()> {
        if self.has_crashed {
            return Err(error(io::ErrorKind::Other, "the machine is gone"));
        }
        let percent = self.faults.read_percent;
        if self.rng.chance(percent) { Err(error(io::ErrorKind::Other, "simulated read error")) } else { Ok(()) }
    }

    fn dir(&mut self, path: &str) -> io::Result<&mut Dir> {
        self.dirs.get_mut(path).ok_or_else(|| error(io::ErrorKind::NotFound, "no such directory"))
    }

    fn find(&self, path: &str) -> io::Result<usize> {
        let dir = self.dirs.get(parent(path));
        let inode = dir.and_then(|dir| dir.names.get(file_name(path))).copied();
        inode.ok_or_else(|| error(io::ErrorKind::NotFound, "no such file"))
    }

    fn set_name(&mut self, path: &str, inode: Option<usize>) -> io::Result<()> {
        let name = file_name(path).to_owned();
        let dir = self.dir(parent(path))?;
        let before = dir.names.get(&name).copied();
        dir.history.entry(name.clone()).or_insert_with(|| vec![before]).push(inode);
        match inode {
            Some(inode) => drop(dir.names.insert(name, inode)),
            None => drop(dir.names.remove(&name)),
        }
        Ok(())
    }

    fn lose_names(&mut self) {
        self.dirs.retain(|_, dir| dir.is_durable);
        for dir in self.dirs.values_mut() {
            for (name, values) in std::mem::take(&mut dir.history) {
                match values[self.rng.below(values.len() as u64) as usize] {
                    Some(inode) => drop(dir.durable.insert(name, inode)),
                    None => drop(dir.durable.remove(&name)),
                }
            }
            dir.names = dir.durable.clone();
        }
    }

    fn lose_bytes(&mut self) {
        for inode in &mut self.inodes {
            let unsynced = inode.bytes.len() - inode.synced;
            let kept = inode.synced + self.rng.below(unsynced as u64 + 1) as usize;
            inode.bytes.truncate(kept);
            let mut at = inode.synced;
            while at < kept {
                let end = ((at / SECTOR + 1) * SECTOR).min(kept);
                if self.rng.chance(30) {
                    inode.bytes[at..end].fill(0);
                }
                at = end;
            }
            inode.synced = kept;
            inode.is_poisoned = false;
        }
    }

    fn sync(&mut self, inode: usize) -> io::Result<()> {
        let outcome = self.change();
        let inode = &mut self.inodes[inode];
        match &outcome {
            Ok(()) if !inode.is_poisoned => inode.synced = inode.bytes.len(),
            Ok(()) => {}
            Err(_) => inode.is_poisoned = true,
        }
        outcome
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit_once('/').map_or(path, |(_, name)| name)
}

impl Disk for SimDisk {
    fn create(&self, path: &str) -> io::Result<Box<dyn DiskFile>> {
        let mut state = lock::mutex(&self.0);
        state.change()?;
        let inode = state.inodes.len();
        state.inodes.push(Inode::default());
        state.set_name(path, Some(inode))?;
        Ok(Box::new(SimFile { disk: self.clone(), inode, life: state.life }))
    }

    fn open(&self, path: &str) -> io::Result<Arc<dyn ReadAt>> {
        let mut state = lock::mutex(&self.0);
        state.look()?;
        let inode = state.find(path)?;
        Ok(Arc::new(SimFile { disk: self.clone(), inode, life: state.life }))
    }

    fn overwrite(&self, path: &str, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = lock::mutex(&self.0);
        state.change()?;
        let index = state.find(path)?;
        let inode = &mut state.inodes[index];
        let (start, end) = (offset as usize, offset as usize + bytes.len());
        // The simulated page cache never forgets, so these are the bytes that are there. Sectors that were durable
        // stay so whatever happens: they get what they have.
        assert_eq!(&inode.bytes[start..end], bytes, "only what was read is written");
        let was_poisoned = std::mem::take(&mut inode.is_poisoned);
        let (synced, len) = (inode.synced, inode.bytes.len());
        let outcome = state.sync(index);
        if outcome.is_ok() && was_poisoned && end < len {
            // What follows the written range stays lost.
            let inode = &mut state.inodes[index];
            inode.synced = synced.max(end);
            inode.is_poisoned = true;
        }
        outcome
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        assert_eq!(parent(from), parent(to), "renames stay in their directory");
        let mut state = lock::mutex(&self.0);
        state.change()?;
        let inode = state.find(from)?;
        state.set_name(to, Some(inode))?;
        state.set_name(from, None)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut state = lock::mutex(&self.0);
        state.change()?;
        state.find(path)?;
        state.set_name(path, None)
    }

    fn create_dir(&self, path: &str) -> io::Result<()> {
        let mut state = lock::mutex(&self.0);
        state.change()?;
        state.dir(parent(path))?;
        state.dirs.entry(path.to_owned()).or_default();
        Ok(())
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let mut state = lock::mutex(&self.0);
        state.change()?;
        let dir = state.dir(path)?;
        dir.durable = dir.names.clone();
        dir.history.clear();
        for (child, dir) in &mut state.dirs {
            if child != path && parent(child) == path {
                dir.is_durable = true;
            }
        }
        Ok(())
    }

    fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let mut state = lock::mutex(&self.0);
        state.look()?;
        let children = state.dirs.keys().filter(|dir| !dir.is_empty() && parent(dir) == path);
        let mut names: Vec<String> = children.map(|dir| file_name(dir).to_owned()).collect();
        names.extend(state.dir(path)?.names.keys().cloned());
        names.sort();
        Ok(names)
    }

    fn free_bytes(&self) -> io::Result<u64> {
        let state = lock::mutex(&self.0);
        Ok(state.capacity.saturating_sub(state.used()))
    }
}

struct SimFile {
    disk: SimDisk,
    inode: usize,
    life: u64,
}

impl DiskFile for SimFile {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let state = &mut *lock::mutex(&self.disk.0);
        assert_eq!(state.life, self.life, "a file of the life before");
        let mut outcome = state.change();
        if outcome.is_ok() && state.used() + bytes.len() as u64 > state.capacity {
            outcome = Err(error(io::ErrorKind::StorageFull, "no space"));
        }
        let written = if outcome.is_ok() { bytes.len() } else { state.rng.below(bytes.len() as u64 + 1) as usize };
        state.inodes[self.inode].bytes.extend_from_slice(&bytes[..written]);
        outcome
    }

    fn sync(&mut self) -> io::Result<()> {
        lock::mutex(&self.disk.0).sync(self.inode)
    }
}

impl ReadAt for SimFile {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        let state = &mut *lock::mutex(&self.disk.0);
        state.look()?;
        state.inodes[self.inode].bytes.read_at(offset, buf)
    }

    fn len(&self) -> u64 {
        lock::mutex(&self.disk.0).inodes[self.inode].bytes.len() as u64
    }
}
