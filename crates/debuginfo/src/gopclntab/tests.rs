use std::process::Command;

use super::*;
use crate::NameTable;
use crate::unwind::{FrameSections, UnwindTable};

const PROGRAM: &str = r#"package main

import "os"

var sink int

func add(x int) int {
	for i := 0; i < 3; i++ {
		sink += x
	}
	return sink // line 11
}

func middle(x int) int {
	return add(x) + add(x+1) // line 15
}

//go:noinline
func outer(x int) int {
	return middle(x) // line 20
}

type thing struct{ n [300]int }

//go:noinline
func (t *thing) method(x int) int {
	var local thing
	for i := range local.n {
		local.n[i] = outer(x + i)
	}
	t.n = local.n
	return t.n[x]
}

func main() {
	os.Exit((&thing{}).method(len(os.Args)))
}
"#;

/// Builds the program, or says why not.
fn built(test: &str, flags: &[&str]) -> Option<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    std::fs::write(directory.path().join("main.go"), PROGRAM).unwrap();
    let output = directory.path().join("out");
    let mut command = Command::new("go");
    command.current_dir(&directory).arg("build").args(flags).arg("-o").arg(&output).arg("main.go");
    match command.env("CGO_ENABLED", "0").env("GOTOOLCHAIN", "local").status() {
        Err(_) => {
            println!("SKIPPED {test}: go");
            None
        }
        Ok(status) => {
            assert!(status.success(), "go builds the test's program");
            Some(std::fs::read(output).unwrap())
        }
    }
}

/// The frames of all addresses of a function, as function:line, without repetition.
fn stacks(table: &GoTable<'_>, function: &str) -> Vec<Vec<String>> {
    let function = table.functions().find(|one| one.name == function.as_bytes()).expect("it is there");
    let mut stacks = Vec::new();
    for svma in function.svma..function.end {
        let frames = table.lookup(svma);
        assert!(!frames.is_empty());
        // Padding up to the next function has no line.
        if frames[0].line == 0 {
            continue;
        }
        for frame in &frames {
            assert!(frame.file.ends_with(b"main.go"), "{:?}", String::from_utf8_lossy(frame.file));
        }
        let text =
            frames.iter().map(|frame| format!("{}:{}", String::from_utf8_lossy(frame.function), frame.line)).collect();
        if !stacks.contains(&text) {
            stacks.push(text);
        }
    }
    stacks
}

#[test]
fn functions_lines_and_inlined_calls_are_those_of_the_source() {
    let name = "functions_lines_and_inlined_calls_are_those_of_the_source";
    for flags in [&["-ldflags=-s -w"][..], &["-ldflags=-s -w", "-buildmode=pie"], &[]] {
        let Some(mut file) = built(name, flags) else { return };
        let check = |file: &[u8]| {
            let elf = Elf::parse(file).unwrap();
            assert!(elf.go_build_id().is_some());
            let table = GoTable::find(&elf).expect("a Go table");
            assert!(table.len() > 500);
            let stacks = stacks(&table, "main.outer");
            let expected: Vec<String> = ["main.add:9", "main.middle:15", "main.outer:20"].map(String::from).to_vec();
            assert!(stacks.contains(&expected), "{flags:?} {stacks:?}");
            let outer = table.functions().find(|one| one.name == b"main.outer").unwrap();
            assert_eq!(outer.start_line, 19);
            assert_eq!(table.function_at(outer.end - 1), Some(outer));
            let inlined =
                (outer.svma..outer.end).map(|svma| table.lookup(svma)).find(|frames| frames.len() == 3).unwrap();
            assert_eq!(inlined.iter().map(|frame| frame.start_line).collect::<Vec<_>>(), [7, 14, 19]);
            let method = table.functions().find(|one| one.name == b"main.(*thing).method").unwrap();
            let names = NameTable::of_elf(&elf, &[]);
            assert_eq!(names.lookup(method.svma + 5).unwrap().name, "main.(*thing).method");
        };
        check(&file);
        if flags.len() == 1 {
            // The same without section headers.
            file[0x28..0x30].fill(0);
            file[0x3c..0x40].fill(0);
            check(&file);
        }
    }
}

#[test]
fn stack_depths_are_those_of_the_debug_information() {
    let name = "stack_depths_are_those_of_the_debug_information";
    let Some(file) = built(name, &["-ldflags=-compressdwarf=false"]) else { return };
    let elf = Elf::parse(&file).unwrap();
    let go = GoTable::find(&elf).unwrap();
    // Without its table the file is unwound by .debug_frame.
    let mut without = file.clone();
    let section = elf.section_named(".gopclntab").unwrap();
    let at = elf.file_offset_of(section.svma).unwrap() as usize;
    without[at] = 0;
    let without = Elf::parse(&without).unwrap();
    assert!(GoTable::find(&without).is_none());
    let by_debug = UnwindTable::build(&without);
    let by_go = UnwindTable::build(&elf);
    let mut compared = 0;
    for function in go.functions() {
        for svma in function.svma..function.end {
            match (by_go.lookup(svma), by_debug.lookup(svma)) {
                (Rule::Frame { cfa: ours @ Cfa::Sp { .. }, fp, .. }, Rule::Frame { cfa: theirs, .. }) => {
                    assert_eq!(ours, theirs, "{} at {svma:#x}", String::from_utf8_lossy(function.name));
                    assert_eq!(fp == SavedFp::Same, ours == Cfa::Sp { offset: 8 });
                    compared += 1;
                }
                (Rule::Stop | Rule::Signal, _) | (Rule::Frame { cfa: Cfa::Fp { .. }, .. }, _) => {}
                // `rawVforkSyscall` holds its return address in a register.
                (Rule::Unsupported, Rule::Frame { cfa: Cfa::Sp { offset: 0 }, .. }) => {}
                // Padding between functions.
                (_, Rule::Invalid) => {}
                (ours, theirs) => panic!("{:?} {ours:?} {theirs:?}", String::from_utf8_lossy(function.name)),
            }
        }
    }
    assert!(compared > 100_000, "{compared}");
    let goexit = go.functions().find(|one| one.name == b"runtime.goexit").unwrap();
    assert_eq!(by_go.lookup(goexit.svma), Rule::Stop);
    assert!(by_go.rules().contains(&Rule::Signal), "the runtime's signal trampoline is recognised");
}

#[test]
fn damaged_tables_do_not_panic() {
    let Some(file) = built("damaged_tables_do_not_panic", &["-ldflags=-s -w"]) else { return };
    let elf = Elf::parse(&file).unwrap();
    let section = elf.section_named(".gopclntab").unwrap();
    let at = elf.file_offset_of(section.svma).unwrap() as usize;
    let outer = GoTable::find(&elf).unwrap().functions().find(|one| one.name == b"main.outer").unwrap();
    let look = |file: &[u8]| {
        let elf = Elf::parse(file).unwrap();
        if let Some(table) = GoTable::find(&elf) {
            for svma in outer.svma - 40..outer.end + 40 {
                assert!(table.lookup(svma).len() <= MAX_INLINED + 1);
            }
            let sections = FrameSections::load(&elf);
            sections.page(&sections.index(), outer.svma >> 16, &mut Default::default());
        }
    };
    let mut damaged = file.clone();
    let record = at + outer.record;
    for position in (at..at + 72).chain(record..record + 80) {
        for value in [0, 0x7f, 0xff, file[position] ^ 1] {
            damaged[position] = value;
            look(&damaged);
        }
        damaged[position] = file[position];
    }
    for length in (0..at + 4096).step_by(997) {
        if let Ok(elf) = Elf::parse(&file[..length]) {
            GoTable::find(&elf);
        }
    }
}

/// Tables of older compilers, written by hand from their sources' description.
mod by_hand {
    use super::*;

    /// An ELF file with one executable segment at 0x400000 that holds everything.
    fn elf_with(table: &[u8]) -> Vec<u8> {
        let mut file = vec![0u8; 0x1000];
        file[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
        file[16..20].copy_from_slice(&[2, 0, 62, 0]);
        file[20] = 1;
        file[0x20] = 64; // program headers
        file[0x36..0x38].copy_from_slice(&56u16.to_le_bytes());
        file[0x38] = 1;
        file[64] = 1;
        file[68] = 5;
        file[64 + 16..64 + 24].copy_from_slice(&0x40_0000u64.to_le_bytes());
        file[64 + 32..64 + 40].copy_from_slice(&0x10000u64.to_le_bytes());
        file[64 + 40..64 + 48].copy_from_slice(&0x10000u64.to_le_bytes());
        file.extend_from_slice(table);
        file.resize(0x10000, 0);
        file
    }

    /// Two functions: `main.a` at 0x402000, 0x40 bytes, lines 10 up to 0x10 and 12 after; `main.b`.
    fn table(version: Version) -> Vec<u8> {
        let mut names = vec![0];
        names.extend(b"main.a\0main.b\0");
        let mut pcs = vec![0];
        let line_table = pcs.len() as u32;
        pcs.extend([22, 0x10, 4, 0x30, 0]); // -1 + 11 = 10, then + 2
        let file_table = pcs.len() as u32;
        pcs.extend([if version == Version::V2 { 4 } else { 2 }, 0x40, 0]); // file 1 or 0
        let depth_table = pcs.len() as u32;
        pcs.extend([2, 0x4, 48, 0x3c, 0]); // depth 0, then 24
        let paths = b"\0/src/main.go\0";

        let old = version == Version::V2;
        let header_words = if old { 1 } else { 7 };
        let header = 8 + header_words * 8;
        // Old tables have everything relative to the whole; newer ones per part.
        let mut out = vec![if old { 0xfb } else { 0xfa }, 0xff, 0xff, 0xff, 0, 0, 1, 8];
        let part = |out: &Vec<u8>| out.len() as u64;
        out.extend(2u64.to_le_bytes());
        let records_at;
        let function_table = |first: u64, second: u64| {
            let mut rows = Vec::new();
            for (entry, record) in [(0x40_2000u64, first), (0x40_2040, second)] {
                rows.extend(entry.to_le_bytes());
                rows.extend(record.to_le_bytes());
            }
            rows.extend(0x40_2080u64.to_le_bytes());
            rows
        };
        let record = |entry: u64, name: u32, bases: (u32, u32)| {
            let mut record = entry.to_le_bytes().to_vec();
            let (names, pcs) = bases;
            for field in [names + name, 0, 0, pcs + depth_table, pcs + file_table, pcs + line_table, 0, 0, 0] {
                record.extend(field.to_le_bytes());
            }
            record
        };
        if old {
            let rows = 8 + 8 + 2 * 16 + 8 + 4; // up to the offset of the files
            let names_at = rows as u32;
            let pcs_at = names_at + names.len() as u32;
            let path_at = pcs_at + pcs.len() as u32;
            let files_at = path_at + paths.len() as u32;
            records_at = u64::from(files_at) + 8;
            out.extend(function_table(records_at, records_at + 44));
            out.extend(files_at.to_le_bytes());
            out.extend(&names);
            out.extend(&pcs);
            out.extend(paths);
            out.extend(2u32.to_le_bytes());
            out.extend((path_at + 1).to_le_bytes());
            out.extend(record(0x40_2000, 1, (names_at, pcs_at)));
            out.extend(record(0x40_2040, 8, (names_at, pcs_at)));
        } else {
            let names_at = header as u64;
            let units_at = names_at + names.len() as u64;
            let files_at = units_at + 4;
            let pcs_at = files_at + paths.len() as u64;
            let functions_at = pcs_at + pcs.len() as u64;
            for word in [1, names_at, units_at, files_at, pcs_at, functions_at] {
                out.extend(word.to_le_bytes());
            }
            assert_eq!(part(&out), names_at);
            out.extend(&names);
            out.extend(1u32.to_le_bytes());
            out.extend(paths);
            out.extend(&pcs);
            out.extend(function_table(40, 40 + 44));
            out.extend(record(0x40_2000, 1, (0, 0)));
            out.extend(record(0x40_2040, 8, (0, 0)));
        }
        out
    }

    #[test]
    fn tables_of_go_1_2_and_1_16_are_read() {
        for version in [Version::V2, Version::V16] {
            let file = elf_with(&table(version));
            let elf = Elf::parse(&file).unwrap();
            let table = GoTable::find(&elf).expect("the table is found by its magic");
            assert_eq!(table.version, version);
            let names: Vec<_> = table.functions().map(|one| (one.name, one.svma, one.end)).collect();
            assert_eq!(names, [(&b"main.a"[..], 0x40_2000, 0x40_2040), (b"main.b", 0x40_2040, 0x40_2080)]);
            let lines = [0x40_2000, 0x40_200f, 0x40_2010, 0x40_2079].map(|svma| {
                let frames = table.lookup(svma);
                assert_eq!(frames.len(), 1);
                assert_eq!(frames[0].file, b"/src/main.go", "{version:?}");
                frames[0].line
            });
            assert_eq!(lines, [10, 10, 12, 12]);
            assert!(table.lookup(0x40_2080).is_empty() && table.lookup(0).is_empty());
            let unwind = UnwindTable::build(&elf);
            assert!(matches!(unwind.lookup(0x40_2001), Rule::Frame { cfa: Cfa::Sp { offset: 8 }, .. }));
            assert!(matches!(unwind.lookup(0x40_2008), Rule::Frame { cfa: Cfa::Sp { offset: 32 }, .. }));
        }
    }
}
