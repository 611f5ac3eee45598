//! Text tables: perf maps in two parts as at once, and kallsyms.
#![no_main]

use argand_debuginfo::NameTable;
use argand_debuginfo::jit::PerfMap;

libfuzzer_sys::fuzz_target!(|input: (u16, Vec<u8>)| {
    let (split, text) = input;
    let split = usize::from(split).min(text.len());
    let mut whole = PerfMap::default();
    let mut parts = PerfMap::default();
    let all = whole.extend(&text);
    let used = parts.extend(&text[..split]);
    assert!(used <= split);
    assert_eq!(used + parts.extend(&text[used..]), all);
    assert_eq!(whole.report(), parts.report());
    for address in 0..256 {
        assert_eq!(whole.lookup(address), parts.lookup(address));
    }
    let names = NameTable::of_kallsyms(&text);
    for symbol in names.iter() {
        assert_eq!(names.lookup(symbol.address), Some(symbol));
    }
});
