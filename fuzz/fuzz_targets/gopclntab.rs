//! Go's table: the input stands in the data of a fixed ELF file without section headers.
#![no_main]

use argand_debuginfo::Elf;
use argand_debuginfo::gopclntab::GoTable;
use argand_debuginfo::unwind::UnwindTable;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    // One segment of a megabyte from 0x400000 on, executable and filled with the input.
    let mut file = vec![0u8; 120];
    file[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    file[16..21].copy_from_slice(&[2, 0, 62, 0, 1]);
    (file[0x20], file[0x36], file[0x38]) = (64, 56, 1);
    (file[64], file[68]) = (1, 5);
    file[80..88].copy_from_slice(&0x40_0000u64.to_le_bytes());
    for at in [96, 104] {
        file[at..at + 8].copy_from_slice(&(1u64 << 20).to_le_bytes());
    }
    // Most inputs are to get past the header.
    file.extend([if bytes.len() % 2 == 0 { 0xf1 } else { 0xfb }, 0xff, 0xff, 0xff, 0, 0, 1, 8]);
    file.extend(bytes);
    file.resize(1 << 20, 0);
    let elf = Elf::parse(&file).expect("the file is whole");
    if let Some(table) = GoTable::find(&elf) {
        for function in table.functions().take(50) {
            for svma in [function.svma, function.svma + 1, function.end - 1] {
                for frame in table.lookup(svma) {
                    assert!(frame.function.len() + frame.file.len() <= 2 * 4096);
                }
            }
        }
        assert!(UnwindTable::build(&elf).rows().all(|row| row.svma >= 0x40_0000));
    }
});
