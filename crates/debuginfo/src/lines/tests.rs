use std::path::Path;
use std::process::Command;

use super::*;
use crate::{NameTable, demangle};

const ROOM: u64 = 256 << 20;

const SOURCE: &str = "int sink;\n\
    static inline __attribute__((always_inline)) int inner(int x) {\n\
        sink += x;\n\
        return sink * 3;\n\
    }\n\
    static inline __attribute__((always_inline)) int middle(int x) {\n\
        return inner(x + 1);\n\
    }\n\
    __attribute__((noinline)) int outer(int x) {\n\
        return middle(x)\n\
            + x;\n\
    }\n\
    int main(int argc, char **argv) { return outer(argc); }\n";

fn run(test: &str, directory: &Path, tool: &str, arguments: &[&str]) -> bool {
    match Command::new(tool).current_dir(directory).args(arguments).status() {
        Err(_) => {
            println!("SKIPPED {test}: {tool}");
            false
        }
        Ok(status) => {
            assert!(status.success(), "{tool} {arguments:?}");
            true
        }
    }
}

/// All frames of all addresses of a function, as function:file:line:start, without repetition.
fn stacks(elf: &Elf<'_>, debug: &Elf<'_>, supplementary: Option<&Elf<'_>>, function: &str) -> Vec<Vec<String>> {
    let names = NameTable::of_elf(elf, &[debug]);
    let start = names.iter().find(|one| demangle(one.name) == function).expect("the function").address;
    let svmas: Vec<u64> =
        (start..).take_while(|svma| names.lookup(*svma).is_some_and(|at| at.address == start)).collect();
    let sections = LineSections::load(debug, supplementary, ROOM).expect("debug information");
    let table = LineTable::new(&sections);
    let (frames, report) = table.lookup(&svmas, ROOM);
    assert_eq!((report.damaged, report.over_budget, report.units), (0, 0, 1));
    let mut stacks = Vec::new();
    for frames in frames {
        let text: Vec<String> = frames
            .iter()
            .map(|frame| {
                let file = frame.file.rsplit('/').next().unwrap();
                format!("{}:{file}:{}:{}", demangle(&frame.function), frame.line, frame.start_line)
            })
            .collect();
        if !stacks.contains(&text) {
            stacks.push(text);
        }
    }
    stacks
}

#[test]
fn c_lines_and_inlined_calls_are_those_of_the_source() {
    let test = "c_lines_and_inlined_calls_are_those_of_the_source";
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    std::fs::write(at.join("a.c"), SOURCE).unwrap();
    for (compiler, flags) in [
        ("gcc", &["-gdwarf-4"][..]),
        ("gcc", &["-gdwarf-5"]),
        ("gcc", &["-gdwarf-5", "-gz=zlib"]),
        ("gcc", &["-gdwarf-5", "-flto"]),
        ("gcc", &["-gdwarf-5", "-ffunction-sections", "-Wl,--gc-sections"]),
        ("clang", &["-gdwarf-4"]),
        ("clang", &["-gdwarf-5"]),
    ] {
        let arguments = [&["-O2", "-o", "out", "a.c"], flags].concat();
        if !run(test, at, compiler, &arguments) {
            continue;
        }
        let file = std::fs::read(at.join("out")).unwrap();
        let elf = Elf::parse(&file).unwrap();
        let found = stacks(&elf, &elf, None, "outer");
        for line in [3, 4] {
            let expected = [format!("inner:a.c:{line}:2"), "middle:a.c:7:6".into(), "outer:a.c:10:9".into()].to_vec();
            assert!(found.contains(&expected), "{compiler} {flags:?}: {found:?}");
        }
        assert!(found.contains(&["outer:a.c:11:9".to_owned()].to_vec()), "{compiler} {flags:?}: {found:?}");
        let paths = {
            let sections = LineSections::load(&elf, None, ROOM).unwrap();
            let table = LineTable::new(&sections);
            let (frames, _) = table
                .lookup(&[NameTable::of_elf(&elf, &[]).iter().find(|one| one.name == "main").unwrap().address], ROOM);
            frames[0][0].file.clone()
        };
        assert_eq!(Path::new(&paths), at.canonicalize().unwrap().join("a.c"));
    }
}

#[test]
fn cpp_and_rust_lines_are_those_of_the_source() {
    let test = "cpp_and_rust_lines_are_those_of_the_source";
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let cpp = "int sink;\nnamespace space {\nstruct Box {\n  int value;\n  int get(int x);\n};\n\
        inline int twice(int x) {\n  sink += x;\n  return sink * 2; }\n\
        __attribute__((noinline)) int Box::get(int x) {\n  return twice(x) + value; }\n}\n\
        int main(int argc, char **) { space::Box box{argc}; return box.get(argc); }\n";
    std::fs::write(at.join("a.cpp"), cpp).unwrap();
    if run(test, at, "g++", &["-O2", "-g", "-o", "cpp", "a.cpp"]) {
        let file = std::fs::read(at.join("cpp")).unwrap();
        let elf = Elf::parse(&file).unwrap();
        let found = stacks(&elf, &elf, None, "space::Box::get(int)");
        let expected = ["space::twice(int):a.cpp:8:7".to_owned(), "space::Box::get(int):a.cpp:11:10".into()].to_vec();
        assert!(found.contains(&expected), "{found:?}");
    }
    let rust = "use std::sync::atomic::{AtomicUsize, Ordering};\nstatic SINK: AtomicUsize = AtomicUsize::new(0);\n\
        #[inline(always)]\nfn inner(x: usize) -> usize {\n    SINK.fetch_add(x, Ordering::SeqCst)\n        * 3\n}\n\
        #[inline(never)]\nfn outer(x: usize) -> usize {\n    inner(x) + 1\n}\nfn main() { std::process::exit(outer(std::env::args().count()) as i32); }\n";
    std::fs::write(at.join("a.rs"), rust).unwrap();
    if run(test, at, "rustc", &["-O", "-g", "-o", "rust", "a.rs"]) {
        let file = std::fs::read(at.join("rust")).unwrap();
        let elf = Elf::parse(&file).unwrap();
        let found = stacks(&elf, &elf, None, "a::outer");
        let ends = ["a::inner:a.rs:5:4", "a::outer:a.rs:10:9"];
        assert!(found.iter().any(|frames| frames.ends_with(&ends.map(String::from))), "{found:?}");
    }
}

#[test]
fn separate_debug_files_are_named_and_read() {
    let test = "separate_debug_files_are_named_and_read";
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    std::fs::write(at.join("a.c"), SOURCE).unwrap();
    let id = "-Wl,--build-id=0xabcdef0123456789";
    if !run(test, at, "gcc", &["-O2", "-g", id, "-o", "full", "a.c"])
        || !run(test, at, "objcopy", &["--only-keep-debug", "full", "full.debug"])
        || !run(test, at, "objcopy", &["--strip-all", "--add-gnu-debuglink=full.debug", "full", "stripped"])
    {
        return;
    }
    let (stripped, debug) =
        (std::fs::read(at.join("stripped")).unwrap(), std::fs::read(at.join("full.debug")).unwrap());
    let elf = Elf::parse(&stripped).unwrap();
    assert!(LineSections::load(&elf, None, ROOM).is_none());
    assert_eq!(
        debug_file_paths(&elf, "/opt/bin/stripped"),
        [
            "/usr/lib/debug/.build-id/ab/cdef0123456789.debug",
            "/opt/bin/full.debug",
            "/opt/bin/.debug/full.debug",
            "/usr/lib/debug/opt/bin/full.debug"
        ]
    );
    let link = debug_link(&elf).unwrap();
    assert!(link.matches(&debug) && !link.matches(&stripped));
    let found = stacks(&elf, &Elf::parse(&debug).unwrap(), None, "outer");
    assert!(found.contains(&["outer:a.c:11:9".to_owned()].to_vec()), "{found:?}");
    assert_eq!(alternate_link(&elf), None);
}

#[test]
fn zstd_sections_and_supplementary_files_are_read() {
    let test = "zstd_sections_and_supplementary_files_are_read";
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    std::fs::write(at.join("a.c"), SOURCE).unwrap();
    std::fs::write(at.join("b.c"), SOURCE.replace("argc)", "argc + 1)")).unwrap();
    let build = |input, output| run(test, at, "gcc", &["-O2", "-g", "-o", output, input]);
    if !build("a.c", "one") || !build("b.c", "two") {
        return;
    }
    let check = |file: &[u8], supplementary: Option<&Elf<'_>>| {
        let elf = Elf::parse(file).unwrap();
        let found = stacks(&elf, &elf, supplementary, "outer");
        let expected = ["inner:a.c:3:2", "middle:a.c:7:6", "outer:a.c:10:9"].map(String::from).to_vec();
        assert!(found.contains(&expected), "{found:?}");
    };
    let help = Command::new("objcopy").arg("--help").output().map(|output| output.stdout).unwrap_or_default();
    if memchr::memmem::find(&help, b"zstd").is_some() {
        run(test, at, "objcopy", &["--compress-debug-sections=zstd", "one", "packed"]);
        let packed = std::fs::read(at.join("packed")).unwrap();
        assert!(Elf::parse(&packed).unwrap().section_named(".debug_info").unwrap().compressed);
        check(&packed, None);
    } else {
        println!("SKIPPED {test}: objcopy with zstd");
    }
    if run(test, at, "dwz", &["-m", "common", "one", "two"]) {
        let (one, common) = (std::fs::read(at.join("one")).unwrap(), std::fs::read(at.join("common")).unwrap());
        let common = Elf::parse(&common).unwrap();
        let one_elf = Elf::parse(&one).unwrap();
        let link = alternate_link(&one_elf).expect("a link to the common file");
        assert!(link.path.ends_with("common"));
        assert_eq!(common.gnu_build_id(), Some(link.build_id));
        check(&one, Some(&common));
    }
}

#[test]
fn budgets_end_the_work_and_are_counted() {
    let test = "budgets_end_the_work_and_are_counted";
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    std::fs::write(at.join("a.c"), SOURCE).unwrap();
    if !run(test, at, "gcc", &["-O2", "-g", "-gz=zlib", "-o", "full", "a.c"]) {
        return;
    }
    let file = std::fs::read(at.join("full")).unwrap();
    let elf = Elf::parse(&file).unwrap();
    assert!(LineSections::load(&elf, None, 10).is_none());
    let sections = LineSections::load(&elf, None, ROOM).unwrap();
    assert!(sections.size_bytes() > 0);
    let table = LineTable::new(&sections);
    let main = NameTable::of_elf(&elf, &[]).iter().find(|one| one.name == "main").unwrap().address;
    let (frames, report) = table.lookup(&[main, main, 1], 20);
    assert_eq!(frames, [Vec::new(), Vec::new(), Vec::new()]);
    assert_eq!((report.over_budget, report.units), (2, 0));
    let (frames, report) = table.lookup(&[main, main, 1], ROOM);
    assert_eq!(frames[0], frames[1]);
    assert_eq!(frames[0][0].function, "main");
    assert!(frames[2].is_empty() && report.bytes < 10_000);
}

#[test]
fn damaged_debug_information_does_not_panic() {
    let test = "damaged_debug_information_does_not_panic";
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    std::fs::write(at.join("a.c"), SOURCE).unwrap();
    for version in ["-gdwarf-4", "-gdwarf-5"] {
        if !run(test, at, "gcc", &["-O2", version, "-nostdlib", "-static", "-Wl,-e,main", "-o", "out", "a.c"]) {
            return;
        }
        let file = std::fs::read(at.join("out")).unwrap();
        let elf = Elf::parse(&file).unwrap();
        let code = elf.section_named(".text").unwrap();
        let svmas: Vec<u64> = (code.svma..code.svma + code.size).collect();
        let look = |file: &[u8]| {
            let Ok(elf) = Elf::parse(file) else { return };
            let Some(sections) = LineSections::load(&elf, None, ROOM) else { return };
            let (frames, report) = LineTable::new(&sections).lookup(&svmas, 1 << 20);
            assert!(report.bytes <= 1 << 20);
            assert!(frames.iter().all(|frames| frames.len() <= MAX_INLINED));
        };
        let mut damaged = file.clone();
        for section in elf.sections().filter(|section| section.name.starts_with(b".debug_")) {
            let at = section.data.as_ptr() as usize - file.as_ptr() as usize;
            for position in at..at + section.data.len() {
                for value in [0, 0x7f, 0xff, file[position] ^ 1] {
                    damaged[position] = value;
                    look(&damaged);
                }
                damaged[position] = file[position];
            }
        }
    }
}
