use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use argand_model::{Dataset, Function, Line, Mapping, MemoryDataset, TimeRange};
use proptest::prelude::*;

use super::*;
use crate::fixture::{Damaged, datasets, folded, selection, tree, tree_of, upload, upload_at};
use crate::{FlameGraph, select};

#[track_caller]
fn check(input: &str, filter: &Filter, expected: &str) {
    let merged = folded(&tree_of(&[upload(input)], filter));
    let trimmed: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(merged, trimmed.join("\n"));
}

#[track_caller]
fn check_all(input: &str, expected: &str) {
    check(input, &Filter::default(), expected);
}

#[test]
fn equal_stacks_add_up() {
    check_all("main;a 1 \n main;b 2 \n main;a 4", "main;a 5 \n main;b 2");
}

#[test]
fn a_stack_may_end_within_another() {
    check_all("main;a;b 1 \n main;a 2 \n main 4", "main 4 \n main;a 2 \n main;a;b 1");
}

#[test]
fn inlined_lines_are_nodes_with_the_outermost_first() {
    check_all("main;a+b+c;d 3 \n main;a;b 2", "main;a;b 2 \n main;a;b;c;d 3");
}

#[test]
fn an_unsymbolised_frame_is_named_by_its_address() {
    check_all("main;@0x1F 3", "main;unknown!0x1f 3");

    let mut upload = upload("main 1");
    let filename = upload.symbols.strings.push("/usr/lib/libc.so.6");
    let mapping = upload.symbols.push_mapping(Mapping { filename, ..Mapping::default() });
    let location = upload.symbols.push_location(mapping, 0xBEEF, false, &[]);
    upload.stacks = argand_model::Stacks::default();
    upload.stacks.push([location]);
    assert_eq!(folded(&tree_of(&[upload], &Filter::default())), "libc.so.6!0xbeef 1");
}

#[test]
fn a_function_without_a_name_shows_its_system_name_or_address() {
    let mut upload = upload("main 1 \n other 2");
    let system_name = upload.symbols.strings.push("_Zmangled");
    let mangled = upload.symbols.push_function(Function { system_name, ..Function::default() });
    let line = |function| [Line { function, line: 0 }];
    let by_system_name = upload.symbols.push_location(argand_model::MappingId(0), 1, false, &line(mangled));
    let first = upload.symbols.push_location(argand_model::MappingId(0), 2, false, &line(Default::default()));
    let second = upload.symbols.push_location(argand_model::MappingId(0), 3, false, &line(Default::default()));
    upload.stacks = argand_model::Stacks::default();
    upload.stacks.push([by_system_name, first]);
    upload.stacks.push([second, first]);
    let merged = tree_of(&[upload], &Filter::default());
    assert_eq!(folded(&merged), "unknown!0x2;_Zmangled 1\nunknown!0x2;unknown!0x3 2");
}

#[test]
fn an_empty_stack_counts_for_the_root() {
    let mut upload = upload("main 4");
    upload.series[0].stack.push(upload.stacks.push([]));
    upload.series[0].value.push(3);
    upload.series[0].span_id.clear();
    upload.series[0].trace_id.clear();
    let merged = tree_of(&[upload], &Filter::default());
    assert_eq!((merged.self_value[0], merged.grand_total()), (3, 7));
}

#[test]
fn nothing_is_a_root_alone() {
    let merged = merge(&Selection::default(), &Filter::default(), &Control::default()).unwrap().value;
    assert_eq!((merged.len(), merged.grand_total(), merged.names.get(merged.name[0])), (1, 0, "total"));
}

#[test]
fn zero_and_negative_values_leave_no_node() {
    check_all("main;a 0 \n main;b -5 \n main;c 1", "main;c 1");
    assert_eq!(tree("main;a 0 \n main;b -5 \n main;c 1").len(), 3);
}

#[test]
fn sums_saturate() {
    let merged = tree(&format!("main;a {max} \n main;a {max} \n main;b {max}", max = i64::MAX));
    assert_eq!(folded(&merged), format!("main;a {max}\nmain;b {max}", max = i64::MAX));
    assert_eq!(merged.grand_total(), i64::MAX);
}

#[test]
fn deep_recursion_is_only_deep() {
    let merged = tree(&format!("{} 7", vec!["f"; 10_000].join(";")));
    assert_eq!((merged.len(), merged.grand_total(), merged.total[10_000]), (10_001, 7, 7));
}

#[test]
fn datasets_merge_by_name() {
    let uploads = [upload("main;a 1 \n main;b 2"), upload("main;b 4 \n start 8")];
    assert_eq!(folded(&tree_of(&uploads, &Filter::default())), "main;a 1\nmain;b 6\nstart 8");
}

const CALLS: &str = "main;a;b 1 \n main;a 2 \n main;c;a 4 \n main 8 \n main;a+x;b 16";

#[test]
fn a_call_site_keeps_the_stacks_that_begin_with_it() {
    let at = |names: &[&str]| Filter { call_site: names.iter().map(|n| n.to_string()).collect(), ..Filter::default() };
    check(CALLS, &at(&["main", "a"]), "main;a 2 \n main;a;b 1 \n main;a;x;b 16");
    check(CALLS, &at(&["main", "a", "x"]), "main;a;x;b 16");
    check(CALLS, &at(&["a"]), "");
    check(CALLS, &at(&["main", "a", "b", "c"]), "");
    let merged = tree_of(&[upload(CALLS)], &at(&["main", "a"]));
    assert_eq!((merged.grand_total(), merged.len()), (19, 6), "the way from the root stays");
}

const SPANS: &str = "main;a 1 span=a trace=10 \n main;a 2 span=b trace=10 \n main;b 4 \n main;b 8 span=a trace=20";

#[test]
fn spans_and_traces_select_rows() {
    check(SPANS, &Filter { span_ids: vec![0xA], ..Filter::default() }, "main;a 1 \n main;b 8");
    check(SPANS, &Filter { span_ids: vec![0xA, 0xB], ..Filter::default() }, "main;a 3 \n main;b 8");
    check(SPANS, &Filter { trace_ids: vec![0x10], ..Filter::default() }, "main;a 3");
    check(SPANS, &Filter { span_ids: vec![0xA], trace_ids: vec![0x20], ..Filter::default() }, "main;b 8");
    check("main 5", &Filter { span_ids: vec![0xA], ..Filter::default() }, "");
}

#[test]
fn profile_ids_select_profiles() {
    let uploads = [upload_at("a 1", 5, &[]), upload_at("b 2", 6, &[])]; // the time is the id
    assert_eq!(folded(&tree_of(&uploads, &Filter { profile_ids: vec![6], ..Filter::default() })), "b 2");
    assert_eq!(folded(&tree_of(&uploads, &Filter { profile_ids: vec![7], ..Filter::default() })), "");
}

#[test]
fn a_few_rows_of_a_large_dictionary_merge_as_many_do() {
    let many: String = (0..200).map(|i| format!("main;f{};g{i} {i}\n", i % 7)).collect();
    let mut small = upload(&many);
    let series = &mut small.series[0];
    series.stack.truncate(3);
    series.value.truncate(3);
    series.span_id.truncate(3);
    series.trace_id.truncate(3);
    assert_eq!(folded(&tree_of(&[small], &Filter::default())), "main;f1;g1 1\nmain;f2;g2 2");
}

#[test]
fn a_damaged_part_is_named_and_the_rest_answers() {
    for profiles_are_readable in [false, true] {
        let mut all = datasets(&[upload("main 1")]);
        let inner = MemoryDataset::of_upload(&upload("main 2"));
        all.push(Arc::new(Damaged { inner, profiles_are_readable }) as Arc<dyn Dataset>);
        let selection = select(&all, &[], TimeRange::ALL, &Control::default()).unwrap();
        let merged = merge(&selection, &Filter::default(), &Control::default()).unwrap();
        assert_eq!(folded(&merged.value), "main 1");
        let reasons: Vec<String> = merged.damaged.iter().map(ToString::to_string).collect();
        assert_eq!(reasons, ["block 7: checksum differs"]);
    }
}

#[test]
fn a_cancelled_merge_stops() {
    let selection = selection(&[upload("main 1"), upload("main 2")]);
    let asked = AtomicUsize::new(0);
    for answers_before in 0..5 {
        asked.store(0, Ordering::Relaxed);
        let cancelled = || asked.fetch_add(1, Ordering::Relaxed) >= answers_before;
        let control = Control { cancelled: &cancelled, threads: 1 };
        assert!(matches!(merge(&selection, &Filter::default(), &control), Err(QueryError::Cancelled)));
        assert_eq!(asked.load(Ordering::Relaxed), answers_before + 1, "it asks no more after a yes");
    }
}

#[test]
fn threads_do_not_change_the_answer() {
    let rows =
        |seed: usize| -> String { (0..400).map(|i| format!("m{};f{} {}\n", i % 5, i * seed % 97, i + 1)).collect() };
    let uploads: Vec<_> = (1..6).map(|seed| upload(&rows(seed))).collect();
    let selection = selection(&uploads);
    let parts: Vec<&Part> = selection.parts.iter().collect();
    let (filter, control) = (Filter::default(), Control::default());
    let alone = Merger::of_parts(&parts, &filter, &control).unwrap();
    let shares: Vec<Vec<&Part>> = parts.chunks(2).map(<[_]>::to_vec).collect();
    let together = merge_in_threads(&shares, &filter, &control).into_iter().map(Result::unwrap).reduce(Merger::with);
    let graph = |merger: Merger| FlameGraph::new(&CallTree::of_trie(merger.trie, merger.names), 50);
    assert_eq!(graph(alone), graph(together.unwrap()));
}

#[test]
fn work_is_shared_out_by_size() {
    let of_rows = |rows: u32| {
        let mut part = selection(&[upload("main 1")]).parts.remove(0);
        let mut table = (*part.table).clone();
        table.row_end = vec![rows];
        part.table = Arc::new(table);
        part
    };
    let parts: Vec<Part> = [300_000, 900_000, 500_000, 100_000].map(of_rows).into();
    let sizes = |threads: usize| -> Vec<Vec<u64>> {
        share_out(&parts, threads).iter().map(|share| share.iter().map(|p| p.row_count()).collect()).collect()
    };
    assert_eq!(sizes(2), [vec![900_000], vec![500_000, 300_000, 100_000]]);
    assert_eq!(sizes(1), [[900_000, 500_000, 300_000, 100_000]]);
    assert_eq!(sizes(100).len(), 4, "no more threads than parts");
    assert_eq!(share_out(&[of_rows(10), of_rows(10)], 2).len(), 1, "little work takes one thread");
    assert_eq!(share_out(&[], 2).len(), 1);
}

proptest! {
    #[test]
    fn values_are_neither_lost_nor_invented(input in crate::fixture::any_folded()) {
        let merged = tree(&input);
        let drawn: i64 = upload(&input).series[0].value.iter().sum();
        prop_assert_eq!(merged.self_value.iter().sum::<i64>(), drawn);
        prop_assert_eq!(merged.grand_total(), drawn);
        for i in 1..merged.len() {
            prop_assert!(merged.total[i] > 0 && merged.parent[i] < i as u32);
        }
    }

    #[test]
    fn the_order_of_datasets_does_not_matter(a in crate::fixture::any_folded(), b in crate::fixture::any_folded()) {
        let graph = |uploads: &[_]| FlameGraph::new(&tree_of(uploads, &Filter::default()), 10);
        let (a, b) = (upload(&a), upload(&b));
        prop_assert_eq!(graph(&[a.clone(), b.clone()]), graph(&[b, a]));
    }

    #[test]
    fn one_dataset_or_several_is_the_same(a in crate::fixture::any_folded(), b in crate::fixture::any_folded()) {
        let apart = tree_of(&[upload(&a), upload(&b)], &Filter::default());
        prop_assert_eq!(folded(&apart), folded(&tree(&format!("{a}\n{b}"))));
    }
}
