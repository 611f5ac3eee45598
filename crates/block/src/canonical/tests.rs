use std::collections::BTreeMap;

use argand_model::{SeriesProfile, Upload, name};
use proptest::prelude::*;

use super::*;

/// What a profile says, without any id: per stack text, span and trace the sum of the values.
type Content = BTreeMap<(String, u64, u128), i64>;

fn content(dataset: &MemoryDataset) -> Vec<(Labels, i64, u128, i64, Content)> {
    let Dictionary { symbols, stacks } = &*dataset.dictionary;
    let text = |location: LocationId| {
        let at = symbols.locations[location.index()];
        let mapping = symbols.mappings[at.mapping.index()];
        let lines = symbols.lines_of(location).iter().map(|line| {
            let function = symbols.functions[line.function.index()];
            format!("{}:{}:{}", symbols.function_name(line.function), symbols.strings.get(function.filename), line.line)
        });
        format!("{:x}@{} {:?}", at.address, symbols.strings.get(mapping.build_id), lines.collect::<Vec<_>>())
    };
    let mut profiles: Vec<_> = (0..dataset.profiles.len())
        .map(|i| {
            let mut rows = Content::new();
            for row in dataset.profiles.rows(i).map(|row| row as usize) {
                let stack = stacks.leaf_first(dataset.stack[row]).map(text).collect::<Vec<_>>().join(";");
                let span_id = dataset.span_id.get(row).copied().unwrap_or(0);
                let trace_id = dataset.trace_id.get(row).copied().unwrap_or(0);
                *rows.entry((stack, span_id, trace_id)).or_default() += dataset.value[row];
            }
            let labels = dataset.series[dataset.profiles.series[i] as usize].clone();
            (labels, dataset.profiles.time_ns[i], dataset.profiles.id[i], dataset.profiles.total[i], rows)
        })
        .collect();
    profiles.sort();
    profiles
}

/// Datasets with equal and unused entries in every table, as `MemoryDataset::of_upload` makes them.
fn dataset() -> impl Strategy<Value = MemoryDataset> {
    let stacks = prop::collection::vec(prop::collection::vec(0u32..12, 0..5), 1..20);
    let profile = (0usize..3, 0i64..4, prop::collection::vec((any::<prop::sample::Index>(), 0i64..9, 0u64..3), 0..30));
    (stacks, prop::collection::vec(profile, 1..6)).prop_map(|(stacks, profiles)| {
        let mut upload = Upload::default();
        for i in 0..12u64 {
            let build_id = upload.symbols.strings.push(if i < 9 { "aa" } else { "bb" });
            let mapping = upload.symbols.push_mapping(Mapping { build_id, ..Mapping::default() });
            let name = upload.symbols.strings.push(&format!("f{}", i % 5));
            let function = upload.symbols.push_function(Function { name, ..Function::default() });
            upload.symbols.push_location(mapping, i % 4, false, &[Line { function, line: 3 }]);
        }
        for stack in &stacks {
            upload.stacks.push(stack.iter().map(|&location| LocationId(location)));
        }
        for (id, (pod, time_ns, rows)) in profiles.into_iter().enumerate() {
            upload.series.push(SeriesProfile {
                labels: Labels::new([(name::SERVICE_NAME, "shop"), ("pod", ["c", "a", "b"][pod])]),
                id: id as u128,
                time_ns,
                stack: rows.iter().map(|row| row.0.index(stacks.len()) as u32).collect(),
                value: rows.iter().map(|row| row.1).collect(),
                span_id: rows.iter().map(|row| row.2).collect(),
                ..SeriesProfile::default()
            });
        }
        MemoryDataset::of_upload(&upload)
    })
}

fn distinct<T: Ord>(items: impl IntoIterator<Item = T>) -> bool {
    let mut items: Vec<T> = items.into_iter().collect();
    items.sort_unstable();
    items.windows(2).all(|pair| pair[0] != pair[1])
}

proptest! {
    #[test]
    fn the_content_stays_the_same(dataset in dataset()) {
        prop_assert_eq!(content(&sort_dataset(dataset.clone())), content(&dataset));
    }

    #[test]
    fn nothing_is_kept_twice_or_unused(dataset in dataset()) {
        let sorted = sort_dataset(dataset);
        let Dictionary { symbols, stacks } = &*sorted.dictionary;
        prop_assert!(distinct(symbols.strings.iter()));
        prop_assert!(distinct((1..stacks.len()).map(|node| (stacks.parent[node], stacks.location[node]))));
        prop_assert!(crate::profiles::stacks::is_depth_first(stacks));
        let used = used_nodes(stacks, &sorted.stack);
        prop_assert!(used.into_iter().skip(1).all(|used| used));
        let used_location = |location| stacks.location[1..].contains(&LocationId(location));
        prop_assert!((0..symbols.locations.len() as u32).all(used_location));
        for profile in 0..sorted.profiles.len() {
            let key = |row: u32| (sorted.stack[row as usize], sorted.span_id.get(row as usize).copied());
            let all_differ = distinct(sorted.profiles.rows(profile).map(key));
            prop_assert!(all_differ);
        }
    }
}

#[test]
fn series_and_profiles_are_ordered() {
    let series = |pod| Labels::new([("pod", pod)]);
    let profiles = ProfileTable {
        series: vec![0, 1, 1],
        time_ns: vec![1, 9, 3],
        duration_ns: vec![0; 3],
        total: vec![10, 20, 30],
        id: vec![1, 2, 3],
        row_end: vec![0; 3],
    };
    let dataset = MemoryDataset {
        series: vec![series("b"), series("a")],
        profiles: Arc::new(profiles),
        ..MemoryDataset::default()
    };
    let sorted = sort_dataset(dataset);
    assert_eq!(sorted.series, [series("a"), series("b")]);
    assert_eq!(sorted.profiles.series, [0, 0, 1]);
    assert_eq!(sorted.profiles.total, [30, 20, 10]);
}
