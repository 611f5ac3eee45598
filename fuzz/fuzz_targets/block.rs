//! Blocks: any bytes open and read, or give an error. Checksums count as right here, to reach what lies behind them.
//!
//! The first byte says whether the others are a block, or edits of a good one: offset (two bytes), new byte.
#![no_main]

use std::sync::{Arc, LazyLock};

use argand_block::{Block, BlockMeta, BlockWriter, sort_dataset};
use argand_model::{
    Dataset, Labels, Matcher, MemoryDataset, RowColumns, SeriesProfile, TenantId, TimeRange, Upload, name,
};
use libfuzzer_sys::fuzz_target;

static GOOD: LazyLock<Vec<u8>> = LazyLock::new(good_block);

fuzz_target!(|bytes: &[u8]| {
    let Some((&mode, bytes)) = bytes.split_first() else { return };
    let block = if mode == 0 { bytes.to_vec() } else { edited(bytes) };
    if let Ok(block) = Block::open(Arc::new(block)) {
        block.verify();
        (0..block.datasets().len()).for_each(|index| walk(&*block.dataset(index), block.datasets()[index].row_count));
    }
});

/// Reads all parts and checks what readers rely on.
fn walk(dataset: &dyn Dataset, row_count: u32) {
    let series = dataset.series();
    if let (Ok(series), Ok(profiles)) = (&series, dataset.profiles()) {
        assert!(profiles.series.iter().all(|&index| (index as usize) < series.len()));
        assert!((0..profiles.len()).all(|index| profiles.rows(index).end <= row_count));
    }
    if let (Ok(series), Ok(matching)) = (&series, dataset.matching_series(&[Matcher::equal("pod", "a")])) {
        assert!(matching.iter().all(|&index| series[index as usize].get("pod") == Some("a")));
    }
    let Ok(dictionary) = dataset.dictionary() else { return };
    let (symbols, stacks) = (&dictionary.symbols, &dictionary.stacks);
    assert!((1..stacks.len()).all(|node| stacks.parent[node].index() < node));
    for node in 1..stacks.len() {
        for line in symbols.lines_of(stacks.location[node]) {
            let function = symbols.functions[line.function.index()];
            let texts = [function.name, function.system_name, function.filename];
            assert!(texts.iter().all(|text| text.index() < symbols.strings.len()));
        }
    }
    let columns = RowColumns { span_id: true, trace_id: true };
    let _ = dataset.scan(std::slice::from_ref(&(0..row_count)), columns, &mut |rows| {
        assert!(rows.stack.iter().all(|leaf| leaf.index() < stacks.len()));
        assert_eq!(rows.stack.len(), rows.value.len());
        assert!([0, rows.stack.len()].contains(&rows.span_id.len()));
        assert!([0, rows.stack.len()].contains(&rows.trace_id.len()));
    });
}

fn edited(edits: &[u8]) -> Vec<u8> {
    let mut block = GOOD.clone();
    for edit in edits.chunks_exact(3) {
        let at = u16::from_le_bytes([edit[0], edit[1]]) as usize % block.len();
        block[at] = edit[2];
    }
    block
}

fn good_block() -> Vec<u8> {
    let mut upload = Upload::default();
    let locations = ["main", "serve", "read", "write"].map(|name| upload.symbols.push_named_location(name));
    for leaf in 0..locations.len() {
        upload.stacks.push(locations[..=leaf].iter().rev().copied());
    }
    upload.series = [("a", 1), ("b", 2)]
        .map(|(pod, id)| SeriesProfile {
            labels: Labels::new([(name::SERVICE_NAME, "shop"), ("pod", pod)]),
            id,
            time_ns: 1_000,
            stack: vec![0, 1, 2, 3],
            value: vec![10, 30, 20, 50],
            span_id: vec![0, 7, 7, 9],
            trace_id: vec![0, 5, 5, 5],
            ..SeriesProfile::default()
        })
        .into();
    let meta = BlockMeta { id: 1, tenant: TenantId::anonymous(), level: 0, time: TimeRange::ALL };
    let mut bytes = Vec::new();
    let mut writer = BlockWriter::new(&mut bytes, meta).expect("memory can be written");
    writer.add(&sort_dataset(MemoryDataset::of_upload(&upload))).expect("the dataset is sorted");
    writer.finish().expect("memory can be written");
    bytes
}
