//! `argand query`: questions to a server.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use anyhow::{Context, bail};
use serde_json::Value;

use crate::cli::{QueryCommand, QueryOptions, Question};
use crate::client::Client;
use crate::output::{percent, quantity, table};

pub(crate) fn run(options: &QueryOptions) -> anyhow::Result<()> {
    match &options.command {
        QueryCommand::Profile { question, output, max_nodes } => profile(question, output.as_deref(), *max_nodes),
        QueryCommand::Series { question, step, group_by } => series(question, *step, group_by),
        QueryCommand::Top { question, limit } => top(question, *limit),
        QueryCommand::Diff { question, right_query, right_from, right_to, limit } => {
            let right = Question {
                query: right_query.clone().unwrap_or_else(|| question.query.clone()),
                from: right_from.clone(),
                to: right_to.clone(),
                ..question.clone()
            };
            diff(question, &right, *limit)
        }
        QueryCommand::Labels { question, name: None } => list(question, "labels", "labels", &[]),
        QueryCommand::Labels { question, name: Some(name) } => {
            list(question, "label-values", "values", &[("name", name)])
        }
        QueryCommand::Types { question } => types(question),
    }
}

fn ask(question: &Question, route: &str, more: &[(&str, &str)]) -> anyhow::Result<Value> {
    let mut parameters = vec![("query", question.query.as_str()), ("from", &question.from), ("to", &question.to)];
    parameters.extend_from_slice(more);
    Client::new(&question.address).get_json(&format!("/api/v1/{route}"), &parameters)
}

fn print_json(value: &Value) -> anyhow::Result<()> {
    writeln!(std::io::stdout(), "{}", serde_json::to_string_pretty(value)?)?;
    Ok(())
}

// ---- profile ----

fn profile(question: &Question, output: Option<&Path>, max_nodes: u32) -> anyhow::Result<()> {
    let max_nodes = max_nodes.to_string();
    let Some(path) = output.filter(|path| *path != Path::new("-")) else {
        let graph = ask(question, "flamegraph", &[("max_nodes", &max_nodes)])?;
        if question.json {
            return print_json(&graph);
        }
        return Ok(std::io::stdout().write_all(folded(&graph)?.as_bytes())?);
    };
    let name = path.to_string_lossy();
    let bytes = if name.ends_with(".pb.gz") || name.ends_with(".pprof") {
        let parameters = [("query", question.query.as_str()), ("from", &question.from), ("to", &question.to)];
        Client::new(&question.address).get("/api/v1/profile", &parameters)?
    } else {
        let graph = ask(question, "flamegraph", &[("max_nodes", &max_nodes)])?;
        match name.rsplit('.').next() {
            Some("json") => serde_json::to_vec(&graph)?,
            Some("folded" | "txt" | "collapsed") => folded(&graph)?.into_bytes(),
            _ => bail!("cannot tell the format of {name}: use .pb.gz, .pprof, .folded or .json"),
        }
    };
    std::fs::write(path, bytes).with_context(|| format!("cannot write {name}"))
}

/// The nodes of a columnar flame graph in pre-order: depth, name and a value by column.
struct Nodes<'a> {
    names: Vec<&'a str>,
    children: Vec<usize>,
    name: Vec<usize>,
}

impl<'a> Nodes<'a> {
    fn of(graph: &'a Value) -> anyhow::Result<Self> {
        let names = graph["names"].as_array().context("the answer has no names")?;
        let names: Vec<&str> = names.iter().map(|n| n.as_str().unwrap_or("")).collect();
        let indexes =
            |key| Ok::<_, anyhow::Error>(numbers(&graph["nodes"][key])?.into_iter().map(|n| n as usize).collect());
        let nodes = Self { names, children: indexes("children")?, name: indexes("name")? };
        let consistent = nodes.children.len() == nodes.name.len() && nodes.name.iter().all(|&n| n < nodes.names.len());
        if consistent { Ok(nodes) } else { bail!("the answer's columns do not fit together") }
    }

    /// Calls `visit` with every node's index and its path from below the root.
    fn walk(&self, mut visit: impl FnMut(usize, &[&'a str])) {
        let mut open: Vec<usize> = Vec::new();
        let mut path: Vec<&str> = Vec::new();
        for index in 0..self.children.len() {
            path.push(self.names[self.name[index]]);
            visit(index, &path[1..]);
            open.push(self.children[index]);
            while let Some(left) = open.last_mut() {
                if *left > 0 {
                    *left -= 1;
                    break;
                }
                open.pop();
                path.pop();
            }
        }
    }
}

fn numbers(value: &Value) -> anyhow::Result<Vec<i64>> {
    let column = value.as_array().context("the answer lacks a column")?;
    column.iter().map(|n| n.as_i64().context("a column holds something else than numbers")).collect()
}

fn folded(graph: &Value) -> anyhow::Result<String> {
    let own = numbers(&graph["nodes"]["self"])?;
    let mut text = String::new();
    Nodes::of(graph)?.walk(|index, path| {
        if own.get(index).is_some_and(|&value| value > 0) && !path.is_empty() {
            text.push_str(&format!("{} {}\n", path.join(";"), own[index]));
        }
    });
    Ok(text)
}

// ---- the others ----

fn series(question: &Question, step: u32, group_by: &[String]) -> anyhow::Result<()> {
    let step = step.to_string();
    let mut more = vec![("step", step.as_str())];
    more.extend(group_by.iter().map(|label| ("group_by", label.as_str())));
    let answer = ask(question, "timeline", &more)?;
    if question.json {
        return print_json(&answer);
    }
    let mut rows = Vec::new();
    for series in answer["series"].as_array().into_iter().flatten() {
        let labels: Vec<String> =
            series["labels"].as_object().into_iter().flatten().map(|(k, v)| format!("{k}={v}")).collect();
        for point in series["points"].as_array().into_iter().flatten() {
            let time_ms = point[0].as_i64().unwrap_or(0);
            rows.push(vec![labels.join(" "), (time_ms / 1000).to_string(), point[1].to_string()]);
        }
    }
    Ok(table(&mut std::io::stdout(), &["labels", "time", "value"], &rows)?)
}

fn top(question: &Question, limit: u32) -> anyhow::Result<()> {
    let answer = ask(question, "top", &[("limit", &limit.to_string())])?;
    if question.json {
        return print_json(&answer);
    }
    let (unit, total) = (answer["unit"].as_str().unwrap_or(""), answer["total"].as_f64().unwrap_or(0.0));
    let row = |function: &Value| {
        let (own, whole) = (function["self"].as_f64().unwrap_or(0.0), function["total"].as_f64().unwrap_or(0.0));
        let name = function["name"].as_str().unwrap_or("").to_owned();
        vec![name, quantity(own, unit), percent(own, total), quantity(whole, unit), percent(whole, total)]
    };
    let rows: Vec<_> = answer["functions"].as_array().into_iter().flatten().map(row).collect();
    table(&mut std::io::stdout(), &["function", "self", "self%", "total", "total%"], &rows)?;
    println!("total {}", quantity(total, unit));
    Ok(())
}

fn diff(left: &Question, right: &Question, limit: usize) -> anyhow::Result<()> {
    let parameters = [
        ("left_query", left.query.as_str()),
        ("left_from", &left.from),
        ("left_to", &left.to),
        ("right_query", &right.query),
        ("right_from", &right.from),
        ("right_to", &right.to),
    ];
    let answer = Client::new(&left.address).get_json("/api/v1/diff", &parameters)?;
    if left.json {
        return print_json(&answer);
    }
    let nodes = Nodes::of(&answer)?;
    let (own_left, own_right) = (numbers(&answer["nodes"]["left_self"])?, numbers(&answer["nodes"]["right_self"])?);
    let mut functions: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for (index, &name) in nodes.name.iter().enumerate() {
        let sums = functions.entry(nodes.names[name]).or_default();
        sums.0 += own_left.get(index).copied().unwrap_or(0) as f64;
        sums.1 += own_right.get(index).copied().unwrap_or(0) as f64;
    }
    let totals = (answer["left_total"].as_f64().unwrap_or(0.0), answer["right_total"].as_f64().unwrap_or(0.0));
    let share = |value: f64, total: f64| if total == 0.0 { 0.0 } else { 100.0 * value / total };
    let change = |&(left, right): &(f64, f64)| share(right, totals.1) - share(left, totals.0);
    let mut sorted: Vec<_> = functions.iter().filter(|(_, sums)| **sums != (0.0, 0.0)).collect();
    sorted.sort_by(|a, b| change(b.1).abs().total_cmp(&change(a.1).abs()));
    let unit = answer["unit"].as_str().unwrap_or("");
    let row = |(name, sums): &(&&str, &(f64, f64))| {
        let points = format!("{:+.2}", change(sums));
        vec![(**name).to_owned(), quantity(sums.0, unit), quantity(sums.1, unit), points]
    };
    let rows: Vec<_> = sorted.iter().take(limit).map(row).collect();
    Ok(table(&mut std::io::stdout(), &["function", "left self", "right self", "points"], &rows)?)
}

fn list(question: &Question, route: &str, key: &str, more: &[(&str, &str)]) -> anyhow::Result<()> {
    let answer = ask(question, route, more)?;
    if question.json {
        return print_json(&answer);
    }
    for entry in answer[key].as_array().into_iter().flatten() {
        println!("{}", entry.as_str().unwrap_or(""));
    }
    Ok(())
}

fn types(question: &Question) -> anyhow::Result<()> {
    let answer = ask(question, "profile-types", &[])?;
    if question.json {
        return print_json(&answer);
    }
    let text = |entry: &Value, key: &str| entry[key].as_str().unwrap_or("").to_owned();
    let row = |t: &Value| {
        vec![format!("{} - {}", text(t, "name"), text(t, "sample_type")), text(t, "sample_unit"), text(t, "id")]
    };
    let rows: Vec<_> = answer["profile_types"].as_array().into_iter().flatten().map(row).collect();
    Ok(table(&mut std::io::stdout(), &["type", "unit", "id"], &rows)?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn folded_text_follows_the_tree() {
        let graph = json!({
            "names": ["total", "main", "parse", "render"],
            "nodes": {"children": [1, 2, 0, 0], "name": [0, 1, 2, 3], "self": [0, 1, 70, 20]},
        });
        assert_eq!(folded(&graph).unwrap(), "main 1\nmain;parse 70\nmain;render 20\n");
    }

    #[test]
    fn a_damaged_answer_is_an_error() {
        let graph = json!({"names": ["total"], "nodes": {"children": [0], "name": [7], "self": [0]}});
        assert!(folded(&graph).is_err());
    }
}
