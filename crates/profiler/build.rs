//! Compiles the kernel side with clang, and turns the lists that C and Rust share into Rust enums.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use libbpf_cargo::SkeletonBuilder;

fn main() {
    let out = PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    println!("cargo:rerun-if-changed=bpf");
    let lists = std::fs::read_to_string("bpf/include/lists.h").expect("the lists are part of the crate");
    std::fs::write(out.join("lists.rs"), enums(&lists)).expect("OUT_DIR is writable");
    let built = SkeletonBuilder::new()
        .source("bpf/profiler.bpf.c")
        .clang_args(clang_arguments())
        .build_and_generate(out.join("profiler.skel.rs"));
    if let Err(error) = built {
        panic!("the kernel side does not build; it needs clang 14 or newer (`scripts/setup-debian.sh run`): {error:?}");
    }
}

fn clang_arguments() -> Vec<String> {
    // v3 has atomic operations that return a value (kernel 5.12).
    let mut arguments: Vec<String> =
        ["-mcpu=v3", "-Wall", "-Wextra", "-Werror", "-Wno-unused-parameter", "-Ibpf"].map(str::to_owned).to_vec();
    // Debian keeps <asm/types.h> in a folder that clang knows for the host, not for BPF.
    let multiarch = format!("/usr/include/{}-linux-gnu", std::env::var("CARGO_CFG_TARGET_ARCH").unwrap_or_default());
    if Path::new(&multiarch).is_dir() {
        arguments.push(format!("-I{multiarch}"));
    }
    arguments
}

/// Each `#define COUNTERS(COUNTER) COUNTER(name, "help") …` becomes `pub enum Counter { … }` with the help of each.
fn enums(lists: &str) -> String {
    let mut out = String::new();
    let joined = lists.replace("\\\n", " ");
    for definition in joined.lines().filter_map(|line| line.strip_prefix("#define ")) {
        let (head, entries) = definition.split_once(')').expect("a list names its macro in brackets");
        let (_, item) = head.split_once('(').expect("a list takes its macro as argument");
        let entries: Vec<(&str, &str)> = entries
            .split(&format!("\t{item}("))
            .skip(1)
            .map(|entry| {
                let (name, help) = entry.split_once(", \"").expect("an entry is NAME(identifier, \"help\")");
                (name, help.split_once("\")").expect("an entry ends with its help").0)
            })
            .collect();
        emit(&mut out, &camel(&item.to_lowercase()), &entries);
    }
    out
}

fn emit(out: &mut String, name: &str, entries: &[(&str, &str)]) {
    let mut put = |text: String| writeln!(out, "{text}").expect("writing to a string does not fail");
    put("/// From `bpf/include/lists.h`.".to_owned());
    put("#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]".to_owned());
    put(format!("#[repr(u8)]\npub enum {name} {{"));
    for (number, (entry, help)) in entries.iter().enumerate() {
        put(format!("    /// {help}\n    {} = {number},", camel(entry)));
    }
    put(format!("}}\nimpl {name} {{\n    /// All, by number.\n    pub const ALL: [Self; {}] = [", entries.len()));
    for (entry, _) in entries {
        put(format!("        Self::{},", camel(entry)));
    }
    put("    ];\n    /// Identifier, as in metrics.\n    pub fn name(self) -> &'static str {\n        match self {"
        .to_owned());
    for (entry, _) in entries {
        put(format!("            Self::{} => {entry:?},", camel(entry)));
    }
    put("        }\n    }\n    /// What it means.\n    pub fn help(self) -> &'static str {\n        match self {"
        .to_owned());
    for (entry, help) in entries {
        put(format!("            Self::{} => {help:?},", camel(entry)));
    }
    put("        }\n    }\n    /// The one with this number.\n    pub fn from_number(number: u64) -> Option<Self> {"
        .to_owned());
    put("        Self::ALL.get(usize::try_from(number).ok()?).copied()\n    }\n}".to_owned());
}

fn camel(name: &str) -> String {
    name.split('_').map(|word| word[..1].to_uppercase() + &word[1..]).collect()
}
