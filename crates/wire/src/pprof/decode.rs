//! Second pass: from counted bytes to columns.

use argand_model::{
    Function, FunctionId, Line, LocationId, Mapping, MappingId, Profile, SampleLabel, Samples, Stacks, StringId,
    StringTable, Symbols, ValueType,
};

use super::count::Counts;
use super::field::{function, label, line, location, mapping, profile, sample, value_type};
use super::ids::IdMap;
use super::{Entity, PprofError};
use crate::{DecodeLimits, Field, Reader};

/// How to decode.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PprofOptions {
    /// Upper bounds.
    pub limits: DecodeLimits,
    /// Gives functions with id 0 their position, from 1, as id instead of refusing them: old .NET clients left all
    /// ids out and still referred to them so.
    pub repair_zero_function_ids: bool,
}

/// Decodes an uncompressed profile.
///
/// Accepts packed and unpacked numbers, unknown fields and any order of fields; of a scalar sent twice the last value
/// counts, of equal ids the last entry. A mapping id of 0 means no mapping. Line numbers that do not fit a `u32` count
/// as unknown. Neither stacks nor strings are shortened.
///
/// Errors: everything that is damaged, inconsistent or beyond the limits; the profile as a whole is refused.
pub fn decode(bytes: &[u8], options: &PprofOptions) -> Result<Profile, PprofError> {
    let counts = Counts::of(bytes, &options.limits)?;
    if counts.strings == 0 {
        return Err(PprofError::NoStringTable);
    }
    if counts.sample_types == 0 {
        return Err(PprofError::NoSampleTypes);
    }
    let strings = Strings { count: counts.strings };
    let mut profile = Profile::default();
    let (function_ids, mapping_ids) = read_tables(bytes, &counts, options, &mut profile)?;
    let location_ids =
        read_locations(&bytes[counts.location_range.clone()], &counts, &function_ids, &mapping_ids, &mut profile)?;
    profile.samples =
        read_samples(&bytes[counts.sample_range.clone()], &counts, profile.sample_types.len(), &location_ids, strings)?;
    Ok(profile)
}

/// Checks indexes into the string table.
#[derive(Clone, Copy)]
struct Strings {
    count: usize,
}

impl Strings {
    fn id(self, of: &'static str, field: Field<'_>) -> Result<StringId, PprofError> {
        self.check(of, field.uint()?)
    }

    fn check(self, of: &'static str, index: u64) -> Result<StringId, PprofError> {
        if index < self.count as u64 {
            Ok(StringId(index as u32))
        } else {
            Err(PprofError::StringIndex { of, index, count: self.count })
        }
    }
}

/// Reads everything but locations and samples, and returns the ids of functions and mappings.
fn read_tables(
    bytes: &[u8],
    counts: &Counts,
    options: &PprofOptions,
    profile: &mut Profile,
) -> Result<(IdMap, IdMap), PprofError> {
    let strings = Strings { count: counts.strings };
    let mut text = StringColumns::with_capacity(counts);
    profile.symbols = empty_symbols(counts);
    profile.sample_types.reserve_exact(counts.sample_types);
    let mut function_ids = Vec::with_capacity(counts.functions);
    let mut mapping_ids = Vec::with_capacity(counts.mappings);
    let mut reader = Reader::new(bytes);
    while let Some(field) = reader.field()? {
        match field.number {
            profile::STRING_TABLE => text.push(field.bytes()?),
            profile::FUNCTION => {
                let (id, function) = read_function(field.bytes()?, strings)?;
                let index = function_ids.len();
                function_ids.push(match id {
                    0 if options.repair_zero_function_ids => index as u64 + 1,
                    0 => return Err(PprofError::ZeroId { entity: Entity::Function, index }),
                    id => id,
                });
                profile.symbols.push_function(function);
            }
            profile::MAPPING => {
                let (id, mapping) = read_mapping(field.bytes()?, strings)?;
                mapping_ids.push(id);
                profile.symbols.push_mapping(mapping);
            }
            profile::SAMPLE_TYPE => {
                let mut sample_type = ValueType::default();
                read_value_type(field.bytes()?, strings, "sample type", &mut sample_type)?;
                profile.sample_types.push(sample_type);
            }
            profile::PERIOD_TYPE => {
                read_value_type(field.bytes()?, strings, "period type", &mut profile.period_type)?;
            }
            profile::PERIOD => profile.period = field.int()?,
            profile::TIME_NANOS => profile.time_ns = field.int()?,
            profile::DURATION_NANOS => profile.duration_ns = field.int()?,
            profile::DEFAULT_SAMPLE_TYPE => profile.default_sample_type = strings.id("default sample type", field)?,
            profile::DROP_FRAMES | profile::KEEP_FRAMES => {
                strings.id("frame pattern", field)?;
            }
            profile::COMMENT => {
                field.each_uint(|index| strings.check("comment", index).map(drop))?;
            }
            _ => {}
        }
    }
    profile.symbols.strings = text.finish()?;
    Ok((IdMap::new(&function_ids), IdMap::new(&mapping_ids)))
}

fn empty_symbols(counts: &Counts) -> Symbols {
    let mut symbols = Symbols {
        functions: Vec::with_capacity(counts.functions + 1),
        mappings: Vec::with_capacity(counts.mappings + 1),
        locations: Vec::with_capacity(counts.locations),
        lines: Vec::with_capacity(counts.lines),
        ..Symbols::default()
    };
    symbols.functions.push(Function::default());
    symbols.mappings.push(Mapping::default());
    symbols
}

/// Strings back to back, checked to be UTF-8 all at once: that is several times faster than one by one.
struct StringColumns {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl StringColumns {
    fn with_capacity(counts: &Counts) -> Self {
        Self { bytes: Vec::with_capacity(counts.string_bytes), ends: Vec::with_capacity(counts.strings) }
    }

    fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(u32::try_from(self.bytes.len()).expect("text was counted and is less than 4 GiB"));
    }

    fn finish(self) -> Result<StringTable, PprofError> {
        if self.ends.first() != Some(&0) {
            return Err(PprofError::FirstString);
        }
        let text = String::from_utf8(self.bytes).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            PprofError::Utf8 { index: self.ends.partition_point(|&end| end as usize <= at) }
        })?;
        // Two invalid strings in a row may be valid together, so the ends count as well.
        if let Some(index) = self.ends.iter().position(|&end| !text.is_char_boundary(end as usize)) {
            return Err(PprofError::Utf8 { index });
        }
        Ok(StringTable::from_columns(text, self.ends).expect("ends ascend from 0 and were just checked"))
    }
}

fn read_value_type(message: &[u8], strings: Strings, of: &'static str, into: &mut ValueType) -> Result<(), PprofError> {
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            value_type::TYPE => into.kind = strings.id(of, field)?,
            value_type::UNIT => into.unit = strings.id(of, field)?,
            _ => {}
        }
    }
    Ok(())
}

fn read_function(message: &[u8], strings: Strings) -> Result<(u64, Function), PprofError> {
    let (mut id, mut into) = (0, Function::default());
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            function::ID => id = field.uint()?,
            function::NAME => into.name = strings.id("function name", field)?,
            function::SYSTEM_NAME => into.system_name = strings.id("function system name", field)?,
            function::FILENAME => into.filename = strings.id("function file name", field)?,
            function::START_LINE => into.start_line = line_number(field)?,
            _ => {}
        }
    }
    Ok((id, into))
}

fn read_mapping(message: &[u8], strings: Strings) -> Result<(u64, Mapping), PprofError> {
    let (mut id, mut into) = (0, Mapping::default());
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            mapping::ID => id = field.uint()?,
            mapping::MEMORY_START => into.memory_start = field.uint()?,
            mapping::MEMORY_LIMIT => into.memory_limit = field.uint()?,
            mapping::FILE_OFFSET => into.file_offset = field.uint()?,
            mapping::FILENAME => into.filename = strings.id("mapping file name", field)?,
            mapping::BUILD_ID => into.build_id = strings.id("mapping build id", field)?,
            mapping::HAS_FUNCTIONS => into.has_functions = field.uint()? != 0,
            mapping::HAS_FILENAMES => into.has_filenames = field.uint()? != 0,
            mapping::HAS_LINE_NUMBERS => into.has_line_numbers = field.uint()? != 0,
            mapping::HAS_INLINE_FRAMES => into.has_inline_frames = field.uint()? != 0,
            _ => {}
        }
    }
    Ok((id, into))
}

/// Reads the locations among the fields of `bytes` and returns their ids.
fn read_locations(
    bytes: &[u8],
    counts: &Counts,
    function_ids: &IdMap,
    mapping_ids: &IdMap,
    profile: &mut Profile,
) -> Result<IdMap, PprofError> {
    let mut ids = Vec::with_capacity(counts.locations);
    let symbols = &mut profile.symbols;
    let mut reader = Reader::new(bytes);
    while let Some(field) = reader.field()? {
        if field.number == profile::LOCATION {
            let id = read_location(field.bytes()?, function_ids, mapping_ids, symbols)?;
            if id == 0 {
                return Err(PprofError::ZeroId { entity: Entity::Location, index: ids.len() });
            }
            ids.push(id);
        }
    }
    Ok(IdMap::new(&ids))
}

fn read_location(
    message: &[u8],
    function_ids: &IdMap,
    mapping_ids: &IdMap,
    symbols: &mut Symbols,
) -> Result<u64, PprofError> {
    let (mut id, mut into) = (0, argand_model::Location::default());
    into.lines_start = symbols.lines.len() as u32;
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            location::ID => id = field.uint()?,
            location::MAPPING_ID => into.mapping = mapping_of(field.uint()?, mapping_ids)?,
            location::ADDRESS => into.address = field.uint()?,
            location::LINE => symbols.lines.push(read_line(field.bytes()?, function_ids)?),
            location::IS_FOLDED => into.is_folded = field.uint()? != 0,
            _ => {}
        }
    }
    into.lines_len = symbols.lines.len() as u32 - into.lines_start;
    symbols.locations.push(into);
    Ok(id)
}

fn mapping_of(id: u64, mapping_ids: &IdMap) -> Result<MappingId, PprofError> {
    if id == 0 {
        return Ok(MappingId(0));
    }
    let position = mapping_ids.get(id).ok_or_else(|| missing(Entity::Mapping, id))?;
    Ok(MappingId(position + 1))
}

fn read_line(message: &[u8], function_ids: &IdMap) -> Result<Line, PprofError> {
    let (mut id, mut number) = (0, 0);
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            line::FUNCTION_ID => id = field.uint()?,
            line::LINE => number = line_number(field)?,
            _ => {}
        }
    }
    let position = function_ids.get(id).ok_or_else(|| missing(Entity::Function, id))?;
    Ok(Line { function: FunctionId(position + 1), line: number })
}

fn line_number(field: Field<'_>) -> Result<u32, PprofError> {
    Ok(u32::try_from(field.int()?).unwrap_or(0))
}

/// Reads the samples among the fields of `bytes`.
fn read_samples(
    bytes: &[u8],
    counts: &Counts,
    value_count: usize,
    location_ids: &IdMap,
    strings: Strings,
) -> Result<Samples, PprofError> {
    let mut frames = Vec::with_capacity(counts.frames);
    let mut frame_ends = Vec::with_capacity(counts.samples);
    let mut values = Vec::with_capacity(counts.values);
    let mut labels = Vec::with_capacity(counts.labels);
    let mut label_ends = Vec::with_capacity(counts.samples);
    let mut reader = Reader::new(bytes);
    while let Some(field) = reader.field()? {
        if field.number != profile::SAMPLE {
            continue;
        }
        let mut reader = Reader::new(field.bytes()?);
        while let Some(field) = reader.field()? {
            match field.number {
                sample::LOCATION_ID => read_frames(field, location_ids, &mut frames)?,
                sample::VALUE => field.each_uint(|value| {
                    values.push(value.cast_signed());
                    Ok::<_, PprofError>(())
                })?,
                sample::LABEL => labels.push(read_label(field.bytes()?, strings)?),
                _ => {}
            }
        }
        let sample = frame_ends.len();
        let count = values.len() - sample * value_count;
        if count != value_count {
            return Err(PprofError::ValueCount { sample, count, expected: value_count });
        }
        frame_ends.push(frames.len() as u32);
        label_ends.push(labels.len() as u32);
    }
    let stacks = Stacks::from_columns(frames, frame_ends).expect("every stack ended where the next one starts");
    Ok(Samples { stacks, values, labels, label_ends })
}

/// One loop per kind of id map: most of a profile's numbers are read here.
fn read_frames(field: Field<'_>, location_ids: &IdMap, frames: &mut Vec<LocationId>) -> Result<(), PprofError> {
    match location_ids {
        IdMap::Counted(count) => field.each_uint(|id| {
            let position = id.wrapping_sub(1);
            if position >= *count {
                return Err(missing(Entity::Location, id));
            }
            frames.push(LocationId(position as u32));
            Ok(())
        }),
        _ => field.each_uint(|id| {
            let position = location_ids.get(id).ok_or_else(|| missing(Entity::Location, id))?;
            frames.push(LocationId(position));
            Ok(())
        }),
    }
}

fn read_label(message: &[u8], strings: Strings) -> Result<SampleLabel, PprofError> {
    let (key, text, number_unit) = (StringId(0), StringId(0), StringId(0));
    let mut into = SampleLabel { key, text, number: 0, number_unit };
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            label::KEY => into.key = strings.id("label name", field)?,
            label::STR => into.text = strings.id("label value", field)?,
            label::NUM => into.number = field.int()?,
            label::NUM_UNIT => into.number_unit = strings.id("label unit", field)?,
            _ => {}
        }
    }
    Ok(into)
}

#[cold]
fn missing(entity: Entity, id: u64) -> PprofError {
    PprofError::MissingReference { entity, id }
}
