#![allow(clippy::single_range_in_vec_init, clippy::cloned_ref_to_slice_refs)] // scans take slices of ranges

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;

use argand_model::{
    Dataset, DatasetError, Dictionary, Labels, LocationId, Matcher, MemoryDataset, ProfileTable, RowColumns, RowSlice,
    StackId, TimeRange, name,
};
use proptest::prelude::*;

use crate::codec::{Encoder, put_varint};
use crate::container::{Container, ContainerWriter, SectionKind};
use crate::profiles::kind;
use crate::profiles::rows::{PAGE_ROWS, Pages, Stream};
use crate::profiles::table::time_range;
use crate::{Block, BlockError, BlockMeta, BlockWriter, ReadAt, sort_dataset};

const ALL_COLUMNS: RowColumns = RowColumns { span_id: true, trace_id: true };

fn meta() -> BlockMeta {
    BlockMeta { id: 7 << 100 | 5, tenant: "team-a".parse().unwrap(), level: 2, time: TimeRange::ALL }
}

fn write(datasets: &[MemoryDataset]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = BlockWriter::new(&mut bytes, meta()).unwrap();
    datasets.iter().for_each(|dataset| writer.add(dataset).unwrap());
    let summary = writer.finish().unwrap();
    assert_eq!((summary.bytes, summary.crc), (bytes.len() as u64, crc32c::crc32c(&bytes)));
    bytes
}

fn open(bytes: &[u8]) -> Result<Block, BlockError> {
    Block::open(Arc::new(bytes.to_vec()))
}

type Row = (u32, StackId, i64, u64, u128);

fn try_rows_of(dataset: &dyn Dataset, ranges: &[Range<u32>]) -> Result<Vec<Row>, DatasetError> {
    let mut rows = Vec::new();
    let visit = &mut |slice: RowSlice<'_>| {
        for i in 0..slice.stack.len() {
            let span_id = slice.span_id.get(i).copied().unwrap_or(0);
            let trace_id = slice.trace_id.get(i).copied().unwrap_or(0);
            rows.push((slice.first_row + i as u32, slice.stack[i], slice.value[i], span_id, trace_id));
        }
    };
    dataset.scan(ranges, ALL_COLUMNS, visit)?;
    Ok(rows)
}

fn rows_of(dataset: &dyn Dataset, ranges: &[Range<u32>]) -> Vec<Row> {
    try_rows_of(dataset, ranges).unwrap()
}

/// Two pods and two types; stacks of a few functions; some rows with spans.
fn dataset(service_name: &str, profiles: usize, rows: usize) -> MemoryDataset {
    let mut dictionary = Dictionary::default();
    let locations: Vec<LocationId> = (0..6)
        .map(|i| dictionary.symbols.push_named_location(&format!("function {i} of {service_name} — λ")))
        .collect();
    let mut nodes = vec![StackId(0)];
    for i in 0..40usize {
        nodes.push(dictionary.stacks.push(nodes[i * 7 % nodes.len()], locations[i % locations.len()]));
    }
    let mut dataset = MemoryDataset { service_name: service_name.to_owned(), ..MemoryDataset::default() };
    for (pod, ty) in [("a", "process_cpu:cpu:nanoseconds:cpu:nanoseconds"), ("b", "memory:space:bytes:space:bytes")] {
        dataset.series.push(Labels::new([(name::SERVICE_NAME, service_name), (name::PROFILE_TYPE, ty), ("pod", pod)]));
    }
    let mut table = ProfileTable::default();
    for i in 0..profiles {
        for row in 0..rows {
            dataset.stack.push(nodes[(i + row * 3) % nodes.len()]);
            dataset.value.push(if i % 2 == 0 { 10_000_000 * (1 + row as i64 % 5) } else { 512 + row as i64 });
            dataset.span_id.push(if i % 3 == 0 { 0xABCD_0000 + row as u64 / 4 } else { 0 });
            dataset.trace_id.push(if i % 3 == 0 { u128::MAX - row as u128 / 16 } else { 0 });
        }
        table.series.push((i % 2) as u32);
        table.time_ns.push(1_700_000_000_000_000_000 + 1_000 * i as i64);
        table.duration_ns.push(15_000_000_000);
        table.total.push(dataset.value[dataset.value.len() - rows..].iter().sum());
        table.id.push(0x1234_5678 << 64 | i as u128);
        table.row_end.push(dataset.stack.len() as u32);
    }
    dataset.profiles = Arc::new(table);
    dataset.dictionary = Arc::new(dictionary);
    dataset
}

#[test]
fn a_block_gives_back_what_was_written() {
    let datasets = [sort_dataset(dataset("cart", 3, 20)), sort_dataset(dataset("shop", 11, 5_000))];
    let block = open(&write(&datasets)).unwrap();
    assert_eq!(*block.meta(), meta());
    assert!(block.verify().is_empty());
    assert_eq!(block.datasets().len(), 2);
    for (index, expected) in datasets.iter().enumerate() {
        let read = block.dataset(index);
        let summary = &block.datasets()[index];
        assert_eq!(read.service_name(), expected.service_name);
        assert_eq!(summary.row_count as usize, expected.stack.len());
        assert_eq!(summary.profile_types.len(), 2);
        assert_eq!(*read.series().unwrap(), *expected.series);
        assert_eq!(read.profiles().unwrap(), expected.profiles);
        assert_eq!(read.dictionary().unwrap(), expected.dictionary);
        let all = 0..expected.stack.len() as u32;
        assert_eq!(rows_of(&*read, &[all.clone()]), rows_of(expected, &[all]));
    }
}

#[test]
fn an_empty_block_and_an_empty_dataset_are_fine() {
    assert!(open(&write(&[])).unwrap().datasets().is_empty());
    let empty = MemoryDataset { service_name: "shop".to_owned(), ..MemoryDataset::default() };
    let block = open(&write(std::slice::from_ref(&empty))).unwrap();
    assert!(block.verify().is_empty());
    let read = block.dataset(0);
    assert_eq!(read.dictionary().unwrap(), empty.dictionary);
    assert!(read.profiles().unwrap().is_empty() && read.series().unwrap().is_empty());
    assert!(rows_of(&*read, &[0..0, 5..9]).is_empty());
}

#[test]
fn profiles_without_rows_are_kept() {
    let mut written = sort_dataset(dataset("shop", 4, 3));
    let (half, all) = (written.stack.len() as u32 / 2, written.stack.len() as u32);
    Arc::make_mut(&mut written.profiles).row_end = vec![0, half, half, all];
    written.stack[..half as usize].sort_unstable();
    written.stack[half as usize..].sort_unstable();
    let block = open(&write(std::slice::from_ref(&written))).unwrap();
    assert_eq!(block.dataset(0).profiles().unwrap(), written.profiles);
    assert_eq!(rows_of(&*block.dataset(0), &[0..all]), rows_of(&written, &[0..all]));
}

#[test]
fn the_ulid_is_in_crockford_base_32() {
    assert_eq!(BlockMeta { id: u128::MAX, ..meta() }.ulid(), "7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
    assert_eq!(BlockMeta { id: 32 * 31 + 10, ..meta() }.ulid(), "000000000000000000000000ZA");
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let bytes = || write(&[sort_dataset(dataset("cart", 3, 20)), sort_dataset(dataset("shop", 5, 900))]);
    assert_eq!(bytes(), bytes());
}

#[test]
fn matchers_go_through_postings() {
    let block = open(&write(&[sort_dataset(dataset("shop", 2, 5))])).unwrap();
    let read = block.dataset(0);
    assert_eq!(read.matching_series(&[Matcher::equal("pod", "b")]).unwrap().len(), 1);
    assert_eq!(read.matching_series(&[Matcher::equal("zone", "")]).unwrap(), [0, 1]);
}

#[test]
fn eviction_gives_the_memory_back() {
    let block = open(&write(&[sort_dataset(dataset("shop", 2, 50))])).unwrap();
    let read = block.dataset(0);
    assert_eq!(read.cached_bytes(), 0);
    let dictionary = read.dictionary().unwrap();
    assert!(read.cached_bytes() >= dictionary.memory_bytes());
    assert!(Arc::ptr_eq(&dictionary, &read.dictionary().unwrap()));
    read.evict();
    assert_eq!(read.cached_bytes(), 0);
    assert_eq!(dictionary, read.dictionary().unwrap());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_ranges_of_rows_can_be_scanned(
        cuts in prop::collection::btree_set(0u32..3 * PAGE_ROWS, 0..10), profiles in 1usize..9,
    ) {
        let rows = 2 * PAGE_ROWS as usize / profiles + 7;
        let written = sort_dataset(dataset("shop", profiles, rows));
        let block = open(&write(std::slice::from_ref(&written))).unwrap();
        let row_count = written.stack.len() as u32;
        let cuts: Vec<u32> = cuts.into_iter().map(|cut| cut.min(row_count)).collect();
        let ranges: Vec<Range<u32>> = cuts.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
        prop_assert_eq!(rows_of(&*block.dataset(0), &ranges), rows_of(&written, &ranges));
    }
}

/// Counts what is read.
struct Counted {
    bytes: Vec<u8>,
    reads: Mutex<Vec<Range<u64>>>,
}

impl ReadAt for Counted {
    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.reads.lock().unwrap().push(offset..offset + buf.len() as u64);
        self.bytes.read_at(offset, buf)
    }

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }
}

#[test]
fn only_what_is_needed_is_read() {
    let written = sort_dataset(dataset("shop", 10, PAGE_ROWS as usize));
    let bytes = Arc::new(Counted { bytes: write(&[written]), reads: Mutex::default() });
    let reads = || std::mem::take(&mut *bytes.reads.lock().unwrap());
    let block = Block::open(bytes.clone()).unwrap();
    let of_open = reads();
    assert_eq!(of_open.len(), 2);
    let rows = |kind| {
        let container = Container::open(bytes.clone(), kind::name).unwrap();
        let section = *container.section(0, kind).unwrap();
        section.offset..section.offset + section.length
    };
    let overlaps = |a: &Range<u64>, b: &Range<u64>| a.start < b.end && b.start < a.end;
    let row_section = rows(kind::ROWS);
    assert!(!of_open.iter().any(|read| overlaps(read, &row_section)));

    let dataset = block.dataset(0);
    dataset.profiles().unwrap();
    dataset.series().unwrap();
    reads();
    let one_page = 3 * PAGE_ROWS..4 * PAGE_ROWS;
    dataset.scan(&[one_page.clone()], RowColumns::default(), &mut |_| ()).unwrap();
    let first_scan = reads();
    assert_eq!(first_scan.iter().filter(|read| overlaps(read, &row_section)).count(), 1);
    assert!(!first_scan.iter().any(|read| overlaps(read, &rows(kind::SPANS)) || overlaps(read, &rows(kind::TRACES))));
    reads();
    dataset.scan(&[one_page], RowColumns::default(), &mut |_| ()).unwrap();
    let second_scan = reads();
    assert_eq!(second_scan.len(), 1, "page index and leaves are kept");
    assert!(second_scan[0].end - second_scan[0].start < (row_section.end - row_section.start) / 5);
}

/// Reads all parts; panics are what the callers look for.
fn read_everything(block: &Block) -> Result<(), DatasetError> {
    for (index, summary) in block.datasets().iter().enumerate() {
        let dataset = block.dataset(index);
        let parts = [
            dataset.series().err(),
            dataset.matching_series(&[Matcher::equal("pod", "a")]).err(),
            dataset.profiles().err(),
            dataset.dictionary().err(),
            try_rows_of(&*dataset, &[0..summary.row_count]).err(),
        ];
        parts.into_iter().flatten().next().map_or(Ok(()), Err)?;
    }
    Ok(())
}

#[test]
fn every_flipped_bit_is_found() {
    let good = write(&[sort_dataset(dataset("shop", 4, 6))]);
    for at in 0..good.len() {
        for bit in 0..8 {
            let mut bytes = good.clone();
            bytes[at] ^= 1 << bit;
            if let Ok(block) = open(&bytes) {
                assert_eq!(block.verify().len(), 1, "bit {bit} of byte {at}");
            }
        }
    }
}

#[test]
fn a_flipped_bit_never_changes_an_answer() {
    let written = sort_dataset(dataset("shop", 4, 6));
    let good = write(std::slice::from_ref(&written));
    let all = 0..written.stack.len() as u32;
    for at in 0..good.len() {
        let mut bytes = good.clone();
        bytes[at] ^= 1 << (at % 8);
        let Ok(block) = open(&bytes) else { continue };
        let read = block.dataset(0);
        assert!(read.series().is_err() || *read.series().unwrap() == *written.series);
        assert!(read.profiles().is_err() || read.profiles().unwrap() == written.profiles);
        assert!(read.dictionary().is_err() || read.dictionary().unwrap() == written.dictionary);
        assert!(
            try_rows_of(&*read, &[all.clone()]).is_ok_and(|rows| rows == rows_of(&written, &[all.clone()]))
                || try_rows_of(&*read, &[all.clone()]).is_err()
        );
    }
}

#[test]
fn every_truncation_is_found() {
    let good = write(&[sort_dataset(dataset("shop", 4, 6))]);
    for length in 0..good.len() {
        assert!(open(&good[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn a_damaged_dataset_leaves_the_others_readable() {
    let datasets = [sort_dataset(dataset("cart", 3, 20)), sort_dataset(dataset("shop", 3, 20))];
    let mut bytes = write(&datasets);
    let container = Container::open(Arc::new(bytes.clone()), kind::name).unwrap();
    let symbols = container.section(0, kind::SYMBOLS).unwrap();
    bytes[symbols.offset as usize] ^= 1;
    let block = open(&bytes).unwrap();
    let error = block.dataset(0).dictionary().unwrap_err().to_string();
    let place = format!("dataset \"cart\", section symbols at {}, {} bytes", symbols.offset, symbols.length);
    assert!(error.contains(&meta().ulid()) && error.contains(&place), "{error}");
    assert_eq!(block.dataset(0).profiles().unwrap(), datasets[0].profiles);
    assert_eq!(block.dataset(1).dictionary().unwrap(), datasets[1].dictionary);
}

/// The block with one section replaced and all checksums right again.
fn replace(bytes: &[u8], wanted: SectionKind, replacement: &[u8]) -> Vec<u8> {
    let container = Container::open(Arc::new(bytes.to_vec()), kind::name).unwrap();
    let mut out = Vec::new();
    let mut writer = ContainerWriter::new(&mut out).unwrap();
    for (index, group) in container.groups().iter().enumerate() {
        writer.begin_group(&group.name, group.attributes.clone());
        for section in &group.sections {
            let stream = [(kind::ROWS, Stream::Rows), (kind::SPANS, Stream::Spans), (kind::TRACES, Stream::Traces)];
            let replaced_stream = stream.iter().find(|(kind, _)| *kind == wanted).map(|(_, stream)| *stream);
            let original = container.read(index, section.kind).unwrap();
            writer.begin_section(section.kind);
            match replaced_stream {
                _ if section.kind == wanted => writer.write(replacement).unwrap(),
                Some(replaced) if section.kind == kind::PAGES => {
                    let row_count = block_row_count(bytes, index);
                    let mut pages = Pages::new(row_count);
                    for (kind, stream) in stream {
                        let section = if stream == replaced {
                            replacement.to_vec()
                        } else {
                            container.read(index, kind).unwrap()
                        };
                        pages.push(stream, &section); // these blocks have one page
                    }
                    writer.write(&pages.encode(&mut Encoder::new(3))).unwrap();
                }
                _ => writer.write(&original).unwrap(),
            }
        }
    }
    writer.finish(container.meta()).unwrap();
    out
}

fn block_row_count(bytes: &[u8], index: usize) -> u32 {
    open(bytes).unwrap().datasets()[index].row_count
}

#[test]
fn hostile_sections_with_good_checksums_never_panic() {
    let good = write(&[sort_dataset(dataset("shop", 4, 6))]);
    let container = Container::open(Arc::new(good.clone()), kind::name).unwrap();
    let mut refused = 0;
    let mut random = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = || {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random as usize
    };
    for section in &container.groups()[0].sections {
        let original = container.read(0, section.kind).unwrap();
        for round in 0..400 {
            let mut bytes = original.clone();
            match round % 4 {
                0 => bytes.truncate(next() % bytes.len()),
                1 => bytes.insert(next() % bytes.len(), next() as u8),
                _ => {
                    let at = next() % bytes.len();
                    bytes[at] = next() as u8;
                }
            }
            let block = open(&replace(&good, section.kind, &bytes)).unwrap();
            assert!(block.verify().is_empty());
            refused += usize::from(read_everything(&block).is_err());
        }
    }
    assert!(refused > 1_000, "{refused}");
}

#[test]
fn a_hostile_table_of_contents_is_refused() {
    let good = write(&[sort_dataset(dataset("shop", 4, 6))]);
    let container = Container::open(Arc::new(good), kind::name).unwrap();
    let group = &container.groups()[0];
    let with = |meta: &[u8], names: &[&str], attributes: &[u8]| {
        let mut out = Vec::new();
        let mut writer = ContainerWriter::new(&mut out).unwrap();
        names.iter().for_each(|name| writer.begin_group(name, attributes.to_vec()));
        writer.finish(meta).unwrap();
        open(&out)
    };
    assert!(with(container.meta(), &["a", "b"], &group.attributes).is_ok());
    assert!(with(container.meta(), &["b", "a"], &group.attributes).is_err(), "order");
    assert!(with(container.meta(), &["a", "a"], &group.attributes).is_err(), "repetition");
    assert!(with(&container.meta()[1..], &["a"], &group.attributes).is_err(), "meta");
    assert!(with(container.meta(), &["a"], &group.attributes[1..]).is_err(), "attributes");
    let mut many_types = vec![0; 5];
    put_varint(&mut many_types, u64::MAX);
    assert!(with(container.meta(), &["a"], &many_types).is_err(), "types");
    let mut huge = Vec::new();
    (0..3).for_each(|_| put_varint(&mut huge, u64::from(u32::MAX)));
    huge.extend([0, 0, 0]);
    let block = with(container.meta(), &["a"], &huge).unwrap();
    assert!(read_everything(&block).is_err(), "a dataset without sections");
}

#[test]
fn what_is_out_of_order_is_refused_before_it_is_written() {
    let sorted = sort_dataset(dataset("shop", 4, 6));
    let check = |dataset: MemoryDataset, expected: &str| {
        let mut writer =
            BlockWriter::new(Vec::new(), BlockMeta { time: time_range(&sorted.profiles), ..meta() }).unwrap();
        match writer.add(&dataset) {
            Err(BlockError::Input { reason, .. }) => assert_eq!(reason, expected),
            other => panic!("{other:?}"),
        }
        writer.add(&sorted).unwrap();
    };
    let changed = |change: fn(&mut MemoryDataset)| {
        let mut dataset = sorted.clone();
        change(&mut dataset);
        dataset
    };
    check(dataset("shop", 4, 6), "series do not ascend");
    check(changed(|d| d.series.reverse()), "series do not ascend");
    check(changed(|d| d.series[0] = Labels::default()), "a series has no labels");
    check(changed(|d| Arc::make_mut(&mut d.profiles).time_ns.swap(0, 1)), "profiles are not sorted by series and time");
    check(changed(|d| Arc::make_mut(&mut d.profiles).time_ns[0] = 0), "a profile lies outside of the block's time");
    check(changed(|d| Arc::make_mut(&mut d.profiles).row_end[3] -= 1), "profiles do not cover the rows");
    check(changed(|d| Arc::make_mut(&mut d.profiles).series[3] = 9), "a profile is of no series");
    check(changed(|d| d.stack[..6].reverse()), "rows of a profile are not sorted by stack");
    check(changed(|d| d.stack[5] = StackId(999)), "a row is of no stack");
    check(changed(|d| d.span_id.truncate(3)), "row columns differ in length");
    check(changed(|d| Arc::make_mut(&mut d.profiles).id.truncate(3)), "profile columns differ in length");
    check(
        changed(|d| {
            let stacks = &mut Arc::make_mut(&mut d.dictionary).stacks;
            let leaf = *stacks.parent.last().unwrap();
            stacks.push(StackId(1), LocationId(0));
            stacks.push(leaf, LocationId(0));
        }),
        "stack nodes are not in depth-first order",
    );
}

#[test]
fn services_must_ascend() {
    let mut writer = BlockWriter::new(Vec::new(), meta()).unwrap();
    writer.add(&sort_dataset(dataset("shop", 1, 1))).unwrap();
    for name in ["shop", "cart"] {
        assert!(matches!(writer.add(&sort_dataset(dataset(name, 1, 1))), Err(BlockError::Input { .. })));
    }
}
