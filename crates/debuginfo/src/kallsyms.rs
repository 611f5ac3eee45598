//! The kernel's functions, as `/proc/kallsyms` lists them.

use crate::names::{NameTable, NameTableBuilder, Rank};

/// A function without a successor nearby, such as the last of a module, reaches so far.
const MAX_FUNCTION: u64 = 1 << 20;

impl NameTable {
    /// From lines `address type name`, with a tab and `[module]` behind those of modules, which becomes `name [module]`.
    ///
    /// Only text symbols (types t and w) count. All addresses are 0 for readers without the privilege, which gives an empty
    /// table. Addresses farther than 2 GiB from most are left out and counted.
    pub fn of_kallsyms(text: &[u8]) -> NameTable {
        let functions = || text.split(|byte| *byte == b'\n').filter_map(function);
        let mut addresses: Vec<u64> = functions().map(|(address, ..)| address).collect();
        if addresses.is_empty() {
            return NameTable::default();
        }
        // The middle one is of the kernel or of a module, whatever lies far off.
        let middle = addresses.len() / 2;
        let (_, middle, _) = addresses.select_nth_unstable(middle);
        let mut builder = NameTableBuilder::new(middle.saturating_sub(1 << 31));
        for (address, rank, name) in functions() {
            if !builder.add(address, 0, rank, name) {
                break;
            }
        }
        builder.build(|address| address.saturating_add(MAX_FUNCTION))
    }
}

fn function(line: &[u8]) -> Option<(u64, Rank, &[u8])> {
    let (address, rest) = line.split_at_checked(memchr::memchr(b' ', line)?)?;
    let [b' ', kind, b' ', name @ ..] = rest else { return None };
    let rank = match kind {
        b'T' => Rank::Global,
        b'W' | b'w' => Rank::Weak,
        b't' => Rank::Local,
        _ => return None,
    };
    let address = u64::from_str_radix(std::str::from_utf8(address).ok()?, 16).ok()?;
    let name = name.trim_ascii_end();
    (address != 0 && !name.is_empty()).then_some((address, rank, name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"0000000000000000 A fixed_percpu_data\n\
        ffffffff81000000 T _text\n\
        ffffffff81000000 T _stext\n\
        ffffffff81000100 t local_function\n\
        ffffffff81000200 W weak_function\n\
        ffffffff81000280 D some_data\n\
        ffffffff81000300 T last_of_kernel\n\
        ffffffffc0001000 t in_module\t[nf_tables]\n\
        ffffffffc0002000 t bpf_prog_6deef7357e7b4530_sd_fw_ingress\t[bpf]\n\
        garbage\n ffff\nffffffff81000400\nffffffff81000400 T\nxyz T name\n";

    #[test]
    fn functions_have_names_and_modules() {
        let table = NameTable::of_kallsyms(TEXT);
        let name = |address| table.lookup(address).map(|symbol| symbol.name);
        assert_eq!(name(0xffff_ffff_8100_01ff), Some("local_function"));
        assert_eq!(name(0xffff_ffff_8100_0290), Some("weak_function"));
        assert_eq!(name(0xffff_ffff_8100_0300 + MAX_FUNCTION - 1), Some("last_of_kernel"));
        assert_eq!(name(0xffff_ffff_8100_0300 + MAX_FUNCTION), None);
        assert_eq!(name(0xffff_ffff_c000_1010), Some("in_module [nf_tables]"));
        assert_eq!(name(0xffff_ffff_c000_2fff), Some("bpf_prog_6deef7357e7b4530_sd_fw_ingress [bpf]"));
        assert_eq!((name(0), name(0xffff_ffff_80ff_ffff), name(u64::MAX)), (None, None, None));
        assert_eq!(table.lookup(0xffff_ffff_8100_0000).unwrap().name, "_text");
    }

    #[test]
    fn hidden_addresses_and_damaged_text_give_nothing() {
        assert!(NameTable::of_kallsyms(b"0000000000000000 T hidden\n0000000000000000 t too\n").is_empty());
        for length in 0..TEXT.len() {
            NameTable::of_kallsyms(&TEXT[..length]);
        }
        // One far away does not hide the others.
        let mut text = b"0000000000001000 T low\n".to_vec();
        text.extend(TEXT);
        let table = NameTable::of_kallsyms(&text);
        assert_eq!(table.lookup(0xffff_ffff_8100_0100).unwrap().name, "local_function");
        assert_eq!(table.report().damaged, 1);
    }

    #[test]
    fn the_running_kernel_s_functions_are_found() {
        let Ok(text) = std::fs::read("/proc/kallsyms") else {
            println!("SKIPPED the_running_kernel_s_functions_are_found: /proc/kallsyms");
            return;
        };
        let table = NameTable::of_kallsyms(&text);
        if table.is_empty() {
            println!("SKIPPED the_running_kernel_s_functions_are_found: the privilege to see addresses");
            return;
        }
        assert_eq!(table.report().over_limit, 0);
        for wanted in ["schedule", "do_exit"] {
            let symbol = table.iter().find(|symbol| symbol.name == wanted).expect("every kernel has it");
            assert_eq!(table.lookup(symbol.address + 4), Some(symbol));
        }
    }
}
