//! The symbol tables in one section: strings, functions, mappings, lines, locations.

use argand_model::{Function, FunctionId, Line, Location, Mapping, MappingId, StringId, StringTable, Symbols};

use super::limit;
use crate::codec::{Decoded, Decoder, Encoder, Fresh, Scratch, as_u32, put_varint, unzigzag, zigzag};

/// Bits of a mapping's flags column.
const HAS_FUNCTIONS: u64 = 1;
const HAS_FILENAMES: u64 = 2;
const HAS_LINE_NUMBERS: u64 = 4;
const HAS_INLINE_FRAMES: u64 = 8;

pub(crate) fn encode(symbols: &Symbols, encoder: &mut Encoder) -> Vec<u8> {
    let Symbols { strings, functions, mappings, locations, lines } = symbols;
    let mut out = Vec::new();
    // Null entries are implied.
    let counts = [strings.len() - 1, functions.len() - 1, mappings.len() - 1, locations.len()];
    counts.iter().for_each(|&count| put_varint(&mut out, count as u64));
    let line_count = locations.iter().map(|location| u64::from(location.lines_len)).sum();
    put_varint(&mut out, line_count);

    encoder.integers(&mut out, strings.iter().skip(1).map(|text| text.len() as u64));
    encoder.bytes(&mut out, &strings.iter().flat_map(str::bytes).collect::<Vec<u8>>());

    let functions_but_null = || functions.iter().skip(1);
    let mut fresh = Fresh::new(1);
    encoder.integers(&mut out, functions_but_null().map(|function| fresh.encode(function.name.0)));
    encoder.integers(&mut out, functions_but_null().map(|function| fresh.encode(function.system_name.0)));
    encoder.integers(&mut out, functions_but_null().map(|function| fresh.encode(function.filename.0)));
    encoder.integers(&mut out, functions_but_null().map(|function| u64::from(function.start_line)));

    encoder.integers(
        &mut out,
        mappings.iter().skip(1).flat_map(|mapping| {
            [
                mapping.memory_start,
                mapping.memory_limit.wrapping_sub(mapping.memory_start),
                mapping.file_offset,
                fresh.encode(mapping.filename.0),
                fresh.encode(mapping.build_id.0),
                flags(mapping),
            ]
        }),
    );

    let mut fresh = Fresh::new(1);
    encoder.integers(&mut out, locations.iter().map(|location| fresh.encode(location.mapping.0)));
    let mut before = 0u64;
    encoder.integers(
        &mut out,
        locations.iter().map(|location| {
            zigzag(location.address.wrapping_sub(std::mem::replace(&mut before, location.address)) as i64)
        }),
    );
    encoder.integers(
        &mut out,
        locations.iter().map(|location| u64::from(location.lines_len) << 1 | u64::from(location.is_folded)),
    );

    let lines_of = |location: &Location| &lines[location.lines_start as usize..][..location.lines_len as usize];
    let mut fresh = Fresh::new(1);
    encoder.integers(&mut out, locations.iter().flat_map(lines_of).map(|line| fresh.encode(line.function.0)));
    encoder.integers(
        &mut out,
        locations
            .iter()
            .flat_map(lines_of)
            .map(|line| zigzag(i64::from(line.line) - i64::from(functions[line.function.index()].start_line))),
    );
    out
}

pub(crate) fn decode(bytes: &[u8]) -> Decoded<Symbols> {
    let scratch = &mut Scratch::new();
    let mut section = Decoder::new(bytes);
    let string_count = section.count(limit::SYMBOLS)?;
    let function_count = section.count(limit::SYMBOLS)?;
    let mapping_count = section.count(limit::SYMBOLS)?;
    let location_count = section.count(limit::SYMBOLS)?;
    let line_count = section.count(limit::SYMBOLS)?;

    let strings = decode_strings(&mut section, scratch, string_count)?;

    let mut fresh = Fresh::new(1);
    let mut string = |code| fresh.decode(code, string_count + 1).map(StringId);
    let names = section.integers(scratch, function_count, &mut string)?;
    let system_names = section.integers(scratch, function_count, &mut string)?;
    let filenames = section.integers(scratch, function_count, &mut string)?;
    let start_lines = section.integers(scratch, function_count, as_u32)?;
    let mut functions = Vec::with_capacity(function_count + 1);
    functions.push(Function::default());
    functions.extend((0..function_count).map(|i| Function {
        name: names[i],
        system_name: system_names[i],
        filename: filenames[i],
        start_line: start_lines[i],
    }));

    let fields = section.integers(scratch, mapping_count * MAPPING_FIELDS, Ok)?;
    let mut mappings = vec![Mapping::default()];
    for fields in fields.chunks_exact(MAPPING_FIELDS) {
        let &[memory_start, len, file_offset, filename, build_id, flags] = fields else { unreachable!("chunks") };
        if flags >= 2 * HAS_INLINE_FRAMES {
            return Err("unknown flags of a mapping");
        }
        mappings.push(Mapping {
            memory_start,
            memory_limit: memory_start.wrapping_add(len),
            file_offset,
            filename: string(filename)?,
            build_id: string(build_id)?,
            has_functions: flags & HAS_FUNCTIONS != 0,
            has_filenames: flags & HAS_FILENAMES != 0,
            has_line_numbers: flags & HAS_LINE_NUMBERS != 0,
            has_inline_frames: flags & HAS_INLINE_FRAMES != 0,
        });
    }

    let mut fresh = Fresh::new(1);
    let mapping_ids =
        section.integers(scratch, location_count, |code| fresh.decode(code, mapping_count + 1).map(MappingId))?;
    let mut address = 0u64;
    let addresses = section.integers(scratch, location_count, |delta| {
        address = address.wrapping_add(unzigzag(delta) as u64);
        Ok(address)
    })?;
    let mut lines_end = 0u32;
    let mut at = 0;
    let locations = section.integers(scratch, location_count, |value| {
        let lines_start = lines_end;
        let lines_len = as_u32(value >> 1)?;
        lines_end = lines_start.checked_add(lines_len).ok_or("too many lines")?;
        let (mapping, address) = (mapping_ids[at], addresses[at]);
        at += 1;
        Ok(Location { mapping, address, is_folded: value & 1 == 1, lines_start, lines_len })
    })?;
    if lines_end as usize != line_count {
        return Err("locations do not add up to the lines");
    }

    let mut fresh = Fresh::new(1);
    let line_functions =
        section.integers(scratch, line_count, |code| fresh.decode(code, function_count + 1).map(FunctionId))?;
    let mut of_line = line_functions.into_iter();
    let lines = section.integers(scratch, line_count, |value| {
        let function = of_line.next().expect("as many as lines");
        let start_line = i64::from(functions[function.index()].start_line);
        let line = start_line.checked_add(unzigzag(value)).and_then(|line| u32::try_from(line).ok());
        Ok(Line { function, line: line.ok_or("line number out of range")? })
    })?;
    section.end()?;
    Ok(Symbols { strings, functions, mappings, locations, lines })
}

const MAPPING_FIELDS: usize = 6;

fn flags(mapping: &Mapping) -> u64 {
    let flag = |is_set: bool, bit: u64| if is_set { bit } else { 0 };
    flag(mapping.has_functions, HAS_FUNCTIONS)
        | flag(mapping.has_filenames, HAS_FILENAMES)
        | flag(mapping.has_line_numbers, HAS_LINE_NUMBERS)
        | flag(mapping.has_inline_frames, HAS_INLINE_FRAMES)
}

fn decode_strings(section: &mut Decoder<'_>, scratch: &mut Scratch, count: usize) -> Decoded<StringTable> {
    let lens = section.integers(scratch, count, as_u32)?;
    let text_len: u64 = lens.iter().map(|&len| u64::from(len)).sum();
    if text_len > limit::TEXT_BYTES {
        return Err("too much text");
    }
    let text = section.column(scratch, text_len..=text_len)?;
    let mut rest = std::str::from_utf8(text).map_err(|_| "text is not UTF-8")?;
    let mut strings = StringTable::default();
    for len in lens {
        let (text, left) = rest.split_at_checked(len as usize).ok_or("text ends inside a character")?;
        strings.push(text);
        rest = left;
    }
    Ok(strings)
}

#[cfg(test)]
mod tests;
