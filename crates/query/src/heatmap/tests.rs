use argand_model::Upload;

use super::*;
use crate::fixture::{datasets, upload_at};

fn profile(time_ms: i64, value: i64, region: &str) -> Upload {
    upload_at(&format!("main {value}"), time_ms * 1_000_000, &[("region", region)])
}

fn query() -> HeatmapQuery {
    HeatmapQuery { start_ms: 10_000, end_ms: 30_000, step_ms: 10_000, ..HeatmapQuery::default() }
}

fn map_of(uploads: &[Upload], query: &HeatmapQuery) -> Heatmap {
    heatmap(&datasets(uploads), &[], query, &Control::default()).unwrap().value
}

/// `time: bucket=count …` per slot.
fn cells(series: &HeatmapSeries) -> Vec<String> {
    let slot = |slot: &HeatmapSlot| {
        let filled = slot.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let cells: Vec<String> = filled.map(|(bucket, count)| format!("{bucket}={count}")).collect();
        format!("{}: {}", slot.time_ms, cells.join(" "))
    };
    series.slots.iter().map(slot).collect()
}

#[test]
fn profiles_are_counted_by_time_and_value() {
    let at = [(1, 0), (10_000, 20), (10_001, 1), (20_000, 1), (30_000, 19), (30_001, 7)];
    let uploads: Vec<Upload> = at.into_iter().map(|(time, value)| profile(time, value, "eu")).collect();
    let map = map_of(&uploads, &query());
    assert_eq!(map.y_min, (0..20).map(f64::from).collect::<Vec<_>>());
    assert_eq!(cells(&map.series[0]), ["10000: 0=1 19=1", "20000: 1=2", "30000: 19=1"]);
    assert_eq!(map.series[0].slots[0].counts.len(), 20);
}

#[test]
fn equal_values_fill_the_first_bucket() {
    let map = map_of(&[profile(10_000, 5, "eu"), profile(10_000, 5, "eu")], &query());
    assert_eq!((map.y_min[0], map.y_min[10]), (5.0, 5.5));
    assert_eq!(cells(&map.series[0]), ["10000: 0=2"]);
}

#[test]
fn no_data_is_an_empty_map() {
    assert_eq!(map_of(&[], &query()), Heatmap::default());
}

#[test]
fn the_limit_keeps_the_series_with_most_points_and_scales_to_them() {
    let uploads = [profile(10_000, 1_000, "us"), profile(10_000, 1, "eu"), profile(20_000, 2, "eu")];
    let by_region = HeatmapQuery { group_by: vec!["region".into()], ..query() };
    let map = map_of(&uploads, &by_region);
    assert_eq!(
        map.series.iter().map(|s| s.labels.to_string()).collect::<Vec<_>>(),
        [r#"{region="eu"}"#, r#"{region="us"}"#]
    );
    let limited = map_of(&uploads, &HeatmapQuery { limit: 1, ..by_region });
    assert_eq!((limited.series.len(), limited.y_min[0]), (1, 1.0));
    assert_eq!(cells(&limited.series[0]), ["10000: 0=1", "20000: 19=1"]);
}

#[test]
fn spans_are_counted_by_the_sum_of_their_rows() {
    let rows = "a 1 span=a trace=7 \n b 2 span=a trace=7 \n c 23 span=b \n d 50";
    let mut two = upload_at(rows, 10_000_000_000, &[]);
    let mut later = two.series[0].clone();
    later.time_ns = 20_000_000_000;
    later.value = vec![3, 0, 13, 1];
    two.series.push(later);
    let map = map_of(&[two], &HeatmapQuery { points: HeatmapPoints::Spans, exemplars: true, ..query() });
    assert_eq!((map.y_min[0], map.y_min[1]), (3.0, 4.0));
    assert_eq!(cells(&map.series[0]), ["10000: 0=1 19=1", "20000: 0=1 10=1"]);
    let exemplars: Vec<(u64, u128, i64)> =
        map.series[0].slots[0].exemplars.iter().map(|e| (e.span_id, e.trace_id, e.value)).collect();
    assert_eq!(exemplars, [(0xA, 7, 3), (0xB, 0, 23)]);
}

#[test]
fn a_cell_names_its_largest_profile_when_asked() {
    let uploads = [profile(10_000, 40, "eu"), profile(9_000, 41, "eu"), profile(10_000, 0, "eu")];
    let with = map_of(&uploads, &HeatmapQuery { exemplars: true, ..query() });
    let named: Vec<(i64, i64)> = with.series[0].slots[0].exemplars.iter().map(|e| (e.time_ms, e.value)).collect();
    assert_eq!(named, [(10_000, 0), (9_000, 41)]);
    assert!(map_of(&uploads, &query()).series[0].slots[0].exemplars.is_empty());
}
