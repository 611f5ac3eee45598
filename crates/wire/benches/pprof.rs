//! Speed of the pprof codec, with a general Protocol Buffers library for comparison.

#![allow(missing_docs)] // what the macros make

use argand_wire::pprof::{PprofOptions, decode, encode};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use prost::Message;

#[path = "../tests/oracle/mod.rs"]
mod oracle;

fn pprof(criterion: &mut Criterion) {
    let bytes = oracle::busy_service(2_000, 30).encode_to_vec();
    let options = PprofOptions::default();
    let profile = decode(&bytes, &options).expect("the generated profile is valid");
    let mut group = criterion.benchmark_group("pprof");
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("decode", |bencher| bencher.iter(|| decode(&bytes, &options)));
    group.bench_function("decode with prost", |bencher| bencher.iter(|| oracle::Profile::decode(bytes.as_slice())));
    group.bench_function("encode", |bencher| bencher.iter(|| encode(&profile)));
    group.finish();
}

criterion_group!(benches, pprof);
criterion_main!(benches);
