//! Questions to profiles: selectors, flame graphs, differences, time series.
//!
//! Pure functions over a snapshot of the store, `&[Arc<dyn Dataset>]`: no I/O of its own, no async, no clock. The same
//! snapshot and question give the same answer, on however many threads.
//!
//! A question runs in three steps:
//! 1. [`parse_selector`] or [`parse_query`] turn text into matchers;
//! 2. [`select`] finds the profiles that match, a [`Selection`];
//! 3. [`merge`] sums their rows into one [`CallTree`], which [`FlameGraph`], [`FlameGraphDiff`], [`top()`] and
//!    [`dot()`] show; [`export_pprof`] sums by location instead; [`time_series`] and [`heatmap()`] read the totals.
//!
//! Parts of the store that cannot be read are left out and named: see [`Partial`].

mod accumulate;
mod bars;
mod call_tree;
mod control;
mod diff;
mod dot;
mod error;
mod flamegraph;
mod frames;
mod heatmap;
mod id;
mod merge;
mod metadata;
mod pprof_export;
mod render;
mod select;
mod selector;
mod series;
mod top;

#[cfg(test)]
mod fixture;

pub use call_tree::{CallTree, Names};
pub use control::Control;
pub use diff::FlameGraphDiff;
pub use dot::dot;
pub use error::{Partial, QueryError};
pub use flamegraph::FlameGraph;
pub use heatmap::{Heatmap, HeatmapPoints, HeatmapQuery, HeatmapSeries, HeatmapSlot, heatmap};
pub use id::{format_profile_id, format_span_id, format_trace_id, parse_profile_id, parse_span_id, parse_trace_id};
pub use merge::{Filter, merge};
pub use metadata::{Service, is_legacy_label_name, label_names, label_values, profile_types, series_labels, services};
pub use pprof_export::{GoPgo, export_pprof};
pub use render::{RenderMetadata, Timeline, timeline_step_seconds};
pub use select::{Part, Selection, select};
pub use selector::{Query, parse_query, parse_selector, parse_selectors};
pub use series::{Aggregation, Exemplar, Point, SeriesQuery, TimeSeries, time_series};
pub use top::{FunctionRow, top};
