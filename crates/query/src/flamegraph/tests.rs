use proptest::prelude::*;

use super::*;
use crate::fixture::{any_folded, tree};

/// Names and levels as text, a level per line, bars apart by `|`.
#[track_caller]
fn check(folded: &str, max_nodes: usize, names: &str, levels: &str) {
    let graph = FlameGraph::new(&tree(folded), max_nodes);
    let shown: Vec<String> = graph
        .levels()
        .iter()
        .map(|level| {
            let bars: Vec<String> =
                level.chunks(4).map(|bar| bar.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")).collect();
            bars.join(" | ")
        })
        .collect();
    let expected: Vec<&str> = levels.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!((graph.names.join(" ").as_str(), shown.join("\n")), (names, expected.join("\n")));
}

#[test]
fn no_data_is_an_empty_root() {
    check("", 0, "total", "0 0 0 0");
    assert_eq!(FlameGraph::default().levels(), [[0, 0, 0, 0]]);
    assert_eq!(FlameGraph::default().max_self(), 0);
}

#[test]
fn names_are_numbered_from_the_last_child_on() {
    // b is visited before a, and below a: d before c.
    check(
        "a;c 1 \n a;d 2 \n b 4",
        0,
        "total b a d c",
        "0 7 0 0
         0 3 0 2 | 0 4 4 1
         0 1 1 4 | 0 2 2 3",
    );
}

#[test]
fn offsets_count_from_the_end_of_the_bar_before() {
    // Absolute x: a 0, b 10; a;x starts after a's own 3 at 3, a;y at 5; b;x after b's own 4 at 14.
    // a;y ends at 10, so b;x is 4 behind it.
    check(
        "a 3 \n a;x 2 \n a;y 5 \n b 4 \n b;x 6",
        0,
        "total b x a y",
        "0 20 0 0
         0 10 3 3 | 0 10 4 1
         3 2 2 2 | 0 5 5 4 | 4 6 6 2",
    );
}

#[test]
fn children_are_sorted_bytewise() {
    check(
        "b 1 \n B 2 \n ä 4 \n a 8",
        0,
        "total ä b a B",
        "0 15 0 0
         0 2 2 4 | 0 8 8 3 | 0 1 1 2 | 0 4 4 1",
    );
}

#[test]
fn inlined_frames_are_bars() {
    check("main;a+b 3", 0, "total main a b", "0 3 0 0 \n 0 3 0 1 \n 0 3 0 2 \n 0 3 3 3");
}

#[test]
fn small_children_fold_into_other() {
    // The nodes weigh 10, 6, 5, 5, 3 and 1, the third largest 5: so 5 is the least shown.
    check(
        "a;x 6 \n a;y 3 \n a;z 1 \n b;x 5",
        3,
        "total b x a other",
        "0 15 0 0
         0 10 0 3 | 0 5 0 1
         0 6 6 2 | 0 4 4 4 | 0 5 5 2",
    );
}

#[test]
fn a_folded_subtree_is_a_single_bar() {
    check(
        "a 10 \n b;c;d 3 \n e;f 2",
        1,
        "total other a",
        "0 15 0 0
         0 10 10 2 | 0 5 5 1",
    );
}

#[test]
fn nodes_that_all_fit_are_not_folded() {
    check("a 2 \n b 1", 2, "total b a", "0 3 0 0 \n 0 2 2 2 | 0 1 1 1");
    check("a 2 \n b 1", 1, "total other a", "0 3 0 0 \n 0 2 2 2 | 0 1 1 1");
}

#[test]
fn equals_of_the_smallest_shown_node_stay() {
    check("a 2 \n b 1 \n c 1", 2, "total c b a", "0 4 0 0 \n 0 2 2 3 | 0 1 1 2 | 0 1 1 1");
}

#[test]
fn a_function_called_other_is_always_folded() {
    check(
        "a 2 \n other;x 3 \n z 4",
        0,
        "total other z a",
        "0 9 0 0
         0 2 2 3 | 0 4 4 2 | 0 3 3 1",
    );
}

#[test]
fn a_function_called_total_shares_the_first_name() {
    check("total;a 2", 0, "total a", "0 2 0 0 \n 0 2 0 0 \n 0 2 2 1");
}

#[test]
fn deep_recursion_is_drawn_without_recursing() {
    let graph = FlameGraph::new(&tree(&format!("{} 7", vec!["f"; 10_000].join(";"))), 20_000);
    let levels = graph.levels();
    assert_eq!((levels.len(), &levels[9_999], &levels[10_000]), (10_001, &vec![0, 7, 0, 1], &vec![0, 7, 7, 1]));
    assert_eq!(decode_tree(&graph.to_tree_bytes()).len(), 10_001);
    assert_eq!(decode_binary(&graph.to_binary()), graph);
}

#[test]
fn weight_of_empty_stacks_shows_in_the_total_only() {
    let mut tree = tree("a 2");
    tree.self_value[0] = 3;
    tree.total[0] = 5;
    let graph = FlameGraph::new(&tree, 0);
    assert_eq!(graph.levels(), [[0, 5, 0, 0], [0, 2, 2, 1]]);
    assert_eq!(graph.max_self(), 2);
    assert_eq!(graph.self_value, [3, 2]);
}

#[test]
fn binary_bytes_never_change() {
    let graph = FlameGraph::new(&tree("a 200 \n a;b 1"), 0);
    let body = b"AFG1\x03\x05total\x01a\x01b\x03\x01\x01\x00\x00\x01\x02\x00\xC8\x01\x01";
    let mut expected = body.to_vec();
    expected.extend(crc32c::crc32c(body).to_le_bytes());
    assert_eq!(graph.to_binary(), expected);
}

#[test]
fn tree_bytes_put_the_last_child_first() {
    let graph = FlameGraph::new(&tree("a;x 1 \n b;y 2"), 0);
    assert_eq!(graph.to_tree_bytes(), b"\0\0\x02\x01b\0\x01\x01y\x02\0\x01a\0\x01\x01x\x01\0");
    assert_eq!(FlameGraph::default().to_tree_bytes(), b"");
}

/// Path and self value of each bar that has one, sorted.
type Paths = Vec<(Vec<String>, i64)>;

fn paths(graph: &FlameGraph) -> Paths {
    let mut paths = Vec::new();
    walk(&graph.child_count, |bar, _, parent: Option<&mut Vec<String>>| {
        let mut path = parent.cloned().unwrap_or_default();
        if bar > 0 {
            path.push(graph.names[graph.name[bar] as usize].clone());
        }
        if graph.self_value[bar] != 0 {
            paths.push((path.clone(), graph.self_value[bar]));
        }
        path
    });
    paths.sort();
    paths
}

/// Reads levels as a client does: a bar belongs to the bar below that it lies on.
fn decode_levels(names: &[String], levels: &[Vec<i64>]) -> Paths {
    let mut paths = Vec::new();
    let mut below: Vec<(i64, i64, Vec<String>)> = Vec::new();
    for level in levels {
        let mut here = Vec::new();
        let mut end = 0;
        for bar in level.chunks(4) {
            let (start, total, own) = (end + bar[0], bar[1], bar[2]);
            end = start + total;
            let path = if here.is_empty() && below.is_empty() {
                Vec::new()
            } else {
                let (.., path) =
                    below.iter().find(|(from, to, _)| *from <= start && end <= *to).expect("it lies on one");
                let mut path = path.clone();
                path.push(names[bar[3] as usize].clone());
                path
            };
            if own != 0 {
                paths.push((path.clone(), own));
            }
            here.push((start, end, path));
        }
        below = here;
    }
    paths.sort();
    paths
}

fn take_varint(bytes: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let byte = bytes[0];
        *bytes = &bytes[1..];
        value |= u64::from(byte & 0x7F) << shift;
        if byte < 0x80 {
            return value;
        }
    }
    panic!("a varint is too long")
}

fn take_text(bytes: &mut &[u8]) -> String {
    let length = take_varint(bytes) as usize;
    let (text, rest) = bytes.split_at(length);
    *bytes = rest;
    String::from_utf8(text.to_vec()).unwrap()
}

/// Parent (itself for the root), name and self value of each node of tree bytes, in the order written.
fn decode_tree(mut bytes: &[u8]) -> Vec<(usize, String, i64)> {
    let mut nodes = Vec::new();
    let mut parents = vec![0];
    while !bytes.is_empty() {
        let parent = parents.pop().expect("a parent waits for each node");
        let name = take_text(&mut bytes);
        let own = take_varint(&mut bytes) as i64;
        let children = take_varint(&mut bytes) as usize;
        parents.extend(std::iter::repeat_n(nodes.len(), children));
        nodes.push((parent, name, own));
    }
    nodes
}

fn tree_paths(nodes: &[(usize, String, i64)]) -> Paths {
    let path = |node: usize| {
        let way = std::iter::successors(Some(node), |&at| Some(nodes[at].0)).take_while(|&at| at != 0);
        let mut names: Vec<String> = way.map(|at| nodes[at].1.clone()).collect();
        names.reverse();
        names
    };
    let with_value = (0..nodes.len()).filter(|&node| nodes[node].2 != 0);
    let mut paths: Paths = with_value.map(|node| (path(node), nodes[node].2)).collect();
    paths.sort();
    paths
}

fn decode_binary(bytes: &[u8]) -> FlameGraph {
    let (body, checksum) = bytes.split_at(bytes.len() - 4);
    assert_eq!(crc32c::crc32c(body).to_le_bytes(), checksum);
    let mut rest = body.strip_prefix(b"AFG1").unwrap();
    let names = (0..take_varint(&mut rest)).map(|_| take_text(&mut rest)).collect();
    let length = take_varint(&mut rest);
    let mut column = || (0..length).map(|_| take_varint(&mut rest)).collect::<Vec<u64>>();
    let child_count: Vec<u32> = column().into_iter().map(|v| v as u32).collect();
    let name = column().into_iter().map(|v| v as u32).collect();
    let self_value: Vec<i64> = column().into_iter().map(|v| v as i64).collect();
    assert!(rest.is_empty());
    let mut total = self_value.clone();
    let size = subtree_sizes(&child_count);
    for bar in (0..child_count.len()).rev() {
        let mut child = bar + 1;
        for _ in 0..child_count[bar] {
            total[bar] += total[child];
            child += size[child] as usize;
        }
    }
    FlameGraph { names, child_count, name, self_value, total }
}

proptest! {
    #[test]
    fn every_encoding_reads_back(input in any_folded(), max_nodes in 0usize..30) {
        let graph = FlameGraph::new(&tree(&input), max_nodes);
        prop_assert_eq!(decode_levels(&graph.names, &graph.levels()), paths(&graph));
        prop_assert_eq!(tree_paths(&decode_tree(&graph.to_tree_bytes())), paths(&graph));
        prop_assert_eq!(decode_binary(&graph.to_binary()), graph);
    }

    #[test]
    fn folding_keeps_totals_and_shows_what_weighs_most(input in any_folded(), max_nodes in 1usize..30) {
        let tree = tree(&input);
        let graph = FlameGraph::new(&tree, max_nodes);
        prop_assert_eq!(graph.self_value.iter().sum::<i64>(), tree.grand_total());
        prop_assert_eq!(graph.grand_total(), tree.grand_total());
        let of_name = |n: &str| graph.names.iter().position(|name| name == n).map(|i| i as u32);
        let shown = (1..graph.len()).filter(|&i| Some(graph.name[i]) != of_name("other"));
        let least_shown = shown.map(|i| graph.total[i]).min().unwrap_or(i64::MAX);
        let mut totals = tree.total[1..].to_vec();
        totals.sort_unstable_by(|a, b| b.cmp(a));
        let threshold = if totals.len() > max_nodes { totals[max_nodes - 1] } else { 0 };
        prop_assert!(least_shown >= threshold);
    }
}
