//! Executable mappings of a process.

use std::ffi::c_void;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::AsFd;
use std::sync::OnceLock;

use rustix::ioctl::{Ioctl, IoctlOutput, Opcode};

/// Bound on the executable mappings of one process; the largest seen (a browser, a build of thousands of plugins) have
/// some hundred. What is beyond is left out and told.
pub const MAX_MAPPINGS: usize = 4095;

/// Bound on the text of `/proc/PID/maps`: 65,530 mappings, the kernel's default, with a path of 190 bytes each.
const MAPS_BYTES: u64 = 16 << 20;

/// Bound on the length of a path; the kernel's own is 4096.
const NAME_BYTES: usize = 4096;

/// A file as the kernel tells it apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct FileId {
    /// Device, major and minor number.
    pub device: (u32, u32),
    /// Inode; 0 for memory without a file.
    pub inode: u64,
}

/// One executable mapping.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mapped {
    /// First address (avma).
    pub start: u64,
    /// Address after the last.
    pub end: u64,
    /// Offset of `start` in the file.
    pub offset: u64,
    /// The file.
    pub file: FileId,
    /// Path in the process's root, or a name such as `[vdso]`; empty for anonymous memory.
    pub name: String,
    /// GNU build id, where the kernel read it (6.11 and newer); empty otherwise.
    pub build_id: Vec<u8>,
}

/// The executable mappings of a process, by address.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mappings {
    /// The mappings.
    pub mappings: Vec<Mapped>,
    /// Whether there were more than [`MAX_MAPPINGS`].
    pub truncated: bool,
}

/// Whether this kernel answers `PROCMAP_QUERY` (6.11 and newer).
pub fn has_procmap_query() -> bool {
    static KNOWN: OnceLock<bool> = OnceLock::new();
    *KNOWN.get_or_init(|| File::open("/proc/self/maps").is_ok_and(|file| query(&file, 0, &mut [0; NAME_BYTES]).is_ok()))
}

/// Reads the executable mappings of a process. Errors: those of opening `/proc/PID/maps`.
pub fn executable_mappings(pid: u32) -> std::io::Result<Mappings> {
    let file = File::open(format!("/proc/{pid}/maps"))?;
    Ok(if has_procmap_query() { by_query(&file) } else { from_text(BufReader::new(file.take(MAPS_BYTES))) })
}

fn by_query(file: &File) -> Mappings {
    let mut name = [0; NAME_BYTES];
    let mut found = Mappings::default();
    let mut at = 0;
    // Any error is the end: no mapping above, or no process any more.
    while let Ok(mapped) = query(file, at, &mut name) {
        if found.mappings.len() == MAX_MAPPINGS {
            found.truncated = true;
            break;
        }
        at = mapped.end;
        found.mappings.push(mapped);
    }
    found
}

/// The kernel's `struct procmap_query`.
#[repr(C)]
#[derive(Default)]
struct ProcmapQuery {
    size: u64,
    query_flags: u64,
    query_addr: u64,
    vma_start: u64,
    vma_end: u64,
    vma_flags: u64,
    vma_page_size: u64,
    vma_offset: u64,
    inode: u64,
    dev_major: u32,
    dev_minor: u32,
    vma_name_size: u32,
    build_id_size: u32,
    vma_name_addr: u64,
    build_id_addr: u64,
}

const _: () = assert!(size_of::<ProcmapQuery>() == 104);

const EXECUTABLE: u64 = 0x04;
const COVERING_OR_NEXT: u64 = 0x10;

/// Asks for the first executable mapping that ends above `address`.
fn query(file: &File, address: u64, name: &mut [u8; NAME_BYTES]) -> std::io::Result<Mapped> {
    let mut build_id = [0; 20];
    let mut query = ProcmapQuery {
        size: size_of::<ProcmapQuery>() as u64,
        query_flags: EXECUTABLE | COVERING_OR_NEXT,
        query_addr: address,
        vma_name_size: NAME_BYTES as u32,
        build_id_size: build_id.len() as u32,
        vma_name_addr: name.as_mut_ptr() as u64,
        build_id_addr: build_id.as_mut_ptr() as u64,
        ..ProcmapQuery::default()
    };
    ask(file, &mut query)?;
    let name = &name[..(query.vma_name_size as usize).min(NAME_BYTES)];
    let name = name.strip_suffix(b"\0").unwrap_or(name);
    Ok(Mapped {
        start: query.vma_start,
        end: query.vma_end,
        offset: query.vma_offset,
        file: FileId { device: (query.dev_major, query.dev_minor), inode: query.inode },
        name: String::from_utf8_lossy(name).into_owned(),
        build_id: build_id[..(query.build_id_size as usize).min(build_id.len())].to_vec(),
    })
}

#[allow(unsafe_code)]
fn ask(file: &File, query: &mut ProcmapQuery) -> std::io::Result<()> {
    struct Procmap<'q>(&'q mut ProcmapQuery);

    // SAFETY: the opcode is that of PROCMAP_QUERY, `_IOWR('f', 17, struct procmap_query)`, and the pointer is to that
    // struct, which the kernel reads and writes; it says its own size.
    unsafe impl Ioctl for Procmap<'_> {
        type Output = ();
        const IS_MUTATING: bool = true;

        fn opcode(&self) -> Opcode {
            rustix::ioctl::opcode::read_write::<ProcmapQuery>(b'f', 17)
        }

        fn as_ptr(&mut self) -> *mut c_void {
            std::ptr::from_mut(self.0).cast()
        }

        unsafe fn output_from_ptr(_: IoctlOutput, _: *mut c_void) -> rustix::io::Result<()> {
            Ok(())
        }
    }

    // SAFETY: the two addresses in the query are of buffers with the sizes beside them, alive during the call.
    Ok(unsafe { rustix::ioctl::ioctl(file.as_fd(), Procmap(query)) }?)
}

/// Reads lines `start-end perms offset major:minor inode   name`; those that are something else are left out.
fn from_text(mut text: impl BufRead) -> Mappings {
    let mut found = Mappings::default();
    let mut line = Vec::new();
    while text.read_until(b'\n', &mut line).is_ok_and(|size| size > 0) {
        if let Some(mapped) = parse_line(&String::from_utf8_lossy(&line)) {
            if found.mappings.len() == MAX_MAPPINGS {
                found.truncated = true;
                break;
            }
            found.mappings.push(mapped);
        }
        line.clear();
    }
    found
}

fn parse_line(line: &str) -> Option<Mapped> {
    let mut fields = line.trim_end_matches('\n').splitn(6, ' ');
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (start, end) = fields.next()?.split_once('-')?;
    let permissions = fields.next()?;
    if permissions.as_bytes().get(2) != Some(&b'x') {
        return None;
    }
    let offset = hex(fields.next()?)?;
    let (major, minor) = fields.next()?.split_once(':')?;
    let device = (u32::from_str_radix(major, 16).ok()?, u32::from_str_radix(minor, 16).ok()?);
    let inode = fields.next()?.parse().ok()?;
    let name = fields.next().unwrap_or_default().trim_start().to_owned();
    Some(Mapped {
        start: hex(start)?,
        end: hex(end)?,
        offset,
        file: FileId { device, inode },
        name,
        build_id: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_maps_are_read() {
        let text = "55d0c8a00000-55d0c8a28000 r--p 00000000 fe:00 1835                       /usr/bin/a b\n\
            55d0c8a28000-55d0c8a30000 r-xp 00028000 fe:00 1835                       /usr/bin/a b\n\
            nonsense\n\
            7fff0000-7fff1000 rwxp 00000000 00:00 0 \n";
        let read = from_text(text.as_bytes()).mappings;
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].start, read[0].offset, read[0].name.as_str()), (0x55d0c8a28000, 0x28000, "/usr/bin/a b"));
        assert_eq!(read[0].file, FileId { device: (0xfe, 0), inode: 1835 });
        assert_eq!((read[1].file.inode, read[1].name.as_str()), (0, ""));
    }

    #[test]
    fn both_ways_see_the_same_mappings() {
        if !has_procmap_query() {
            println!("SKIPPED both_ways_see_the_same_mappings: a kernel with PROCMAP_QUERY (6.11)");
            return;
        }
        let by_query = executable_mappings(std::process::id()).unwrap();
        let file = File::open("/proc/self/maps").unwrap();
        let by_text = from_text(BufReader::new(file));
        let plain = |mappings: Mappings| -> Vec<Mapped> {
            mappings.mappings.into_iter().map(|mapped| Mapped { build_id: Vec::new(), ..mapped }).collect()
        };
        let (by_query, by_text) = (plain(by_query), plain(by_text));
        assert!(by_query.iter().any(|mapped| mapped.name == "[vdso]"));
        // The page of vsyscall is in the text only: it is no mapping of the process.
        let by_text: Vec<Mapped> = by_text.into_iter().filter(|mapped| mapped.name != "[vsyscall]").collect();
        assert_eq!(by_query, by_text);
    }
}
