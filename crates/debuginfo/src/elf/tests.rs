use std::process::Command;

use super::*;

/// Links a small program with these flags, or says why not.
fn linked(test: &str, flags: &[&str]) -> Option<Vec<u8>> {
    let directory = tempfile::tempdir().unwrap();
    let (input, output) = (directory.path().join("a.c"), directory.path().join("out"));
    std::fs::write(&input, "int data = 7; int main(void) { return data; }").unwrap();
    match Command::new("gcc").args(flags).arg("-o").arg(&output).arg(&input).status() {
        Err(_) => {
            println!("SKIPPED {test}: gcc");
            None
        }
        Ok(status) => {
            assert!(status.success());
            Some(std::fs::read(output).unwrap())
        }
    }
}

#[test]
fn kinds_of_executables_are_told_apart() {
    let name = "kinds_of_executables_are_told_apart";
    for (flags, is_movable, is_pie) in [
        (&["-pie", "-fPIE"][..], true, true),
        (&["-no-pie"], false, false),
        (&["-shared", "-fPIC"], true, false),
        (&["-static-pie", "-fPIE"], true, true),
    ] {
        let Some(file) = linked(name, flags) else { return };
        let elf = Elf::parse(&file).unwrap();
        assert_eq!((elf.is_position_independent(), elf.is_pie()), (is_movable, is_pie), "{flags:?}");
    }
}

#[test]
fn the_linker_s_build_id_is_found_also_without_section_headers() {
    let id = "--build-id=0x0123456789abcdef0123456789abcdef01234567";
    let name = "the_linker_s_build_id_is_found_also_without_section_headers";
    let Some(mut file) = linked(name, &[&format!("-Wl,{id}")]) else { return };
    let expected = b"\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67\x89\xab\xcd\xef\x01\x23\x45\x67";
    assert_eq!(Elf::parse(&file).unwrap().gnu_build_id(), Some(&expected[..]));
    assert_eq!(Elf::parse(&file).unwrap().go_build_id(), None);
    file[0x28..0x30].fill(0);
    assert_eq!(Elf::parse(&file).unwrap().gnu_build_id(), Some(&expected[..]));
    let Some(file) = linked("", &["-Wl,--build-id=none"]) else { return };
    assert_eq!(Elf::parse(&file).unwrap().gnu_build_id(), None);
}

#[test]
fn addresses_and_offsets_translate_both_ways() {
    let name = "addresses_and_offsets_translate_both_ways";
    for flags in [&["-no-pie"][..], &["-pie"], &["-no-pie", "-Wl,-Ttext-segment=0x12340000"]] {
        let Some(file) = linked(name, flags) else { return };
        let elf = Elf::parse(&file).unwrap();
        let text = elf.section_named(".text").unwrap();
        let offset = elf.file_offset_of(text.svma).unwrap();
        assert_eq!(&file[offset as usize..][..text.data.len()], text.data);
        assert_eq!(elf.svma_of(offset), Some(text.svma));
        assert!(elf.is_code(text.svma) && !elf.is_code(elf.base()));
        // A mapping of the page with the text, as the kernel reports it.
        let bias = 0x7f00_0000_0000;
        let page = offset & !4095;
        let start = bias + text.svma - (offset - page);
        assert_eq!(elf.bias(start, page), Some(bias));
        let data = elf.section_named(".data").unwrap();
        assert_eq!(elf.bytes_at(data.svma).map(|bytes| bytes[..data.data.len()].to_vec()), Some(data.data.to_vec()));
        assert_eq!((elf.file_offset_of(u64::MAX), elf.svma_of(u64::MAX), elf.bias(0, 1 << 40)), (None, None, None));
    }
}

#[test]
#[cfg(target_arch = "x86_64")]
fn mappings_of_this_process_give_one_bias_per_file() {
    let own = std::env::current_exe().unwrap();
    let file = std::fs::read(&own).unwrap();
    let elf = Elf::parse(&file).unwrap();
    let here = mappings_of_this_process_give_one_bias_per_file as fn() as usize as u64;
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let mut biases = Vec::new();
    for line in maps.lines().filter(|line| line.ends_with(own.to_str().unwrap())) {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let number = |text| u64::from_str_radix(text, 16).unwrap();
        let (start, end) = fields[0].split_once('-').unwrap();
        if fields[1].contains('x') {
            let bias = elf.bias(number(start), number(fields[2])).unwrap();
            if (number(start)..number(end)).contains(&here) {
                assert!(elf.is_code(here - bias));
            }
            biases.push(bias);
        }
    }
    biases.dedup();
    assert_eq!(biases.len(), 1);
}

#[test]
fn segments_that_wrap_around_hold_nothing_before_them() {
    let mut file = vec![0u8; 200];
    file[..8].copy_from_slice(b"\x7fELF\x02\x01\x01\0");
    file[16..21].copy_from_slice(&[2, 0, 62, 0, 1]);
    (file[0x20], file[0x36], file[0x38]) = (64, 56, 1);
    (file[64], file[68]) = (1, 5);
    file[72..80].copy_from_slice(&0x100u64.to_le_bytes()); // file offset
    file[80..88].copy_from_slice(&0x40_0000u64.to_le_bytes());
    file[96..112].fill(0xff); // sizes in file and memory
    let elf = Elf::parse(&file).unwrap();
    assert_eq!((elf.file_offset_of(0x1000), elf.svma_of(0x10), elf.bytes_at(0x1000)), (None, None, None));
    assert!(!elf.is_code(0x1000) && elf.is_code(0x40_0000));
    assert_eq!(elf.svma_of(0x101), Some(0x40_0001));
}

#[test]
fn what_is_no_elf_file_is_named() {
    let header = |class, data, machine: u16| {
        let mut file = vec![0; 64];
        file[..7].copy_from_slice(&[0x7f, b'E', b'L', b'F', class, data, 1]);
        file[18..20].copy_from_slice(&machine.to_le_bytes());
        file
    };
    assert_eq!(Elf::parse(b"").unwrap_err(), ElfError::NotElf);
    assert_eq!(Elf::parse(&[0; 64]).unwrap_err(), ElfError::NotElf);
    assert_eq!(Elf::parse(&header(1, 1, 3)).unwrap_err(), ElfError::Class);
    assert_eq!(Elf::parse(&header(2, 2, 62)).unwrap_err(), ElfError::Class);
    assert_eq!(Elf::parse(&header(2, 1, 243)).unwrap_err(), ElfError::Machine(243));
    assert!(Elf::parse(&header(2, 1, 62)).is_ok());
    let mut outside = header(2, 1, 62);
    outside[0x20] = 0xff; // e_phoff
    outside[0x36] = 56; // e_phentsize
    outside[0x38] = 1; // e_phnum
    assert_eq!(Elf::parse(&outside).unwrap_err(), ElfError::ProgramHeaders);
}

#[test]
fn the_hash_of_head_tail_and_length_is_the_specified_one() {
    // Computed with sha256sum over the parts.
    let file: Vec<u8> = (0..10_000u32).map(|index| (index % 251) as u8).collect();
    let hex = |bytes: [u8; 16]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(head_tail_length_hash(&file)), "29e3194e821b97b5565d43a5156ad97a");
    assert_eq!(hex(head_tail_length_hash(b"short")), "44a7e1d2bd59d26f377a8dd07d0461ac");
    assert_eq!(hex(head_tail_length_hash(b"")), "af5570f5a1810b7af78caf4bc70a660f");
}
