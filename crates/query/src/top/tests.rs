use super::*;
use crate::fixture::tree;

#[track_caller]
fn check(folded: &str, limit: usize, expected: &[(&str, i64, i64)]) {
    let rows = top(&tree(folded), limit);
    let shown: Vec<(&str, i64, i64)> = rows.iter().map(|r| (r.name.as_str(), r.self_value, r.total)).collect();
    assert_eq!(shown, expected);
}

#[test]
fn functions_add_up_over_their_callers() {
    check("main;a;x 1 \n main;b;x 2 \n main;b 4", 0, &[("b", 4, 6), ("x", 3, 3), ("main", 0, 7), ("a", 0, 1)]);
}

#[test]
fn a_recursion_counts_once() {
    check("f 1 \n f;f 2 \n f;g;f 4 \n g;f;g 8", 0, &[("g", 8, 12), ("f", 7, 15)]);
}

#[test]
fn equal_rows_stand_by_name_and_the_limit_cuts() {
    check("b 1 \n a 1 \n c 2", 2, &[("c", 2, 2), ("a", 1, 1)]);
    check("", 0, &[]);
}
