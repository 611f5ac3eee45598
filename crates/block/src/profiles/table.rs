//! The profiles: one small record each, so that totals never touch rows.

use argand_model::{ProfileTable, TimeRange};

use crate::DatasetSummary;
use crate::codec::{Decoded, Decoder, Encoder, Scratch, as_u32, unzigzag, zigzag};

const ID_BYTES: usize = size_of::<u128>();

pub(crate) fn encode(profiles: &ProfileTable, encoder: &mut Encoder) -> Vec<u8> {
    let mut out = Vec::new();
    encoder.integers(&mut out, deltas(profiles.series.iter().map(|&series| i64::from(series))));
    encoder.integers(&mut out, deltas(profiles.time_ns.iter().copied()));
    encoder.integers(&mut out, deltas(profiles.duration_ns.iter().copied()));
    encoder.integers(&mut out, profiles.total.iter().map(|&total| zigzag(total)));
    encoder.integers(&mut out, (0..profiles.len()).map(|i| profiles.rows(i).len() as u64));
    encoder.bytes(&mut out, &profiles.id.iter().flat_map(|id| id.to_be_bytes()).collect::<Vec<u8>>());
    out
}

pub(crate) fn decode(bytes: &[u8], summary: &DatasetSummary) -> Decoded<ProfileTable> {
    let count = summary.profile_count as usize;
    let scratch = &mut Scratch::new();
    let mut section = Decoder::new(bytes);
    let mut sum = 0i64;
    let series = section.integers(scratch, count, |delta| {
        let series = undelta(&mut sum, delta);
        u32::try_from(series).ok().filter(|&series| series < summary.series_count).ok_or("series out of range")
    })?;
    let mut sum = 0i64;
    let time_ns = section.integers(scratch, count, |delta| {
        let time_ns = undelta(&mut sum, delta);
        if summary.time.contains(time_ns) { Ok(time_ns) } else { Err("time out of the dataset's range") }
    })?;
    let mut sum = 0i64;
    let duration_ns = section.integers(scratch, count, |delta| Ok(undelta(&mut sum, delta)))?;
    let total = section.integers(scratch, count, |total| Ok(unzigzag(total)))?;
    let mut end = 0u32;
    let row_end = section.integers(scratch, count, |len| {
        end = end.checked_add(as_u32(len)?).ok_or("rows exceed 32 bits")?;
        Ok(end)
    })?;
    if end != summary.row_count {
        return Err("profiles do not add up to the dataset's rows");
    }
    let ids_len = (count * ID_BYTES) as u64;
    let ids = section.column(scratch, ids_len..=ids_len)?;
    let id = ids.chunks_exact(ID_BYTES).map(|id| u128::from_be_bytes(id.try_into().expect("so long"))).collect();
    section.end()?;
    Ok(ProfileTable { series, time_ns, duration_ns, total, id, row_end })
}

/// From the first profile's time to the last one's.
pub(crate) fn time_range(profiles: &ProfileTable) -> TimeRange {
    TimeRange {
        start_ns: profiles.time_ns.iter().copied().min().unwrap_or(0),
        end_ns: profiles.time_ns.iter().copied().max().unwrap_or(0),
    }
}

pub(crate) fn memory_bytes(profiles: &ProfileTable) -> usize {
    let per_profile = 2 * size_of::<u32>() + 3 * size_of::<i64>() + ID_BYTES;
    profiles.len() * per_profile
}

fn deltas(values: impl Iterator<Item = i64>) -> impl Iterator<Item = u64> {
    let mut before = 0i64;
    values.map(move |value| zigzag(value.wrapping_sub(std::mem::replace(&mut before, value))))
}

fn undelta(sum: &mut i64, delta: u64) -> i64 {
    *sum = sum.wrapping_add(unzigzag(delta));
    *sum
}

#[cfg(test)]
mod tests;
