//! `/tmp/perf-PID.map`: lines `start size name`, both numbers hexadecimal.

use super::{CodeMap, JitReport, JitSymbol};

/// A longer line is no line; what it hides is left out.
const MAX_LINE: usize = 64 << 10;

/// The code of a process by its perf map.
#[derive(Debug, Default)]
pub struct PerfMap {
    codes: CodeMap,
    /// A line that is too long is being passed over.
    is_skipping: bool,
}

impl PerfMap {
    /// Reads what was appended, up to the end of its last line. Returns how many bytes that were; the rest comes again with what
    /// follows.
    pub fn extend(&mut self, text: &[u8]) -> usize {
        let mut used = 0;
        for at in memchr::memchr_iter(b'\n', text) {
            let line = &text[used..at];
            used = at + 1;
            if std::mem::take(&mut self.is_skipping) {
                continue;
            }
            match entry(line) {
                Some((start, size, name)) if line.len() <= MAX_LINE => self.codes.add(start, size, name),
                _ if line.trim_ascii().is_empty() => {}
                _ => self.codes.report.damaged += 1,
            }
        }
        if text.len() - used > MAX_LINE {
            // Without this a line without end would be read again and again.
            self.codes.report.damaged += u64::from(!self.is_skipping);
            self.is_skipping = true;
            used = text.len();
        }
        used
    }

    /// The newest code at an address (avma).
    pub fn lookup(&self, address: u64) -> Option<JitSymbol<'_>> {
        self.codes.lookup(address)
    }

    /// Heap bytes held, about.
    pub fn size_bytes(&self) -> usize {
        self.codes.size_bytes()
    }

    /// What was met.
    pub fn report(&self) -> JitReport {
        self.codes.report
    }
}

fn entry(line: &[u8]) -> Option<(u64, u64, &[u8])> {
    let mut fields = line.trim_ascii_start().splitn(3, |byte| *byte == b' ');
    let mut number = || {
        let text = std::str::from_utf8(fields.next()?).ok()?;
        u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok()
    };
    let (start, size) = (number()?, number()?);
    let name = fields.next()?.trim_ascii();
    (!name.is_empty()).then_some((start, size, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_as_they_come() {
        let mut map = PerfMap::default();
        let text = b"7f0000001000 40 LazyCompile:*add /app/server.js:3\n0x7f0000002000 0x10 py::main:/app/main.py\n\nbad\n7f00000020";
        assert_eq!(map.extend(text), text.len() - 10);
        let name = |map: &PerfMap, at| map.lookup(at).map(|symbol| (symbol.name.to_owned(), symbol.address));
        assert_eq!(name(&map, 0x7f00_0000_103f), Some(("LazyCompile:*add /app/server.js:3".into(), 0x7f00_0000_1000)));
        assert_eq!(name(&map, 0x7f00_0000_1040), None);
        // The code was replaced.
        assert_eq!(map.extend(b"7f0000002008 8 new\r\n"), 20);
        assert_eq!(name(&map, 0x7f00_0000_2007), Some(("py::main:/app/main.py".into(), 0x7f00_0000_2000)));
        assert_eq!(name(&map, 0x7f00_0000_2008), Some(("new".into(), 0x7f00_0000_2008)));
        assert_eq!(map.report(), JitReport { codes: 3, damaged: 1, over_limit: 0 });
    }

    #[test]
    fn a_line_without_end_is_passed_over() {
        let mut map = PerfMap::default();
        let part = vec![b'x'; MAX_LINE + 1];
        assert_eq!(map.extend(&part), part.len());
        assert_eq!(map.extend(&part), part.len());
        assert_eq!(map.extend(b"1000 10 hidden\n2000 10 seen\n"), 28);
        assert!(map.lookup(0x1000).is_none() && map.lookup(0x2000).is_some());
        assert_eq!(map.report().damaged, 1);
        for bad in [
            "1000",
            "1000 ",
            "1000 10",
            "1000 10 ",
            "g 10 name",
            "1000 fffffffffffffffff name",
            "ffffffffffffffff 10 x",
        ] {
            map.extend(format!("{bad}\n").as_bytes());
        }
        assert_eq!(map.report(), JitReport { codes: 1, damaged: 8, over_limit: 0 });
    }
}
