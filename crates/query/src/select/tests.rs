use argand_model::{MatchOp, MemoryDataset};

use super::*;
use crate::fixture::{Damaged, datasets, upload, upload_at};
use crate::parse_selector;

fn matching(selector: &str, range: TimeRange) -> Vec<Vec<u128>> {
    let uploads = [
        upload_at("a 1", 1_000_000_000, &[("region", "eu")]),
        upload_at("a 1", 2_000_000_000, &[("region", "us")]),
        upload_at("a 1", 3_000_000_000, &[("service_name", "mail")]),
    ];
    let matchers = parse_selector(selector).unwrap();
    let selection = select(&datasets(&uploads), &matchers, range, &Control::default()).unwrap();
    let ids = |part: &Part| part.profiles.iter().map(|&i| part.table.id[i as usize] / 1_000_000_000).collect();
    selection.parts.iter().map(ids).collect()
}

#[test]
fn labels_and_times_select() {
    assert_eq!(matching("{}", TimeRange::ALL), [[1], [2], [3]]);
    assert_eq!(matching("{region='us'}", TimeRange::ALL), [[2]]);
    assert_eq!(matching("{region=''}", TimeRange::ALL), [[3]]);
    assert_eq!(matching("{region!='us', service_name=~'sh.p'}", TimeRange::ALL), [[1]]);
    assert_eq!(matching("{}", TimeRange::from_millis(2000, 3000)), [[2], [3]]);
    assert!(matching("{region='nowhere'}", TimeRange::ALL).is_empty());
}

#[test]
fn datasets_of_other_services_are_not_touched() {
    let damaged = Damaged { inner: MemoryDataset::of_upload(&upload("a 1")), profiles_are_readable: false };
    let all: Vec<Arc<dyn Dataset>> = vec![Arc::new(damaged)];
    let damage_seen = |op, service| {
        let matchers = [Matcher::new(name::SERVICE_NAME, op, service).unwrap()];
        select(&all, &matchers, TimeRange::ALL, &Control::default()).unwrap().damaged.len()
    };
    assert_eq!(damage_seen(MatchOp::Equal, "mail"), 0);
    assert_eq!(damage_seen(MatchOp::NotRegex, "sh.*"), 0);
    assert_eq!(damage_seen(MatchOp::Equal, "shop"), 1);
}

#[test]
fn rows_come_in_batches_of_whole_profiles() {
    let table = ProfileTable { series: vec![0; 6], row_end: vec![10, 20, 30, 30, 50, 60], ..ProfileTable::default() };
    let part = Part {
        dataset: datasets(&[upload("a 1")]).remove(0),
        series: Arc::from([Labels::default()]),
        table: Arc::new(table),
        profiles: vec![0, 1, 3, 4, 5],
    };
    assert_eq!(part.row_count(), 50);
    let batches = |rows| format!("{:?}", part.row_batches(rows));
    assert_eq!(batches(1000), "[[0..20, 30..60]]");
    assert_eq!(batches(20), "[[0..20], [30..50], [50..60]]");
    assert_eq!(batches(1), "[[0..10], [10..20], [30..50], [50..60]]");
}
