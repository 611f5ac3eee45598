//! Unwind rows on their way into the kernel: made when a page of code is met for the first time.

use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;

use argand_debuginfo::Elf;
use argand_debuginfo::gopclntab::GoTable;
use argand_debuginfo::unwind::RawRule;
use argand_debuginfo::unwind::{
    Cfa, FrameIndex, FrameSections, PAGE_BITS, Page, ReturnAddress, Rule, RuleDictionary, SavedFp,
};
use hashbrown::HashMap;
use libbpf_rs::{MapCore, MapFlags, MapHandle, MapType};

use crate::files::Binary;
use crate::memory::{SharedArray, bytes_of};
use crate::shared::{PAGES, PageEntry, PageState, RULES, SLAB_ROWS, SLAB_WORDS, SLABS};
use crate::stats::Stats;

/// Bound on pages waiting to be loaded; more are asked for again.
pub(crate) const MAX_WANTED: usize = 4096;

/// Bound on the bytes read of a file for its rows: sections with frame descriptions, and code for the index.
const MAX_IMAGE_BYTES: u64 = 512 << 20;

/// Bound on the bytes of indexes that are kept; 12 bytes per function.
const MAX_INDEX_BYTES: usize = 16 << 20;

/// A file with at most that many described functions is loaded as a whole when it is met: some 50,000 rows, 200 KB.
/// The first stack through a page is cut short there, so this saves as many cut stacks as the file has pages.
const WHOLE_FILE_FRAMES: usize = 8192;

/// Bound on pages known to be empty, so that they leave room in the table of pages.
const MAX_EMPTY: usize = PAGES / 4;

/// The caller's frame is where the frame pointer says: code that keeps frame pointers and has no other information.
const BY_FRAME_POINTER: Rule = Rule::Frame {
    cfa: Cfa::Fp { offset: 16 },
    fp: SavedFp::AtCfa { words: -2 },
    ra: ReturnAddress::AtCfa { words: -1 },
};

/// A page of a file whose rows the kernel side misses.
pub(crate) struct Wanted {
    pub(crate) binary: Arc<Binary>,
    pub(crate) page: u32,
}

/// The maps that rows go to.
pub(crate) struct TableMaps {
    pub(crate) pages: MapHandle,
    pub(crate) slabs: MapHandle,
    pub(crate) rules: MapHandle,
}

/// Fills the maps. The slabs hold a fixed number of bytes; when they are full the oldest slab gives way.
pub(crate) struct Tables {
    maps: TableMaps,
    rules: SharedArray<RawRule>,
    dictionary: RuleDictionary,
    rules_written: usize,
    slabs: Vec<Slab>,
    current: Option<(usize, SharedArray<u32>)>,
    generation: u32,
    empty: VecDeque<u64>,
    indexes: Indexes,
    stats: Arc<Stats>,
}

#[derive(Default)]
struct Slab {
    used: usize,
    pages: Vec<u64>,
}

/// What is known of a file's frame descriptions.
struct FileIndex {
    index: FrameIndex,
    /// Set where code without description keeps frame pointers.
    undescribed: Option<FramePointerCode>,
}

/// Code that keeps frame pointers instead of being described.
struct FramePointerCode {
    /// Where Go's outermost functions lie, which have no description of that.
    outermost: Vec<Range<u64>>,
}

/// A program with fewer described functions per bytes of code was built without descriptions, and then with frame pointers
/// for its own crash reports (Chromium). Usual are 100 to 500 bytes per function.
const BYTES_PER_DESCRIBED_FUNCTION: u64 = 4096;
/// Below that, few descriptions are just a small program.
const MUCH_CODE_BYTES: u64 = 4 << 20;

/// Functions that are the outermost of a goroutine's or a thread's stack.
const GO_OUTERMOST: [&[u8]; 8] = [
    b"runtime.goexit",
    b"runtime.goexit.abi0",
    b"runtime.mstart",
    b"runtime.mstart.abi0",
    b"runtime.mcall",
    b"runtime.rt0_go",
    b"runtime.rt0_go.abi0",
    b"runtime.clone.abi0",
];

impl FramePointerCode {
    fn find(elf: &Elf<'_>, index: &FrameIndex) -> Option<Self> {
        if let Some(go) = GoTable::find(elf) {
            let outermost = go.functions().filter(|function| GO_OUTERMOST.contains(&function.name));
            return Some(Self { outermost: outermost.map(|function| function.svma..function.end).collect() });
        }
        let code: u64 =
            elf.segments().iter().filter(|segment| segment.executable).map(|segment| segment.file_size).sum();
        let is_described = (index.len() as u64).saturating_mul(BYTES_PER_DESCRIBED_FUNCTION) >= code;
        (code >= MUCH_CODE_BYTES && !is_described).then(|| Self { outermost: Vec::new() })
    }

    /// Corrects a page of rows: code that nothing describes keeps frame pointers, and stacks stop where they begin.
    fn correct(&self, page: &mut Page, dictionary: &mut RuleDictionary) {
        let by_frame_pointer = u32::from(dictionary.index(BY_FRAME_POINTER));
        for row in page.rows.iter_mut().filter(|row| **row as u16 == RuleDictionary::INVALID) {
            *row |= by_frame_pointer;
        }
        let stop = u32::from(dictionary.index(Rule::Stop));
        let start = page.number << PAGE_BITS;
        let end = start + (1 << PAGE_BITS);
        for outermost in &self.outermost {
            let (from, to) = (outermost.start.max(start), outermost.end.min(end));
            if from >= to {
                continue;
            }
            let after = (to < end).then(|| (((to - start) as u32) << 16) | u32::from(page.lookup(to)));
            let inside = |row: &u32| (from - start..to - start).contains(&u64::from(row >> 16));
            page.rows.retain(|row| !inside(row) && after.is_none_or(|after| row >> 16 != after >> 16));
            page.rows.push((((from - start) as u32) << 16) | stop);
            page.rows.extend(after);
            page.rows.sort_unstable();
        }
    }
}

impl Tables {
    /// Errors: those of mapping the rules.
    pub(crate) fn new(maps: TableMaps, stats: Arc<Stats>) -> io::Result<Self> {
        let rules = SharedArray::map(&maps.rules, RULES)?;
        Ok(Self {
            maps,
            rules,
            dictionary: RuleDictionary::default(),
            rules_written: 0,
            slabs: Vec::new(),
            current: None,
            generation: 0,
            empty: VecDeque::new(),
            indexes: Indexes::default(),
            stats,
        })
    }

    /// Serves requests until no more can come, or nobody needs them any more.
    pub(crate) fn serve(mut self, wanted: &Receiver<Wanted>, stop: &AtomicBool) {
        while let Ok(request) = wanted.recv() {
            if stop.load(Ordering::Relaxed) {
                return;
            }
            self.load(&request);
        }
    }

    fn load(&mut self, wanted: &Wanted) {
        let key = page_key(wanted.binary.number, wanted.page.into());
        if self.is_settled(key) {
            // Loaded with the whole file meanwhile.
            return;
        }
        if let Err(error) = self.load_pages(&wanted.binary, wanted.page.into()) {
            tracing::debug!(path = wanted.binary.path, %error, "no unwind rows can be read");
            self.store_empty(key);
        }
    }

    fn is_settled(&self, key: u64) -> bool {
        let entry = self.maps.pages.lookup(&key.to_ne_bytes(), MapFlags::ANY).ok().flatten();
        let state = entry.and_then(|bytes| crate::memory::read_plain::<PageEntry>(&bytes)).map(|page| page.state);
        state.is_some_and(|state| state != 0)
    }

    /// Loads the wanted page, and then all others of a small file.
    fn load_pages(&mut self, binary: &Binary, wanted: u64) -> io::Result<()> {
        let known = self.indexes.get(binary.number);
        let is_new = known.is_none();
        let image = binary.image(|image, file| {
            image.read_sections(file, MAX_IMAGE_BYTES, is_frame_section)?;
            if !is_new {
                return Ok(());
            }
            // Stubs are recognised by their code; Go's table of functions refers to its data.
            let is_go = Elf::parse(image.bytes()).is_ok_and(|elf| elf.section_named(".go.buildinfo").is_some());
            image.read_segments(file, MAX_IMAGE_BYTES, |segment| is_go || segment.executable)
        })?;
        let elf = Elf::parse(image.bytes()).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
        let sections = FrameSections::load(&elf);
        let known = known.unwrap_or_else(|| {
            let index = sections.index();
            let undescribed = FramePointerCode::find(&elf, &index);
            let file = Arc::new(FileIndex { index, undescribed });
            self.indexes.insert(binary.number, file.clone());
            file
        });
        let code = elf.segments().iter().filter(|segment| segment.executable);
        let all =
            code.flat_map(|s| s.svma >> PAGE_BITS..=(s.svma.saturating_add(s.memory_size.max(1) - 1) >> PAGE_BITS));
        let mut others: Vec<u64> = match known.index.len() {
            // The segment may claim any size; a page without rows costs only the loop.
            0..=WHOLE_FILE_FRAMES => all.take(WHOLE_FILE_FRAMES).collect(),
            _ => Vec::new(),
        };
        others.dedup();
        let others = others.into_iter().filter(|number| *number != wanted);
        for number in std::iter::once(wanted).chain(others) {
            let key = page_key(binary.number, number);
            if number != wanted && self.is_settled(key) {
                continue;
            }
            let mut page = sections.page(&known.index, number, &mut self.dictionary);
            if let Some(code) = &known.undescribed
                && (page.is_some() || number == wanted)
            {
                let invalid = || Page { number, rows: vec![RuleDictionary::INVALID.into()] };
                code.correct(page.get_or_insert_with(invalid), &mut self.dictionary);
            }
            self.write_rules();
            match page {
                Some(page) => self.store(key, &page.rows),
                None if number == wanted => self.store_empty(key),
                None => {}
            }
        }
        Ok(())
    }

    fn write_rules(&mut self) {
        for rule in self.dictionary.encoded_from(self.rules_written) {
            self.rules.write(self.rules_written, rule);
            self.rules_written += 1;
        }
    }

    fn store(&mut self, key: u64, rows: &[u32]) {
        let entry = match self.place(key, rows) {
            Ok(entry) => entry,
            Err(error) => {
                tracing::warn!(%error, "unwind rows find no room in the kernel");
                return self.forget(key);
            }
        };
        if self.maps.pages.update(&key.to_ne_bytes(), bytes_of(&entry), MapFlags::ANY).is_ok() {
            self.stats.pages_loaded.add(1);
        }
    }

    fn store_empty(&mut self, key: u64) {
        self.stats.pages_empty.add(1);
        let entry = PageEntry { state: PageState::Empty as u16, ..PageEntry::default() };
        if self.maps.pages.update(&key.to_ne_bytes(), bytes_of(&entry), MapFlags::ANY).is_ok() {
            self.empty.push_back(key);
        }
        if self.empty.len() > MAX_EMPTY
            && let Some(oldest) = self.empty.pop_front()
        {
            self.forget(oldest);
        }
    }

    fn forget(&self, key: u64) {
        // Fails only when it is not there.
        let _ = self.maps.pages.delete(&key.to_ne_bytes());
    }

    /// Writes rows to a slab with room.
    fn place(&mut self, key: u64, rows: &[u32]) -> io::Result<PageEntry> {
        if rows.len() > SLAB_ROWS {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a page of code has more rows than a slab"));
        }
        let fits = self.current.as_ref().is_some_and(|(slab, _)| self.slabs[*slab].used + rows.len() <= SLAB_ROWS);
        if !fits {
            self.begin_slab()?;
        }
        let (number, memory) = self.current.as_mut().expect("a slab was begun");
        let slab = &mut self.slabs[*number];
        let first = slab.used;
        for (at, row) in rows.iter().enumerate() {
            memory.write(1 + first + at, *row);
        }
        slab.used += rows.len();
        slab.pages.push(key);
        Ok(PageEntry {
            generation: self.generation,
            slab: *number as u16,
            first: first as u16,
            count: rows.len() as u16,
            state: PageState::Loaded as u16,
        })
    }

    /// Makes a slab current: a new one, or in place of the oldest.
    fn begin_slab(&mut self) -> io::Result<()> {
        let number = match self.current.as_ref() {
            None => 0,
            Some((current, _)) => (current + 1) % SLABS,
        };
        self.generation += 1;
        let options = libbpf_rs::libbpf_sys::bpf_map_create_opts {
            sz: size_of::<libbpf_rs::libbpf_sys::bpf_map_create_opts>() as _,
            map_flags: libbpf_rs::libbpf_sys::BPF_F_MMAPABLE,
            ..Default::default()
        };
        let bytes = (SLAB_WORDS * 4) as u32;
        let map = MapHandle::create(MapType::Array, Some("slab"), 4, bytes, 1, &options).map_err(io::Error::other)?;
        let mut memory = SharedArray::map(&map, SLAB_WORDS)?;
        memory.write(0, self.generation);
        if number == self.slabs.len() {
            self.slabs.push(Slab::default());
        }
        let old = std::mem::take(&mut self.slabs[number]);
        self.stats.pages_evicted.add(old.pages.len() as u64);
        for key in old.pages {
            self.forget(key);
        }
        use std::os::fd::{AsFd, AsRawFd};
        let fd = map.as_fd().as_raw_fd();
        let key = (number as u32).to_ne_bytes();
        self.maps.slabs.update(&key, &fd.to_ne_bytes(), MapFlags::ANY).map_err(io::Error::other)?;
        self.stats.slab_bytes.set((self.slabs.len() * SLAB_WORDS * 4) as u64);
        self.current = Some((number, memory));
        Ok(())
    }
}

/// How the kernel side names a page.
pub(crate) fn page_key(file: u32, page: u64) -> u64 {
    u64::from(file) << 32 | page & 0xffff_ffff
}

/// Sections that say how to unwind.
fn is_frame_section(name: &str) -> bool {
    matches!(name, ".eh_frame" | ".eh_frame_hdr" | ".debug_frame" | ".zdebug_frame") || name.starts_with(".plt")
}

/// Indexes of the files used last, up to a number of bytes.
#[derive(Default)]
struct Indexes {
    by_file: HashMap<u32, (Arc<FileIndex>, u64)>,
    bytes: usize,
    clock: u64,
}

impl Indexes {
    fn get(&mut self, file: u32) -> Option<Arc<FileIndex>> {
        self.clock += 1;
        let (index, used) = self.by_file.get_mut(&file)?;
        *used = self.clock;
        Some(index.clone())
    }

    fn insert(&mut self, file: u32, index: Arc<FileIndex>) {
        self.clock += 1;
        self.bytes += index.index.size_bytes();
        self.by_file.insert(file, (index, self.clock));
        while self.bytes > MAX_INDEX_BYTES && self.by_file.len() > 1 {
            let oldest = self.by_file.iter().min_by_key(|(_, (_, used))| *used).map(|(file, _)| *file);
            let Some((index, _)) = oldest.and_then(|file| self.by_file.remove(&file)) else { break };
            self.bytes -= index.index.size_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_stacks_stop_where_they_begin_and_follow_frame_pointers_elsewhere() {
        let mut dictionary = RuleDictionary::default();
        let call = dictionary.index(Rule::Frame {
            cfa: Cfa::Sp { offset: 8 },
            fp: SavedFp::Same,
            ra: ReturnAddress::AtCfa { words: -1 },
        });
        let go = FramePointerCode { outermost: vec![0x1_0100..0x1_0140, 0x1_fff0..0x2_0020, 0x5_0000..0x5_0001] };
        let mut page = Page { number: 1, rows: vec![0, 0x90 << 16 | u32::from(call), 0x120 << 16, 0x8000 << 16] };
        go.correct(&mut page, &mut dictionary);
        assert!(page.rows.is_sorted());
        let rule = |svma: u64| dictionary.rule(page.lookup(svma)).unwrap();
        assert_eq!(rule(0x1_0000), BY_FRAME_POINTER);
        assert_eq!(rule(0x1_00ff), dictionary.rule(call).unwrap());
        for svma in [0x1_0100, 0x1_0120, 0x1_013f, 0x1_fff0, 0x1_ffff] {
            assert_eq!(rule(svma), Rule::Stop, "{svma:#x}");
        }
        for svma in [0x1_0140, 0x1_8000, 0x1_ffef] {
            assert_eq!(rule(svma), BY_FRAME_POINTER, "{svma:#x}");
        }
    }

    #[test]
    fn the_index_used_longest_ago_gives_way() {
        let mut indexes = Indexes::default();
        let index = || Arc::new(FileIndex { index: FrameIndex::default(), undescribed: None });
        indexes.insert(1, index());
        indexes.insert(2, index());
        assert!(indexes.get(1).is_some());
        indexes.bytes = MAX_INDEX_BYTES + 1;
        indexes.insert(3, index());
        assert!(indexes.get(2).is_none() && indexes.get(3).is_some());
    }
}
