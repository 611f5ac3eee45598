use std::path::Path;
use std::process::Command;

use super::*;
use crate::demangle;

/// Runs a compiler or tool in a directory; false (and a note) if it is not there.
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

fn table(file: &[u8]) -> NameTable {
    NameTable::of_elf(&Elf::parse(file).unwrap(), &[])
}

/// Every function of the reader's own table by `nm` (of binutils) must be found at its first and last byte.
fn has_functions(table: &NameTable, names: &[&str]) {
    let found: Vec<String> = table.iter().map(|symbol| demangle(symbol.name).into_owned()).collect();
    for name in names {
        assert!(found.iter().any(|one| one == name), "{name} is not in {found:?}");
    }
}

const C: &str = "#include <string.h>\n\
    static __attribute__((noinline)) int hidden(const char *text) { return strlen(text) * 3; }\n\
    int visible(const char *text) { return hidden(text) + 1; }\n\
    int main(int argc, char **argv) { return visible(argv[0]) + (int)strtok(argv[0], argv[0])[0]; }\n";

#[test]
fn c_names_come_from_whatever_table_is_left() {
    let test = "c_names_come_from_whatever_table_is_left";
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    std::fs::write(at.join("a.c"), C).unwrap();
    for plt in ["-Wl,-z,lazy", "-Wl,-z,now", "-fcf-protection=full"] {
        if !run(test, at, "gcc", &["-O1", "-fno-builtin", "-rdynamic", plt, "-g", "-o", "full", "a.c"]) {
            return;
        }
        let full = std::fs::read(at.join("full")).unwrap();
        has_functions(&table(&full), &["hidden", "visible", "main", "_start", "strlen@plt", "strtok@plt"]);

        run(test, at, "strip", &["-o", "stripped", "full"]);
        let stripped = table(&std::fs::read(at.join("stripped")).unwrap());
        has_functions(&stripped, &["visible", "main", "strlen@plt"]);
        assert!(!stripped.iter().any(|symbol| symbol.name == "hidden"));

        run(test, at, "objcopy", &["--only-keep-debug", "full", "full.debug"]);
        let (stripped, debug) =
            (std::fs::read(at.join("stripped")).unwrap(), std::fs::read(at.join("full.debug")).unwrap());
        let (stripped, debug) = (Elf::parse(&stripped).unwrap(), Elf::parse(&debug).unwrap());
        let joined = NameTable::of_elf(&stripped, &[&debug]);
        has_functions(&joined, &["hidden", "visible", "strlen@plt"]);
        // Names lie where the linker put them.
        for symbol in table(&full).iter().filter(|symbol| symbol.name != "_init") {
            assert_eq!(joined.lookup(symbol.address).map(|found| found.name), Some(symbol.name));
        }
    }
}

#[test]
fn mini_debug_info_is_read() {
    let test = "mini_debug_info_is_read";
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    std::fs::write(at.join("a.c"), C).unwrap();
    if !run(test, at, "gcc", &["-O1", "-fno-builtin", "-o", "full", "a.c"])
        || !run(test, at, "objcopy", &["--strip-debug", "full", "mini"])
        || !run(test, at, "xz", &["-k", "mini"])
    {
        return;
    }
    run(test, at, "objcopy", &["--strip-all", "--add-section", ".gnu_debugdata=mini.xz", "full", "out"]);
    let file = std::fs::read(at.join("out")).unwrap();
    assert!(Elf::parse(&file).unwrap().section_named(".symtab").is_none());
    has_functions(&table(&file), &["hidden", "visible", "main"]);

    // A bomb gives nothing, and costs no more than the bound.
    std::fs::write(at.join("zeros"), vec![0; MAX_MINI_DEBUG as usize + 1]).unwrap();
    run(test, at, "xz", &["zeros"]);
    assert_eq!(mini_debug(&std::fs::read(at.join("zeros.xz")).unwrap()), None);
    let packed = std::fs::read(at.join("mini.xz")).unwrap();
    for length in 0..packed.len() {
        assert_eq!(mini_debug(&packed[..length]), None);
    }
}

#[test]
fn cpp_and_rust_names_are_found_and_demangle() {
    let test = "cpp_and_rust_names_are_found_and_demangle";
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let cpp = "namespace space { template <class T> struct Box { __attribute__((noinline)) T get(T x) { return x * 2; } };\n\
        __attribute__((noinline)) int twice(int x, const char *) { return Box<int>().get(x); } }\n\
        int main(int argc, char **argv) { return space::twice(argc, argv[0]); }\n";
    std::fs::write(at.join("a.cpp"), cpp).unwrap();
    if run(test, at, "g++", &["-O1", "-o", "cpp", "a.cpp"]) {
        let names = table(&std::fs::read(at.join("cpp")).unwrap());
        has_functions(&names, &["space::twice(int, char const*)", "space::Box<int>::get(int)", "main"]);
    }
    let rust = "mod inner { #[inline(never)] pub fn work<T: std::fmt::Debug>(x: T) -> String { format!(\"{x:?}\") } }\n\
        fn main() { println!(\"{}\", inner::work(std::env::args().count())); }\n";
    std::fs::write(at.join("a.rs"), rust).unwrap();
    for (mangling, name) in [("legacy", "a::inner::work"), ("v0", "a::inner::work::<usize>")] {
        let mangling = format!("-Csymbol-mangling-version={mangling}");
        let unstable = std::env::var_os("RUSTC_BOOTSTRAP").is_none().then_some("1");
        let mut command = Command::new("rustc");
        command.current_dir(at).args(["-O", &mangling, "-Zunstable-options", "-o", "rust", "a.rs"]);
        if let Some(value) = unstable {
            command.env("RUSTC_BOOTSTRAP", value);
        }
        match command.status() {
            Err(_) => println!("SKIPPED {test}: rustc"),
            Ok(status) => {
                assert!(status.success());
                has_functions(&table(&std::fs::read(at.join("rust")).unwrap()), &[name, "main"]);
            }
        }
    }
}

#[test]
fn damaged_files_give_what_is_left_and_do_not_panic() {
    let test = "damaged_files_give_what_is_left_and_do_not_panic";
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    std::fs::write(at.join("a.c"), "int leaf(int x) { return x * 3; } int main() { return leaf(2); }").unwrap();
    let flags = ["-O0", "-nostdlib", "-shared", "-Wl,-z,noseparate-code", "-o", "out", "a.c"];
    if !run(test, at, "gcc", &flags) {
        return;
    }
    let file = std::fs::read(at.join("out")).unwrap();
    has_functions(&table(&file), &["leaf", "main"]);
    let look = |file: &[u8]| {
        if let Ok(elf) = Elf::parse(file) {
            let table = NameTable::of_elf(&elf, &[&elf]);
            assert!(table.iter().count() as u64 <= table.report().kept);
        }
    };
    (0..file.len()).for_each(|length| look(&file[..length]));
    let mut damaged = file.clone();
    for position in 0..file.len() {
        for value in [0, 0x7f, 0xff, file[position] ^ 1] {
            damaged[position] = value;
            look(&damaged);
        }
        damaged[position] = file[position];
    }
}

#[test]
fn many_symbols_and_shared_long_names_stop_at_the_bounds() {
    // Three million symbols in code, all with one name of 16 KiB.
    let mut strings = vec![b'x'; 20 << 10];
    strings.push(0);
    let count = 3 << 20;
    let file = {
        let mut file = vec![0u8; 64 + 56];
        file[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
        file[16..20].copy_from_slice(&[3, 0, 62, 0]);
        file[20] = 1;
        file[0x20] = 64;
        file[0x36..0x38].copy_from_slice(&56u16.to_le_bytes());
        file[0x38] = 1;
        (file[64], file[68]) = (1, 5);
        file[64 + 32..64 + 40].copy_from_slice(&(1u64 << 30).to_le_bytes());
        file[64 + 40..64 + 48].copy_from_slice(&(1u64 << 30).to_le_bytes());
        let strings_at = file.len() as u64;
        file.extend(&strings);
        let symbols_at = file.len() as u64;
        for index in 0..count as u64 {
            file.extend([0, 0, 0, 0, 0x12, 0, 1, 0]);
            file.extend((index * 16).to_le_bytes());
            file.extend(8u64.to_le_bytes());
        }
        let headers_at = file.len() as u64;
        file.extend([0; 64]);
        let mut header = |kind: u32, offset: u64, size: u64, link: u32| {
            file.extend(0u32.to_le_bytes());
            file.extend(kind.to_le_bytes());
            file.extend([0; 16]);
            file.extend(offset.to_le_bytes());
            file.extend(size.to_le_bytes());
            file.extend(link.to_le_bytes());
            file.extend([0; 4 + 16]);
        };
        header(2, symbols_at, count as u64 * 24, 2);
        header(3, strings_at, strings.len() as u64, 0);
        file[0x28..0x30].copy_from_slice(&headers_at.to_le_bytes());
        file[0x3a..0x3c].copy_from_slice(&64u16.to_le_bytes());
        file[0x3c..0x3e].copy_from_slice(&3u16.to_le_bytes());
        file[0x3e..0x40].copy_from_slice(&2u16.to_le_bytes());
        file
    };
    let table = table(&file);
    let report = table.report();
    assert!(report.kept > 1000 && report.over_limit > 0, "{report:?}");
    assert!(table.size_bytes() <= crate::MAX_NAME_BYTES + (crate::MAX_SYMBOLS * 24), "{}", table.size_bytes());
}
