use std::path::{Path, PathBuf};
use std::process::Command;

use gimli::{
    BaseAddresses, CfaRule, CieOrFde, EhFrame, EndianSlice, EvaluationResult, LittleEndian, Location, Register,
    RegisterRule, UnwindContext, UnwindExpression, UnwindSection, Value,
};
use proptest::prelude::*;

use super::*;
use crate::{Elf, Machine};

/// Memory and registers that differ in every bit that could be confused, so that a wrong address gives a wrong value.
fn scrambled(seed: u64) -> u64 {
    let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

fn memory(address: u64) -> Option<u64> {
    Some(scrambled(address))
}

fn registers_at(pc: u64) -> Registers {
    let mut general = [0; 32];
    for (number, value) in general.iter_mut().enumerate() {
        *value = scrambled(number as u64 + 1) & !15;
    }
    Registers { pc, sp: general[7], fp: Some(general[6]), general: Some(general) }
}

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// What DWARF says, by gimli's full rows and its evaluator of expressions: CFA, return address and rbp.
struct Full<'a> {
    section: EhFrame<Slice<'a>>,
    encoding: gimli::Encoding,
    registers: Registers,
}

impl Full<'_> {
    fn register(&self, register: Register) -> u64 {
        if register.0 == 16 { self.registers.pc } else { self.registers.general.unwrap()[usize::from(register.0)] }
    }

    fn expression(&self, expression: &UnwindExpression<usize>, initial: Option<u64>) -> u64 {
        let expression = expression.get(&self.section).unwrap();
        let mut evaluation = expression.evaluation(self.encoding);
        if let Some(value) = initial {
            evaluation.set_initial_value(value);
        }
        let mut state = evaluation.evaluate().unwrap();
        loop {
            state = match state {
                EvaluationResult::Complete => break,
                EvaluationResult::RequiresRegister { register, .. } => {
                    evaluation.resume_with_register(Value::Generic(self.register(register))).unwrap()
                }
                EvaluationResult::RequiresMemory { address, .. } => {
                    evaluation.resume_with_memory(Value::Generic(scrambled(address))).unwrap()
                }
                other => panic!("unexpected demand {other:?}"),
            };
        }
        match evaluation.result()[0].location {
            Location::Address { address } => address,
            ref other => panic!("unexpected location {other:?}"),
        }
    }

    fn cfa(&self, rule: &CfaRule<usize>) -> u64 {
        match rule {
            CfaRule::RegisterAndOffset { register, offset } => self.register(*register).wrapping_add_signed(*offset),
            CfaRule::Expression(expression) => self.expression(expression, None),
        }
    }

    /// `None` for undefined.
    fn saved(&self, register: Register, rule: Option<RegisterRule<usize>>, cfa: u64) -> Option<u64> {
        match rule {
            None | Some(RegisterRule::SameValue) => Some(self.register(register)),
            Some(RegisterRule::Undefined) => None,
            Some(RegisterRule::Offset(offset)) => memory(cfa.wrapping_add_signed(offset)),
            Some(RegisterRule::ValOffset(offset)) => Some(cfa.wrapping_add_signed(offset)),
            Some(RegisterRule::Register(register)) => Some(self.register(register)),
            Some(RegisterRule::Expression(expression)) => memory(self.expression(&expression, Some(cfa))),
            Some(RegisterRule::ValExpression(expression)) => Some(self.expression(&expression, Some(cfa))),
            Some(other) => panic!("unexpected rule {other:?}"),
        }
    }
}

#[derive(Debug, Default)]
struct Agreement {
    rows: u64,
    unsupported: u64,
    lost_frame_pointers: u64,
}

/// Compares a step by the table with what each full row says, at both ends of each row.
fn compare_with_full_rows(file: &[u8]) -> Agreement {
    let elf = Elf::parse(file).expect("an ELF file");
    let table = UnwindTable::build(&elf);
    assert_eq!(table.report().damaged, 0);
    let section = elf.section_named(".eh_frame").expect("it has .eh_frame");
    let bases = BaseAddresses::default().set_eh_frame(section.svma);
    let eh_frame = EhFrame::new(section.data, LittleEndian);

    let mut frames = Vec::new();
    let mut entries = eh_frame.entries(&bases);
    while let Some(entry) = entries.next().unwrap() {
        if let CieOrFde::Fde(partial) = entry {
            frames.push(partial.parse(EhFrame::cie_from_offset).unwrap());
        }
    }
    frames.sort_by_key(|frame| frame.initial_address());
    let mut agreement = Agreement::default();
    let mut context = UnwindContext::new();
    for (index, frame) in frames.iter().enumerate() {
        let limit = frames.get(index + 1).map_or(u64::MAX, |next| next.initial_address());
        let mut rows = frame.rows(&eh_frame, &bases, &mut context).unwrap();
        while let Some(row) = rows.next_row().unwrap() {
            for pc in [row.start_address(), row.end_address() - 1] {
                if pc < row.start_address() || pc >= limit || !elf.is_code(pc) {
                    continue;
                }
                agreement.rows += 1;
                let full = Full { section: eh_frame, encoding: frame.cie().encoding(), registers: registers_at(pc) };
                let cfa = full.cfa(row.cfa());
                let ra = full.saved(Register(16), row.register(Register(16)), cfa);
                let fp = full.saved(Register(6), row.register(Register(6)), cfa);
                let rule = table.lookup(pc);
                match step(Machine::X86_64, rule, &full.registers, memory) {
                    Step::Complete => assert_eq!(ra, None, "at {pc:#x}: {row:?}"),
                    Step::NoRule => {
                        assert_eq!(rule, Rule::Unsupported, "at {pc:#x}: {row:?}");
                        agreement.unsupported += 1;
                    }
                    Step::Caller(caller) => {
                        assert_eq!(Some(caller.pc), ra, "return address at {pc:#x}: {rule:?}, {row:?}");
                        assert_eq!(caller.is_return_address, rule != Rule::Signal);
                        if rule == Rule::Signal {
                            // There the CFA rule gives the interrupted stack pointer.
                            assert!(frame.is_signal_trampoline());
                        }
                        assert_eq!(caller.sp, cfa, "CFA at {pc:#x}: {rule:?}, {row:?}");
                        match caller.fp {
                            Some(_) => assert_eq!(caller.fp, fp, "rbp at {pc:#x}: {rule:?}, {row:?}"),
                            None => agreement.lost_frame_pointers += 1,
                        }
                    }
                    other => panic!("at {pc:#x}: {other:?} by {rule:?}, {row:?}"),
                }
            }
        }
    }
    agreement
}

/// Every address answers the same by page and by table, and pages made one by one equal those made together.
fn compare_pages(file: &[u8]) {
    let elf = Elf::parse(file).unwrap();
    let sections = FrameSections::load(&elf);
    let index = sections.index();
    let table = sections.table(&index);
    let mut dictionary = RuleDictionary::default();
    let whole = pages(&table, &mut dictionary);
    let rule_by_page = |svma: u64| {
        let at = whole.binary_search_by_key(&(svma >> PAGE_BITS), |page| page.number);
        at.map_or(Rule::Invalid, |at| dictionary.rule(whole[at].lookup(svma)).expect("a known index"))
    };
    for page in &whole {
        assert!(page.rows[0] >> 16 == 0);
        assert!(page.rows.windows(2).all(|pair| pair[0] >> 16 < pair[1] >> 16));
    }
    let rows: Vec<Row> = table.rows().collect();
    assert!(rows.windows(2).all(|pair| pair[0].svma < pair[1].svma && pair[0].rule != pair[1].rule));
    for row in &rows {
        for svma in [row.svma.wrapping_sub(1), row.svma, row.svma + 1] {
            assert_eq!(rule_by_page(svma), table.lookup(svma), "at {svma:#x}");
        }
        assert_eq!(table.lookup(row.svma), row.rule);
    }

    let mut own = RuleDictionary::default();
    for number in elf.base() >> PAGE_BITS..=rows.last().map_or(0, |row| row.svma >> PAGE_BITS) + 1 {
        let single = sections.page(&index, number, &mut own);
        let single = single.map(|page| named_rows(&page, &own));
        let together = whole.iter().find(|page| page.number == number).map(|page| named_rows(page, &dictionary));
        assert_eq!(single, together, "page {number:#x}");
    }
}

fn named_rows(page: &Page, dictionary: &RuleDictionary) -> Vec<(u32, Rule)> {
    page.rows.iter().map(|row| (row >> 16, dictionary.rule(*row as u16).unwrap())).collect()
}

/// Compiles C or assembly, or says why not.
fn compiled(test: &str, directory: &Path, source: &str, name: &str, flags: &[&str]) -> Option<Vec<u8>> {
    let input = directory.join(name);
    let output: PathBuf = directory.join("out");
    std::fs::write(&input, source).unwrap();
    match Command::new("gcc").args(flags).arg("-o").arg(&output).arg(&input).status() {
        Err(_) => {
            println!("SKIPPED {test}: gcc");
            None
        }
        Ok(status) => {
            assert!(status.success(), "gcc compiles the test's source");
            Some(std::fs::read(output).unwrap())
        }
    }
}

const PROGRAM: &str = r#"
#include <stdlib.h>
#include <stdio.h>
#include <string.h>
__attribute__((noinline)) int leaf(int x) { return x * 3 + 1; }
__attribute__((noinline)) int big(int n) { char buffer[100000]; memset(buffer, n, sizeof buffer); return leaf(buffer[n]); }
__attribute__((noinline)) int dynamic(int n) { char *p = __builtin_alloca(n); memset(p, 1, n); return leaf(p[n / 2]); }
__attribute__((noinline, force_align_arg_pointer)) int aligned(int n) {
    _Alignas(64) int v[16]; for (int i = 0; i < 16; i++) v[i] = n + i; printf("%d\n", v[n & 15]); return leaf(v[3]); }
__attribute__((noinline)) int many(int a, int b, int c, int d, int e, int f, int g, int h) {
    int x = leaf(a), y = leaf(b), z = leaf(c), u = leaf(d), v = leaf(e), w = leaf(f);
    if (x == 7) return leaf(g); return x + y + z + u + v + w + h; }
int main(int argc, char **argv) { return big(argc) + dynamic(argc + 5) + aligned(argc) + many(1, 2, 3, 4, 5, 6, argc, 8); }
"#;

#[test]
fn compiled_c_unwinds_like_the_full_rows() {
    let directory = tempfile::tempdir().unwrap();
    for flags in [["-O2", "-fomit-frame-pointer"], ["-O0", "-fno-omit-frame-pointer"], ["-O3", "-mavx2"]] {
        let name = "compiled_c_unwinds_like_the_full_rows";
        let Some(file) = compiled(name, directory.path(), PROGRAM, "program.c", &flags) else { return };
        let agreement = compare_with_full_rows(&file);
        assert!(agreement.rows > 30, "{agreement:?}");
        assert_eq!((agreement.unsupported, agreement.lost_frame_pointers), (0, 0));
        compare_pages(&file);
        // The outermost frame is known as such.
        let elf = Elf::parse(&file).unwrap();
        assert_eq!(UnwindTable::build(&elf).lookup(elf.entry() + 8), Rule::Stop);
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn rust_and_libraries_unwind_like_the_full_rows() {
    let own = std::env::current_exe().unwrap();
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut files: Vec<PathBuf> = maps.lines().filter_map(|line| Some(line[line.find('/')?..].into())).collect();
    files.dedup();
    assert!(files.contains(&own));
    for file in files {
        let bytes = std::fs::read(&file).unwrap();
        let agreement = compare_with_full_rows(&bytes);
        println!("{}: {agreement:?}", file.display());
        assert!(agreement.rows > 0);
        assert!(agreement.unsupported * 1000 <= agreement.rows, "{}: {agreement:?}", file.display());
        compare_pages(&bytes);
    }
}

#[test]
fn without_section_headers_the_search_table_gives_the_same_rows() {
    let directory = tempfile::tempdir().unwrap();
    let name = "without_section_headers_the_search_table_gives_the_same_rows";
    let Some(mut file) = compiled(name, directory.path(), PROGRAM, "program.c", &["-O2"]) else { return };
    let before = UnwindTable::build(&Elf::parse(&file).unwrap());
    file[0x28..0x30].fill(0); // e_shoff
    file[0x3c..0x40].fill(0); // e_shnum, e_shstrndx
    let elf = Elf::parse(&file).unwrap();
    assert_eq!(elf.sections().count(), 0);
    let after = UnwindTable::build(&elf);
    assert_eq!(before.rows().collect::<Vec<_>>(), after.rows().collect::<Vec<_>>());
}

#[test]
fn debug_frame_stands_in_for_eh_frame() {
    let directory = tempfile::tempdir().unwrap();
    let source = PROGRAM.replace("#include <stdio.h>", "int printf(const char *, ...);");
    let name = "debug_frame_stands_in_for_eh_frame";
    let with = ["-O2", "-c"];
    let Some(by_eh_frame) = compiled(name, directory.path(), &source, "a.c", &with) else { return };
    assert!(Elf::parse(&by_eh_frame).is_ok());
    let link = ["-O2", "-nostdlib", "-static", "-Wl,--unresolved-symbols=ignore-all", "-Wl,-e,main"];
    let plain = compiled(name, directory.path(), &source, "a.c", &link).unwrap();
    for compression in ["-gz=none", "-gz=zlib"] {
        let mut flags = link.to_vec();
        flags.extend(["-fno-asynchronous-unwind-tables", "-g", compression]);
        let debug = compiled(name, directory.path(), &source, "a.c", &flags).unwrap();
        let (plain, debug) = (Elf::parse(&plain).unwrap(), Elf::parse(&debug).unwrap());
        assert!(debug.section_named(".eh_frame").is_none());
        assert_eq!(debug.section_named(".debug_frame").unwrap().compressed, compression == "-gz=zlib");
        let relative = |elf: &Elf<'_>| {
            let text = elf.section_named(".text").unwrap().svma;
            let table = UnwindTable::build(elf);
            table.rows().map(|row| (row.svma - text, row.rule)).collect::<Vec<_>>()
        };
        assert!(relative(&plain).len() > 20);
        assert_eq!(relative(&plain), relative(&debug));
    }
}

#[test]
fn stubs_without_description_are_recognised() {
    let directory = tempfile::tempdir().unwrap();
    let source = r"
        .text
        .globl _start, first, second
        .fill 128, 1, 0xcc
        _start: xor %ebp, %ebp
        mov %rsp, %rdi
        call second
        .fill 128, 1, 0xcc
        first: mov $15, %rax
        syscall
        .fill 128, 1, 0xcc
        second: mov $15, %eax
        syscall
        .fill 128, 1, 0xcc
    ";
    let name = "stubs_without_description_are_recognised";
    let Some(file) = compiled(name, directory.path(), source, "stubs.S", &["-nostdlib", "-static"]) else { return };
    let elf = Elf::parse(&file).unwrap();
    let table = UnwindTable::build(&elf);
    let start = elf.entry();
    assert_eq!(table.lookup(start - 2), Rule::Invalid);
    assert_eq!(table.lookup(start), Rule::Stop);
    assert_eq!(table.lookup(start + 10), Rule::Stop);
    for (at, length) in [(start + 10 + 128, 9), (start + 10 + 128 + 9 + 128, 7)] {
        assert_eq!(table.lookup(at - 2), Rule::Invalid, "{at:#x} {table:?}");
        // The handler returns to the first byte, which is looked up less one.
        for svma in at - 1..at + length {
            assert_eq!(table.lookup(svma), Rule::Signal);
        }
        assert_eq!(table.lookup(at + length), Rule::Invalid);
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_vdso_image_of_this_process_unwinds() {
    use std::io::{Read, Seek, SeekFrom};
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let Some(line) = maps.lines().find(|line| line.ends_with("[vdso]")) else {
        println!("SKIPPED the_vdso_image_of_this_process_unwinds: a vDSO");
        return;
    };
    let (start, rest) = line.split_once('-').unwrap();
    let address = |text| u64::from_str_radix(text, 16).unwrap();
    let (start, end) = (address(start), address(rest.split_once(' ').unwrap().0));
    let mut image = vec![0; (end - start) as usize];
    let mut memory = std::fs::File::open("/proc/self/mem").unwrap();
    memory.seek(SeekFrom::Start(start)).unwrap();
    memory.read_exact(&mut image).unwrap();
    let elf = Elf::parse(&image).unwrap();
    assert!(elf.gnu_build_id().is_some());
    assert_eq!(elf.bias(start, 0), Some(start.wrapping_sub(elf.base())));
    let table = UnwindTable::build(&elf);
    assert_eq!(table.report().damaged, 0);
    assert!(table.len() > 10, "{table:?}");
    compare_with_full_rows(&image);
    compare_pages(&image);
}

#[test]
fn damaged_files_give_what_is_left_and_do_not_panic() {
    let directory = tempfile::tempdir().unwrap();
    let name = "damaged_files_give_what_is_left_and_do_not_panic";
    let source = "int leaf(int); int f(int x) { return leaf(x) + 1; } int leaf(int x) { return x * 3; } int main() { return f(2); }";
    let flags = ["-O1", "-nostdlib", "-static", "-s", "-Wl,-e,main", "-Wl,-z,noseparate-code"];
    let Some(file) = compiled(name, directory.path(), source, "a.c", &flags) else { return };
    let whole = look_at(&file);
    assert!(whole > 1);
    for length in 0..file.len() {
        look_at(&file[..length]);
    }
    // Each byte in turn takes the values that lead furthest astray.
    let mut damaged = file.clone();
    for at in 0..file.len() {
        for value in [0, 1, 0x7f, 0x80, 0xff, file[at] ^ 1] {
            damaged[at] = value;
            look_at(&damaged);
        }
        damaged[at] = file[at];
    }
}

fn look_at(file: &[u8]) -> usize {
    let Ok(elf) = Elf::parse(file) else { return 0 };
    let table = UnwindTable::build(&elf);
    assert!(table.len() <= file.len());
    elf.gnu_build_id();
    elf.go_build_id();
    elf.is_pie();
    let mut dictionary = RuleDictionary::default();
    pages(&table, &mut dictionary);
    table.len()
}

#[test]
fn frames_that_share_a_long_preamble_stop_at_the_bound() {
    // One CIE of 64 KiB of harmless instructions and as many FDEs as there is room for: quadratic work if nobody counts.
    let directory = tempfile::tempdir().unwrap();
    let source = r#"
        .globl _start
        .text
        _start: .fill 60000, 1, 0x90
        .section .eh_frame, "a"
        cie: .long cie_end - cie_body
        cie_body: .long 0
        .byte 1
        .asciz "zR"
        .uleb128 1
        .sleb128 -8
        .byte 16
        .uleb128 1
        .byte 0x1b
        .rept 20000
        .byte 0x0c, 7, 8
        .endr
        .balign 8
        cie_end:
        .set i, 0
        .rept 6000
        .long 20
        .long . - cie
        .long _start + i - .
        .long 10
        .byte 0, 0x90, 1, 0, 0, 0, 0, 0
        .set i, i + 10
        .endr
        .long 0
    "#;
    let name = "frames_that_share_a_long_preamble_stop_at_the_bound";
    let Some(file) = compiled(name, directory.path(), source, "a.S", &["-nostdlib", "-static"]) else { return };
    let table = UnwindTable::build(&Elf::parse(&file).unwrap());
    let report = table.report();
    assert_eq!((report.frames, report.damaged), (6000, 0), "{report:?}");
    assert!(report.over_limit > 5000, "{report:?}");
}

fn any_rule() -> impl Strategy<Value = Rule> {
    let cfa = prop_oneof![
        any::<i32>().prop_map(|offset| Cfa::Sp { offset }),
        any::<i32>().prop_map(|offset| Cfa::Fp { offset }),
        any::<(i32, i16)>().prop_map(|(offset, add)| Cfa::DerefSp { offset, add }),
        any::<(i32, i16)>().prop_map(|(offset, add)| Cfa::DerefFp { offset, add }),
        any::<(i32, u8)>().prop_map(|(offset, threshold)| Cfa::Plt { offset, threshold }),
        any::<(u8, i32)>().prop_map(|(register, offset)| Cfa::Register { register, offset }),
    ];
    let fp = prop_oneof![
        Just(SavedFp::Same),
        Just(SavedFp::Undefined),
        any::<i16>().prop_map(|words| SavedFp::AtCfa { words }),
        any::<i16>().prop_map(|words| SavedFp::AtFp { words }),
    ];
    let ra = prop_oneof![
        3 => Just(ReturnAddress::AtCfa { words: -1 }),
        1 => any::<i16>().prop_map(|words| ReturnAddress::AtCfa { words }),
        1 => Just(ReturnAddress::Link),
        1 => any::<u8>().prop_map(|register| ReturnAddress::Register { register }),
    ];
    prop_oneof![
        Just(Rule::Invalid),
        Just(Rule::Unsupported),
        Just(Rule::Stop),
        Just(Rule::Signal),
        (cfa, fp, ra).prop_map(|(cfa, fp, ra)| Rule::Frame { cfa, fp, ra }),
    ]
}

proptest! {
    #[test]
    fn an_encoded_rule_decodes_to_itself_or_is_unsupported(rule in any_rule()) {
        let encoded = rule.encode();
        prop_assert!([rule, Rule::Unsupported].contains(&Rule::decode(encoded)));
        prop_assert_eq!(Rule::decode(encoded).encode(), encoded);
    }

    #[test]
    fn any_bytes_decode_to_a_rule(cfa: u8, fp: u8, ra: u8, register: u8, cfa_offset: i32, fp_words: i16, extra: i16) {
        let rule = Rule::decode(RawRule { cfa, fp, ra, register, cfa_offset, fp_words, extra });
        prop_assert_eq!(Rule::decode(rule.encode()), rule);
    }

    #[test]
    fn steps_from_any_registers_do_not_panic(rule in any_rule(), pc: u64, sp: u64, fp: Option<u64>, known: bool) {
        let general = known.then_some([u64::MAX - 3; 32]);
        for machine in [Machine::X86_64, Machine::Aarch64] {
            step(machine, rule, &Registers { pc, sp, fp, general }, memory);
        }
    }
}

#[test]
fn a_full_dictionary_counts_and_answers_unsupported() {
    let mut dictionary = RuleDictionary::default();
    let rule =
        |offset| Rule::Frame { cfa: Cfa::Sp { offset }, fp: SavedFp::Same, ra: ReturnAddress::AtCfa { words: -1 } };
    for offset in 0..MAX_RULES as i32 {
        dictionary.index(rule(offset));
    }
    assert_eq!(dictionary.len(), MAX_RULES);
    assert_eq!(dictionary.overflowed(), 4);
    assert_eq!(dictionary.index(rule(-1)), RuleDictionary::UNSUPPORTED);
    let index = dictionary.index(rule(7));
    assert_eq!(dictionary.rule(index), Some(rule(7)));
    assert_eq!(dictionary.encoded_from(4).next(), Some(rule(0).encode()));
}
