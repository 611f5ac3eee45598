//! ELF to names and lines: what is listed is found again, and budgets hold.
#![no_main]

use argand_debuginfo::lines::{LineSections, LineTable, alternate_link, debug_file_paths};
use argand_debuginfo::{Elf, MAX_DEMANGLED, NameTable, demangle};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let Ok(elf) = Elf::parse(bytes) else { return };
    let names = NameTable::of_elf(&elf, &[&elf]);
    let mut svmas = Vec::new();
    for symbol in names.iter().take(200) {
        assert_eq!(names.lookup(symbol.address), Some(symbol));
        let shown = demangle(symbol.name);
        assert!(shown == symbol.name || shown.len() <= MAX_DEMANGLED);
        svmas.push(symbol.address);
    }
    let _ = (debug_file_paths(&elf, "/bin/program"), alternate_link(&elf));
    const BUDGET: u64 = 1 << 20;
    if let Some(sections) = LineSections::load(&elf, Some(&elf), BUDGET) {
        assert!(sections.size_bytes() <= BUDGET);
        svmas.extend((0..64).map(|step| elf.entry().wrapping_add(step)));
        let (frames, report) = LineTable::new(&sections).lookup(&svmas, BUDGET);
        assert_eq!(frames.len(), svmas.len());
        assert!(report.bytes <= BUDGET);
    }
});
