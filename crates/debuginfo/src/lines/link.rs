//! Which other files may hold a file's debug information. Names only: the caller opens them, inside the root of the process
//! that the file belongs to.

use std::fmt::Write;

use crate::Elf;

/// Where distributions put debug files.
const DEBUG_ROOT: &str = "/usr/lib/debug";

/// What `.gnu_debuglink` says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DebugLink<'d> {
    /// Name of the debug file, without directory.
    pub name: &'d str,
    /// CRC-32 of the whole debug file.
    pub crc: u32,
}

impl DebugLink<'_> {
    /// Whether a file is the one that was meant.
    pub fn matches(&self, file: &[u8]) -> bool {
        let mut crc = flate2::Crc::new();
        crc.update(file);
        crc.sum() == self.crc
    }
}

/// What `.gnu_debugaltlink` says: the supplementary file with what several debug files share (dwz).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlternateLink<'d> {
    /// Its path, absolute or relative to the debug file's directory. It comes from the file and may be anything.
    pub path: &'d str,
    /// Its build id.
    pub build_id: &'d [u8],
}

/// The link to the file's own debug file. `None` without one, or if its name is not a plain file name.
pub fn debug_link<'d>(elf: &Elf<'d>) -> Option<DebugLink<'d>> {
    let data = elf.section_named(".gnu_debuglink").filter(|section| !section.compressed)?.data;
    let length = memchr::memchr(0, data)?;
    let name = std::str::from_utf8(&data[..length]).ok()?;
    let crc = data.get((length + 1).next_multiple_of(4)..)?.first_chunk()?;
    let is_plain = !name.is_empty() && name.len() <= 255 && !name.contains('/') && name != "." && name != "..";
    is_plain.then_some(DebugLink { name, crc: u32::from_le_bytes(*crc) })
}

/// The link to the supplementary file.
pub fn alternate_link<'d>(elf: &Elf<'d>) -> Option<AlternateLink<'d>> {
    let data = elf.section_named(".gnu_debugaltlink").filter(|section| !section.compressed)?.data;
    let length = memchr::memchr(0, data)?;
    let path = std::str::from_utf8(&data[..length]).ok()?;
    let build_id = &data[length + 1..];
    (!path.is_empty() && path.len() <= 4096 && !build_id.is_empty() && build_id.len() <= crate::elf::MAX_BUILD_ID)
        .then_some(AlternateLink { path, build_id })
}

/// `/usr/lib/debug/.build-id/ab/cdef….debug`.
pub fn build_id_path(build_id: &[u8]) -> Option<String> {
    let (first, rest) = build_id.split_first()?;
    let mut path = format!("{DEBUG_ROOT}/.build-id/{first:02x}/");
    for byte in rest {
        write!(path, "{byte:02x}").expect("a text can be written to");
    }
    path.push_str(".debug");
    Some(path)
}

/// Paths at which the debug file of the file at `path` may lie, likeliest first. Those by link need [`DebugLink::matches`].
pub fn debug_file_paths(elf: &Elf<'_>, path: &str) -> Vec<String> {
    let mut paths: Vec<String> = elf.gnu_build_id().and_then(build_id_path).into_iter().collect();
    if let Some(link) = debug_link(elf) {
        let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
        let name = link.name;
        let beside = format!("{directory}/{name}");
        if beside != path {
            paths.push(beside);
        }
        paths.push(format!("{directory}/.debug/{name}"));
        paths.push(format!("{DEBUG_ROOT}{directory}/{name}"));
    }
    paths
}
