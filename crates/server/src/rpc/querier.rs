//! `querier.v1.QuerierService`

use std::sync::Arc;

use argand_model::{Labels, Matcher, Profile, ProfileType, TenantId};
use argand_query::{
    Aggregation, Exemplar, Filter, FlameGraph, FlameGraphDiff, GoPgo, Heatmap, HeatmapPoints, HeatmapQuery, Selection,
    SeriesQuery, TimeSeries,
};
use buffa::{EnumValue, Message};
use connectrpc::{ErrorCode, RequestContext, Response, ServiceRequest, ServiceResult};
use http::HeaderMap;

use crate::accept;
use crate::app::App;
use crate::error::ApiError;
use crate::policy::QueryLimits;
use crate::proto::google::v1 as pprof;
use crate::proto::querier::v1 as pb;
use crate::proto::types::v1 as types;
use crate::query::{self, Window, ask, readable};

pub(super) struct Querier(pub(super) Arc<App>);

/// Nodes of a graph in DOT where the request does not say.
const DEFAULT_DOT_NODES: usize = 100;

impl pb::QuerierService for Querier {
    async fn profile_types(
        &self,
        ctx: RequestContext,
        request: ServiceRequest<'_, pb::ProfileTypesRequest>,
    ) -> ServiceResult<pb::ProfileTypesResponse> {
        let tenants = self.0.tenancy.many(ctx.headers())?;
        let window = query::window_or_recent(&self.limits(&tenants), self.now_ms(), request.start, request.end)?;
        let found = self.metadata(tenants, Vec::new(), window, argand_query::profile_types).await?;
        let profile_types = found.iter().map(profile_type_to_proto).collect();
        Response::ok(pb::ProfileTypesResponse { profile_types, ..Default::default() })
    }

    async fn label_values(
        &self,
        ctx: RequestContext,
        request: ServiceRequest<'_, types::LabelValuesRequest>,
    ) -> ServiceResult<types::LabelValuesResponse> {
        let tenants = self.0.tenancy.many(ctx.headers())?;
        let window = self.window(&tenants, request.start, request.end)?;
        if request.name.is_empty() {
            return Err(ApiError::invalid("the request has no label name").into());
        }
        let matchers = parse_all(&request.matchers)?;
        let name = request.name.to_owned();
        let names =
            self.metadata(tenants, matchers, window, move |found| argand_query::label_values(found, &name)).await?;
        Response::ok(types::LabelValuesResponse { names, ..Default::default() })
    }

    async fn label_names(
        &self,
        ctx: RequestContext,
        request: ServiceRequest<'_, types::LabelNamesRequest>,
    ) -> ServiceResult<types::LabelNamesResponse> {
        let tenants = self.0.tenancy.many(ctx.headers())?;
        let shows = shown_names(ctx.headers())?;
        let window = self.window(&tenants, request.start, request.end)?;
        let matchers = parse_all(&request.matchers)?;
        let mut names = self.metadata(tenants, matchers, window, argand_query::label_names).await?;
        names.retain(|name| shows(name));
        Response::ok(types::LabelNamesResponse { names, ..Default::default() })
    }

    async fn series(
        &self,
        ctx: RequestContext,
        request: ServiceRequest<'_, pb::SeriesRequest>,
    ) -> ServiceResult<pb::SeriesResponse> {
        let tenants = self.0.tenancy.many(ctx.headers())?;
        let shows = shown_names(ctx.headers())?;
        let window = self.window(&tenants, request.start, request.end)?;
        let matchers = parse_all(&request.matchers)?;
        let wanted = texts(&request.label_names);
        let found =
            self.metadata(tenants, matchers, window, move |found| argand_query::series_labels(found, &wanted)).await?;
        let mut sets: Vec<Labels> = found.iter().map(|labels| labels.retain(&shows)).collect();
        sets.sort();
        sets.dedup();
        let labels_set =
            sets.iter().map(|labels| types::Labels { labels: labels_to_proto(labels), ..Default::default() });
        Response::ok(pb::SeriesResponse { labels_set: labels_set.collect(), ..Default::default() })
    }

    async fn select_merge_stacktraces(
        &self,
        ctx: RequestContext,
        request: ServiceRequest<'_, pb::SelectMergeStacktracesRequest>,
    ) -> ServiceResult<pb::SelectMergeStacktracesResponse> {
        let tenants = self.0.tenancy.many(ctx.headers())?;
        let request = request.to_owned_message();
        let asks_async = request.r#async.as_option().and_then(|a| a.r#type.as_known());
        if asks_async == Some(pb::AsyncQueryType::ASYNC_QUERY_TYPE_FORCE) {
            return Err(ApiError::new(ErrorCode::Unimplemented, "asynchronous queries are not available").into());
        }
        let merge = self.merge_of(&tenants, &request)?;
        let max_nodes = request.max_nodes.unwrap_or(0);
        let answer = self.merge(tenants, merge, known_format(request.format)?, max_nodes).await?;
        let mut response = pb::SelectMergeStacktracesResponse::default();
        match answer {
            Merged::FlameGraph(graph) => response.flamegraph = Some(graph).into(),
            Merged::Tree(tree) => response.tree = tree,
            Merged::Dot(dot) => response.dot = dot,
            Merged::Pprof(profile) => {
                response.pprof = Some(pb::PprofProfile { profile: Some(profile).into(), ..Default::default() }).into();
            }
        }
        Response::ok(response)
    }

    async fn select_merge_span_profile(
        &self,
        ctx: RequestContext,
        request: ServiceRequest<'_, pb::SelectMergeSpanProfileRequest>,
    ) -> ServiceResult<pb::SelectMergeSpanProfileResponse> {
        let tenants = self.0.tenancy.many(ctx.headers())?;
        let request = request.to_owned_message();
        let merge = self.merge_of(
            &tenants,
            &pb::SelectMergeStacktracesRequest {
                profile_typeID: request.profile_typeID,
                label_selector: request.label_selector,
                start: request.start,
                end: request.end,
                span_selector: request.span_selector,
                ..Default::default()
            },
        )?;
        let max_nodes = request.max_nodes.unwrap_or(0);
        let mut response = pb::SelectMergeSpanProfileResponse::default();
        match self.merge(tenants, merge, known_format(request.format)?, max_nodes).await? {
            Merged::FlameGraph(graph) => response.flamegraph = Some(graph).into(),
            Merged::Tree(tree) => response.tree = tree,
            Merged::Dot(_) | Merged::Pprof(_) => {
                return Err(ApiError::invalid("a span profile comes as flame graph or tree only").into());
            }
        }
        Response::ok(response)
    }

    async fn select_merge_profile(
        &self,
        ctx: RequestContext,
        request: ServiceRequest<'_, pb::SelectMergeProfileRequest>,
    ) -> ServiceResult<pprof::Profile> {
        let tenants = self.0.tenancy.many(ctx.headers())?;
        let request = request.to_owned_message();
        let merge = self.merge_of(
            &tenants,
            &pb::SelectMergeStacktracesRequest {
                profile_typeID: request.profile_typeID,
                label_selector: request.label_selector,
                start: request.start,
                end: request.end,
                stack_trace_selector: request.stack_trace_selector,
                profile_id_selector: request.profile_id_selector,
                trace_id_selector: request.trace_id_selector,
                ..Default::default()
            },
        )?;
        match self.merge(tenants, merge, pb::ProfileFormat::PROFILE_FORMAT_PPROF, 0).await? {
            Merged::Pprof(profile) => Response::ok(profile),
            _ => unreachable!("pprof was asked for"),
        }
    }

    async fn select_series(
        &self,
        ctx: RequestContext,
        request: ServiceRequest<'_, pb::SelectSeriesRequest>,
    ) -> ServiceResult<pb::SelectSeriesResponse> {
        let tenants = self.0.tenancy.many(ctx.headers())?;
        let (_, matchers) = query::typed_matchers(request.profile_typeID, request.label_selector)?;
        let step_ms = SeriesQuery::step_ms(request.step).map_err(ApiError::from)?;
        let window = self.window(&tenants, request.start, request.end)?;
        let exemplars = match request.exemplar_type.as_known() {
            Some(types::ExemplarType::EXEMPLAR_TYPE_INDIVIDUAL) => true,
            Some(types::ExemplarType::EXEMPLAR_TYPE_SPAN) | None => {
                return Err(ApiError::new(ErrorCode::Unimplemented, "series have no span exemplars").into());
            }
            Some(_) => false,
        };
        let Some(Window { start_ms, end_ms }) = window else {
            return Response::ok(pb::SelectSeriesResponse::default());
        };
        let query = SeriesQuery {
            start_ms,
            end_ms,
            step_ms,
            group_by: texts(&request.group_by),
            aggregation: Aggregation::Sum,
            limit: limit(request.limit.unwrap_or(0))?,
            exemplars,
            call_site: Vec::new(),
        };
        let range = Window { start_ms: start_ms.saturating_sub(step_ms), end_ms }.range();
        let found = ask(&self.0, tenants, range, move |datasets, control| {
            argand_query::time_series(datasets, &matchers, &query, control).map(readable)
        })
        .await?;
        let series = found.iter().map(series_to_proto).collect();
        Response::ok(pb::SelectSeriesResponse { series, ..Default::default() })
    }

    async fn select_heatmap(
        &self,
        ctx: RequestContext,
        request: ServiceRequest<'_, pb::SelectHeatmapRequest>,
    ) -> ServiceResult<pb::SelectHeatmapResponse> {
        use pb::HeatmapQueryType as Kind;
        use types::ExemplarType as Exemplars;
        let tenants = self.0.tenancy.many(ctx.headers())?;
        let (_, matchers) = query::typed_matchers(request.profile_typeID, request.label_selector)?;
        let step_ms = SeriesQuery::step_ms(request.step).map_err(ApiError::from)?;
        if request.start >= request.end {
            return Err(ApiError::invalid("a heat map needs a start before its end").into());
        }
        let window = self.window(&tenants, request.start, request.end)?;
        let (points, own_exemplars) = match request.query_type.as_known() {
            Some(Kind::HEATMAP_QUERY_TYPE_INDIVIDUAL) => (HeatmapPoints::Profiles, Exemplars::EXEMPLAR_TYPE_INDIVIDUAL),
            Some(Kind::HEATMAP_QUERY_TYPE_SPAN) => (HeatmapPoints::Spans, Exemplars::EXEMPLAR_TYPE_SPAN),
            _ => return Err(ApiError::invalid("query_type is missing: individual or span").into()),
        };
        let exemplars = match request.exemplar_type.as_known() {
            Some(Exemplars::EXEMPLAR_TYPE_UNSPECIFIED | Exemplars::EXEMPLAR_TYPE_NONE) => false,
            Some(asked) if asked == own_exemplars => true,
            _ => return Err(ApiError::invalid("exemplar_type does not match query_type").into()),
        };
        let limit = limit(request.limit.unwrap_or(0))?;
        let Some(Window { start_ms, end_ms }) = window else {
            return Response::ok(pb::SelectHeatmapResponse::default());
        };
        let query =
            HeatmapQuery { start_ms, end_ms, step_ms, group_by: texts(&request.group_by), points, limit, exemplars };
        let range = Window { start_ms: start_ms.saturating_sub(step_ms), end_ms }.range();
        let found = ask(&self.0, tenants, range, move |datasets, control| {
            argand_query::heatmap(datasets, &matchers, &query, control).map(readable)
        })
        .await?;
        Response::ok(pb::SelectHeatmapResponse { series: heatmap_to_proto(&found), ..Default::default() })
    }

    async fn diff(
        &self,
        ctx: RequestContext,
        request: ServiceRequest<'_, pb::DiffRequest>,
    ) -> ServiceResult<pb::DiffResponse> {
        let tenants = self.0.tenancy.many(ctx.headers())?;
        let request = request.to_owned_message();
        let side = |side: Option<&pb::SelectMergeStacktracesRequest>, name: &str| {
            let side = side.ok_or_else(|| ApiError::invalid(format!("the request has no {name} side")))?;
            let nodes = query::node_limit(&self.limits(&tenants), side.max_nodes.unwrap_or(0))?;
            Ok::<_, ApiError>((self.merge_of(&tenants, side)?, nodes))
        };
        let (left, left_nodes) = side(request.left.as_option(), "left")?;
        let (right, right_nodes) = side(request.right.as_option(), "right")?;
        let nodes = left_nodes.max(right_nodes);
        let range = match (left.window, right.window) {
            (Some(left), Some(right)) => {
                Some(Window { start_ms: left.start_ms.min(right.start_ms), end_ms: left.end_ms.max(right.end_ms) })
            }
            (one, other) => one.or(other),
        };
        let graph = match range {
            None => FlameGraphDiff::new(&Default::default(), &Default::default(), nodes).map_err(ApiError::from)?,
            Some(range) => {
                ask(&self.0, tenants, range.range(), move |datasets, control| {
                    let (left, right) = (left.tree(datasets, control)?, right.tree(datasets, control)?);
                    FlameGraphDiff::new(&left, &right, nodes)
                })
                .await?
            }
        };
        let flamegraph = pb::FlameGraphDiff {
            levels: levels_to_proto(graph.levels()),
            total: graph.total(),
            max_self: graph.max_self(),
            leftTicks: graph.left_ticks(),
            rightTicks: graph.right_ticks(),
            names: graph.names,
            ..Default::default()
        };
        Response::ok(pb::DiffResponse { flamegraph: Some(flamegraph).into(), ..Default::default() })
    }

    async fn get_profile_stats(
        &self,
        ctx: RequestContext,
        _: ServiceRequest<'_, types::GetProfileStatsRequest>,
    ) -> ServiceResult<types::GetProfileStatsResponse> {
        let tenant = self.0.tenancy.one(ctx.headers())?;
        let storage = self.0.parts.storage.clone();
        let range = self.0.query_pool.run(move |_| storage.time_range(&tenant)).await?;
        let ms = |ns: i64| ns.div_euclid(1_000_000);
        Response::ok(types::GetProfileStatsResponse {
            data_ingested: range.is_some(),
            oldest_profile_time: range.map_or(0, |range| ms(range.start_ns)),
            newest_profile_time: range.map_or(0, |range| ms(range.end_ns)),
            ..Default::default()
        })
    }

    async fn analyze_query(
        &self,
        ctx: RequestContext,
        _: ServiceRequest<'_, pb::AnalyzeQueryRequest>,
    ) -> ServiceResult<pb::AnalyzeQueryResponse> {
        self.0.tenancy.many(ctx.headers())?;
        Response::ok(pb::AnalyzeQueryResponse::default())
    }
}

/// What a merge is about.
struct Merge {
    profile_type: ProfileType,
    matchers: Vec<Matcher>,
    window: Option<Window>,
    filter: Filter,
    go_pgo: Option<GoPgo>,
}

/// What came out, in the form that was asked for.
enum Merged {
    FlameGraph(pb::FlameGraph),
    Tree(Vec<u8>),
    Dot(String),
    Pprof(pprof::Profile),
}

type Datasets<'a> = &'a [Arc<dyn argand_model::Dataset>];
type QueryResult<T> = Result<T, argand_query::QueryError>;

impl Merge {
    fn select(&self, datasets: Datasets<'_>, control: &argand_query::Control<'_>) -> QueryResult<Selection> {
        match self.window {
            Some(window) => argand_query::select(datasets, &self.matchers, window.range(), control),
            None => Ok(Selection::default()),
        }
    }

    fn tree(&self, datasets: Datasets<'_>, control: &argand_query::Control<'_>) -> QueryResult<argand_query::CallTree> {
        argand_query::merge(&self.select(datasets, control)?, &self.filter, control).map(readable)
    }
}

impl Querier {
    fn now_ms(&self) -> i64 {
        self.0.now_ns().div_euclid(1_000_000)
    }

    fn limits(&self, tenants: &[TenantId]) -> QueryLimits {
        self.0.policy().of_query(tenants)
    }

    fn window(&self, tenants: &[TenantId], start_ms: i64, end_ms: i64) -> Result<Option<Window>, ApiError> {
        query::window(&self.limits(tenants), self.now_ms(), start_ms, end_ms)
    }

    /// Selects what matches in `window` and reads metadata from it.
    async fn metadata<T, F>(
        &self,
        tenants: Vec<TenantId>,
        matchers: Vec<Matcher>,
        window: Option<Window>,
        read: F,
    ) -> Result<T, ApiError>
    where
        T: Default + Send + 'static,
        F: FnOnce(&Selection) -> T + Send + 'static,
    {
        let Some(window) = window else { return Ok(T::default()) };
        let range = window.range();
        ask(&self.0, tenants, range, move |datasets, control| {
            argand_query::select(datasets, &matchers, range, control).map(|found| read(&found))
        })
        .await
    }

    fn merge_of(&self, tenants: &[TenantId], request: &pb::SelectMergeStacktracesRequest) -> Result<Merge, ApiError> {
        let (profile_type, matchers) = query::typed_matchers(&request.profile_typeID, &request.label_selector)?;
        let window = self.window(tenants, request.start, request.end)?;
        if !request.span_selector.is_empty() && !request.trace_id_selector.is_empty() {
            return Err(ApiError::invalid("span_selector and trace_id_selector exclude each other"));
        }
        let selector = request.stack_trace_selector.as_option();
        let go_pgo = selector.and_then(|s| s.go_pgo.as_option());
        let parsed = |texts: &[String], parse: fn(&str) -> QueryResult<u128>| {
            texts.iter().map(|text| parse(text)).collect::<QueryResult<Vec<u128>>>()
        };
        let filter = Filter {
            call_site: selector.map(|s| s.call_site.iter().map(|l| l.name.clone()).collect()).unwrap_or_default(),
            span_ids: request
                .span_selector
                .iter()
                .map(|text| argand_query::parse_span_id(text))
                .collect::<QueryResult<_>>()?,
            trace_ids: parsed(&request.trace_id_selector, argand_query::parse_trace_id)?,
            profile_ids: parsed(&request.profile_id_selector, argand_query::parse_profile_id)?,
        };
        let go_pgo =
            go_pgo.map(|pgo| GoPgo { keep_locations: pgo.keep_locations, aggregate_callees: pgo.aggregate_callees });
        Ok(Merge { profile_type, matchers, window, filter, go_pgo })
    }

    async fn merge(
        &self,
        tenants: Vec<TenantId>,
        merge: Merge,
        format: pb::ProfileFormat,
        max_nodes: i64,
    ) -> Result<Merged, ApiError> {
        use pb::ProfileFormat as Format;
        let limits = self.limits(&tenants);
        let nodes = match format {
            Format::PROFILE_FORMAT_PPROF => 0,
            Format::PROFILE_FORMAT_DOT if max_nodes == 0 => DEFAULT_DOT_NODES,
            _ => query::node_limit(&limits, max_nodes)?,
        };
        let Some(window) = merge.window else { return encode(&merge, format, nodes, &[], &Default::default()) };
        ask(&self.0, tenants, window.range(), move |datasets, control| encode(&merge, format, nodes, datasets, control))
            .await
    }
}

fn encode(
    merge: &Merge,
    format: pb::ProfileFormat,
    nodes: usize,
    datasets: Datasets<'_>,
    control: &argand_query::Control<'_>,
) -> Result<Merged, ApiError> {
    use pb::ProfileFormat as Format;
    let ProfileType { sample_type, sample_unit, .. } = &merge.profile_type;
    Ok(match format {
        Format::PROFILE_FORMAT_UNSPECIFIED | Format::PROFILE_FORMAT_FLAMEGRAPH => {
            Merged::FlameGraph(flamegraph_to_proto(FlameGraph::new(&merge.tree(datasets, control)?, nodes)))
        }
        Format::PROFILE_FORMAT_TREE => {
            Merged::Tree(FlameGraph::new(&merge.tree(datasets, control)?, nodes).to_tree_bytes())
        }
        Format::PROFILE_FORMAT_DOT => {
            Merged::Dot(argand_query::dot(&merge.tree(datasets, control)?, sample_type, sample_unit, nodes))
        }
        Format::PROFILE_FORMAT_PPROF => {
            let range = merge.window.map_or(argand_model::TimeRange { start_ns: 0, end_ns: 0 }, Window::range);
            let found = merge.select(datasets, control)?;
            let profile =
                argand_query::export_pprof(&found, &merge.filter, &merge.profile_type, merge.go_pgo, range, control)?;
            Merged::Pprof(pprof_to_proto(&readable(profile))?)
        }
    })
}

fn known_format(format: EnumValue<pb::ProfileFormat>) -> Result<pb::ProfileFormat, ApiError> {
    format.as_known().ok_or_else(|| ApiError::new(ErrorCode::Unimplemented, "this profile format is not available"))
}

fn limit(asked: i64) -> Result<usize, ApiError> {
    usize::try_from(asked).map_err(|_| ApiError::invalid(format!("limit {asked} is negative")))
}

fn texts(view: &buffa::RepeatedView<'_, &str>) -> Vec<String> {
    view.iter().map(|text| (*text).to_owned()).collect()
}

fn parse_all(selectors: &buffa::RepeatedView<'_, &str>) -> Result<Vec<Matcher>, ApiError> {
    Ok(argand_query::parse_selectors(&texts(selectors))?)
}

/// Which label names the client understands.
fn shown_names(headers: &HeaderMap) -> Result<impl Fn(&str) -> bool, ApiError> {
    let any = accept::takes_utf8_label_names(headers)?;
    Ok(move |name: &str| any || argand_query::is_legacy_label_name(name))
}

// ---- to the messages ----

fn profile_type_to_proto(profile_type: &ProfileType) -> types::ProfileType {
    types::ProfileType {
        ID: profile_type.to_string(),
        name: profile_type.name.clone(),
        sample_type: profile_type.sample_type.clone(),
        sample_unit: profile_type.sample_unit.clone(),
        period_type: profile_type.period_type.clone(),
        period_unit: profile_type.period_unit.clone(),
        ..Default::default()
    }
}

fn labels_to_proto(labels: &Labels) -> Vec<types::LabelPair> {
    let pair = |(name, value): (&str, &str)| types::LabelPair {
        name: name.to_owned(),
        value: value.to_owned(),
        ..Default::default()
    };
    labels.iter().map(pair).collect()
}

fn flamegraph_to_proto(graph: FlameGraph) -> pb::FlameGraph {
    pb::FlameGraph {
        levels: levels_to_proto(graph.levels()),
        total: graph.grand_total(),
        max_self: graph.max_self(),
        names: graph.names,
        ..Default::default()
    }
}

fn levels_to_proto(levels: Vec<Vec<i64>>) -> Vec<pb::Level> {
    levels.into_iter().map(|values| pb::Level { values, ..Default::default() }).collect()
}

fn exemplar_to_proto(exemplar: &Exemplar) -> types::Exemplar {
    let unless_zero = |is_zero: bool, text: String| if is_zero { String::new() } else { text };
    types::Exemplar {
        timestamp: exemplar.time_ms,
        profile_id: unless_zero(exemplar.profile_id == 0, argand_query::format_profile_id(exemplar.profile_id)),
        span_id: unless_zero(exemplar.span_id == 0, argand_query::format_span_id(exemplar.span_id)),
        trace_id: unless_zero(exemplar.trace_id == 0, argand_query::format_trace_id(exemplar.trace_id)),
        value: exemplar.value,
        labels: labels_to_proto(&exemplar.labels),
        ..Default::default()
    }
}

fn series_to_proto(series: &TimeSeries) -> types::Series {
    let point = |point: &argand_query::Point| types::Point {
        value: point.value,
        timestamp: point.time_ms,
        exemplars: point.exemplars.iter().map(exemplar_to_proto).collect(),
        ..Default::default()
    };
    types::Series {
        labels: labels_to_proto(&series.labels),
        points: series.points.iter().map(point).collect(),
        ..Default::default()
    }
}

fn heatmap_to_proto(heatmap: &Heatmap) -> Vec<types::HeatmapSeries> {
    let slot = |slot: &argand_query::HeatmapSlot| types::HeatmapSlot {
        timestamp: slot.time_ms,
        y_min: heatmap.y_min.clone(),
        counts: slot.counts.iter().map(|&count| i32::try_from(count).unwrap_or(i32::MAX)).collect(),
        exemplars: slot.exemplars.iter().map(exemplar_to_proto).collect(),
        ..Default::default()
    };
    let series = |series: &argand_query::HeatmapSeries| types::HeatmapSeries {
        labels: labels_to_proto(&series.labels),
        slots: series.slots.iter().map(slot).collect(),
        ..Default::default()
    };
    heatmap.series.iter().map(series).collect()
}

/// By way of its bytes, so that there is one pprof encoder; no data is the empty message.
fn pprof_to_proto(profile: &Profile) -> Result<pprof::Profile, ApiError> {
    if profile.sample_types.is_empty() {
        return Ok(pprof::Profile::default());
    }
    let bytes = argand_wire::pprof::encode(profile);
    pprof::Profile::decode_from_slice(&bytes).map_err(|error| {
        tracing::error!(%error, "an exported profile does not decode");
        ApiError::internal()
    })
}
