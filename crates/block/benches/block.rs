//! Cost of blocks: time to sort, encode, decode and scan, and bytes per row.
#![allow(missing_docs, unreachable_pub)]

mod corpus;

use std::hint::black_box;
use std::sync::Arc;

use argand_block::{Block, BlockMeta, BlockWriter, sort_dataset};
use argand_model::{Dataset, MemoryDataset, RowColumns, TenantId, TimeRange};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

fn encode(dataset: &MemoryDataset) -> Vec<u8> {
    let meta = BlockMeta { id: 1, tenant: TenantId::anonymous(), level: 0, time: TimeRange::ALL };
    let mut bytes = Vec::new();
    let mut writer = BlockWriter::new(&mut bytes, meta).expect("memory can be written");
    writer.add(dataset).expect("the dataset is sorted");
    writer.finish().expect("memory can be written");
    bytes
}

fn report_size(name: &str, dataset: &MemoryDataset) {
    let (bytes, rows) = (encode(dataset).len(), dataset.stack.len());
    println!("{name}: {bytes} bytes, {rows} rows, {:.3} bytes per row", bytes as f64 / rows as f64);
}

fn blocks(c: &mut Criterion) {
    let unsorted = corpus::dataset("shop", 1, corpus::SERVICE);
    let dataset = sort_dataset(unsorted.clone());
    report_size("service", &dataset);
    report_size("tiny", &sort_dataset(corpus::dataset("self", 2, corpus::TINY)));

    let mut group = c.benchmark_group("block");
    group.sample_size(10).throughput(Throughput::Elements(dataset.stack.len() as u64));
    group.bench_function("sort", |b| b.iter_batched(|| unsorted.clone(), sort_dataset, BatchSize::LargeInput));
    group.bench_function("encode", |b| b.iter(|| encode(&dataset)));

    let block = Block::open(Arc::new(encode(&dataset))).expect("the block was just written");
    let read = block.dataset(0);
    let mut weight = vec![0i64; dataset.dictionary.stacks.len()];
    let all = 0..dataset.stack.len() as u32;
    group.bench_function("scan and accumulate", |b| {
        b.iter(|| {
            read.scan(std::slice::from_ref(&all), RowColumns::default(), &mut |rows| {
                for (stack, value) in rows.stack.iter().zip(rows.value) {
                    weight[stack.index()] += value;
                }
            })
            .expect("the block is good");
            black_box(&weight);
        });
    });

    group.throughput(Throughput::Elements(dataset.dictionary.stacks.len() as u64));
    group.bench_function("dictionary", |b| {
        b.iter(|| {
            read.evict();
            read.dictionary().expect("the block is good")
        });
    });
    group.finish();
}

criterion_group!(benches, blocks);
criterion_main!(benches);
