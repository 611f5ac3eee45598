use argand_model::{TenantId, TimeRange};

use super::*;
use crate::sim::{collect, show};
use crate::testing::random_upload;

fn block(hour: u64, number: u64, level: u8, rows: u32) -> Arc<BlockInfo> {
    Arc::new(BlockInfo {
        id: ulid(hour * HOUR_MS + number, u128::from(number)),
        tenant: TenantId::anonymous(),
        level,
        time: TimeRange::ALL,
        bytes: 1,
        crc: 0,
        profiles: 1,
        rows: rows.into(),
        largest_dataset_rows: rows,
    })
}

fn config() -> StoreConfig {
    StoreConfig { compaction_fan_in: 3, compaction_dataset_rows: 100, ..StoreConfig::default() }
}

/// Indexes of the inputs and the level of the output.
fn planned(blocks: &[Arc<BlockInfo>], now_hours: f64) -> Option<(Vec<usize>, u8)> {
    let now_ms = (now_hours * HOUR_MS as f64) as u64;
    let job = plan(&blocks.iter(), now_ms, &config())?;
    let index = |input: &Arc<BlockInfo>| blocks.iter().position(|block| block.id == input.id).unwrap();
    Some((job.inputs.iter().map(index).collect(), job.level))
}

#[test]
fn an_hour_is_merged_early_when_enough_came_and_late_in_any_case() {
    let two = [block(30, 1, 0, 1), block(30, 2, 0, 1)];
    assert_eq!(planned(&two, 30.9), None);
    assert_eq!(planned(&two, 31.0), None, "more may come");
    assert_eq!(planned(&two, 31.1), Some((vec![0, 1], 1)));
    let three = [block(30, 3, 0, 1), block(30, 1, 0, 1), block(30, 2, 0, 1)];
    assert_eq!(planned(&three, 30.1), Some((vec![1, 2, 0], 1)));
}

#[test]
fn hours_do_not_mix_but_days_do() {
    let blocks = [block(30, 1, 0, 1), block(31, 1, 0, 1), block(32, 1, 0, 1)];
    assert_eq!(planned(&blocks, 33.0), None);
    assert_eq!(planned(&blocks, 48.1), Some((vec![0, 1, 2], 2)));
    let other_days = [block(23, 1, 0, 1), block(24, 1, 0, 1)];
    assert_eq!(planned(&other_days, 100.0), None);
}

#[test]
fn a_full_output_starts_the_next_one() {
    let blocks = [block(30, 1, 0, 60), block(30, 2, 0, 30), block(30, 3, 0, 30), block(30, 4, 0, 90)];
    assert_eq!(planned(&blocks, 30.1), Some((vec![0, 1], 1)), "complete though fewer than the fan-in");
    let settled = [block(30, 2, 1, 90), block(30, 3, 0, 30), block(30, 4, 0, 90)];
    assert_eq!(planned(&settled, 40.0), None, "nothing fits together");
}

#[test]
fn planning_ends() {
    let mut blocks: Vec<_> = (0..200).map(|i| block(24 + i % 30, i, 0, 1 + (i * 37 % 50) as u32)).collect();
    let mut steps = 0;
    while let Some(job) = plan(&blocks.iter(), 1_000 * HOUR_MS, &config()) {
        steps += 1;
        assert!(steps < 200, "every step removes a block");
        blocks.retain(|block| !job.inputs.contains(block));
        let rows = job.inputs.iter().map(|block| block.largest_dataset_rows).sum();
        assert!(rows <= 100);
        let id = job.output_id();
        blocks.push(Arc::new(BlockInfo {
            id,
            level: job.level,
            largest_dataset_rows: rows,
            ..(*job.inputs[0]).clone()
        }));
    }
    assert!(blocks.len() < 120, "{} blocks are left", blocks.len());
}

#[test]
fn a_merge_holds_the_profiles_of_all_parts() {
    let parts: Vec<MemoryDataset> =
        (0..4).map(|seed| MemoryDataset::of_upload(&random_upload(seed, "shop", 3))).collect();
    let references: Vec<&dyn Dataset> = parts.iter().map(|part| part as &dyn Dataset).collect();
    let merged = merge(&references, [1, 2]).unwrap();
    let expected = parts.iter().flat_map(show).collect();
    assert_eq!(show(&merged), expected);
    assert_eq!(show(&collect(&merged).unwrap()), expected);
    assert_eq!(merged.service_name, "shop");
    let mut distinct = merged.series.clone();
    distinct.sort();
    distinct.dedup();
    assert_eq!(distinct.len(), merged.series.len());
}
