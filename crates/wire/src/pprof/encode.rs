//! From columns to bytes.

use std::io::Write;

use argand_model::{
    Function, FunctionId, Line, Location, LocationId, Mapping, MappingId, Profile, StringId, ValueType,
};
use flate2::Compression;
use flate2::write::GzEncoder;
use hashbrown::HashMap;

use super::field::{function, label, line, location, mapping, profile, sample, value_type};
use crate::proto::{put_bytes, put_uint, put_varint};

/// Encodes a profile in canonical form.
///
/// Shape: fields ascend; numbers are packed; equal strings are one; ids count from 1 in the order of the profile's
/// tables; what no sample reaches is left out, and so are lines of the unknown function. Equal profiles give equal
/// bytes.
pub fn encode(profile: &Profile) -> Vec<u8> {
    let used = Used::of(profile);
    let mut encoder =
        Encoder { profile, strings: Interner::new(profile), out: Vec::new(), message: Vec::new(), nested: Vec::new() };
    for &sample_type in &profile.sample_types {
        encoder.put_value_type(profile::SAMPLE_TYPE, sample_type);
    }
    for index in 0..profile.samples.len() {
        encoder.put_sample(index, &used);
    }
    for (&mapping, id) in profile.symbols.mappings.iter().zip(&used.mappings).filter(|(_, id)| **id != 0) {
        encoder.put_mapping(*id, mapping);
    }
    for (&location, id) in profile.symbols.locations.iter().zip(&used.locations).filter(|(_, id)| **id != 0) {
        encoder.put_location(*id, location, &used);
    }
    for (&function, id) in profile.symbols.functions.iter().zip(&used.functions).filter(|(_, id)| **id != 0) {
        encoder.put_function(*id, function);
    }
    encoder.finish()
}

/// As [`encode`], in gzip: what `.pb.gz` files hold.
pub fn encode_gzip(profile: &Profile) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(&encode(profile)).expect("memory takes all bytes");
    encoder.finish().expect("memory takes all bytes")
}

/// Ids to write, by position in the profile's tables; 0 where the entry is left out.
struct Used {
    locations: Vec<u32>,
    functions: Vec<u32>,
    mappings: Vec<u32>,
}

impl Used {
    fn of(profile: &Profile) -> Self {
        let symbols = &profile.symbols;
        let mut locations = vec![0; symbols.locations.len()];
        let mut functions = vec![0; symbols.functions.len()];
        let mut mappings = vec![0; symbols.mappings.len()];
        for location in profile.samples.stacks.iter().flatten() {
            locations[location.index()] = 1;
        }
        for (position, location) in symbols.locations.iter().enumerate().filter(|(i, _)| locations[*i] != 0) {
            mappings[location.mapping.index()] = 1;
            for line in symbols.lines_of(LocationId::from_index(position)) {
                functions[line.function.index()] = 1;
            }
        }
        functions[FunctionId(0).index()] = 0;
        mappings[MappingId(0).index()] = 0;
        for marks in [&mut locations, &mut functions, &mut mappings] {
            number(marks);
        }
        Self { locations, functions, mappings }
    }
}

/// Replaces marks of 1 by 1, 2, 3, …
fn number(marks: &mut [u32]) {
    let mut next = 0;
    for mark in marks.iter_mut().filter(|mark| **mark != 0) {
        next += 1;
        *mark = next;
    }
}

/// Gives every text an index in the order of first use, from 1; 0 is the empty string.
struct Interner<'a> {
    profile: &'a Profile,
    texts: Vec<&'a str>,
    by_text: HashMap<&'a str, u64>,
    by_id: Vec<Option<u64>>,
}

impl<'a> Interner<'a> {
    fn new(profile: &'a Profile) -> Self {
        let by_id = vec![None; profile.symbols.strings.len()];
        Self { profile, texts: vec![""], by_text: HashMap::from_iter([("", 0)]), by_id }
    }

    fn index(&mut self, id: StringId) -> u64 {
        if let Some(index) = self.by_id[id.index()] {
            return index;
        }
        let text = self.profile.text(id);
        let index = *self.by_text.entry(text).or_insert_with(|| {
            self.texts.push(text);
            self.texts.len() as u64 - 1
        });
        self.by_id[id.index()] = Some(index);
        index
    }
}

/// The output, and buffers for messages whose length comes before them.
struct Encoder<'a> {
    profile: &'a Profile,
    strings: Interner<'a>,
    out: Vec<u8>,
    message: Vec<u8>,
    nested: Vec<u8>,
}

impl Encoder<'_> {
    fn put_value_type(&mut self, field: u32, value: ValueType) {
        self.message.clear();
        put_uint(&mut self.message, value_type::TYPE, self.strings.index(value.kind));
        put_uint(&mut self.message, value_type::UNIT, self.strings.index(value.unit));
        put_bytes(&mut self.out, field, &self.message);
    }

    fn put_sample(&mut self, index: usize, used: &Used) {
        self.message.clear();
        let stack = self.profile.samples.stacks.get(index as u32);
        self.put_packed(sample::LOCATION_ID, stack.iter().map(|location| u64::from(used.locations[location.index()])));
        self.put_packed(sample::VALUE, self.profile.values_of(index).iter().map(|value| value.cast_unsigned()));
        for label in self.profile.samples.labels_of(index) {
            self.nested.clear();
            put_uint(&mut self.nested, label::KEY, self.strings.index(label.key));
            put_uint(&mut self.nested, label::STR, self.strings.index(label.text));
            put_uint(&mut self.nested, label::NUM, label.number.cast_unsigned());
            put_uint(&mut self.nested, label::NUM_UNIT, self.strings.index(label.number_unit));
            put_bytes(&mut self.message, sample::LABEL, &self.nested);
        }
        put_bytes(&mut self.out, profile::SAMPLE, &self.message);
    }

    fn put_packed(&mut self, field: u32, values: impl Iterator<Item = u64>) {
        self.nested.clear();
        for value in values {
            put_varint(&mut self.nested, value);
        }
        if !self.nested.is_empty() {
            put_bytes(&mut self.message, field, &self.nested);
        }
    }

    fn put_mapping(&mut self, id: u32, from: Mapping) {
        self.message.clear();
        for (field, value) in [
            (mapping::ID, u64::from(id)),
            (mapping::MEMORY_START, from.memory_start),
            (mapping::MEMORY_LIMIT, from.memory_limit),
            (mapping::FILE_OFFSET, from.file_offset),
            (mapping::FILENAME, self.strings.index(from.filename)),
            (mapping::BUILD_ID, self.strings.index(from.build_id)),
            (mapping::HAS_FUNCTIONS, u64::from(from.has_functions)),
            (mapping::HAS_FILENAMES, u64::from(from.has_filenames)),
            (mapping::HAS_LINE_NUMBERS, u64::from(from.has_line_numbers)),
            (mapping::HAS_INLINE_FRAMES, u64::from(from.has_inline_frames)),
        ] {
            put_uint(&mut self.message, field, value);
        }
        put_bytes(&mut self.out, profile::MAPPING, &self.message);
    }

    fn put_location(&mut self, id: u32, from: Location, used: &Used) {
        self.message.clear();
        put_uint(&mut self.message, location::ID, u64::from(id));
        put_uint(&mut self.message, location::MAPPING_ID, u64::from(used.mappings[from.mapping.index()]));
        put_uint(&mut self.message, location::ADDRESS, from.address);
        let lines = from.lines_start as usize..(from.lines_start + from.lines_len) as usize;
        for &Line { function, line } in &self.profile.symbols.lines[lines] {
            if function != FunctionId(0) {
                self.nested.clear();
                put_uint(&mut self.nested, line::FUNCTION_ID, u64::from(used.functions[function.index()]));
                put_uint(&mut self.nested, line::LINE, u64::from(line));
                put_bytes(&mut self.message, location::LINE, &self.nested);
            }
        }
        put_uint(&mut self.message, location::IS_FOLDED, u64::from(from.is_folded));
        put_bytes(&mut self.out, profile::LOCATION, &self.message);
    }

    fn put_function(&mut self, id: u32, from: Function) {
        self.message.clear();
        put_uint(&mut self.message, function::ID, u64::from(id));
        put_uint(&mut self.message, function::NAME, self.strings.index(from.name));
        put_uint(&mut self.message, function::SYSTEM_NAME, self.strings.index(from.system_name));
        put_uint(&mut self.message, function::FILENAME, self.strings.index(from.filename));
        put_uint(&mut self.message, function::START_LINE, u64::from(from.start_line));
        put_bytes(&mut self.out, profile::FUNCTION, &self.message);
    }

    /// Writes the string table, which comes before the last fields that use it, and those fields.
    fn finish(mut self) -> Vec<u8> {
        let Profile { time_ns, duration_ns, period_type, period, default_sample_type, .. } = *self.profile;
        let default_sample_type = self.strings.index(default_sample_type);
        let has_period_type = self.strings.index(period_type.kind) + self.strings.index(period_type.unit) > 0;
        for text in &self.strings.texts {
            put_bytes(&mut self.out, profile::STRING_TABLE, text.as_bytes());
        }
        put_uint(&mut self.out, profile::TIME_NANOS, time_ns.cast_unsigned());
        put_uint(&mut self.out, profile::DURATION_NANOS, duration_ns.cast_unsigned());
        if has_period_type {
            self.put_value_type(profile::PERIOD_TYPE, period_type);
        }
        put_uint(&mut self.out, profile::PERIOD, period.cast_unsigned());
        put_uint(&mut self.out, profile::DEFAULT_SAMPLE_TYPE, default_sample_type);
        self.out
    }
}
