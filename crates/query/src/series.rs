//! Values over time.

use std::collections::BTreeMap;
use std::sync::Arc;

use argand_model::{Dataset, DatasetError, Labels, Matcher, RowColumns, StackId, TimeRange};

use crate::accumulate::{call_site_stacks, scan, scan_columns};
use crate::{Control, Filter, Part, Partial, QueryError, select};

/// How the profiles of one point become its value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aggregation {
    /// Their sum.
    #[default]
    Sum,
    /// Their mean.
    Average,
}

/// What a time series shows.
///
/// Units: times in ms since the Unix epoch. A point at `t = start + k · step ≤ end` stands for the profiles in
/// `(t - step, t]`, so the first one reaches a step before `start_ms`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SeriesQuery {
    /// Time of the first point.
    pub start_ms: i64,
    /// Latest time of a point.
    pub end_ms: i64,
    /// Distance of two points, at least 1.
    pub step_ms: i64,
    /// One series per distinct values of these labels; one in all when empty.
    pub group_by: Vec<String>,
    /// How profiles become a value.
    pub aggregation: Aggregation,
    /// Most series, 0 for all; those with the largest sums stay.
    pub limit: usize,
    /// Whether each point names its largest profile.
    pub exemplars: bool,
    /// Count only stacks that begin with these function names, from the root down.
    pub call_site: Vec<String>,
}

/// One line of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct TimeSeries {
    /// The labels grouped by, as far as the series has them.
    pub labels: Labels,
    /// Points by ascending time; times without profiles have none.
    pub points: Vec<Point>,
}

/// One point of a chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// End of the time that it stands for, in ms since the Unix epoch.
    pub time_ms: i64,
    /// In the unit of the profile type.
    pub value: f64,
    /// At most one; see [`SeriesQuery::exemplars`].
    pub exemplars: Vec<Exemplar>,
}

/// A profile, or a span of one, that stands for many.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exemplar {
    /// When it was taken, in ms since the Unix epoch.
    pub time_ms: i64,
    /// Its id.
    pub profile_id: u128,
    /// The span of all its rows, 0 where they have none or several.
    pub span_id: u64,
    /// The trace of all its rows, 0 where they have none or several.
    pub trace_id: u128,
    /// Its value.
    pub value: i64,
    /// Labels that were not grouped by.
    pub labels: Labels,
}

impl SeriesQuery {
    /// A step in ms from seconds. Errors: [`QueryError::Step`] unless at least 0.001.
    pub fn step_ms(seconds: f64) -> Result<i64, QueryError> {
        // Half a microsecond of slack: 0.001 is not a binary fraction.
        if seconds.is_finite() && seconds > 0.000_999_5 {
            return Ok(((seconds * 1000.0).round() as i64).max(1));
        }
        Err(QueryError::Step(seconds))
    }
}

/// The points of a time axis.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Axis {
    start_ms: i64,
    end_ms: i64,
    step_ms: i64,
}

impl Axis {
    /// Errors: [`QueryError::Step`], [`QueryError::TimeRange`].
    pub(crate) fn new(start_ms: i64, end_ms: i64, step_ms: i64) -> Result<Self, QueryError> {
        if step_ms < 1 {
            return Err(QueryError::Step(step_ms as f64 / 1000.0));
        }
        if start_ms > end_ms {
            return Err(QueryError::TimeRange { start_ms, end_ms });
        }
        Ok(Self { start_ms, end_ms, step_ms })
    }

    /// Times of all profiles that belong to a point.
    pub(crate) fn range(&self) -> TimeRange {
        let steps = i128::from(self.end_ms) - i128::from(self.start_ms);
        let last = i128::from(self.end_ms) - steps % i128::from(self.step_ms);
        TimeRange::from_millis(self.start_ms.saturating_sub(self.step_ms).saturating_add(1), last as i64)
    }

    /// Time of the point that a profile of `time_ns` belongs to.
    pub(crate) fn point_ms(&self, time_ns: i64) -> i64 {
        let time_ms = time_ns.div_euclid(1_000_000);
        let (start, step) = (i128::from(self.start_ms), i128::from(self.step_ms));
        let steps = (i128::from(time_ms) - start + step - 1).div_euclid(step).max(0);
        (start + steps * step).min(i128::from(i64::MAX)) as i64
    }
}

/// Sums of the profiles that `matchers` accept, over time.
///
/// Series stand by descending sum of their points, then by labels.
/// Errors: [`QueryError::Step`], [`QueryError::TimeRange`], [`QueryError::Cancelled`].
pub fn time_series(
    datasets: &[Arc<dyn Dataset>],
    matchers: &[Matcher],
    query: &SeriesQuery,
    control: &Control<'_>,
) -> Result<Partial<Vec<TimeSeries>>, QueryError> {
    let axis = Axis::new(query.start_ms, query.end_ms, query.step_ms)?;
    let selection = select(datasets, matchers, axis.range(), control)?;
    let mut damaged = selection.damaged;
    let mut groups: BTreeMap<Labels, BTreeMap<i64, Bucket>> = BTreeMap::new();
    for (part_index, part) in selection.parts.iter().enumerate() {
        let values = profile_values(part, &query.call_site, control, &mut damaged)?;
        let group_of = part.series.iter().map(|labels| labels.retain(|n| query.group_by.iter().any(|g| g == n)));
        let group_of: Vec<Labels> = group_of.collect();
        for (&profile, value) in part.profiles.iter().zip(values).filter(|(_, value)| *value > 0) {
            let group = &group_of[part.table.series[profile as usize] as usize];
            let time_ns = part.table.time_ns[profile as usize];
            let id = part.table.id[profile as usize];
            if !groups.contains_key(group) {
                groups.insert(group.clone(), BTreeMap::new());
            }
            let points = groups.get_mut(group).expect("it was just inserted");
            let place = Place { part: part_index, profile };
            points.entry(axis.point_ms(time_ns)).or_default().add(Candidate { value, time_ns, id, place });
        }
    }
    let mut ranked: Vec<(f64, Labels, BTreeMap<i64, Bucket>)> = groups
        .into_iter()
        .map(|(labels, points)| (points.values().map(|b| b.value(query.aggregation)).sum(), labels, points))
        .collect();
    ranked.sort_by(|(a, ..), (b, ..)| b.total_cmp(a)); // stable: equal sums stay by labels
    if query.limit > 0 {
        ranked.truncate(query.limit);
    }
    let mut answer = Vec::with_capacity(ranked.len());
    for (_, labels, buckets) in ranked {
        let mut points = Vec::with_capacity(buckets.len());
        for (time_ms, bucket) in buckets {
            let best = bucket.best.filter(|_| query.exemplars);
            let exemplar =
                best.map(|best| exemplar_of(&selection.parts, &best, &query.group_by, control, &mut damaged));
            let exemplars = exemplar.transpose()?.into_iter().collect();
            points.push(Point { time_ms, value: bucket.value(query.aggregation), exemplars });
        }
        answer.push(TimeSeries { labels, points });
    }
    Ok(Partial { value: answer, damaged })
}

/// Where a profile is: which part of the selection, which profile of its table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) part: usize,
    pub(crate) profile: u32,
}

/// A profile that may stand for its point.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    value: i64,
    time_ns: i64,
    id: u128,
    place: Place,
}

/// The profiles of one point.
#[derive(Default)]
struct Bucket {
    sum: i64,
    count: u64,
    best: Option<Candidate>,
}

impl Bucket {
    fn add(&mut self, candidate: Candidate) {
        self.sum = self.sum.saturating_add(candidate.value);
        self.count += 1;
        // The largest; of equal ones the earliest, so that the order of datasets does not matter.
        let rank = |c: &Candidate| (std::cmp::Reverse(c.value), c.time_ns, c.id);
        if self.best.as_ref().is_none_or(|best| rank(&candidate) < rank(best)) {
            self.best = Some(candidate);
        }
    }

    fn value(&self, aggregation: Aggregation) -> f64 {
        match aggregation {
            Aggregation::Sum => self.sum as f64,
            Aggregation::Average => self.sum as f64 / self.count as f64,
        }
    }
}

/// Value of each selected profile: its total, or what its rows within the call site add up to.
fn profile_values(
    part: &Part,
    call_site: &[String],
    control: &Control<'_>,
    damaged: &mut Vec<DatasetError>,
) -> Result<Vec<i64>, QueryError> {
    control.check()?;
    if call_site.is_empty() {
        return Ok(part.profiles.iter().map(|&i| part.table.total[i as usize]).collect());
    }
    let dictionary = match part.dataset.dictionary() {
        Ok(dictionary) => dictionary,
        Err(error) => {
            damaged.push(error);
            return Ok(vec![0; part.profiles.len()]);
        }
    };
    let stacks: Vec<StackId> = (0..dictionary.stacks.len()).map(StackId::from_index).collect();
    let parents: Vec<u32> = dictionary.stacks.parent.iter().map(|parent| parent.0).collect();
    let inside = call_site_stacks(&dictionary, &stacks, &parents, call_site);
    let mut values = vec![0i64; part.profiles.len()];
    let mut at = 0; // profiles and rows both ascend
    scan(part, &Filter::default(), control, damaged, |row, stack, value| {
        while part.table.row_end[part.profiles[at] as usize] <= row {
            at += 1;
        }
        if inside.get(stack.index()).copied().unwrap_or(false) {
            values[at] = values[at].saturating_add(value);
        }
    })?;
    Ok(values)
}

fn exemplar_of(
    parts: &[Part],
    candidate: &Candidate,
    group_by: &[String],
    control: &Control<'_>,
    damaged: &mut Vec<DatasetError>,
) -> Result<Exemplar, QueryError> {
    let Candidate { value, time_ns, id, place } = *candidate;
    let part = Part { profiles: vec![place.profile], ..parts[place.part].clone() };
    let (mut spans, mut traces) = (Unique::default(), Unique::default());
    scan_columns(&part, RowColumns { span_id: true, trace_id: true }, control, damaged, |rows| {
        for i in 0..rows.stack.len() {
            spans.add(rows.span_id.get(i).map_or(0, |&id| id.into()));
            traces.add(rows.trace_id.get(i).copied().unwrap_or(0));
        }
    })?;
    Ok(Exemplar {
        time_ms: time_ns.div_euclid(1_000_000),
        profile_id: id,
        span_id: spans.value() as u64,
        trace_id: traces.value(),
        value,
        labels: part.labels(place.profile).retain(|name| !group_by.iter().any(|g| g == name)),
    })
}

/// The one id that was seen, if there was only one; rows without one do not count.
#[derive(Default)]
struct Unique {
    id: u128,
    is_ambiguous: bool,
}

impl Unique {
    fn add(&mut self, id: u128) {
        self.is_ambiguous |= id != 0 && self.id != 0 && self.id != id;
        self.id = self.id.max(id);
    }

    fn value(&self) -> u128 {
        if self.is_ambiguous { 0 } else { self.id }
    }
}

#[cfg(test)]
mod tests;
