//! Production-like datasets: random walks through a random call graph.

use std::collections::HashMap;
use std::sync::Arc;

use argand_model::{
    Dictionary, Function, FunctionId, Labels, Line, LocationId, Mapping, MemoryDataset, ProfileTable, StackId, name,
};

/// Size of a service's dataset.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// Number of functions of the program.
    pub functions: usize,
    /// Number of distinct stacks.
    pub stacks: usize,
    /// Number of profiles.
    pub profiles: usize,
    /// Rows of each profile.
    pub rows: usize,
}

/// A service of the size that busy programs have.
pub const SERVICE: Shape = Shape { functions: 4_000, stacks: 20_000, profiles: 250, rows: 2_000 };

/// A program that profiles itself.
pub const TINY: Shape = Shape { functions: 600, stacks: 500, profiles: 12, rows: 200 };

/// SplitMix64.
pub struct Random(pub u64);

impl Random {
    /// Any number.
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// A number below `end`; small ones come often.
    pub fn skewed(&mut self, end: usize) -> usize {
        let unit = (self.next() >> 11) as f64 / (1u64 << 53) as f64;
        ((end as f64 + 1.0).powf(unit) - 1.0) as usize % end
    }
}

/// Profiles of one service in the order that a head holds them: nodes by first use, profiles by arrival.
pub fn dataset(service_name: &str, seed: u64, shape: Shape) -> MemoryDataset {
    let mut random = Random(seed);
    let mut dictionary = Dictionary::default();
    let callees = symbols(&mut dictionary, &mut random, shape.functions);
    let leaves = stacks(&mut dictionary, &mut random, &callees, shape.stacks);
    let series: Vec<Labels> = (0..10)
        .map(|i| {
            let profile_type = if i % 2 == 0 {
                "process_cpu:cpu:nanoseconds:cpu:nanoseconds"
            } else {
                "memory:alloc_space:bytes:space:bytes"
            };
            Labels::new([
                (name::SERVICE_NAME.to_owned(), service_name.to_owned()),
                (name::PROFILE_TYPE.to_owned(), profile_type.to_owned()),
                ("pod".to_owned(), format!("{service_name}-7d9f8b6c5-{:05x}", i / 2 * 7919)),
                ("region".to_owned(), "eu-west-1".to_owned()),
            ])
        })
        .collect();
    let mut profiles = ProfileTable::default();
    let mut dataset = MemoryDataset { service_name: service_name.to_owned(), series, ..MemoryDataset::default() };
    for i in 0..shape.profiles {
        let series = i % dataset.series.len();
        let mut rows = HashMap::new();
        while rows.len() < shape.rows {
            let leaf = leaves[random.skewed(leaves.len())];
            let value = match series % 2 {
                0 => 10_000_000 * (1 + random.skewed(12) as i64),
                _ => 524_288 + 16 * random.skewed(1 << 16) as i64,
            };
            rows.entry(leaf).or_insert(value);
        }
        let mut rows: Vec<(StackId, i64)> = rows.into_iter().collect();
        rows.sort_unstable();
        profiles.series.push(series as u32);
        profiles
            .time_ns
            .push(1_700_000_000_000_000_000 + (i / 10) as i64 * 15_000_000_000 + random.below(50_000_000) as i64);
        profiles.duration_ns.push(15_000_000_000);
        profiles.total.push(rows.iter().map(|r| r.1).sum());
        profiles.id.push(u128::from(random.next()) << 64 | u128::from(random.next()));
        dataset.stack.extend(rows.iter().map(|r| r.0));
        dataset.value.extend(rows.iter().map(|r| r.1));
        profiles.row_end.push(dataset.stack.len() as u32);
    }
    dataset.profiles = Arc::new(profiles);
    dataset.dictionary = Arc::new(dictionary);
    dataset
}

/// Fills the symbol tables; gives the locations that each function calls.
fn symbols(dictionary: &mut Dictionary, random: &mut Random, functions: usize) -> Vec<Vec<LocationId>> {
    let symbols = &mut dictionary.symbols;
    let filename = symbols.strings.push("/usr/local/bin/service");
    let build_id = symbols.strings.push("6f1c0b9e5a2d4c7f8e3b1a0d9c8b7a6f5e4d3c2b");
    let mapping = symbols.push_mapping(Mapping {
        memory_start: 0x40_0000,
        memory_limit: 0x80_0000,
        filename,
        build_id,
        ..Mapping::default()
    });
    let words = ["handle", "encode", "Reader", "buffer", "http", "proto", "visit", "alloc", "Worker", "query", "sort"];
    let packages = 1 + functions / 20;
    let ids: Vec<FunctionId> = (0..functions)
        .map(|i| {
            let package = random.skewed(packages);
            let mut word = || words[random.below(words.len())];
            let name =
                format!("github.com/example/{}{package}/{}.(*{}{}).{}{i}", word(), word(), word(), word(), word());
            let filename = format!("/build/src/github.com/example/pkg{package}/file{}.go", i % 7);
            let (name, filename) = (symbols.strings.push(&name), symbols.strings.push(&filename));
            symbols.push_function(Function {
                name,
                filename,
                start_line: 1 + random.below(900) as u32,
                ..Function::default()
            })
        })
        .collect();
    let locations: Vec<Vec<LocationId>> = ids
        .iter()
        .map(|&function| {
            (0..1 + random.skewed(6))
                .map(|_| {
                    let line = Line { function, line: 1 + random.below(2_000) as u32 };
                    let inlined = Line { function: ids[random.skewed(ids.len())], line: 7 };
                    let lines = if random.below(4) == 0 { vec![inlined, line] } else { vec![line] };
                    symbols.push_location(mapping, 0x40_0000 + random.below(0x40_0000) as u64, false, &lines)
                })
                .collect()
        })
        .collect();
    (0..symbols.locations.len())
        .map(|_| {
            (0..1 + random.skewed(8))
                .map(|_| {
                    let of = &locations[random.skewed(locations.len())];
                    of[random.skewed(of.len())]
                })
                .collect()
        })
        .collect()
}

/// Fills the stack tree; gives the leaves of `count` distinct stacks.
fn stacks(dictionary: &mut Dictionary, random: &mut Random, callees: &[Vec<LocationId>], count: usize) -> Vec<StackId> {
    let mut children: HashMap<(StackId, LocationId), StackId> = HashMap::new();
    let mut depth = vec![0usize];
    let mut leaves = Vec::new();
    let mut is_leaf = vec![false];
    while leaves.len() < count {
        // Most stacks leave a known one a few frames above its leaf.
        let mut node = if leaves.is_empty() || random.below(200) == 0 {
            StackId(0)
        } else {
            let mut node: StackId = leaves[random.below(leaves.len())];
            for _ in 0..1 + random.skewed(16) {
                node = dictionary.stacks.parent[node.index()];
            }
            node
        };
        let end = 18 + random.below(21);
        while depth[node.index()] < end {
            let at = depth[node.index()];
            let location = if node.0 == 0 {
                LocationId(random.below(4) as u32)
            } else {
                let of = &callees[dictionary.stacks.location[node.index()].index()];
                of[random.skewed(of.len())]
            };
            node = *children.entry((node, location)).or_insert_with(|| {
                depth.push(at + 1);
                is_leaf.push(false);
                dictionary.stacks.push(node, location)
            });
        }
        if !std::mem::replace(&mut is_leaf[node.index()], true) {
            leaves.push(node);
        }
    }
    leaves
}
