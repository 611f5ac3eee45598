use argand_model::Labels;

use super::*;
use crate::Point;

#[test]
fn metadata_follows_the_sample_type() {
    let metadata = |id: &str| {
        let RenderMetadata { sample_rate, units, name } = RenderMetadata::of(&id.parse().unwrap());
        format!("{sample_rate} {units} {name}")
    };
    assert_eq!(metadata("process_cpu:cpu:nanoseconds:cpu:nanoseconds"), "1000000000 samples cpu");
    assert_eq!(metadata("process_cpu:samples:count:cpu:nanoseconds"), "100 objects samples");
    assert_eq!(metadata("memory:inuse_objects:count:space:bytes"), "100 objects inuse_objects");
    assert_eq!(metadata("memory:inuse_space:bytes:space:bytes"), "100 bytes inuse_space");
    assert_eq!(metadata("mutex:delay:nanoseconds:contentions:count"), "100 nanoseconds delay");
}

fn series(points: &[(i64, f64)]) -> TimeSeries {
    let point = |&(time_ms, value): &(i64, f64)| Point { time_ms, value, exemplars: Vec::new() };
    TimeSeries { labels: Labels::default(), points: points.iter().map(point).collect() }
}

#[test]
fn a_timeline_fills_gaps_and_snaps_down() {
    let timeline = Timeline::new(&series(&[(15_000, 1.0), (45_000, 2.4)]), 16_000, 61_000, 15).unwrap();
    assert_eq!(timeline, Timeline { start_time_s: 15, samples: vec![1, 0, 2, 0], step_s: 15 });
    let outside = Timeline::new(&series(&[(0, 1.0), (75_000, 2.0)]), 16_000, 61_000, 15).unwrap();
    assert_eq!(outside.samples, [0, 0, 0, 0]);
    let early = Timeline::new(&series(&[]), -1_000, 0, 15).unwrap();
    assert_eq!((early.start_time_s, early.samples.len()), (-15, 2));
}

#[test]
fn a_timeline_is_bounded() {
    let new = |start, end, step| Timeline::new(&series(&[]), start, end, step);
    assert!(matches!(new(i64::MIN, i64::MAX, 1), Err(QueryError::TooManyPoints { .. })));
    assert!(matches!(new(0, 100_000_000, 1), Err(QueryError::TooManyPoints { count: 100_001, max: 100_000 })));
    assert!(matches!(new(1, 0, 15), Err(QueryError::TimeRange { .. })));
    assert!(matches!(new(0, 1, 0), Err(QueryError::Step(_))));
}

#[test]
fn steps_grow_with_the_range() {
    const HOUR: i64 = 3_600_000;
    let step = |range_ms| timeline_step_seconds(range_ms);
    assert_eq!([step(0), step(HOUR), step(7 * HOUR), step(8 * HOUR), step(24 * HOUR)], [15, 15, 15, 20, 60]);
    assert_eq!(step(7 * 24 * HOUR), 300); // 403 s per value
    assert_eq!([step(17_500 * 1500), step(17_501 * 1500)], [15, 20]);
    assert_eq!(step(i64::MAX), 365 * 86_400);
}
