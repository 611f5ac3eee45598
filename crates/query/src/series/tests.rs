use argand_model::{Upload, name};

use super::*;
use crate::fixture::{datasets, upload_at};

const SECOND: i64 = 1_000_000_000;

/// A profile at a time in ms with one row, in a region.
fn profile(time_ms: i64, value: i64, region: &str) -> Upload {
    upload_at(&format!("main;{region} {value}"), time_ms * 1_000_000, &[("region", region)])
}

fn series_of(uploads: &[Upload], query: &SeriesQuery) -> Vec<TimeSeries> {
    let answer = time_series(&datasets(uploads), &[], query, &Control::default()).unwrap();
    assert!(answer.damaged.is_empty());
    answer.value
}

/// `labels: time=value …`, a series per line.
#[track_caller]
fn check(uploads: &[Upload], query: &SeriesQuery, expected: &[&str]) {
    let line = |series: &TimeSeries| {
        let points: Vec<String> = series.points.iter().map(|p| format!("{}={}", p.time_ms, p.value)).collect();
        format!("{}: {}", series.labels, points.join(" "))
    };
    assert_eq!(series_of(uploads, query).iter().map(line).collect::<Vec<_>>(), expected);
}

fn query() -> SeriesQuery {
    SeriesQuery { start_ms: 10_000, end_ms: 35_000, step_ms: 10_000, ..SeriesQuery::default() }
}

#[test]
fn a_point_stands_for_the_step_before_it() {
    let at = [0, 1, 10_000, 10_001, 20_000, 30_000, 30_001, 35_000];
    let uploads: Vec<Upload> = (0u32..).zip(at).map(|(i, time)| profile(time, 1 << i, "eu")).collect();
    // (0, 10 s], (10, 20 s], (20, 30 s]: the first profile is too early, the last two have no point up to the end.
    check(&uploads, &query(), &["{}: 10000=6 20000=24 30000=32"]);
}

#[test]
fn times_count_by_whole_milliseconds() {
    let within = upload_at("a 1", 10_000 * 1_000_000 + 999_999, &[]);
    check(&[within], &query(), &["{}: 10000=1"]);
}

#[test]
fn times_before_1970_work() {
    let query = SeriesQuery { start_ms: -20_000, end_ms: 0, step_ms: 10_000, ..SeriesQuery::default() };
    check(
        &[profile(-15_000, 1, "eu"), profile(-30_000, 2, "eu"), profile(-29_999, 4, "eu")],
        &query,
        &["{}: -20000=4 -10000=1"],
    );
}

#[test]
fn extreme_ranges_neither_overflow_nor_fill() {
    let query = SeriesQuery { start_ms: i64::MIN, end_ms: i64::MAX, step_ms: 1, ..SeriesQuery::default() };
    check(&[profile(5, 1, "eu"), profile(7, 2, "eu")], &query, &["{}: 5=1 7=2"]);
    let coarse = SeriesQuery { step_ms: i64::MAX, ..query };
    assert_eq!(series_of(&[profile(5, 1, "eu")], &coarse).len(), 1);
}

#[test]
fn nothing_is_no_series() {
    check(&[], &query(), &[]);
    check(&[profile(90_000, 1, "eu")], &query(), &[]);
}

#[test]
fn groups_stand_by_their_sums_and_then_by_labels() {
    let uploads =
        [profile(20_000, 3, "eu"), profile(30_000, 5, "us"), profile(20_000, 1, "us"), profile(20_000, 3, "asia")];
    let by_region = SeriesQuery { group_by: vec!["region".into()], ..query() };
    check(
        &uploads,
        &by_region,
        &[r#"{region="us"}: 20000=1 30000=5"#, r#"{region="asia"}: 20000=3"#, r#"{region="eu"}: 20000=3"#],
    );
    let limited = SeriesQuery { limit: 1, ..by_region.clone() };
    check(&uploads, &limited, &[r#"{region="us"}: 20000=1 30000=5"#]);
    let absent = SeriesQuery { group_by: vec!["nothing".into(), name::SERVICE_NAME.into()], ..query() };
    check(&uploads, &absent, &[r#"{service_name="shop"}: 20000=7 30000=5"#]);
}

#[test]
fn an_average_is_per_profile() {
    let uploads = [profile(20_000, 3, "eu"), profile(19_000, 6, "eu"), profile(30_000, 5, "eu")];
    check(&uploads, &SeriesQuery { aggregation: Aggregation::Average, ..query() }, &["{}: 20000=4.5 30000=5"]);
}

#[test]
fn a_call_site_counts_only_its_rows() {
    let mut two = upload_at("main;a 1 \n main;b 2 \n main;a;c 4", 20 * SECOND, &[]);
    let mut later = two.series[0].clone();
    later.time_ns = 30 * SECOND;
    later.value = vec![8, 16, 32];
    two.series.push(later);
    let at = |names: &[&str]| SeriesQuery { call_site: names.iter().map(|n| n.to_string()).collect(), ..query() };
    check(&[two.clone()], &at(&["main", "a"]), &["{}: 20000=5 30000=40"]);
    check(&[two.clone()], &at(&["main", "a", "c"]), &["{}: 20000=4 30000=32"]);
    check(&[two], &at(&["a"]), &[]);
}

#[test]
fn an_exemplar_is_the_largest_profile_of_its_point() {
    let spans = |rows: &str, time_ms: i64| upload_at(rows, time_ms * 1_000_000, &[("region", "eu"), ("pod", "p")]);
    let uploads = [
        spans("a 1 span=a \n b 9 span=a trace=c", 20_000),
        spans("a 3", 19_000),
        spans("a 5 span=a \n b 5 span=b", 30_000),
        spans("a 10", 30_000 - 1),
    ];
    let query = SeriesQuery { exemplars: true, group_by: vec!["region".into()], ..query() };
    let series = series_of(&uploads, &query);
    let exemplars: Vec<&Exemplar> = series[0].points.iter().flat_map(|p| &p.exemplars).collect();
    assert_eq!(exemplars.len(), 2);
    let Exemplar { time_ms, profile_id, span_id, trace_id, value, labels } = exemplars[0];
    assert_eq!((*time_ms, *profile_id, *span_id, *trace_id, *value), (20_000, 20_000_000_000, 0xA, 0xC, 10));
    assert_eq!((labels.get("pod"), labels.get("region")), (Some("p"), None));
    assert_eq!((exemplars[1].time_ms, exemplars[1].span_id), (29_999, 0), "of equal values the earlier stands");

    let several_spans = series_of(&uploads[2..3], &query)[0].points[0].exemplars[0].clone();
    assert_eq!((several_spans.span_id, several_spans.value), (0, 10));
    assert!(series_of(&uploads, &self::query())[0].points[0].exemplars.is_empty());
}

#[test]
fn steps_are_at_least_a_millisecond() {
    assert_eq!(SeriesQuery::step_ms(0.001).unwrap(), 1);
    assert_eq!(SeriesQuery::step_ms(15.0).unwrap(), 15_000);
    for bad in [0.0, -1.0, 0.000_9, f64::NAN, f64::INFINITY] {
        assert!(matches!(SeriesQuery::step_ms(bad), Err(QueryError::Step(_))), "{bad}");
    }
    let run = |query: &SeriesQuery| time_series(&[], &[], query, &Control::default()).map(|_| ());
    assert!(matches!(run(&SeriesQuery { step_ms: 0, ..query() }), Err(QueryError::Step(_))));
    assert!(matches!(run(&SeriesQuery { end_ms: 9_999, ..query() }), Err(QueryError::TimeRange { .. })));
}
