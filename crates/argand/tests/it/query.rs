//! Questions to the server through its public query API (Connect with JSON), and flame graphs as call paths.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::http::{self, Reply, escape};
use crate::proto::now_ns;
use crate::server::Server;

/// The one profile type that every CPU profile of these tests has.
pub(crate) const CPU: &str = "process_cpu:cpu:nanoseconds:cpu:nanoseconds";

const MAX_NODES: u32 = 1_048_576;
const BAR_INTEGERS: usize = 4;

/// A span of time, Unix ms.
#[derive(Clone, Copy)]
pub(crate) struct Range {
    pub(crate) start_ms: u64,
    pub(crate) end_ms: u64,
}

impl Range {
    /// An hour up to a minute ahead of now: everything that a test pushes.
    pub(crate) fn recent() -> Self {
        let now_ms = now_ns() / 1_000_000;
        Self { start_ms: now_ms - 3_600_000, end_ms: now_ms + 60_000 }
    }
}

/// Calls an RPC of the querier with JSON.
pub(crate) fn rpc(server: &Server, method: &str, request: &Value) -> Reply {
    rpc_with(server, method, request, &[])
}

fn rpc_with(server: &Server, method: &str, request: &Value, headers: &[(&str, &str)]) -> Reply {
    let url = server.url(&format!("/querier.v1.QuerierService/{method}"));
    let mut all = vec![("content-type", "application/json")];
    all.extend_from_slice(headers);
    http::send("POST", &url, &all, request.to_string().as_bytes()).expect("the server answers queries")
}

fn rpc_answer(server: &Server, method: &str, request: &Value) -> Value {
    let reply = rpc(server, method, request);
    assert_eq!(reply.status, 200, "{method} {request}: {}", reply.text());
    reply.json()
}

/// Ids of the profile types that the server has.
pub(crate) fn profile_types(server: &Server) -> BTreeSet<String> {
    let Range { start_ms, end_ms } = Range::recent();
    let answer = rpc_answer(server, "ProfileTypes", &json!({"start": start_ms.to_string(), "end": end_ms.to_string()}));
    items(&answer["profileTypes"]).iter().map(|one| text(&one["ID"])).collect()
}

/// Values of a label among the series that a selector matches.
pub(crate) fn label_values(server: &Server, name: &str, selector: &str) -> BTreeSet<String> {
    let Range { start_ms, end_ms } = Range::recent();
    let request = json!({"name": name, "matchers": [selector], "start": start_ms, "end": end_ms});
    items(&rpc_answer(server, "LabelValues", &request)["names"]).iter().map(text).collect()
}

/// All label sets of the series that a selector matches, with label names of any characters.
pub(crate) fn series(server: &Server, selector: &str) -> Vec<BTreeMap<String, String>> {
    let Range { start_ms, end_ms } = Range::recent();
    let request = json!({"matchers": [selector], "start": start_ms, "end": end_ms});
    let reply = rpc_with(server, "Series", &request, &[("accept", "*/*; allow-utf8-labelnames=true")]);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let labels =
        |set: &Value| items(&set["labels"]).iter().map(|pair| (text(&pair["name"]), text(&pair["value"]))).collect();
    items(&reply.json()["labelsSet"]).iter().map(labels).collect()
}

/// The merged stacks of everything recent that a selector matches.
pub(crate) fn flame_graph(server: &Server, profile_type: &str, selector: &str) -> FlameGraph {
    let Range { start_ms, end_ms } = Range::recent();
    let request = json!({
        "profileTypeID": profile_type,
        "labelSelector": selector,
        "start": start_ms.to_string(),
        "end": end_ms.to_string(),
        "maxNodes": MAX_NODES.to_string(),
    });
    let answer = rpc_answer(server, "SelectMergeStacktraces", &request);
    let graph = &answer["flamegraph"];
    let levels: Vec<Vec<i64>> =
        items(&graph["levels"]).iter().map(|level| items(&level["values"]).iter().map(integer).collect()).collect();
    FlameGraph::decode(&items(&graph["names"]).iter().map(text).collect::<Vec<_>>(), &levels, integer(&graph["total"]))
}

/// The same through the older GET API.
pub(crate) fn rendered(server: &Server, query: &str) -> FlameGraph {
    let url =
        server.url(&format!("/pyroscope/render?query={}&from=now-1h&until=now&max-nodes={MAX_NODES}", escape(query)));
    let reply = http::get(&url).expect("the server answers queries");
    assert_eq!(reply.status, 200, "{}", reply.text());
    let bearer = &reply.json()["flamebearer"];
    let levels: Vec<Vec<i64>> =
        items(&bearer["levels"]).iter().map(|level| items(level).iter().map(integer).collect()).collect();
    FlameGraph::decode(
        &items(&bearer["names"]).iter().map(text).collect::<Vec<_>>(),
        &levels,
        integer(&bearer["numTicks"]),
    )
}

/// Asks until `answer` gives something, at most for `patience`.
pub(crate) fn eventually<T>(what: &str, patience: Duration, mut answer: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = answer() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {patience:?}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A flame graph as its bars, each with its whole call path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FlameGraph {
    /// Sum over all stacks.
    pub(crate) total: i64,
    /// Every bar with a weight but the root, in no promised order.
    pub(crate) bars: Vec<Bar>,
}

/// One bar of a [`FlameGraph`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Bar {
    /// Function names from the outermost caller to this function.
    pub(crate) path: Vec<String>,
    /// Weight of the samples that end here.
    pub(crate) self_: i64,
    /// Weight of the samples that pass here.
    pub(crate) total: i64,
}

struct Placed {
    bar: Bar,
    x: i64,
    children_total: i64,
}

impl FlameGraph {
    /// Reads level rows of (x offset, total, self, name index), each x relative to the end of the bar before it.
    ///
    /// Panics unless every bar lies within one bar of the level above, behind that bar's self weight, and every
    /// total is self plus children: whatever a client draws from such rows is then right.
    fn decode(names: &[String], levels: &[Vec<i64>], total: i64) -> Self {
        let mut above: Vec<Placed> = Vec::new();
        let mut bars = Vec::new();
        for (depth, level) in levels.iter().enumerate() {
            let placed = place(names, level, &mut above);
            if depth == 0 {
                assert_eq!(names.first().map(String::as_str), Some("total"), "the first name is the root's");
                assert_eq!(
                    placed.iter().map(|root| root.bar.total).collect::<Vec<_>>(),
                    [total],
                    "one root with the total"
                );
            }
            bars.extend(retire(&mut above, placed));
        }
        bars.extend(retire(&mut above, Vec::new()));
        bars.retain(|bar| !bar.path.is_empty());
        Self { total, bars }
    }

    /// Weight of the samples that pass a function whose name `matches`; recursion counts once.
    pub(crate) fn weight_of(&self, matches: impl Fn(&str) -> bool) -> i64 {
        let outermost = |bar: &&Bar| {
            let (name, callers) = bar.path.split_last().expect("no bar is without a name");
            matches(name) && !callers.iter().any(|caller| matches(caller))
        };
        self.bars.iter().filter(outermost).map(|bar| bar.total).sum()
    }

    /// Leaf weights by call path, root first, joined by `;`. Bars without self weight are left out.
    pub(crate) fn folded(&self) -> BTreeMap<String, i64> {
        self.bars.iter().filter(|bar| bar.self_ != 0).map(|bar| (bar.path.join(";"), bar.self_)).collect()
    }
}

fn place(names: &[String], level: &[i64], above: &mut [Placed]) -> Vec<Placed> {
    assert_eq!(level.len() % BAR_INTEGERS, 0, "a level is rows of {BAR_INTEGERS} integers");
    let (mut end, mut parent) = (0, 0);
    let mut placed = Vec::new();
    for row in level.chunks_exact(BAR_INTEGERS) {
        let (x, total, self_) = (end + row[0], row[1], row[2]);
        end = x + total;
        // A bar without width shows nothing, and which of two neighbours it belongs to cannot be told.
        if total == 0 && !above.is_empty() {
            continue;
        }
        let name = usize::try_from(row[3]).ok().and_then(|index| names.get(index)).expect("the name index is valid");
        let mut path = Vec::new();
        if !above.is_empty() {
            while parent + 1 < above.len() && above[parent].x + above[parent].bar.total <= x {
                parent += 1;
            }
            let over = &mut above[parent];
            assert!(
                over.x + over.bar.self_ <= x && end <= over.x + over.bar.total,
                "{name} at {x}..{end} is outside its caller {:?}",
                over.bar
            );
            over.children_total += total;
            path.clone_from(&over.bar.path);
            path.push(name.clone());
        }
        placed.push(Placed { bar: Bar { path, self_, total }, x, children_total: 0 });
    }
    placed
}

/// Makes `placed` the level above and gives the bars of the one before, checked against their children.
fn retire(above: &mut Vec<Placed>, placed: Vec<Placed>) -> Vec<Bar> {
    let done = std::mem::replace(above, placed);
    done.into_iter()
        .map(|Placed { bar, children_total, .. }| {
            let accounted = bar.self_ + children_total;
            // Samples without any frame are in the root's total only: its self is always given as 0.
            let whole = bar.total == accounted || bar.path.is_empty() && bar.total > accounted;
            assert!(whole, "total is self plus callees, which are {children_total}: {bar:?}");
            bar
        })
        .collect()
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// Connect's JSON has 64 bit integers as strings and leaves zeros out.
fn integer(value: &Value) -> i64 {
    match value {
        Value::Null => 0,
        Value::String(digits) => digits.parse().expect("an integer as text"),
        number => number.as_i64().expect("an integer"),
    }
}

#[test]
fn flame_graph_rows_decode_to_call_paths() {
    let names = ["total", "main", "b", "a"].map(str::to_owned);
    // main = 1 of its own, callees a 4 and b 5; a again below b with a gap of b's self 3.
    let levels = [vec![0, 10, 0, 0], vec![0, 10, 1, 1], vec![1, 4, 4, 3, 0, 5, 3, 2], vec![8, 2, 2, 3]];
    let graph = FlameGraph::decode(&names, &levels, 10);
    let folded = [("main", 1), ("main;a", 4), ("main;b", 3), ("main;b;a", 2)];
    assert_eq!(graph.folded(), folded.map(|(path, weight)| (path.to_owned(), weight)).into());
    assert_eq!(graph.weight_of(|name| name == "a"), 6);
}

#[test]
#[should_panic(expected = "outside its caller")]
fn flame_graph_rows_outside_their_caller_are_refused() {
    let names = ["total", "main"].map(str::to_owned);
    FlameGraph::decode(&names, &[vec![0, 10, 0, 0], vec![5, 10, 10, 1]], 10);
}
