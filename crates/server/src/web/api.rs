//! `/api/v1`: what the user interface and scripts ask.

use std::sync::Arc;

use argand_model::{Labels, Matcher, ProfileType, TimeRange};
use argand_query::{Filter, FlameGraph, FlameGraphDiff, Selection, SeriesQuery};
use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use http::header::{ACCEPT, CONTENT_DISPOSITION, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::respond::{Packed, Packing, Params};
use crate::app::App;
use crate::error::ApiError;
use crate::query::{self, Window, ask, readable};

/// Nodes of a flame graph where the request does not say.
const DEFAULT_NODES: i64 = 16_384;
/// Functions of a list where the request does not say.
const DEFAULT_FUNCTIONS: usize = 100;
/// Points of a timeline where the request names no step.
const AUTO_POINTS: i64 = 400;
const FLAME_TYPE: &str = "application/vnd.argand.flame";

pub(super) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/services", get(services))
        .route("/api/v1/profile-types", get(profile_types))
        .route("/api/v1/labels", get(labels))
        .route("/api/v1/label-values", get(label_values))
        .route("/api/v1/timeline", get(timeline))
        .route("/api/v1/flamegraph", get(flamegraph))
        .route("/api/v1/top", get(top))
        .route("/api/v1/diff", get(diff))
        .route("/api/v1/profile", get(profile))
        .route("/api/v1/status", get(status))
}

/// What every question has in common.
struct Asked {
    params: Params,
    packing: Packing,
    tenants: Vec<argand_model::TenantId>,
}

impl Asked {
    fn new(app: &App, request: &Request) -> Result<Self, ApiError> {
        Ok(Self {
            params: Params::of(request.uri()),
            packing: Packing::of(request.headers()),
            tenants: app.tenancy.many(request.headers())?,
        })
    }

    fn window(&self, app: &App, from: &str, to: &str) -> Result<Option<Window>, ApiError> {
        let now_ns = app.now_ns();
        let time = |name: &str, default: &str| query::time_ms(name, self.params.get(name).unwrap_or(default), now_ns);
        let limits = app.policy().of_query(&self.tenants);
        query::window(&limits, now_ns.div_euclid(1_000_000), time(from, "now-1h")?, time(to, "now")?)
    }

    /// Conditions of a question that needs no profile type.
    fn matchers(&self) -> Result<Vec<Matcher>, ApiError> {
        match self.params.get("query") {
            Some(text) => Ok(argand_query::parse_query(text)?.matchers),
            None => Ok(Vec::new()),
        }
    }
}

fn range_of(window: Option<Window>) -> TimeRange {
    window.map_or(TimeRange { start_ns: 1, end_ns: 0 }, Window::range)
}

/// Reads metadata from what matches, and answers with it as JSON.
async fn metadata(
    app: &Arc<App>,
    request: Request,
    read: impl FnOnce(&Selection) -> Value + Send + 'static,
) -> Result<Packed, ApiError> {
    let asked = Asked::new(app, &request)?;
    let matchers = asked.matchers()?;
    let range = range_of(asked.window(app, "from", "to")?);
    let packing = asked.packing;
    ask(app, asked.tenants, range, move |datasets, control| {
        argand_query::select(datasets, &matchers, range, control).map(|found| packing.json(&read(&found)))
    })
    .await
}

async fn services(State(app): State<Arc<App>>, request: Request) -> Result<Packed, ApiError> {
    metadata(&app, request, |found| {
        let service = |service: &argand_query::Service| {
            let types: Vec<String> = service.profile_types.iter().map(ProfileType::to_string).collect();
            json!({ "name": service.name, "profile_types": types })
        };
        json!({ "services": argand_query::services(found).iter().map(service).collect::<Vec<_>>() })
    })
    .await
}

async fn profile_types(State(app): State<Arc<App>>, request: Request) -> Result<Packed, ApiError> {
    metadata(&app, request, |found| {
        let entry = |t: &ProfileType| {
            json!({
                "id": t.to_string(),
                "name": t.name,
                "sample_type": t.sample_type,
                "sample_unit": t.sample_unit,
                "period_type": t.period_type,
                "period_unit": t.period_unit,
            })
        };
        json!({ "profile_types": argand_query::profile_types(found).iter().map(entry).collect::<Vec<_>>() })
    })
    .await
}

async fn labels(State(app): State<Arc<App>>, request: Request) -> Result<Packed, ApiError> {
    metadata(&app, request, |found| json!({ "labels": argand_query::label_names(found) })).await
}

async fn label_values(State(app): State<Arc<App>>, request: Request) -> Result<Packed, ApiError> {
    let name = Params::of(request.uri()).required("name")?.to_owned();
    metadata(&app, request, move |found| json!({ "values": argand_query::label_values(found, &name) })).await
}

async fn timeline(State(app): State<Arc<App>>, request: Request) -> Result<Packed, ApiError> {
    let asked = Asked::new(&app, &request)?;
    let (_, matchers) = query::typed_query("query", asked.params.required("query")?)?;
    let window = asked.window(&app, "from", "to")?;
    let step_s: f64 = asked.params.number("step")?;
    let limit = asked.params.number("limit")?;
    let group_by = asked.params.all("group_by").filter(|label| !label.is_empty()).map(str::to_owned).collect();
    let packing = asked.packing;
    let Some(Window { start_ms, end_ms }) = window else {
        return Ok(packing.json(&json!({ "start": 0, "end": 0, "step": 0, "series": [] })));
    };
    let step_ms = match step_s {
        0.0 => auto_step_ms(end_ms - start_ms),
        seconds => SeriesQuery::step_ms(seconds)?,
    };
    // The last point is at the end of the range, so that the newest profiles show; the first reaches a step back.
    let start_ms = end_ms - (end_ms - start_ms) / step_ms * step_ms;
    let question = SeriesQuery { start_ms, end_ms, step_ms, group_by, limit, ..SeriesQuery::default() };
    let range = Window { start_ms: start_ms.saturating_sub(step_ms), end_ms }.range();
    ask(&app, asked.tenants, range, move |datasets, control| {
        let found = readable(argand_query::time_series(datasets, &matchers, &question, control)?);
        let series: Vec<Value> = found
            .iter()
            .map(|series| {
                let points: Vec<_> = series.points.iter().map(|p| (p.time_ms, p.value)).collect();
                json!({ "labels": labels_json(&series.labels), "points": points })
            })
            .collect();
        let answer = json!({ "start": start_ms, "end": end_ms, "step": step_ms, "series": series });
        Ok::<_, ApiError>(packing.json(&answer))
    })
    .await
}

/// A round step that gives about [`AUTO_POINTS`], at least 15 s: the interval of most clients.
fn auto_step_ms(range_ms: i64) -> i64 {
    const STEPS_S: [i64; 11] = [15, 30, 60, 120, 300, 600, 900, 1800, 3600, 10_800, 21_600];
    let wanted_ms = range_ms / AUTO_POINTS;
    STEPS_S.into_iter().map(|s| s * 1000).find(|&step| step >= wanted_ms).unwrap_or(86_400_000)
}

fn labels_json(labels: &Labels) -> Value {
    labels.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect::<serde_json::Map<_, _>>().into()
}

/// A question for the merged stacks of one profile type.
struct Stacks {
    asked: Asked,
    profile_type: ProfileType,
    matchers: Vec<Matcher>,
    window: Option<Window>,
}

impl Stacks {
    fn read(app: &App, request: &Request) -> Result<Self, ApiError> {
        let asked = Asked::new(app, request)?;
        let (profile_type, matchers) = query::typed_query("query", asked.params.required("query")?)?;
        let window = asked.window(app, "from", "to")?;
        Ok(Self { asked, profile_type, matchers, window })
    }

    fn nodes(&self, app: &App) -> Result<usize, ApiError> {
        let nodes = self.asked.params.number("max_nodes")?;
        let limits = app.policy().of_query(&self.asked.tenants);
        query::node_limit(&limits, if nodes == 0 { DEFAULT_NODES } else { nodes })
    }
}

async fn flamegraph(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let stacks = Stacks::read(&app, &request)?;
    let nodes = stacks.nodes(&app)?;
    let accept = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or("");
    let binary = accept.contains(FLAME_TYPE);
    let Stacks { asked, profile_type, matchers, window } = stacks;
    let (range, packing) = (range_of(window), asked.packing);
    let headers = [
        (HeaderName::from_static("x-argand-unit"), header_text(&profile_type.sample_unit)),
        (HeaderName::from_static("x-argand-profile-type"), header_text(&profile_type.to_string())),
    ];
    let (packed, tag) = ask(&app, asked.tenants, range, move |datasets, control| {
        let found = argand_query::select(datasets, &matchers, range, control)?;
        let tree = readable(argand_query::merge(&found, &Filter::default(), control)?);
        let graph = FlameGraph::new(&tree, nodes);
        let bytes = graph.to_binary();
        let tag = content_tag(&bytes, binary);
        let packed = if binary {
            packing.bytes(FLAME_TYPE, bytes)
        } else {
            packing.json(&json!({
                "names": graph.names,
                "nodes": { "children": graph.child_count, "name": graph.name, "self": graph.self_value },
                "total": graph.grand_total(),
                "unit": profile_type.sample_unit,
                "profile_type": profile_type.to_string(),
            }))
        };
        Ok::<_, ApiError>((packed, tag))
    })
    .await?;
    let mut response =
        if knows(request.headers(), &tag) { StatusCode::NOT_MODIFIED.into_response() } else { packed.into_response() };
    response.headers_mut().extend(headers);
    response.headers_mut().insert(ETAG, header_text(&tag));
    Ok(response)
}

/// The checksum at the end of the binary form names the content in both forms.
fn content_tag(binary: &[u8], is_binary: bool) -> String {
    let checksum = binary.last_chunk::<4>().copied().map_or(0, u32::from_le_bytes);
    format!("W/\"{checksum:08x}-{:x}-{}\"", binary.len(), u8::from(is_binary))
}

fn knows(headers: &HeaderMap, tag: &str) -> bool {
    let known = headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or("");
    known.split(',').any(|known| known.trim() == tag)
}

/// Header values are visible ASCII; units and types may be any text.
fn header_text(text: &str) -> HeaderValue {
    let printable: String = text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).collect();
    HeaderValue::from_str(&printable).expect("only visible ASCII is left")
}

async fn top(State(app): State<Arc<App>>, request: Request) -> Result<Packed, ApiError> {
    let Stacks { asked, profile_type, matchers, window } = Stacks::read(&app, &request)?;
    let limit = match asked.params.number("limit")? {
        0 => DEFAULT_FUNCTIONS,
        limit => limit,
    };
    let (range, packing) = (range_of(window), asked.packing);
    ask(&app, asked.tenants, range, move |datasets, control| {
        let found = argand_query::select(datasets, &matchers, range, control)?;
        let tree = readable(argand_query::merge(&found, &Filter::default(), control)?);
        let row =
            |row: &argand_query::FunctionRow| json!({ "name": row.name, "self": row.self_value, "total": row.total });
        let functions: Vec<Value> = argand_query::top(&tree, limit).iter().map(row).collect();
        let total = FlameGraph::new(&tree, 1).grand_total();
        let answer = json!({ "total": total, "unit": profile_type.sample_unit, "functions": functions });
        Ok::<_, ApiError>(packing.json(&answer))
    })
    .await
}

async fn diff(State(app): State<Arc<App>>, request: Request) -> Result<Packed, ApiError> {
    let asked = Asked::new(&app, &request)?;
    let side = |query_name: &str, from: &str, to: &str| {
        let (profile_type, matchers) = query::typed_query(query_name, asked.params.required(query_name)?)?;
        Ok::<_, ApiError>((profile_type, matchers, range_of(asked.window(&app, from, to)?)))
    };
    let (profile_type, left_matchers, left_range) = side("left_query", "left_from", "left_to")?;
    let (right_type, right_matchers, right_range) = side("right_query", "right_from", "right_to")?;
    if profile_type != right_type {
        return Err(ApiError::invalid("both sides of a difference need the same profile type"));
    }
    let nodes = asked.params.number("max_nodes")?;
    let limits = app.policy().of_query(&asked.tenants);
    let nodes = query::node_limit(&limits, if nodes == 0 { DEFAULT_NODES } else { nodes })?;
    let range = TimeRange {
        start_ns: left_range.start_ns.min(right_range.start_ns),
        end_ns: left_range.end_ns.max(right_range.end_ns),
    };
    let packing = asked.packing;
    ask(&app, asked.tenants, range, move |datasets, control| {
        let tree = |matchers: &[Matcher], range| {
            let found = argand_query::select(datasets, matchers, range, control)?;
            argand_query::merge(&found, &Filter::default(), control).map(readable)
        };
        let (left, right) = (tree(&left_matchers, left_range)?, tree(&right_matchers, right_range)?);
        let graph = FlameGraphDiff::new(&left, &right, nodes)?;
        Ok::<_, ApiError>(packing.json(&json!({
            "names": graph.names,
            "nodes": {
                "children": graph.child_count,
                "name": graph.name,
                "left_self": graph.left_self,
                "right_self": graph.right_self,
            },
            "left_total": graph.left_ticks(),
            "right_total": graph.right_ticks(),
            "unit": profile_type.sample_unit,
        })))
    })
    .await
}

async fn profile(State(app): State<Arc<App>>, request: Request) -> Result<Response, ApiError> {
    let Stacks { asked, profile_type, matchers, window } = Stacks::read(&app, &request)?;
    let range = range_of(window);
    let file_name = format!("attachment; filename=\"{}.pb.gz\"", file_name(&profile_type));
    let packed = ask(&app, asked.tenants, range, move |datasets, control| {
        let found = argand_query::select(datasets, &matchers, range, control)?;
        let profile =
            readable(argand_query::export_pprof(&found, &Filter::default(), &profile_type, None, range, control)?);
        Ok::<_, ApiError>(Packed::gzip_file(&argand_wire::pprof::encode(&profile)))
    })
    .await?;
    Ok(([(CONTENT_DISPOSITION, file_name)], packed).into_response())
}

/// A name that no file system and no header trips over.
fn file_name(profile_type: &ProfileType) -> String {
    let text = format!("{}-{}", profile_type.name, profile_type.sample_type);
    text.chars().take(100).map(|c| if c.is_ascii_alphanumeric() || "-_".contains(c) { c } else { '_' }).collect()
}

async fn status(State(app): State<Arc<App>>) -> Result<Packed, ApiError> {
    let (storage, ready) = (app.parts.storage.clone(), app.ready().await);
    let status = app.query_pool.run(move |_| storage.status()).await?;
    Ok(Packing::PLAIN.json(&json!({
        "version": app.parts.build.version,
        "uptime_seconds": app.uptime().as_secs(),
        "tenants": status.tenants,
        "blocks": status.blocks,
        "bytes": status.size_bytes,
        "ready": ready.is_ok(),
        "reason": ready.err(),
    })))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn automatic_steps_are_round() {
        let hour_ms = 3_600_000;
        assert_eq!(auto_step_ms(hour_ms), 15_000);
        assert_eq!(auto_step_ms(24 * hour_ms), 300_000);
        assert_eq!(auto_step_ms(7 * 24 * hour_ms), 1_800_000);
        assert_eq!(auto_step_ms(365 * 24 * hour_ms), 86_400_000);
    }

    #[test]
    fn names_from_profiles_cannot_break_headers() {
        let hostile: ProfileType = "a\"\r\n/../ä:cpu:ns\u{7f}::".parse().unwrap();
        assert_eq!(file_name(&hostile), "a________-cpu");
        assert_eq!(header_text("n\nä"), "n??");
    }
}
