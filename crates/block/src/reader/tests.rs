use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::Mutex;

use argand_model::{
    Dataset, Dictionary, Labels, Line, LocationId, MatchOp, Matcher, MemoryDataset, ProfileTable, RowColumns, StackId,
    TenantId, TimeRange, name,
};
use proptest::prelude::*;

use crate::profiles::rows::PAGE_ROWS;
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

fn rows_of(dataset: &dyn Dataset, ranges: &[Range<u32>]) -> Vec<(u32, StackId, i64, u64, u128)> {
    let mut rows = Vec::new();
    let visit = &mut |slice: argand_model::RowSlice<'_>| {
        for i in 0..slice.stack.len() {
            let span_id = slice.span_id.get(i).copied().unwrap_or(0);
            let trace_id = slice.trace_id.get(i).copied().unwrap_or(0);
            rows.push((slice.first_row + i as u32, slice.stack[i], slice.value[i], span_id, trace_id));
        }
    };
    dataset.scan(ranges, ALL_COLUMNS, visit).unwrap();
    rows
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
