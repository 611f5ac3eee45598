//! The older query endpoints: `/pyroscope/render`, `/pyroscope/render-diff`, `/pyroscope/label-values`.

use std::collections::BTreeMap;
use std::sync::Arc;

use argand_model::{Matcher, ProfileType, name};
use argand_query::{
    Filter, FlameGraph, FlameGraphDiff, RenderMetadata, Selection, SeriesQuery, TimeSeries, Timeline,
    timeline_step_seconds,
};
use axum::Router;
use axum::extract::{Request, State};
use axum::routing::get;
use serde::Serialize;

use super::respond::{Packed, Packing, Params};
use crate::app::App;
use crate::error::ApiError;
use crate::policy::QueryLimits;
use crate::query::{self, Window, ask, readable};

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/pyroscope/render", get(render))
        .route("/pyroscope/render-diff", get(render_diff))
        .route("/pyroscope/label-values", get(label_values))
}

/// A profile as older front ends read it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Flamebearer {
    version: u32,
    flamebearer: Bars,
    metadata: Metadata,
    timeline: Option<TimelineJson>,
    groups: Option<BTreeMap<String, TimelineJson>>,
    heatmap: Option<()>,
    #[serde(skip_serializing_if = "Option::is_none")]
    left_ticks: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    right_ticks: Option<i64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Bars {
    names: Vec<String>,
    levels: Vec<Vec<i64>>,
    num_ticks: i64,
    max_self: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    format: &'static str,
    spy_name: &'static str,
    sample_rate: u32,
    units: String,
    name: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TimelineJson {
    start_time: i64,
    samples: Vec<u64>,
    duration_delta: i64,
    watermarks: Option<()>,
}

impl From<Timeline> for TimelineJson {
    fn from(timeline: Timeline) -> Self {
        let Timeline { start_time_s, samples, step_s } = timeline;
        Self { start_time: start_time_s, samples, duration_delta: step_s, watermarks: None }
    }
}

fn metadata(profile_type: &ProfileType, format: &'static str) -> Metadata {
    let RenderMetadata { sample_rate, units, name } = RenderMetadata::of(profile_type);
    Metadata { format, spy_name: "", sample_rate, units, name }
}

/// `maxNodes` wins over `max-nodes`; what is no number counts as missing.
fn node_limit(limits: &QueryLimits, params: &Params) -> Result<usize, ApiError> {
    let number = |name| params.get(name).and_then(|text| text.parse::<i64>().ok()).filter(|&nodes| nodes != 0);
    query::node_limit(limits, number("maxNodes").or(number("max-nodes")).unwrap_or(0))
}

struct Side {
    profile_type: ProfileType,
    matchers: Vec<Matcher>,
    window: Option<Window>,
}

impl Side {
    fn read(app: &App, limits: &QueryLimits, params: &Params, names: [&str; 3]) -> Result<Self, ApiError> {
        let [query_name, from_name, until_name] = names;
        let (profile_type, matchers) = query::typed_query(query_name, params.required(query_name)?)?;
        let now_ns = app.now_ns();
        let time = |name: &str| query::time_ms(name, params.get(name).unwrap_or("now"), now_ns);
        let window = query::window(limits, now_ns.div_euclid(1_000_000), time(from_name)?, time(until_name)?)?;
        Ok(Self { profile_type, matchers, window })
    }

    fn select(
        &self,
        datasets: &[Arc<dyn argand_model::Dataset>],
        control: &argand_query::Control<'_>,
    ) -> Result<Selection, argand_query::QueryError> {
        match self.window {
            Some(window) => argand_query::select(datasets, &self.matchers, window.range(), control),
            None => Ok(Selection::default()),
        }
    }
}

/// The range to read datasets in, for a window or none.
fn range_of(window: Option<Window>) -> argand_model::TimeRange {
    window.map_or(argand_model::TimeRange { start_ns: 1, end_ns: 0 }, Window::range)
}

async fn render(State(app): State<Arc<App>>, request: Request) -> Result<Packed, ApiError> {
    let params = Params::of(request.uri());
    let packing = Packing::of(request.headers());
    let tenants = app.tenancy.many(request.headers())?;
    let limits = app.policy().of_query(&tenants);
    let side = Side::read(&app, &limits, &params, ["query", "from", "until"])?;
    let nodes = node_limit(&limits, &params)?;
    let is_dot = params.get("format") == Some("dot");
    let group_by = params.get("groupBy").map(str::to_owned);
    let mut range = range_of(side.window);
    let step_s = side.window.map_or(15, |window| timeline_step_seconds(window.end_ms - window.start_ms));
    range.start_ns = range.start_ns.saturating_sub(step_s * 1_000_000_000); // see `timeline_query`
    ask(&app, tenants, range, move |datasets, control| {
        let found = side.select(datasets, control)?;
        let tree = readable(argand_query::merge(&found, &Filter::default(), control)?);
        let ProfileType { sample_type, sample_unit, .. } = &side.profile_type;
        if is_dot {
            let dot = argand_query::dot(&tree, sample_type, sample_unit, nodes);
            return Ok::<_, ApiError>(packing.bytes("text/plain; charset=utf-8", dot.into_bytes()));
        }
        let (timeline, groups) = match side.window {
            None => (None, None),
            Some(window) => {
                let series = |labels: Vec<String>| {
                    let query = timeline_query(window, step_s, labels);
                    argand_query::time_series(datasets, &side.matchers, &query, control).map(readable)
                };
                let fill = |series: &TimeSeries| Timeline::new(series, window.start_ms, window.end_ms, step_s);
                let whole = match series(Vec::new())?.as_slice() {
                    [one] => Some(fill(one)?.into()),
                    _ => None,
                };
                let groups = match group_by {
                    None => None,
                    Some(label) => {
                        let mut groups = BTreeMap::new();
                        for one in series(vec![label.clone()])? {
                            groups.insert(one.labels.get(&label).unwrap_or("*").to_owned(), fill(&one)?.into());
                        }
                        Some(groups)
                    }
                };
                (whole, groups)
            }
        };
        let graph = FlameGraph::new(&tree, nodes);
        Ok(packing.json(&Flamebearer {
            version: 1,
            metadata: metadata(&side.profile_type, "single"),
            timeline,
            groups,
            heatmap: None,
            left_ticks: None,
            right_ticks: None,
            flamebearer: Bars {
                levels: graph.levels(),
                num_ticks: graph.grand_total(),
                max_self: graph.max_self(),
                names: graph.names,
            },
        }))
    })
    .await
}

/// Points of the timeline. The first one reaches a step back, as everywhere.
fn timeline_query(window: Window, step_s: i64, group_by: Vec<String>) -> SeriesQuery {
    let Window { start_ms, end_ms } = window;
    SeriesQuery { start_ms, end_ms, step_ms: step_s * 1000, group_by, ..SeriesQuery::default() }
}

async fn render_diff(State(app): State<Arc<App>>, request: Request) -> Result<Packed, ApiError> {
    let params = Params::of(request.uri());
    let packing = Packing::of(request.headers());
    let tenants = app.tenancy.many(request.headers())?;
    let limits = app.policy().of_query(&tenants);
    let left = Side::read(&app, &limits, &params, ["leftQuery", "leftFrom", "leftUntil"])?;
    let right = Side::read(&app, &limits, &params, ["rightQuery", "rightFrom", "rightUntil"])?;
    if left.profile_type != right.profile_type {
        return Err(ApiError::invalid("both sides of a difference need the same profile type"));
    }
    let nodes = node_limit(&limits, &params)?;
    let (a, b) = (range_of(left.window), range_of(right.window));
    let range = argand_model::TimeRange { start_ns: a.start_ns.min(b.start_ns), end_ns: a.end_ns.max(b.end_ns) };
    ask(&app, tenants, range, move |datasets, control| {
        let tree = |side: &Side| {
            argand_query::merge(&side.select(datasets, control)?, &Filter::default(), control).map(readable)
        };
        let graph = FlameGraphDiff::new(&tree(&left)?, &tree(&right)?, nodes)?;
        Ok::<_, ApiError>(packing.json(&Flamebearer {
            version: 1,
            metadata: metadata(&left.profile_type, "double"),
            timeline: None,
            groups: None,
            heatmap: None,
            left_ticks: Some(graph.left_ticks()),
            right_ticks: Some(graph.right_ticks()),
            flamebearer: Bars {
                levels: graph.levels(),
                num_ticks: graph.total(),
                max_self: graph.max_self(),
                names: graph.names,
            },
        }))
    })
    .await
}

async fn label_values(State(app): State<Arc<App>>, request: Request) -> Result<Packed, ApiError> {
    let params = Params::of(request.uri());
    let packing = Packing::of(request.headers());
    let tenants = app.tenancy.many(request.headers())?;
    let label = params.required("label")?.to_owned();
    let limits = app.policy().of_query(&tenants);
    let window = query::window_or_recent(&limits, app.now_ns().div_euclid(1_000_000), 0, 0)?;
    let range = range_of(window);
    ask(&app, tenants, range, move |datasets, control| {
        let found = argand_query::select(datasets, &[], range, control)?;
        if label != name::NAME {
            return Ok::<_, ApiError>(packing.json(&argand_query::label_values(&found, &label)));
        }
        let ids: Vec<String> = argand_query::profile_types(&found).iter().map(ProfileType::to_string).collect();
        // Nothing is `null`, as clients of this one know it.
        Ok(packing.json(&(!ids.is_empty()).then_some(ids)))
    })
    .await
}
