//! Numbers of Pyroscope's older `render` answer, the flamebearer profile.

use argand_model::ProfileType;

use crate::{QueryError, TimeSeries};

/// What a flamebearer's `metadata` says of the values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderMetadata {
    /// Samples per second by which a client divides values in samples.
    pub sample_rate: u32,
    /// Unit as those clients know it.
    pub units: String,
    /// The sample type.
    pub name: String,
}

impl RenderMetadata {
    /// The metadata of a profile type.
    pub fn of(profile_type: &ProfileType) -> Self {
        let ProfileType { sample_type, sample_unit, .. } = profile_type;
        let units = match sample_type.as_str() {
            "cpu" => "samples",
            "inuse_objects" | "alloc_objects" | "goroutine" | "samples" => "objects",
            _ => sample_unit,
        };
        Self {
            sample_rate: if sample_type == "cpu" { 1_000_000_000 } else { 100 },
            units: units.to_owned(),
            name: sample_type.clone(),
        }
    }
}

/// Values at equal distances, 0 where there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// Time of the first value in s since the Unix epoch, a multiple of the step.
    pub start_time_s: i64,
    /// One value per step.
    pub samples: Vec<u64>,
    /// The step in s.
    pub step_s: i64,
}

/// Most values of a timeline.
const MAX_SAMPLES: i64 = 100_000;

impl Timeline {
    /// Fills the gaps of `series` from `start_ms` to `end_ms`, both snapped down to `step_s`.
    ///
    /// Points off the grid count for the step that they lie in. Errors: [`QueryError::TooManyPoints`],
    /// [`QueryError::TimeRange`], [`QueryError::Step`].
    pub fn new(series: &TimeSeries, start_ms: i64, end_ms: i64, step_s: i64) -> Result<Self, QueryError> {
        if step_s < 1 {
            return Err(QueryError::Step(step_s as f64));
        }
        if start_ms > end_ms {
            return Err(QueryError::TimeRange { start_ms, end_ms });
        }
        let slot = |time_ms: i64| time_ms.div_euclid(1000).div_euclid(step_s);
        let (first, last) = (slot(start_ms), slot(end_ms));
        let count = last - first + 1;
        if count > MAX_SAMPLES {
            return Err(QueryError::TooManyPoints { count, max: MAX_SAMPLES });
        }
        let mut samples = vec![0u64; count as usize];
        for point in &series.points {
            let place = usize::try_from(slot(point.time_ms) - first).ok();
            if let Some(sample) = place.and_then(|place| samples.get_mut(place)) {
                *sample = sample.saturating_add(point.value.round() as u64);
            }
        }
        Ok(Self { start_time_s: first * step_s, samples, step_s })
    }
}

/// Step in s of the timeline of a range in ms: about 1,500 values, at least 15 s, and a round number.
pub fn timeline_step_seconds(range_ms: i64) -> i64 {
    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;
    /// A range per value of up to the first number (in s) has the second as its step.
    const STEPS: [(f64, i64); 18] = [
        (17.5, 15),
        (25.0, 20),
        (45.0, 30),
        (90.0, MINUTE),
        (3.5 * 60.0, 2 * MINUTE),
        (7.5 * 60.0, 5 * MINUTE),
        (12.5 * 60.0, 10 * MINUTE),
        (17.5 * 60.0, 15 * MINUTE),
        (25.0 * 60.0, 20 * MINUTE),
        (45.0 * 60.0, 30 * MINUTE),
        (1.5 * 3600.0, HOUR),
        (2.5 * 3600.0, 2 * HOUR),
        (4.5 * 3600.0, 3 * HOUR),
        (9.0 * 3600.0, 6 * HOUR),
        (24.0 * 3600.0, 12 * HOUR),
        (7.0 * 86400.0, DAY),
        (21.0 * 86400.0, 7 * DAY),
        (365.0 * 86400.0, 30 * DAY),
    ];
    let seconds_per_value = range_ms as f64 / 1000.0 / 1500.0;
    STEPS.into_iter().find(|(most, _)| seconds_per_value <= *most).map_or(365 * DAY, |(_, step)| step)
}

#[cfg(test)]
mod tests;
