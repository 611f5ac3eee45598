//! How long merging and encoding take on profiles like those of production: 20 services, 250 profiles each, 2,000 rows
//! per profile, stacks about 28 deep.

use std::hint::black_box;
use std::sync::Arc;

use argand_model::{
    Dataset, Dictionary, Function, Labels, Line, LocationId, MappingId, Matcher, MemoryDataset, ProfileTable, StackId,
    TimeRange, name,
};
use argand_query::{CallTree, Control, Filter, FlameGraph, SeriesQuery, merge, select, time_series, top};
use criterion::{Criterion, criterion_group, criterion_main};

const SERVICES: u64 = 20;
const PROFILES: usize = 250;
const ROWS: usize = 2_000;
const STACKS: usize = 20_000;
const FUNCTIONS: usize = 6_000;

/// A small generator of numbers, the same on every run (SplitMix64).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Small numbers far more often than large ones.
    fn skewed_below(&mut self, end: usize) -> usize {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        ((end as f64) * unit * unit * unit) as usize
    }
}

/// Each stack leaves an earlier one in its upper half and goes on by itself, as calls in a program do.
fn dictionary(service: u64, numbers: &mut Numbers) -> (Dictionary, Vec<StackId>) {
    let mut dictionary = Dictionary::default();
    for i in 0..FUNCTIONS {
        let shared = i % 3 == 0; // the runtime and libraries
        let text =
            if shared { format!("runtime.function_{i}") } else { format!("service_{service}.Module.function_{i}") };
        let name = dictionary.symbols.strings.push(&text);
        let function = dictionary.symbols.push_function(Function { name, ..Function::default() });
        for line in 0..4 {
            dictionary.symbols.push_location(MappingId(0), 0, false, &[Line { function, line }]);
        }
    }
    let mut paths: Vec<Vec<StackId>> = vec![vec![StackId(0)]];
    let mut leaves = Vec::new();
    for _ in 0..STACKS {
        let earlier = &paths[numbers.below(paths.len())];
        let mut path = earlier[..earlier.len() - numbers.below(earlier.len() / 2 + 1)].to_vec();
        let depth = (path.len() + 1 + numbers.below(10)).clamp(18, 38);
        while path.len() <= depth {
            let location = LocationId(numbers.skewed_below(FUNCTIONS * 4) as u32);
            path.push(dictionary.stacks.push(path[path.len() - 1], location));
        }
        leaves.push(path[path.len() - 1]);
        paths.push(path);
    }
    (dictionary, leaves)
}

fn dataset(service: u64) -> Arc<dyn Dataset> {
    let mut numbers = Numbers(service);
    let (dictionary, leaves) = dictionary(service, &mut numbers);
    let mut dataset = MemoryDataset { service_name: format!("service-{service}"), ..MemoryDataset::default() };
    dataset.series = vec![Labels::new([(name::SERVICE_NAME, dataset.service_name.as_str())])];
    let mut profiles = ProfileTable::default();
    for i in 0..PROFILES {
        let mut rows: Vec<StackId> = (0..ROWS).map(|_| leaves[numbers.below(leaves.len())]).collect();
        rows.sort_unstable();
        let values: Vec<i64> = rows.iter().map(|_| 10_000_000 * (1 + numbers.skewed_below(20) as i64)).collect();
        profiles.series.push(0);
        profiles.time_ns.push(i as i64 * 15_000_000_000);
        profiles.duration_ns.push(15_000_000_000);
        profiles.total.push(values.iter().sum());
        profiles.id.push(u128::from(numbers.next()));
        dataset.stack.extend(rows);
        dataset.value.extend(values);
        profiles.row_end.push(dataset.stack.len() as u32);
    }
    dataset.profiles = Arc::new(profiles);
    dataset.dictionary = Arc::new(dictionary);
    Arc::new(dataset)
}

fn merged(datasets: &[Arc<dyn Dataset>], matchers: &[Matcher], threads: usize) -> CallTree {
    let control = Control { threads, ..Control::default() };
    let selection = select(datasets, matchers, TimeRange::ALL, &control).expect("nobody cancels");
    merge(&selection, &Filter::default(), &control).expect("nobody cancels").value
}

fn benches(criterion: &mut Criterion) {
    let datasets: Vec<Arc<dyn Dataset>> = (0..SERVICES).map(dataset).collect();
    let nodes: usize = datasets.iter().map(|d| d.dictionary().expect("it is in memory").stacks.len()).sum();
    let one = [Matcher::equal(name::SERVICE_NAME, "service-7")];
    let everything = merged(&datasets, &[], 2);
    println!("{nodes} stack nodes, merged to {} by name", everything.len());

    let mut group = criterion.benchmark_group("query");
    group.sample_size(10);
    group.bench_function("merge one service", |b| b.iter(|| merged(&datasets, black_box(&one), 1).len()));
    group.bench_function("merge all services, 1 thread", |b| b.iter(|| merged(&datasets, &[], 1).len()));
    group.bench_function("merge all services, 2 threads", |b| b.iter(|| merged(&datasets, &[], 2).len()));
    for max_nodes in [8_192, FlameGraph::MAX_NODES_LIMIT] {
        group.bench_function(format!("cut to {max_nodes} nodes"), |b| {
            b.iter(|| FlameGraph::new(black_box(&everything), max_nodes).len());
        });
        let graph = FlameGraph::new(&everything, max_nodes);
        group.bench_function(format!("encode {} nodes as levels", graph.len()), |b| b.iter(|| graph.levels().len()));
        group
            .bench_function(format!("encode {} nodes as columns", graph.len()), |b| b.iter(|| graph.to_binary().len()));
    }
    group.bench_function("top functions", |b| b.iter(|| top(black_box(&everything), 100).len()));
    group.bench_function("time series of all services", |b| {
        let query = SeriesQuery { end_ms: 3_750_000, step_ms: 15_000, ..SeriesQuery::default() };
        b.iter(|| time_series(&datasets, &[], black_box(&query), &Control::default()).map(|a| a.value.len()));
    });
    group.finish();
}

criterion_group!(query, benches);
criterion_main!(query);
