//! Payloads of log records; `docs/format/log.md` draws them.

use argand_model::{
    Dictionary, Function, FunctionId, Labels, Line, LocationId, Mapping, MappingId, StackId, StringId, Symbols,
    TenantId,
};

pub use crate::codec::DecodeError;
use crate::codec::{Decoder, put_signed, put_text, put_varint};
use crate::rows::{self, Rows};

/// Kind bytes.
const PROBE: u8 = 0;
const UPLOAD: u8 = 1;
const KEYS: u8 = 2;

/// What a log record says.
#[derive(Debug, PartialEq, Eq)]
pub enum Record<'a> {
    /// Nothing: written to see whether writing works.
    Probe,
    /// Profiles and what they add to the dictionary of their head dataset.
    Upload(Box<UploadRecord<'a>>),
    /// Idempotency keys of earlier logs, oldest first.
    Keys(Vec<(TenantId, u128)>),
}

/// Lengths of the tables of a head dataset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TableLengths {
    /// Series.
    pub series: u32,
    /// Strings.
    pub strings: u32,
    /// Functions.
    pub functions: u32,
    /// Mappings.
    pub mappings: u32,
    /// Locations.
    pub locations: u32,
    /// Stack nodes.
    pub nodes: u32,
}

impl TableLengths {
    /// Of a dataset with `series` series and this dictionary.
    pub(crate) fn of(series: usize, dictionary: &Dictionary) -> Self {
        let Symbols { strings, functions, mappings, locations, .. } = &dictionary.symbols;
        let len = |len: usize| u32::try_from(len).expect("tables are limited to u32 entries");
        Self {
            series: len(series),
            strings: len(strings.len()),
            functions: len(functions.len()),
            mappings: len(mappings.len()),
            locations: len(locations.len()),
            nodes: len(dictionary.stacks.len()),
        }
    }

    /// Of a dataset without anything: only the null entries.
    pub(crate) fn empty() -> Self {
        Self::of(0, &Dictionary::default())
    }
}

/// One profile of an upload without its rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProfileHeader {
    /// Series in the head dataset.
    pub series: u32,
    /// See `SeriesProfile::id`.
    pub id: u128,
    /// ns since the Unix epoch.
    pub time_ns: i64,
    /// Window in ns.
    pub duration_ns: i64,
    /// Sum of the values.
    pub total: i64,
    /// Number of rows.
    pub row_count: u32,
    /// Bytes of the rows.
    pub rows_len: u32,
}

/// A committed upload: all ids are those of its head dataset, and checked to be in range.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct UploadRecord<'a> {
    /// Whose data it is; with `service` it names the head dataset.
    pub tenant: Option<TenantId>,
    /// Service of all series.
    pub service: &'a str,
    /// See `Upload::idempotency_key`.
    pub key: Option<u128>,
    /// Lengths of the dataset's tables before this record.
    pub base: TableLengths,
    /// New series.
    pub series: Vec<Labels>,
    /// New strings.
    pub strings: Vec<&'a str>,
    /// New functions.
    pub functions: Vec<Function>,
    /// New mappings.
    pub mappings: Vec<Mapping>,
    /// New locations: mapping, address, whether folded, end of its lines in `lines`.
    pub locations: Vec<(MappingId, u64, bool, usize)>,
    /// Lines of the new locations.
    pub lines: Vec<Line>,
    /// New stack nodes.
    pub nodes: Vec<(StackId, LocationId)>,
    /// Profiles.
    pub profiles: Vec<ProfileHeader>,
    /// Rows of the profiles, back to back.
    pub rows: &'a [u8],
}

/// What the encoder of an upload is given.
pub(crate) struct UploadParts<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) service: &'a str,
    pub(crate) key: Option<u128>,
    pub(crate) base: TableLengths,
    /// All series and the whole dictionary of the dataset; entries from `base` on are written.
    pub(crate) series: &'a [Labels],
    pub(crate) dictionary: &'a Dictionary,
    pub(crate) profiles: &'a [ProfileHeader],
    pub(crate) rows: &'a [u8],
}

pub(crate) fn encode_probe() -> Vec<u8> {
    vec![PROBE]
}

pub(crate) fn encode_keys<'a>(keys: impl ExactSizeIterator<Item = (&'a TenantId, u128)>) -> Vec<u8> {
    let mut out = vec![KEYS];
    put_varint(&mut out, keys.len() as u64);
    let mut previous = "";
    for (tenant, key) in keys {
        // An empty name stands for the one before.
        let tenant = tenant.as_str();
        put_text(&mut out, if tenant == previous { "" } else { tenant });
        out.extend_from_slice(&key.to_le_bytes());
        previous = tenant;
    }
    out
}

pub(crate) fn encode_upload(parts: &UploadParts<'_>) -> Vec<u8> {
    let UploadParts { tenant, service, key, base, series, dictionary, profiles, rows } = parts;
    let Dictionary { symbols, stacks } = dictionary;
    let mut out = Vec::with_capacity(rows.len() + 64 * profiles.len() + 256);
    out.push(UPLOAD);
    put_text(&mut out, tenant.as_str());
    put_text(&mut out, service);
    out.push(u8::from(key.is_some()));
    key.iter().for_each(|key| out.extend_from_slice(&key.to_le_bytes()));
    let TableLengths { series: s, strings, functions, mappings, locations, nodes } = *base;
    for len in [s, strings, functions, mappings, locations, nodes] {
        put_varint(&mut out, len.into());
    }

    let new_series = &series[s as usize..];
    put_varint(&mut out, new_series.len() as u64);
    for labels in new_series {
        put_varint(&mut out, labels.len() as u64);
        for (name, value) in labels.iter() {
            put_text(&mut out, name);
            put_text(&mut out, value);
        }
    }
    put_varint(&mut out, (symbols.strings.len() - strings as usize) as u64);
    for i in strings as usize..symbols.strings.len() {
        put_text(&mut out, symbols.strings.get(StringId::from_index(i)));
    }
    let new_functions = &symbols.functions[functions as usize..];
    put_varint(&mut out, new_functions.len() as u64);
    for function in new_functions {
        let Function { name, system_name, filename, start_line } = *function;
        for number in [name.0, system_name.0, filename.0, start_line] {
            put_varint(&mut out, number.into());
        }
    }
    let new_mappings = &symbols.mappings[mappings as usize..];
    put_varint(&mut out, new_mappings.len() as u64);
    for mapping in new_mappings {
        put_mapping(&mut out, mapping);
    }
    put_varint(&mut out, (symbols.locations.len() - locations as usize) as u64);
    for i in locations as usize..symbols.locations.len() {
        let location = symbols.locations[i];
        let lines = symbols.lines_of(LocationId::from_index(i));
        put_varint(&mut out, location.mapping.0.into());
        put_varint(&mut out, location.address);
        put_varint(&mut out, (lines.len() as u64) << 1 | u64::from(location.is_folded));
        for line in lines {
            put_varint(&mut out, line.function.0.into());
            put_varint(&mut out, line.line.into());
        }
    }
    put_varint(&mut out, (stacks.len() - nodes as usize) as u64);
    for i in nodes as usize..stacks.len() {
        // A new stack is a chain: the parent is mostly the node before.
        put_varint(&mut out, (i - 1 - stacks.parent[i].index()) as u64);
        put_varint(&mut out, stacks.location[i].0.into());
    }

    put_varint(&mut out, profiles.len() as u64);
    for profile in *profiles {
        let ProfileHeader { series, id, time_ns, duration_ns, total, row_count, rows_len } = *profile;
        put_varint(&mut out, series.into());
        out.extend_from_slice(&id.to_le_bytes());
        for number in [time_ns, duration_ns, total] {
            put_signed(&mut out, number);
        }
        put_varint(&mut out, row_count.into());
        put_varint(&mut out, rows_len.into());
    }
    out.extend_from_slice(rows);
    out
}

fn put_mapping(out: &mut Vec<u8>, mapping: &Mapping) {
    let Mapping { memory_start, memory_limit, file_offset, filename, build_id, .. } = *mapping;
    for number in [memory_start, memory_limit, file_offset, filename.0.into(), build_id.0.into()] {
        put_varint(out, number);
    }
    let Mapping { has_functions, has_filenames, has_line_numbers, has_inline_frames, .. } = *mapping;
    let flags = [has_functions, has_filenames, has_line_numbers, has_inline_frames];
    out.push(flags.iter().rev().fold(0, |byte, &flag| byte << 1 | u8::from(flag)));
}

impl<'a> Record<'a> {
    /// Reads a payload. Any bytes are fine: memory stays in proportion to their number.
    ///
    /// Errors: [`DecodeError`] where a count, an id or a text is wrong, or bytes are missing or left over.
    pub fn decode(payload: &'a [u8]) -> Result<Self, DecodeError> {
        let mut decoder = Decoder::new(payload);
        let record = match decoder.byte()? {
            PROBE => Record::Probe,
            UPLOAD => Record::Upload(Box::new(decode_upload(&mut decoder)?)),
            KEYS => Record::Keys(decode_keys(&mut decoder)?),
            _ => return Err(decoder.error("unknown kind of record")),
        };
        decoder.end()?;
        Ok(record)
    }
}

fn decode_keys(decoder: &mut Decoder<'_>) -> Result<Vec<(TenantId, u128)>, DecodeError> {
    let count = decoder.count(17)?;
    let mut keys: Vec<(TenantId, u128)> = Vec::with_capacity(count);
    for _ in 0..count {
        let tenant = match decoder.text()? {
            "" => keys.last().map(|(tenant, _)| tenant.clone()),
            text => text.parse().ok(),
        };
        let tenant = tenant.ok_or_else(|| decoder.error("invalid tenant"))?;
        keys.push((tenant, u128::from_le_bytes(decoder.array()?)));
    }
    Ok(keys)
}

fn decode_upload<'a>(decoder: &mut Decoder<'a>) -> Result<UploadRecord<'a>, DecodeError> {
    let mut record = UploadRecord::default();
    let tenant: TenantId = decoder.text()?.parse().map_err(|_| decoder.error("invalid tenant"))?;
    record.tenant = Some(tenant);
    record.service = decoder.text()?;
    record.key = match decoder.byte()? {
        0 => None,
        1 => Some(u128::from_le_bytes(decoder.array()?)),
        _ => return Err(decoder.error("unknown kind of key")),
    };
    let base = &mut record.base;
    let TableLengths { series, strings, functions, mappings, locations, nodes } = base;
    for len in [series, strings, functions, mappings, locations, nodes] {
        *len = decoder.varint_u32()?;
    }
    if [base.strings, base.functions, base.mappings, base.nodes].contains(&0) {
        return Err(decoder.error("null entry is missing"));
    }
    decode_series(decoder, &mut record)?;
    decode_symbols(decoder, &mut record)?;
    decode_nodes(decoder, &mut record)?;
    decode_profiles(decoder, &mut record)?;
    Ok(record)
}

fn decode_series(decoder: &mut Decoder<'_>, record: &mut UploadRecord<'_>) -> Result<(), DecodeError> {
    for _ in 0..decoder.count(1)? {
        let pair_count = decoder.count(2)?;
        let mut pairs = Vec::with_capacity(pair_count);
        for _ in 0..pair_count {
            pairs.push((decoder.text()?, decoder.text()?));
        }
        record.series.push(Labels::new(pairs));
    }
    Ok(())
}

/// An id below `base + new`.
fn id(decoder: &mut Decoder<'_>, base: u32, new: usize) -> Result<u32, DecodeError> {
    let id = decoder.varint_u32()?;
    if u64::from(id) >= u64::from(base) + new as u64 {
        return Err(decoder.error("id is not in its table"));
    }
    Ok(id)
}

fn decode_symbols<'a>(decoder: &mut Decoder<'a>, record: &mut UploadRecord<'a>) -> Result<(), DecodeError> {
    let UploadRecord { base, strings, functions, mappings, locations, lines, .. } = record;
    let count = decoder.count(1)?;
    strings.reserve_exact(count);
    for _ in 0..count {
        strings.push(decoder.text()?);
    }
    let string = |decoder: &mut Decoder<'a>| id(decoder, base.strings, strings.len()).map(StringId);
    let count = decoder.count(4)?;
    functions.reserve_exact(count);
    for _ in 0..count {
        functions.push(Function {
            name: string(decoder)?,
            system_name: string(decoder)?,
            filename: string(decoder)?,
            start_line: decoder.varint_u32()?,
        });
    }
    let count = decoder.count(6)?;
    mappings.reserve_exact(count);
    for _ in 0..count {
        let (memory_start, memory_limit, file_offset) = (decoder.varint()?, decoder.varint()?, decoder.varint()?);
        let (filename, build_id, flags) = (string(decoder)?, string(decoder)?, decoder.byte()?);
        mappings.push(Mapping {
            memory_start,
            memory_limit,
            file_offset,
            filename,
            build_id,
            has_functions: flags & 1 != 0,
            has_filenames: flags & 2 != 0,
            has_line_numbers: flags & 4 != 0,
            has_inline_frames: flags & 8 != 0,
        });
    }
    let count = decoder.count(3)?;
    locations.reserve_exact(count);
    for _ in 0..count {
        let mapping = MappingId(id(decoder, base.mappings, mappings.len())?);
        let address = decoder.varint()?;
        let word = decoder.varint()?;
        if word >> 1 > decoder.remaining() as u64 / 2 {
            return Err(decoder.error("more lines than bytes"));
        }
        for _ in 0..word >> 1 {
            let function = FunctionId(id(decoder, base.functions, functions.len())?);
            lines.push(Line { function, line: decoder.varint_u32()? });
        }
        locations.push((mapping, address, word & 1 != 0, lines.len()));
    }
    Ok(())
}

fn decode_nodes(decoder: &mut Decoder<'_>, record: &mut UploadRecord<'_>) -> Result<(), DecodeError> {
    let UploadRecord { base, locations, nodes, .. } = record;
    let count = decoder.count(2)?;
    if u64::from(base.nodes) + count as u64 > u64::from(u32::MAX) {
        return Err(decoder.error("too many stack nodes"));
    }
    nodes.reserve_exact(count);
    for node in base.nodes..base.nodes + count as u32 {
        let parent = (node - 1).checked_sub(decoder.varint_u32()?);
        let parent = parent.ok_or_else(|| decoder.error("parent is before the root"))?;
        nodes.push((StackId(parent), LocationId(id(decoder, base.locations, locations.len())?)));
    }
    Ok(())
}

fn decode_profiles<'a>(decoder: &mut Decoder<'a>, record: &mut UploadRecord<'a>) -> Result<(), DecodeError> {
    let UploadRecord { base, series, nodes, profiles, .. } = record;
    let count = decoder.count(22)?;
    profiles.reserve_exact(count);
    for _ in 0..count {
        profiles.push(ProfileHeader {
            series: id(decoder, base.series, series.len())?,
            id: u128::from_le_bytes(decoder.array()?),
            time_ns: decoder.signed()?,
            duration_ns: decoder.signed()?,
            total: decoder.signed()?,
            row_count: decoder.varint_u32()?,
            rows_len: decoder.varint_u32()?,
        });
    }
    record.rows = decoder.bytes(decoder.remaining())?;
    let node_count = base.nodes as usize + nodes.len();
    let (mut rest, mut buffer) = (Decoder::new(record.rows), Rows::default());
    for profile in profiles {
        let bytes = rest.bytes(profile.rows_len as usize)?;
        buffer.clear();
        rows::unpack(bytes, profile.row_count as usize, node_count, &mut buffer)?;
    }
    rest.end()
}

#[cfg(test)]
mod tests;
