use super::*;
use crate::fixture::tree;

/// Each function as `name own/total`, each call as `caller value callee`.
#[track_caller]
fn check(folded: &str, max_nodes: usize, expected: &str) {
    let bars = FlameGraph::new(&tree(folded), 0);
    let graph = Graph::of(&bars, max_nodes);
    let name = |function: &Function| &bars.names[function.name as usize];
    let functions = graph.functions.iter().map(|f| format!("{} {}/{}", name(f), f.own, f.total));
    let edges = graph.edges.iter().map(|(&(caller, callee), edge)| {
        let [caller, callee] = [caller, callee].map(|at| name(&graph.functions[at as usize]));
        format!("{caller} {}{} {callee}", edge.value, if edge.is_indirect { "~" } else { "" })
    });
    let lines: Vec<String> = functions.chain(edges).collect();
    let expected: Vec<&str> = expected.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    assert_eq!(lines, expected);
}

#[test]
fn calls_add_up_over_stacks() {
    check(
        "main;a;x 1 \n main;b;x 2 \n main;a 4",
        10,
        "main 0/7 \n a 4/5 \n x 3/3 \n b 0/2
         main 5 a \n main 2 b \n a 1 x \n b 2 x",
    );
}

#[test]
fn a_recursion_counts_once() {
    check("f;f;f 5 \n f;g;f;g 2", 10, "f 5/7 \n g 2/2 \n f 5 f \n f 2 g \n g 2 f");
}

#[test]
fn calls_through_functions_left_out_are_indirect() {
    check("main;tiny;x 3 \n main;x 4 \n main 9", 2, "main 9/16 \n x 7/7 \n main 7~ x");
}

#[test]
fn the_text_is_graphviz() {
    let text = dot(&tree("main 1500000000 \n main;\"hi\\n\" 500000000"), "cpu", "nanoseconds", 100);
    assert!(text.starts_with("digraph \"unnamed\" {\n"), "{text}");
    assert!(text.contains("Showing nodes accounting for 2s, 100.00% of 2s total"), "{text}");
    assert!(text.contains(r#"N1 [label="main\n1.5s (75.00%)\nof 2s (100.00%)""#), "{text}");
    assert!(text.contains(r#"label="\"hi\\n\"\n500ms (25.00%)""#), "{text}");
    assert!(text.contains("N1 -> N2 [label=\" 500ms\" weight=26 penwidth=2"), "{text}");
    assert!(text.ends_with("}\n"));
    assert_eq!(dot(&tree(""), "cpu", "nanoseconds", 100), "");
}

#[test]
fn values_show_in_a_fitting_unit() {
    let shown = |unit, values: &[i64]| values.iter().map(|&v| format_value(v, unit)).collect::<Vec<_>>().join(" ");
    assert_eq!(shown("nanoseconds", &[0, 7, 1_500, 2_000_000, 90_000_000_000]), "0ns 7ns 1.5us 2ms 1.5mins");
    assert_eq!(shown("milliseconds", &[12]), "12ms");
    assert_eq!(shown("bytes", &[5, 1536, 3 << 30]), "5B 1.5kB 3GB");
    assert_eq!(shown("count", &[1_000_000]), "1000000");
}
