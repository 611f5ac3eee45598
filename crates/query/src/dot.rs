//! Call graphs in the language of Graphviz, drawn like pprof's.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::fmt::Write;

use crate::flamegraph::walk;
use crate::{CallTree, FlameGraph};

/// Fewest bars of the tree that the graph is drawn from.
const MIN_TREE_NODES: usize = 512;

/// Draws the `max_nodes` functions with the largest totals and who calls whom; `unit` is that of the values.
///
/// Dashed lines pass through functions that were left out. Empty when there is no data.
pub fn dot(tree: &CallTree, sample_type: &str, unit: &str, max_nodes: usize) -> String {
    let bars = FlameGraph::new(tree, max_nodes.max(MIN_TREE_NODES));
    if bars.grand_total() <= 0 {
        return String::new();
    }
    let graph = Graph::of(&bars, max_nodes);
    let show = |value: i64| format_value(value, unit);
    let percent = |value: i64| format!("{:.2}%", value as f64 * 100.0 / bars.grand_total() as f64);

    let shown: i64 = graph.functions.iter().fold(0, |sum: i64, f| sum.saturating_add(f.own));
    let (kind, all) = (quote(sample_type), show(bars.grand_total()));
    let mut out = format!(
        "digraph \"unnamed\" {{\nnode [style=filled fillcolor=\"#f8f8f8\"]\nsubgraph cluster_L {{ \"Type: {kind}\" \
         [shape=box fontsize=16 label=\"Type: {kind}\\lShowing nodes accounting for {}, {} of {all} total\\l\"] }}\n",
        show(shown),
        percent(shown),
    );
    for (number, function) in (1..).zip(&graph.functions) {
        let name = quote(&bars.names[function.name as usize]);
        let Function { own, total, .. } = *function;
        let share = own as f64 / bars.grand_total() as f64;
        let size = 8 + (16.0 * share.sqrt()).ceil() as u32;
        let values = if own == total {
            format!("{} ({})", show(own), percent(own))
        } else {
            format!("{} ({})\\nof {} ({})", show(own), percent(own), show(total), percent(total))
        };
        let color = color(total as f64 / bars.grand_total() as f64);
        writeln!(
            out,
            "N{number} [label=\"{name}\\n{values}\" id=\"node{number}\" fontsize={size} shape=box \
             tooltip=\"{name} ({})\" color=\"{color}\"]",
            show(total)
        )
        .expect("writing to a string does not fail");
    }
    for (&(caller, callee), edge) in &graph.edges {
        let share = edge.value as f64 / bars.grand_total() as f64;
        let name = |function: u32| quote(&bars.names[graph.functions[function as usize].name as usize]);
        let (arrow, style) = if edge.is_indirect { ("...", " style=\"dashed\"") } else { ("->", "") };
        let tip = format!("{} {arrow} {} ({})", name(caller), name(callee), show(edge.value));
        writeln!(
            out,
            "N{} -> N{} [label=\" {}\" weight={} penwidth={} color=\"{}\" tooltip=\"{tip}\" labeltooltip=\"{tip}\"{style}]",
            caller + 1,
            callee + 1,
            show(edge.value),
            1 + (share * 100.0) as u32,
            1 + (share * 5.0) as u32,
            color(share),
        )
        .expect("writing to a string does not fail");
    }
    out.push_str("}\n");
    out
}

/// Functions, by descending total, and the calls between them, by their places in that order.
struct Graph {
    functions: Vec<Function>,
    edges: BTreeMap<(u32, u32), Edge>,
}

#[derive(Clone, Copy, Default)]
struct Function {
    name: u32,
    own: i64,
    total: i64,
}

#[derive(Clone, Copy, Default)]
struct Edge {
    value: i64,
    /// Whether functions in between were left out.
    is_indirect: bool,
}

/// A bar on the path from the root.
#[derive(Clone, Copy)]
struct Step {
    bar: usize,
    /// Nearest function at or below the bar that is shown.
    function: Option<u32>,
}

impl Graph {
    fn of(bars: &FlameGraph, max_nodes: usize) -> Self {
        let functions = largest_functions(bars, max_nodes);
        let mut place = vec![None; bars.names.len()];
        (0u32..).zip(&functions).for_each(|(at, function)| place[function.name as usize] = Some(at));
        let mut edges: BTreeMap<(u32, u32), Edge> = BTreeMap::new();
        // A stack that runs over an edge several times counts once.
        let mut open: Vec<Option<(u32, u32)>> = Vec::new();
        let mut is_open: BTreeMap<(u32, u32), bool> = BTreeMap::new();
        walk(&bars.child_count, |bar, depth, parent: Option<&mut Step>| {
            for edge in open.drain(depth.min(open.len())..).flatten() {
                is_open.insert(edge, false);
            }
            let parent = parent.map_or(Step { bar: 0, function: None }, |step| *step);
            let own = if bar == 0 { None } else { place[bars.name[bar] as usize] };
            let edge = parent.function.zip(own);
            let newly_open = edge.filter(|edge| !is_open.get(edge).copied().unwrap_or(false));
            if let Some(edge) = newly_open {
                is_open.insert(edge, true);
                let drawn = edges.entry(edge).or_default();
                drawn.value = drawn.value.saturating_add(bars.total[bar]);
                drawn.is_indirect |= place[bars.name[parent.bar] as usize].is_none();
            }
            open.push(newly_open);
            Step { bar, function: own.or(parent.function) }
        });
        Self { functions, edges }
    }
}

fn largest_functions(bars: &FlameGraph, max_nodes: usize) -> Vec<Function> {
    let mut functions: Vec<Function> =
        (0..bars.names.len() as u32).map(|name| Function { name, ..Function::default() }).collect();
    let mut depth_of = vec![0u32; bars.names.len()]; // how often a function is on the path
    let mut path: Vec<u32> = Vec::new();
    walk(&bars.child_count, |bar, depth, _: Option<&mut ()>| {
        for name in path.drain(depth.min(path.len())..) {
            depth_of[name as usize] -= 1;
        }
        let name = bars.name[bar];
        path.push(name);
        if bar != 0 {
            let function = &mut functions[name as usize];
            function.own = function.own.saturating_add(bars.self_value[bar]);
            if depth_of[name as usize] == u32::from(name == 0) {
                function.total = function.total.saturating_add(bars.total[bar]);
            }
        }
        depth_of[name as usize] += 1;
    });
    functions.retain(|function| function.total > 0);
    functions.sort_by_key(|f| (Reverse(f.total), Reverse(f.own), &bars.names[f.name as usize]));
    functions.truncate(max_nodes);
    functions
}

/// From grey for nothing to red for everything.
fn color(share: f64) -> String {
    let mix = |from: f64, to: f64| (from + (to - from) * share.clamp(0.0, 1.0).sqrt()).round() as u8;
    format!("#{:02x}{:02x}{:02x}", mix(178.0, 178.0), mix(178.0, 0.0), mix(172.0, 0.0))
}

/// Escaped for a string of Graphviz.
fn quote(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace(['\n', '\r'], " ")
}

/// A value with the largest unit that leaves at least 1.
fn format_value(value: i64, unit: &str) -> String {
    const TIME: [(f64, &str); 6] = [(3600e9, "hrs"), (60e9, "mins"), (1e9, "s"), (1e6, "ms"), (1e3, "us"), (1.0, "ns")];
    const KIB: f64 = 1024.0;
    const MEMORY: [(f64, &str); 5] =
        [(KIB * KIB * KIB * KIB, "TB"), (KIB * KIB * KIB, "GB"), (KIB * KIB, "MB"), (KIB, "kB"), (1.0, "B")];
    let scales: &[(f64, &str)] = match unit {
        "nanoseconds" => &TIME,
        "microseconds" => return format_value(value.saturating_mul(1_000), "nanoseconds"),
        "milliseconds" => return format_value(value.saturating_mul(1_000_000), "nanoseconds"),
        "seconds" => return format_value(value.saturating_mul(1_000_000_000), "nanoseconds"),
        "bytes" => &MEMORY,
        _ => return value.to_string(),
    };
    let (scale, suffix) = scales.iter().find(|(scale, _)| value as f64 >= *scale).unwrap_or(&scales[scales.len() - 1]);
    let scaled = format!("{:.2}", value as f64 / scale);
    format!("{}{suffix}", scaled.trim_end_matches('0').trim_end_matches('.'))
}

#[cfg(test)]
mod tests;
