//! ELF to unwind rows: rows are in order, pages answer as the table does, and steps do not panic.
#![no_main]

use argand_debuginfo::Elf;
use argand_debuginfo::unwind::{FrameSections, PAGE_BITS, Registers, Rule, RuleDictionary, pages, step};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(elf) = Elf::parse(bytes) else { return };
    let _ = (elf.gnu_build_id(), elf.go_build_id(), elf.is_pie(), elf.bias(0x7f00_0000_0000, 0));
    let sections = FrameSections::load(&elf);
    let index = sections.index();
    let table = sections.table(&index);
    let mut dictionary = RuleDictionary::default();
    let pages = pages(&table, &mut dictionary);
    let mut last = None;
    for row in table.rows().take(1000) {
        assert!(last.is_none_or(|last| last < row.svma));
        last = Some(row.svma);
        assert_eq!(table.lookup(row.svma), row.rule);
        let page = pages.binary_search_by_key(&(row.svma >> PAGE_BITS), |page| page.number);
        let by_page = page.map_or(Rule::Invalid, |at| dictionary.rule(pages[at].lookup(row.svma)).expect("a known rule"));
        assert_eq!(by_page, row.rule);
        let registers = Registers { pc: row.svma, sp: u64::MAX - 8, fp: Some(3), general: Some([5; 32]) };
        step(elf.machine(), row.rule, &registers, Some);
    }
});
