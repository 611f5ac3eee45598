//! The kernel's functions by address, from `/proc/kallsyms`.

use std::io::{BufRead, BufReader, Read};

/// Bound on the text that is read; 5 MB are usual.
const MAX_BYTES: u64 = 64 << 20;

/// Functions by address. Shape: sorted; a name reaches from its offset to a line feed.
#[derive(Debug, Default)]
pub(crate) struct KernelSymbols {
    starts: Vec<u64>,
    names: Vec<u32>,
    text: String,
}

impl KernelSymbols {
    /// Reads the running kernel's. Empty where the addresses are hidden from us.
    pub(crate) fn read() -> Self {
        match std::fs::File::open("/proc/kallsyms") {
            Ok(file) => Self::parse(BufReader::with_capacity(1 << 16, file.take(MAX_BYTES))),
            Err(error) => {
                tracing::warn!(%error, "the kernel's functions have no names: /proc/kallsyms cannot be read");
                Self::default()
            }
        }
    }

    /// Reads lines `address type name [module]`; those of data and those without address are left out.
    pub(crate) fn parse(mut lines: impl BufRead) -> Self {
        let mut found: Vec<(u64, u32)> = Vec::new();
        let mut text = String::new();
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|size| size > 0) {
            if let Some((address, name, module)) = parse_line(&String::from_utf8_lossy(&line)) {
                found.push((address, text.len() as u32));
                text.push_str(name);
                if let Some(module) = module {
                    text.push(' ');
                    text.push_str(module);
                }
                text.push('\n');
            }
            line.clear();
        }
        // Of several names at one address the first is as good as any.
        found.sort_by_key(|(address, _)| *address);
        found.dedup_by_key(|(address, _)| *address);
        let (starts, names) = found.into_iter().unzip();
        Self { starts, names, text }
    }

    /// The function at an address, with its module in brackets.
    pub(crate) fn lookup(&self, address: u64) -> Option<&str> {
        let index = self.starts.partition_point(|start| *start <= address).checked_sub(1)?;
        let rest = &self.text[self.names[index] as usize..];
        rest.split('\n').next()
    }

    /// Whether nothing is known.
    pub(crate) fn is_empty(&self) -> bool {
        self.starts.is_empty()
    }
}

fn parse_line(line: &str) -> Option<(u64, &str, Option<&str>)> {
    let mut fields = line.split_ascii_whitespace();
    let address = u64::from_str_radix(fields.next()?, 16).ok().filter(|address| *address != 0)?;
    let is_code = matches!(fields.next()?, "t" | "T" | "w" | "W");
    let name = fields.next()?;
    is_code.then_some((address, name, fields.next()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_with_their_modules() {
        let text = "ffffffff81000000 T _stext\nffffffff81000000 T _text\nffffffff81000100 t helper\n\
            ffffffff81000180 d data\n0000000000000000 T hidden\nbroken\nffffffffc0000000 t probe\t[nf_nat]\n";
        let symbols = KernelSymbols::parse(text.as_bytes());
        assert_eq!(symbols.lookup(0xffff_ffff_8100_0001), Some("_stext"));
        assert_eq!(symbols.lookup(0xffff_ffff_8100_0190), Some("helper"));
        assert_eq!(symbols.lookup(0xffff_ffff_c000_0010), Some("probe [nf_nat]"));
        assert_eq!(symbols.lookup(0x1000), None);
    }
}
