//! What the table of contents says: about the block, and about each dataset.

use argand_model::{ProfileType, TenantId, TimeRange};

use crate::codec::{Decoded, Decoder, as_u32, put_bytes, put_varint, unzigzag, zigzag};
use crate::{BlockMeta, DatasetSummary};

pub(crate) fn encode_meta(meta: &BlockMeta) -> Vec<u8> {
    let mut out = meta.id.to_be_bytes().to_vec();
    out.push(meta.level);
    put_bytes(&mut out, meta.tenant.as_str().as_bytes());
    put_time(&mut out, meta.time);
    out
}

pub(crate) fn decode_meta(bytes: &[u8]) -> Decoded<BlockMeta> {
    let mut meta = Decoder::new(bytes);
    let id = u128::from_be_bytes(meta.array()?);
    let [level] = meta.array()?;
    let tenant: TenantId = meta.text()?.parse().map_err(|_| "not a tenant id")?;
    let time = take_time(&mut meta)?;
    meta.end()?;
    Ok(BlockMeta { id, tenant, level, time })
}

/// Everything but the service name, which is the name of the group.
pub(crate) fn encode_summary(summary: &DatasetSummary) -> Vec<u8> {
    let mut out = Vec::new();
    for count in [summary.series_count, summary.profile_count, summary.row_count] {
        put_varint(&mut out, u64::from(count));
    }
    put_time(&mut out, summary.time);
    put_varint(&mut out, summary.profile_types.len() as u64);
    for profile_type in &summary.profile_types {
        put_bytes(&mut out, profile_type.to_string().as_bytes());
    }
    out
}

pub(crate) fn decode_summary(service_name: &str, bytes: &[u8]) -> Decoded<DatasetSummary> {
    let mut summary = Decoder::new(bytes);
    let mut count = || as_u32(summary.varint()?);
    let (series_count, profile_count, row_count) = (count()?, count()?, count()?);
    let time = take_time(&mut summary)?;
    let type_count = summary.varint()?;
    let mut profile_types = Vec::new();
    for _ in 0..type_count {
        let profile_type: ProfileType = summary.text()?.parse().map_err(|_| "not a profile type")?;
        profile_types.push(profile_type);
    }
    summary.end()?;
    let service_name = service_name.to_owned();
    Ok(DatasetSummary { service_name, series_count, profile_count, row_count, time, profile_types })
}

fn put_time(out: &mut Vec<u8>, time: TimeRange) {
    put_varint(out, zigzag(time.start_ns));
    put_varint(out, zigzag(time.end_ns.wrapping_sub(time.start_ns)));
}

fn take_time(bytes: &mut Decoder<'_>) -> Decoded<TimeRange> {
    let start_ns = unzigzag(bytes.varint()?);
    let end_ns = start_ns.wrapping_add(unzigzag(bytes.varint()?));
    if start_ns <= end_ns { Ok(TimeRange { start_ns, end_ns }) } else { Err("time range ends before it starts") }
}
