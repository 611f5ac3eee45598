//! Building and searching tables of the machine's libc and libcrypto, or of the bench's own program where they are not there.

use std::hint::black_box;

use argand_debuginfo::unwind::{FrameSections, RuleDictionary, UnwindTable, pages};
use argand_debuginfo::{Elf, NameTable};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// The first of these that exists, with a name for the report.
fn files() -> Vec<(String, Vec<u8>)> {
    let directory = format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH);
    let libraries = ["libc.so.6", "libcrypto.so.3"].map(|name| format!("{directory}/{name}"));
    let own = std::env::current_exe().ok().map(|path| path.to_string_lossy().into_owned());
    let mut files = Vec::new();
    for path in libraries.into_iter().chain(own) {
        if let Ok(bytes) = std::fs::read(&path) {
            let name = path.rsplit('/').next().unwrap_or(&path);
            files.push((name.split("-").next().unwrap_or(name).to_owned(), bytes));
        }
    }
    files
}

fn tables(criterion: &mut Criterion) {
    for (name, file) in files() {
        let elf = Elf::parse(&file).expect("an ELF file");
        let sections = FrameSections::load(&elf);
        let index = sections.index();
        let table = sections.table(&index);
        let mut group = criterion.benchmark_group(&name);

        let described = elf.section_named(".eh_frame").map_or(0, |section| section.data.len());
        group.throughput(Throughput::Bytes(described as u64));
        group.bench_function("unwind index", |bencher| bencher.iter(|| black_box(sections.index()).len()));
        group.bench_function("unwind table", |bencher| bencher.iter(|| black_box(UnwindTable::build(&elf)).len()));
        group.bench_function("unwind pages", |bencher| {
            bencher.iter(|| black_box(pages(&table, &mut RuleDictionary::default())).len());
        });
        group.throughput(Throughput::Elements(1));
        let number = table.rows().nth(table.len() / 2).map_or(0, |row| row.svma >> 16);
        let mut dictionary = RuleDictionary::default();
        group.bench_function("one unwind page", |bencher| {
            bencher.iter(|| black_box(sections.page(&index, number, &mut dictionary)));
        });
        let svmas: Vec<u64> = table.rows().step_by(7).map(|row| row.svma + 1).collect();
        let mut next = svmas.iter().cycle();
        group.bench_function("unwind lookup", |bencher| {
            bencher.iter(|| table.lookup(black_box(*next.next().expect("a cycle has no end"))));
        });

        let names = NameTable::of_elf(&elf, &[]);
        group.bench_function("name lookup", |bencher| {
            bencher.iter(|| {
                names.lookup(black_box(*next.next().expect("a cycle has no end"))).map(|symbol| symbol.address)
            });
        });
        group.throughput(Throughput::Bytes(file.len() as u64));
        group.bench_function("names", |bencher| bencher.iter(|| black_box(NameTable::of_elf(&elf, &[])).size_bytes()));
    }
}

criterion_group!(benches, tables);
criterion_main!(benches);
