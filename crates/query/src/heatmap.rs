//! How values are spread, over time.

use std::collections::BTreeMap;
use std::sync::Arc;

use argand_model::{Dataset, DatasetError, Labels, Matcher, RowColumns};

use crate::accumulate::scan_columns;
use crate::series::Axis;
use crate::{Control, Exemplar, Part, Partial, QueryError, select};

/// What is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeatmapPoints {
    /// Stored profiles, each by its total.
    #[default]
    Profiles,
    /// Spans, each by the sum of its rows in one profile.
    Spans,
}

/// What a heat map shows. Units: times in ms since the Unix epoch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeatmapQuery {
    /// End of the first slot.
    pub start_ms: i64,
    /// Latest end of a slot.
    pub end_ms: i64,
    /// Length of a slot, at least 1.
    pub step_ms: i64,
    /// One series per distinct values of these labels; one in all when empty.
    pub group_by: Vec<String>,
    /// What is counted.
    pub points: HeatmapPoints,
    /// Most series, 0 for all; those with the most points stay.
    pub limit: usize,
    /// Whether each cell names its largest point.
    pub exemplars: bool,
}

/// How values are spread, over time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Heatmap {
    /// Lower bounds of the value buckets, ascending, the same for all series; empty when there is no series.
    pub y_min: Vec<f64>,
    /// By descending number of points, then by labels.
    pub series: Vec<HeatmapSeries>,
}

/// The slots of one group.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatmapSeries {
    /// The labels grouped by, as far as the series has them.
    pub labels: Labels,
    /// Slots by ascending time; times without points have none.
    pub slots: Vec<HeatmapSlot>,
}

/// Points of one time.
#[derive(Clone, Debug, PartialEq)]
pub struct HeatmapSlot {
    /// End of the slot, in ms since the Unix epoch; the slot reaches a step back.
    pub time_ms: i64,
    /// Number of points in each value bucket.
    pub counts: Vec<u32>,
    /// The largest point of each bucket that has any; see [`HeatmapQuery::exemplars`].
    pub exemplars: Vec<Exemplar>,
}

/// Number of value buckets.
const BUCKET_COUNT: usize = 20;

/// Counts profiles or spans by time and value.
///
/// Errors: [`QueryError::Step`], [`QueryError::TimeRange`], [`QueryError::Cancelled`].
pub fn heatmap(
    datasets: &[Arc<dyn Dataset>],
    matchers: &[Matcher],
    query: &HeatmapQuery,
    control: &Control<'_>,
) -> Result<Partial<Heatmap>, QueryError> {
    let axis = Axis::new(query.start_ms, query.end_ms, query.step_ms)?;
    let selection = select(datasets, matchers, axis.range(), control)?;
    let mut damaged = selection.damaged;
    let mut groups: BTreeMap<Labels, Vec<Mark>> = BTreeMap::new();
    for (index, part) in selection.parts.iter().enumerate() {
        control.check()?;
        let marks = match query.points {
            HeatmapPoints::Profiles => profile_marks(part, index),
            HeatmapPoints::Spans => span_marks(part, index, control, &mut damaged)?,
        };
        for mark in marks {
            let group = part.labels(mark.profile).retain(|name| query.group_by.iter().any(|g| g == name));
            groups.entry(group).or_default().push(mark);
        }
    }
    let mut ranked: Vec<(Labels, Vec<Mark>)> = groups.into_iter().collect();
    ranked.sort_by_key(|(_, marks)| std::cmp::Reverse(marks.len())); // stable: equal counts stay by labels
    if query.limit > 0 {
        ranked.truncate(query.limit);
    }
    let Some(scale) = Scale::of(ranked.iter().flat_map(|(_, marks)| marks).map(|mark| mark.value)) else {
        return Ok(Partial { value: Heatmap::default(), damaged });
    };
    let in_series = |(labels, marks): (Labels, Vec<Mark>)| HeatmapSeries {
        labels,
        slots: slots(marks, &axis, &scale, &selection.parts, query),
    };
    Ok(Partial {
        value: Heatmap { y_min: scale.bounds(), series: ranked.into_iter().map(in_series).collect() },
        damaged,
    })
}

/// One point.
#[derive(Clone, Copy)]
struct Mark {
    time_ns: i64,
    value: i64,
    span_id: u64,
    trace_id: u128,
    part: usize,
    profile: u32,
}

fn profile_marks(part: &Part, index: usize) -> Vec<Mark> {
    let mark = |&profile: &u32| Mark {
        time_ns: part.table.time_ns[profile as usize],
        value: part.table.total[profile as usize],
        span_id: 0,
        trace_id: 0,
        part: index,
        profile,
    };
    part.profiles.iter().map(mark).collect()
}

fn span_marks(
    part: &Part,
    index: usize,
    control: &Control<'_>,
    damaged: &mut Vec<DatasetError>,
) -> Result<Vec<Mark>, QueryError> {
    let mut sums: BTreeMap<(u32, u64), (i64, u128)> = BTreeMap::new();
    let mut at = 0; // profiles and rows both ascend
    scan_columns(part, RowColumns { span_id: true, trace_id: true }, control, damaged, |rows| {
        for (i, &span_id) in rows.span_id.iter().enumerate().filter(|(_, span_id)| **span_id != 0) {
            while part.table.row_end[part.profiles[at] as usize] <= rows.first_row + i as u32 {
                at += 1;
            }
            let (sum, trace_id) = sums.entry((part.profiles[at], span_id)).or_default();
            *sum = sum.saturating_add(rows.value[i].max(0));
            *trace_id = (*trace_id).max(rows.trace_id.get(i).copied().unwrap_or(0));
        }
    })?;
    let mark = |((profile, span_id), (value, trace_id))| Mark {
        time_ns: part.table.time_ns[profile as usize],
        value,
        span_id,
        trace_id,
        part: index,
        profile,
    };
    Ok(sums.into_iter().map(mark).collect())
}

/// Equal value buckets from the least to the largest value.
struct Scale {
    min: f64,
    width: f64,
}

impl Scale {
    /// `None` when there is no value.
    fn of(values: impl Iterator<Item = i64> + Clone) -> Option<Self> {
        let min = values.clone().min()? as f64;
        let max = values.max()? as f64;
        let max = if max > min { max } else { min + 1.0 };
        Some(Self { min, width: (max - min) / BUCKET_COUNT as f64 })
    }

    fn bounds(&self) -> Vec<f64> {
        (0..BUCKET_COUNT).map(|i| self.min + i as f64 * self.width).collect()
    }

    fn bucket(&self, value: i64) -> usize {
        (((value as f64 - self.min) / self.width) as usize).min(BUCKET_COUNT - 1)
    }
}

fn slots(marks: Vec<Mark>, axis: &Axis, scale: &Scale, parts: &[Part], query: &HeatmapQuery) -> Vec<HeatmapSlot> {
    let mut cells: BTreeMap<i64, [(u32, Option<Mark>); BUCKET_COUNT]> = BTreeMap::new();
    for mark in marks {
        let slot = cells.entry(axis.point_ms(mark.time_ns)).or_default();
        let (count, best) = &mut slot[scale.bucket(mark.value)];
        *count = count.saturating_add(1);
        // The largest; of equal ones the earliest, so that the order of datasets does not matter.
        let id = |m: &Mark| parts[m.part].table.id[m.profile as usize];
        let rank = |m: &Mark| (std::cmp::Reverse(m.value), m.time_ns, id(m), m.span_id);
        if best.as_ref().is_none_or(|best| rank(&mark) < rank(best)) {
            *best = Some(mark);
        }
    }
    let exemplar = |mark: &Mark| Exemplar {
        time_ms: mark.time_ns.div_euclid(1_000_000),
        profile_id: parts[mark.part].table.id[mark.profile as usize],
        span_id: mark.span_id,
        trace_id: mark.trace_id,
        value: mark.value,
        labels: parts[mark.part].labels(mark.profile).retain(|name| !query.group_by.iter().any(|g| g == name)),
    };
    let slot = |(time_ms, cells): (i64, [(u32, Option<Mark>); BUCKET_COUNT])| HeatmapSlot {
        time_ms,
        counts: cells.iter().map(|(count, _)| *count).collect(),
        exemplars: cells
            .iter()
            .filter_map(|(_, best)| best.as_ref().filter(|_| query.exemplars).map(exemplar))
            .collect(),
    };
    cells.into_iter().map(slot).collect()
}

#[cfg(test)]
mod tests;
