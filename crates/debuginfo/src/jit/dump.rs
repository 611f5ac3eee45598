//! `jit-PID.dump`: names, lines and unwinding data of generated code.
//!
//! ```text
//! header 40 bytes  magic "JiTD" u32, version 1 u32, header's size u32, machine u32, 0 u32, pid u32, time u64, flags u64
//! record           kind u32, size with these 16 bytes u32, time u64, then
//!   0 load         pid u32, tid u32, vma u64, address u64, size u64, index u64, name with zero, code
//!   1 move         pid u32, tid u32, vma u64, old address u64, new address u64, size u64, index u64
//!   2 lines        address u64, count u64, each: address u64, line u32, discriminator u32, file with zero
//!   3 close
//!   4 unwinding    size u64, size of eh_frame_hdr at its end u64, mapped size u64, eh_frame and eh_frame_hdr
//! ```
//!
//! Lines and unwinding data come before the load that they belong to. Source: the kernel's
//! `tools/perf/Documentation/jitdump-specification.txt`.

use hashbrown::HashMap;

use super::{CodeMap, JitReport, JitSymbol, MAX_NAME};

/// Bound on the bytes of one record; code of one function is far smaller.
const MAX_RECORD: usize = 64 << 20;

/// Bound on the lines of all code.
const MAX_LINES: usize = 1 << 20;

/// Bound on file names.
const MAX_FILES: usize = 1 << 16;

/// Bound on the bytes of unwinding data of all code.
const MAX_UNWINDING: usize = 16 << 20;

/// A place in a source file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CodeLine<'m> {
    /// Path as the runtime wrote it.
    pub file: &'m str,
    /// Line in it.
    pub line: u32,
}

/// The code of a process by its jitdump.
#[derive(Debug, Default)]
pub struct JitDump {
    codes: CodeMap,
    has_header: bool,
    /// Bytes of a record too large to be read that are still to come.
    skip: usize,
    /// By start of the code: sorted (offset, line, file).
    lines: HashMap<u64, Vec<(u64, u32, u32)>>,
    line_count: usize,
    files: Vec<String>,
    file_numbers: HashMap<String, u32>,
    /// By start of the code: `.eh_frame`.
    unwinding: HashMap<u64, Vec<u8>>,
    unwinding_bytes: usize,
    /// For the load that follows: unwinding data, and the address that lines were given for.
    pending_unwinding: Option<Vec<u8>>,
    announced_lines: Option<u64>,
}

impl JitDump {
    /// Reads what was appended, up to the end of its last record. Returns how many bytes that were; the rest comes again with
    /// what follows. `None` if it is no jitdump that can be read.
    pub fn extend(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut used = 0;
        if !self.has_header {
            const SMALLEST: usize = 40;
            if bytes.len() < SMALLEST {
                return Some(0);
            }
            let (magic, version, size) = (u32_at(bytes, 0)?, u32_at(bytes, 4)?, u32_at(bytes, 8)? as usize);
            if magic != 0x4a69_5444 || version != 1 || !(SMALLEST..=4096).contains(&size) {
                return None;
            }
            if bytes.len() < size {
                return Some(0);
            }
            self.has_header = true;
            used = size;
        }
        loop {
            let skipped = self.skip.min(bytes.len() - used);
            self.skip -= skipped;
            used += skipped;
            let rest = &bytes[used..];
            let (Some(kind), Some(size)) = (u32_at(rest, 0), u32_at(rest, 4)) else { return Some(used) };
            let size = size as usize;
            if size < 16 {
                // Nothing says where the next record begins.
                self.codes.report.damaged += 1;
                self.skip = usize::MAX;
                continue;
            }
            if size > MAX_RECORD {
                self.codes.report.over_limit += 1;
                self.skip = size;
                continue;
            }
            let Some(record) = rest.get(16..size) else { return Some(used) };
            used += size;
            let is_read = match kind {
                0 => self.load(record),
                1 => self.relocate(record),
                2 => self.debug_info(record),
                4 => self.unwinding_info(record),
                _ => Some(()),
            };
            self.codes.report.damaged += u64::from(is_read.is_none());
        }
    }

    fn load(&mut self, record: &[u8]) -> Option<()> {
        let (address, size) = (u64_at(record, 16)?, u64_at(record, 24)?);
        let name = text(record.get(40..)?)?;
        // What belonged to code that was here before.
        let is_announced = self.announced_lines.take() == Some(address);
        self.forget(address, is_announced);
        self.codes.add(address, size, name);
        if let Some(unwinding) = self.pending_unwinding.take() {
            self.unwinding_bytes += unwinding.len();
            self.unwinding.insert(address, unwinding);
        }
        Some(())
    }

    fn relocate(&mut self, record: &[u8]) -> Option<()> {
        let (from, to, size) = (u64_at(record, 16)?, u64_at(record, 24)?, u64_at(record, 32)?);
        self.forget(to, false);
        let lines = self.lines.remove(&from);
        let unwinding = self.unwinding.remove(&from);
        if !self.codes.relocate(from, to, size) {
            return None;
        }
        self.lines.extend(lines.map(|lines| (to, lines)));
        self.unwinding.extend(unwinding.map(|unwinding| (to, unwinding)));
        Some(())
    }

    /// Forgets what belongs to the code that begins at an address. Lines that were announced for new code stay.
    fn forget(&mut self, address: u64, is_announced: bool) {
        if !is_announced && let Some(lines) = self.lines.remove(&address) {
            self.line_count -= lines.len();
        }
        if let Some(unwinding) = self.unwinding.remove(&address) {
            self.unwinding_bytes -= unwinding.len();
        }
    }

    fn debug_info(&mut self, record: &[u8]) -> Option<()> {
        let (address, count) = (u64_at(record, 0)?, u64_at(record, 8)?);
        self.forget(address, false);
        if self.line_count >= MAX_LINES {
            self.forget_lines_of_replaced_code();
        }
        self.announced_lines = Some(address);
        let mut rest = record.get(16..)?;
        let mut lines = Vec::new();
        let mut file = None;
        let mut is_whole = true;
        for _ in 0..count {
            let Some((at, line, name)) = line_entry(&mut rest) else {
                is_whole = false;
                break;
            };
            // 0xff stands for the file before.
            if name != b"\xff" {
                file = self.file(name);
            }
            let (Some(file), true) = (file, self.line_count + lines.len() < MAX_LINES) else {
                self.codes.report.over_limit += 1;
                break;
            };
            lines.push((at.wrapping_sub(address), line, file));
        }
        lines.sort_by_key(|(offset, ..)| *offset);
        self.line_count += lines.len();
        if !lines.is_empty() {
            self.lines.insert(address, lines);
        }
        is_whole.then_some(())
    }

    /// If half is in use even so, all are forgotten, so that this is not done for each record.
    fn forget_lines_of_replaced_code(&mut self) {
        let codes = &self.codes.pieces;
        self.lines.retain(|address, _| codes.get(address).is_some_and(|piece| piece.start == *address));
        self.line_count = self.lines.values().map(Vec::len).sum();
        if self.line_count > MAX_LINES / 2 {
            self.codes.report.over_limit += self.line_count as u64;
            self.lines.clear();
            self.line_count = 0;
        }
    }

    fn file(&mut self, name: &[u8]) -> Option<u32> {
        let name = String::from_utf8_lossy(&name[..name.len().min(MAX_NAME)]);
        if let Some(number) = self.file_numbers.get(&*name) {
            return Some(*number);
        }
        if self.files.len() == MAX_FILES {
            return None;
        }
        let number = self.files.len() as u32;
        self.files.push(name.to_string());
        self.file_numbers.insert(name.into_owned(), number);
        Some(number)
    }

    fn unwinding_info(&mut self, record: &[u8]) -> Option<()> {
        let (size, header_size) = (u64_at(record, 0)?, u64_at(record, 8)?);
        let frames = usize::try_from(size.checked_sub(header_size)?).ok()?;
        let data = record.get(24..)?.get(..frames)?;
        if self.unwinding_bytes + data.len() > MAX_UNWINDING {
            self.codes.report.over_limit += 1;
            return Some(());
        }
        self.pending_unwinding = Some(data.to_vec());
        Some(())
    }

    /// The newest code at an address (avma).
    pub fn lookup(&self, address: u64) -> Option<JitSymbol<'_>> {
        self.codes.lookup(address)
    }

    /// The place in the source of an address.
    pub fn line(&self, address: u64) -> Option<CodeLine<'_>> {
        let start = self.codes.lookup(address)?.address;
        let lines = self.lines.get(&start)?;
        let after = lines.partition_point(|(offset, ..)| *offset <= address - start);
        let (_, line, file) = *lines.get(after.checked_sub(1)?)?;
        Some(CodeLine { file: &self.files[file as usize], line })
    }

    /// `.eh_frame` of the code at an address, with pc-relative pointers as if it lay behind the code, aligned to 8 bytes.
    pub fn eh_frame(&self, address: u64) -> Option<&[u8]> {
        self.unwinding.get(&self.codes.lookup(address)?.address).map(Vec::as_slice)
    }

    /// Heap bytes held, about.
    pub fn size_bytes(&self) -> usize {
        let files: usize = self.files.iter().map(|file| 2 * file.len() + 64).sum();
        self.codes.size_bytes() + self.line_count * 16 + self.unwinding_bytes + files
    }

    /// What was met.
    pub fn report(&self) -> JitReport {
        self.codes.report
    }
}

fn line_entry<'r>(rest: &mut &'r [u8]) -> Option<(u64, u32, &'r [u8])> {
    let (address, line) = (u64_at(rest, 0)?, u32_at(rest, 8)?);
    let name = text(rest.get(16..)?)?;
    *rest = &rest[16 + name.len() + 1..];
    Some((address, line, name))
}

/// Up to the terminating zero.
fn text(bytes: &[u8]) -> Option<&[u8]> {
    Some(&bytes[..memchr::memchr(0, bytes)?])
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Vec<u8> {
        let mut bytes = 0x4a69_5444u32.to_le_bytes().to_vec();
        for word in [1u32, 40, 62, 0, 123] {
            bytes.extend(word.to_le_bytes());
        }
        bytes.extend([0; 16]);
        bytes
    }

    fn record(kind: u32, parts: &[&[u8]]) -> Vec<u8> {
        let body = parts.concat();
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend((body.len() as u32 + 16).to_le_bytes());
        bytes.extend([7; 8]);
        bytes.extend(body);
        bytes
    }

    fn words(words: &[u64]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    fn load(address: u64, size: u64, name: &str) -> Vec<u8> {
        record(0, &[&words(&[0, address, address, size, 1]), name.as_bytes(), b"\0", &vec![0x90; size as usize]])
    }

    fn lines(address: u64, entries: &[(u64, u32, &[u8])]) -> Vec<u8> {
        let mut body = words(&[address, entries.len() as u64]);
        for (at, line, file) in entries {
            body.extend(at.to_le_bytes());
            body.extend(line.to_le_bytes());
            body.extend([0; 4]);
            body.extend(*file);
            body.push(0);
        }
        record(2, &[&body])
    }

    fn example() -> Vec<u8> {
        [
            header(),
            lines(0x1000, &[(0x1000, 10, b"app.py"), (0x1008, 12, b"\xff"), (0x1010, 3, b"lib.py")]),
            record(4, &[&words(&[12, 4, 0]), b"EHFRAME!hdr.", &[0; 4]]),
            load(0x1000, 0x20, "py::main"),
            load(0x2000, 0x10, "py::other"),
            record(1, &[&words(&[0, 0x5000, 0x1000, 0x5000, 0x20, 1])]),
            record(3, &[]),
        ]
        .concat()
    }

    #[test]
    fn names_lines_and_unwinding_data_follow_the_code() {
        let mut dump = JitDump::default();
        let bytes = example();
        let moved = bytes.len() - 16 - 64;
        assert_eq!(dump.extend(&bytes[..moved]), Some(moved));
        assert_eq!(dump.lookup(0x101f), Some(JitSymbol { name: "py::main", address: 0x1000 }));
        let line = |dump: &JitDump, at| dump.line(at).map(|line| (line.file.to_owned(), line.line));
        assert_eq!(line(&dump, 0x1007), Some(("app.py".into(), 10)));
        assert_eq!(line(&dump, 0x1008), Some(("app.py".into(), 12)));
        assert_eq!(line(&dump, 0x101f), Some(("lib.py".into(), 3)));
        assert_eq!((line(&dump, 0x2000), dump.eh_frame(0x2000)), (None, None));
        assert_eq!(dump.eh_frame(0x1004), Some(&b"EHFRAME!"[..]));

        assert_eq!(dump.extend(&bytes[moved..]), Some(bytes.len() - moved));
        assert_eq!(dump.lookup(0x1000), None);
        assert_eq!(dump.lookup(0x5001), Some(JitSymbol { name: "py::main", address: 0x5000 }));
        assert_eq!(line(&dump, 0x5008), Some(("app.py".into(), 12)));
        assert_eq!(dump.eh_frame(0x5000), Some(&b"EHFRAME!"[..]));
        assert_eq!(dump.report(), JitReport { codes: 2, damaged: 0, over_limit: 0 });
    }

    #[test]
    fn new_code_at_an_address_has_lines_of_its_own_only() {
        let mut dump = JitDump::default();
        let old =
            [header(), lines(0x1000, &[(0x1000, 1, b"old.py")]), load(0x1000, 16, "old"), load(0x1000, 16, "new")];
        dump.extend(&old.concat()).unwrap();
        assert_eq!((dump.lookup(0x1000).unwrap().name, dump.line(0x1000)), ("new", None));
        let new = [lines(0x1000, &[(0x1000, 2, b"new.py")]), load(0x1000, 16, "newer")];
        dump.extend(&new.concat()).unwrap();
        assert_eq!(dump.line(0x1008), Some(CodeLine { file: "new.py", line: 2 }));
    }

    #[test]
    fn lines_of_replaced_code_make_room() {
        let mut dump = JitDump::default();
        dump.extend(&header()).unwrap();
        let entries = vec![(0x1_0000, 1, &b"f"[..]); 1000];
        for _ in 0..3 * MAX_LINES / 1000 {
            dump.extend(&[lines(0x1000, &entries), load(0x1000, 16, "f")].concat()).unwrap();
        }
        // Of code that goes, as the next begins a byte later.
        for address in 0..3 * MAX_LINES as u64 / 1000 {
            dump.extend(&[lines(0x2000 + address, &entries), load(0x2000 + address, 16, "f")].concat()).unwrap();
        }
        assert!(dump.line_count <= MAX_LINES);
        let last = 0x2000 + 3 * MAX_LINES as u64 / 1000 - 1;
        assert!(dump.lines.contains_key(&last));
    }

    #[test]
    fn any_split_of_the_file_gives_the_same() {
        let bytes = example();
        for split in 0..bytes.len() {
            let mut dump = JitDump::default();
            let used = dump.extend(&bytes[..split]).unwrap();
            assert!(used <= split);
            dump.extend(&bytes[used..]).unwrap();
            assert_eq!(dump.line(0x5008), Some(CodeLine { file: "app.py", line: 12 }));
            assert_eq!(dump.report(), JitReport { codes: 2, damaged: 0, over_limit: 0 });
        }
    }

    #[test]
    fn damaged_dumps_do_not_panic() {
        let bytes = example();
        for at in 0..bytes.len() {
            for value in [0, 1, 0x7f, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[at] = value;
                let mut dump = JitDump::default();
                if let Some(used) = dump.extend(&damaged) {
                    assert!(used <= damaged.len());
                    for address in [0x1000, 0x101f, 0x2000, 0x5000] {
                        dump.lookup(address);
                        dump.line(address);
                        dump.eh_frame(address);
                    }
                }
            }
        }
        assert_eq!(JitDump::default().extend(&[0; 64]), None);
    }
}
