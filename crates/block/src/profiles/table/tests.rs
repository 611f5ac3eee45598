use super::*;

fn table() -> ProfileTable {
    ProfileTable {
        series: vec![0, 0, 2],
        time_ns: vec![i64::MIN, 5, i64::MAX],
        duration_ns: vec![0, i64::MAX, -1],
        total: vec![i64::MIN, 0, i64::MAX],
        id: vec![u128::MAX, 0, 7],
        row_end: vec![3, 3, 10],
    }
}

fn summary(table: &ProfileTable) -> DatasetSummary {
    DatasetSummary {
        service_name: "shop".to_owned(),
        series_count: 3,
        profile_count: table.len() as u32,
        row_count: table.row_end.last().copied().unwrap_or(0),
        time: time_range(table),
        profile_types: Vec::new(),
    }
}

fn encoded() -> Vec<u8> {
    encode(&table(), &mut Encoder::new(3))
}

#[test]
fn extremes_round_trip() {
    assert_eq!(decode(&encoded(), &summary(&table())), Ok(table()));
    let empty = ProfileTable::default();
    assert_eq!(decode(&encode(&empty, &mut Encoder::new(3)), &summary(&empty)), Ok(empty));
}

#[test]
fn what_contradicts_the_summary_is_refused() {
    let good = summary(&table());
    let wrong = [
        DatasetSummary { series_count: 2, ..good.clone() },
        DatasetSummary { profile_count: 2, ..good.clone() },
        DatasetSummary { profile_count: u32::MAX, ..good.clone() },
        DatasetSummary { row_count: 11, ..good.clone() },
        DatasetSummary { time: TimeRange { start_ns: 0, end_ns: i64::MAX }, ..good },
    ];
    for summary in wrong {
        assert!(decode(&encoded(), &summary).is_err(), "{summary:?}");
    }
}
