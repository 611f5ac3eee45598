use proptest::prelude::*;

use super::*;
use crate::FlameGraph;
use crate::fixture::{any_folded, tree};

#[track_caller]
fn check(left: &str, right: &str, max_nodes: usize, names: &str, levels: &str) {
    let diff = FlameGraphDiff::new(&tree(left), &tree(right), max_nodes).unwrap();
    let bar = |bar: &[i64]| bar.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    let level = |level: &Vec<i64>| level.chunks(7).map(bar).collect::<Vec<_>>().join(" | ");
    let shown: Vec<String> = diff.levels().iter().map(level).collect();
    let expected: Vec<&str> = levels.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!((diff.names.join(" ").as_str(), shown.join("\n")), (names, expected.join("\n")));
}

#[test]
fn nothing_against_nothing_is_an_empty_root() {
    check("", "", 0, "total", "0 0 0 0 0 0 0");
}

#[test]
fn both_sides_stand_at_the_union_of_their_nodes() {
    // Left: a 0..5 with x at 1..5. Right: a 0..2 with y at 0..2, then b 2..9.
    check(
        "a 1 \n a;x 4",
        "a;y 2 \n b 7",
        0,
        "total b a y x",
        "0 5 0 0 9 0 0
         0 5 1 0 2 0 2 | 0 0 0 0 7 7 1
         1 4 4 0 0 0 4 | 0 0 0 0 2 2 3",
    );
}

#[test]
fn each_side_has_its_own_distances() {
    // The second level starts at a's own value: 3 left, 1 right; b;x comes after a gap of b's own 2 right.
    check(
        "a 3 \n a;x 1 \n b;x 5",
        "a 1 \n a;x 1 \n b 2 \n b;x 1",
        0,
        "total b x a",
        "0 9 0 0 5 0 0
         0 4 3 0 2 1 3 | 0 5 0 0 3 2 1
         3 1 1 1 1 1 2 | 0 5 5 2 1 1 2",
    );
}

#[test]
fn a_node_stays_that_is_large_on_one_side() {
    check(
        "a 9 \n b 1 \n c 2",
        "b 8 \n c 3",
        2,
        "total other b a",
        "0 12 0 0 11 0 0
         0 9 9 0 0 0 3 | 0 1 1 0 8 8 2 | 0 2 2 0 3 3 1",
    );
}

#[test]
fn sums_of_both_sides() {
    let diff = FlameGraphDiff::new(&tree("a 9 \n b 1"), &tree("b 20"), 0).unwrap();
    assert_eq!((diff.left_ticks(), diff.right_ticks(), diff.total(), diff.max_self()), (10, 20, 30, 20));
}

#[test]
fn negative_values_are_refused() {
    let mut tree = tree("a 9");
    tree.self_value[1] = -1;
    let error = FlameGraphDiff::new(&CallTree::default(), &tree, 0).unwrap_err();
    assert!(matches!(error, QueryError::NegativeValue(-1)));
}

proptest! {
    #[test]
    fn a_tree_against_itself_is_the_tree_twice(input in any_folded(), max_nodes in 0usize..20) {
        let tree = tree(&input);
        let graph = FlameGraph::new(&tree, max_nodes);
        let diff = FlameGraphDiff::new(&tree, &tree, max_nodes).unwrap();
        prop_assert_eq!((&diff.left_self, &diff.left_total), (&diff.right_self, &diff.right_total));
        prop_assert_eq!((diff.names, diff.child_count, diff.name), (graph.names, graph.child_count, graph.name));
        prop_assert_eq!((diff.left_self, diff.left_total), (graph.self_value, graph.total));
    }

    #[test]
    fn sides_swap(left in any_folded(), right in any_folded(), max_nodes in 0usize..20) {
        let (left, right) = (tree(&left), tree(&right));
        let diff = FlameGraphDiff::new(&left, &right, max_nodes).unwrap();
        let swapped = FlameGraphDiff::new(&right, &left, max_nodes).unwrap();
        prop_assert_eq!(diff.left_self.iter().sum::<i64>(), left.grand_total());
        prop_assert_eq!((&diff.left_self, &diff.right_total), (&swapped.right_self, &swapped.left_total));
        prop_assert_eq!((diff.names, diff.name), (swapped.names, swapped.name));
    }
}
