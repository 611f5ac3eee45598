//! What unwind rules say of the code of real files: `coverage FILE…`.
//!
//! Prints, per file, its rows and sizes, and which share of the described code falls under each kind of rule. Code under a
//! register other than the stack or frame pointer can be left only from the innermost frame.

use std::time::Instant;

use argand_debuginfo::Elf;
use argand_debuginfo::unwind::{Cfa, FrameSections, Rule, RuleDictionary, SavedFp, pages};

fn main() {
    let mut dictionary = RuleDictionary::default();
    println!(
        "{:>28} {:>8} {:>9} {:>6} {:>7} {:>8} {:>7} | % of described bytes: sp fp deref plt volatile kept unsupported \
         fp-lost | not described",
        "file", "frames", "rows", "rules", "pages", "KiB", "ms"
    );
    for path in std::env::args().skip(1) {
        let file = std::fs::read(&path).expect("the file can be read");
        let elf = match Elf::parse(&file) {
            Ok(elf) => elf,
            Err(error) => {
                println!("{path}: {error}");
                continue;
            }
        };
        let start = Instant::now();
        let sections = FrameSections::load(&elf);
        let index = sections.index();
        let index_ms = start.elapsed().as_secs_f64() * 1e3;
        let table = sections.table(&index);
        let all_ms = start.elapsed().as_secs_f64() * 1e3;
        let pages = pages(&table, &mut dictionary);
        let page_bytes: usize = pages.iter().map(|page| page.rows.len() * 4).sum();

        let mut bytes = [0u64; 9];
        let rows: Vec<_> = table.rows().collect();
        for (row, next) in rows.iter().zip(rows.iter().skip(1)) {
            let length = next.svma - row.svma;
            let kind = match row.rule {
                Rule::Invalid => 8,
                Rule::Unsupported => 6,
                Rule::Stop | Rule::Signal => 0,
                Rule::Frame { cfa, fp, .. } => {
                    if fp == SavedFp::Undefined {
                        bytes[7] += length;
                    }
                    match cfa {
                        Cfa::Sp { .. } => 0,
                        Cfa::Fp { .. } => 1,
                        Cfa::DerefSp { .. } | Cfa::DerefFp { .. } => 2,
                        Cfa::Plt { .. } => 3,
                        // rbx, r12-r15 would be known in outer frames if their places were followed.
                        Cfa::Register { register: 3 | 12..=15, .. } => 5,
                        Cfa::Register { .. } => 4,
                    }
                }
            };
            bytes[kind] += length;
        }
        let described: u64 = bytes[..7].iter().sum();
        let share = |bytes: u64| 100.0 * bytes as f64 / described.max(1) as f64;
        let name = path.rsplit('/').next().unwrap_or(&path);
        print!(
            "{name:>28} {:>8} {:>9} {:>6} {:>7} {:>8} {index_ms:>3.0}+{:<3.0} |",
            index.len(),
            table.len(),
            table.rules().len(),
            pages.len(),
            page_bytes / 1024,
            all_ms - index_ms
        );
        for count in &bytes[..8] {
            print!(" {:.3}", share(*count));
        }
        println!(" | {} bytes; {:?}", bytes[8], table.report());
    }
    println!("{} rules of all files, {} found no room", dictionary.len(), dictionary.overflowed());
}
