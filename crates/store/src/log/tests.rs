use super::*;
use crate::sim::SimDisk;

const GENERATION: u64 = 7;

/// A log of batches of records; returns the offset at which each record starts.
fn write(disk: &SimDisk, batches: &[&[&str]]) -> Vec<u64> {
    disk.create_dir("log").unwrap();
    let mut log = LogFile::create(disk, GENERATION, 0xABCD_EF01_2345_6789).unwrap();
    let mut starts = Vec::new();
    for batch in batches {
        let payloads: Vec<Payload> = batch.iter().map(|text| Payload::new(text.as_bytes().to_vec())).collect();
        let mut at = log.len();
        for payload in &payloads {
            starts.push(at);
            at += (RECORD_HEADER_LEN + payload.bytes.len()) as u64;
        }
        log.append(payloads.iter()).unwrap();
        log.sync().unwrap();
        assert_eq!(log.len(), at);
    }
    starts
}

fn read(disk: &SimDisk) -> (Vec<String>, LogReport) {
    let mut texts = Vec::new();
    let visit = |payload: &[u8]| {
        texts.push(String::from_utf8(payload.to_vec()).unwrap());
        Ok(())
    };
    let report = replay(disk.open(&path(GENERATION)).unwrap(), GENERATION, visit).unwrap();
    (texts, report)
}

#[test]
fn records_come_back_in_order() {
    let disk = SimDisk::new(1);
    write(&disk, &[&["a", "bb"], &[""], &["ccc"]]);
    let (texts, report) = read(&disk);
    assert_eq!(texts, ["a", "bb", "", "ccc"]);
    assert_eq!((report.records, report.torn_bytes, report.damage.len()), (4, 0, 0));
}

#[test]
fn a_cut_anywhere_loses_the_tail_only() {
    let disk = SimDisk::new(1);
    let starts = write(&disk, &[&["first", "second"], &["third"]]);
    let whole = disk.bytes(&path(GENERATION));
    for len in 0..whole.len() {
        disk.damage(&path(GENERATION), |bytes| *bytes = whole[..len].to_vec());
        let (texts, report) = read(&disk);
        let ends = starts[1..].iter().copied().chain([whole.len() as u64]);
        let expected = ends.filter(|&end| end <= len as u64).count();
        assert_eq!(texts.len(), expected, "cut at {len}");
        assert_eq!(report.damage, Vec::<String>::new());
    }
}

#[test]
fn damage_before_a_later_batch_is_told_from_a_torn_write() {
    let disk = SimDisk::new(1);
    let starts = write(&disk, &[&["first", "second"], &["third", "fourth"]]);
    let whole = disk.bytes(&path(GENERATION));
    let len = whole.len();
    for at in 0..len {
        disk.damage(&path(GENERATION), |bytes| {
            *bytes = whole.clone();
            bytes[at] ^= 0x10;
        });
        let (texts, report) = read(&disk);
        let hit = starts.iter().rposition(|&start| start <= at as u64);
        match hit {
            None => assert_eq!((texts.len(), report.damage.len()), (4, 1), "file header, byte {at}"),
            Some(record @ (0 | 1)) => {
                let expected: Vec<&str> = [["second", "third", "fourth"], ["first", "third", "fourth"]][record].into();
                assert_eq!((texts, report.damage.len(), report.torn_bytes), (own(&expected), 1, 0), "byte {at}");
            }
            Some(record) => {
                let expected = &["first", "second", "third"][..record];
                let torn_bytes = len as u64 - starts[record];
                assert_eq!(
                    (texts, report.damage.len(), report.torn_bytes),
                    (own(expected), 0, torn_bytes),
                    "byte {at}"
                );
            }
        }
    }
}

fn own(texts: &[&str]) -> Vec<String> {
    texts.iter().map(|&text| text.to_owned()).collect()
}

#[test]
fn what_the_visitor_refuses_is_damage() {
    let disk = SimDisk::new(1);
    write(&disk, &[&["a", "b"]]);
    let refuse_b = |payload: &[u8]| if payload == b"b" { Err("no b".to_owned()) } else { Ok(()) };
    let report = replay(disk.open(&path(GENERATION)).unwrap(), GENERATION, refuse_b).unwrap();
    assert_eq!((report.records, report.damage.len()), (1, 1));
    assert!(report.damage[0].ends_with("no b"), "{:?}", report.damage);
}

#[test]
fn text_that_looks_like_a_record_is_none() {
    let disk = SimDisk::new(1);
    // A record as a client would forge it: everything right but the salt.
    let inner = Payload::new(b"forged".to_vec());
    let mut forged = record_header(1, 1, 32, &inner).to_vec();
    forged.extend_from_slice(&inner.bytes);
    disk.create_dir("log").unwrap();
    let mut log = LogFile::create(&disk, GENERATION, 0xABCD_EF01_2345_6789).unwrap();
    for bytes in [forged, b"real".to_vec()] {
        log.append([&Payload::new(bytes)].into_iter()).unwrap();
        log.sync().unwrap();
    }
    disk.damage(&path(GENERATION), |bytes| bytes[33] ^= 1);
    let (texts, report) = read(&disk);
    assert_eq!((texts, report.damage.len()), (own(&["real"]), 1));
}

#[test]
fn a_log_of_another_generation_gives_nothing() {
    let disk = SimDisk::new(1);
    write(&disk, &[]);
    let report = replay(disk.open(&path(GENERATION)).unwrap(), 8, |_| Ok(())).unwrap();
    assert_eq!((report.records, report.torn_bytes), (0, 32));
}
