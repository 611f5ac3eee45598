use super::*;

fn name(kind: SectionKind) -> &'static str {
    if kind == 1 { "one" } else { "other" }
}

fn example() -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = ContainerWriter::new(&mut bytes).unwrap();
    writer.begin_group("a", b"attributes".to_vec());
    writer.begin_section(1);
    writer.write(b"first ").unwrap();
    writer.write(b"section").unwrap();
    writer.begin_section(9);
    writer.begin_group("b", Vec::new());
    writer.begin_section(1);
    writer.write(b"second").unwrap();
    let (length, crc) = writer.finish(b"meta").unwrap();
    assert_eq!((length, crc), (bytes.len() as u64, crc32c::crc32c(&bytes)));
    bytes
}

fn open(bytes: &[u8]) -> Result<Container, BlockError> {
    Container::open(Arc::new(bytes.to_vec()), name)
}

/// A container around any table of contents.
fn with_contents(sections: &[u8], contents: &[u8]) -> Vec<u8> {
    [&header()[..], sections, contents, &footer(contents)].concat()
}

#[test]
fn sections_come_back() {
    let container = open(&example()).unwrap();
    assert_eq!(container.meta(), b"meta");
    let groups = container.groups();
    assert_eq!((groups[0].name.as_str(), groups[0].attributes.as_slice()), ("a", &b"attributes"[..]));
    assert_eq!(container.read(0, 1).unwrap(), b"first section");
    assert_eq!(container.read(0, 9).unwrap(), b"");
    assert_eq!(container.read(1, 1).unwrap(), b"second");
    assert_eq!(container.read_range(0, 1, 6..9).unwrap(), b"sec");
    assert!(container.verify().is_empty());
}

#[test]
fn what_is_missing_is_an_error() {
    let container = open(&example()).unwrap();
    assert!(container.read(1, 9).unwrap_err().to_string().contains("missing"));
    assert!(container.read_range(1, 1, 3..7).is_err());
}

#[test]
fn a_damaged_section_is_named_and_the_others_stay_readable() {
    let mut bytes = example();
    let at = open(&bytes).unwrap().groups()[0].sections[0].offset;
    bytes[at as usize + 2] ^= 4;
    let container = open(&bytes).unwrap();
    let message = container.read(0, 1).unwrap_err().to_string();
    assert_eq!(message, "damaged dataset \"a\", section one at 16, 13 bytes: checksum differs");
    assert_eq!(container.read(1, 1).unwrap(), b"second");
    assert_eq!(container.verify().len(), 1);
}

#[test]
fn a_damaged_header_is_found() {
    let mut bytes = example();
    bytes[3] ^= 1;
    let errors = open(&bytes).unwrap().verify();
    assert!(errors[0].to_string().starts_with("damaged header"), "{errors:?}");
}

#[test]
fn a_newer_version_is_named() {
    let mut bytes = example();
    let footer = bytes.len() - FOOTER_BYTES as usize;
    bytes[footer + 12] = 2;
    let crc = crc32c::crc32c(&bytes[footer..footer + 16]);
    bytes[footer + 16..footer + 20].copy_from_slice(&crc.to_le_bytes());
    assert!(matches!(open(&bytes), Err(BlockError::Version { found: 2, supported: 1 })));
}

#[test]
fn sections_must_fill_the_block_exactly() {
    let contents = |length: u64| {
        let section = Section { kind: 1, offset: 0, length, crc: crc32c::crc32c(b"12345") };
        encode_contents(b"", &[Group { name: "a".to_owned(), attributes: Vec::new(), sections: vec![section] }])
    };
    assert!(open(&with_contents(b"12345", &contents(5))).is_ok());
    for length in [0, 4, 6, 1 << 40, u64::MAX] {
        assert!(open(&with_contents(b"12345", &contents(length))).is_err(), "{length}");
    }
}

#[test]
fn hostile_contents_are_refused() {
    let mut many_groups = Vec::new();
    put_bytes(&mut many_groups, b"");
    put_varint(&mut many_groups, u64::MAX);
    let mut many_sections = many_groups[..1].to_vec();
    many_sections.extend([1, 0, 0]);
    put_varint(&mut many_sections, u64::MAX);
    let mut no_text = many_groups[..1].to_vec();
    no_text.extend([1, 1, 0xFF, 0, 0]);
    for contents in [&many_groups, &many_sections, &no_text, &vec![], &vec![0xFF; 40]] {
        assert!(open(&with_contents(b"", contents)).is_err());
    }
}

#[test]
fn other_files_are_refused() {
    for bytes in [&b""[..], b"ARGANDBK", &[0; 39], &[0; 40], &[0xFF; 4096]] {
        assert!(open(bytes).is_err());
    }
}
