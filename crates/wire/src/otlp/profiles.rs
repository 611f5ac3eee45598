//! The profiles of a request, one after the other.

use std::borrow::Cow;
use std::collections::BTreeMap;

use argand_model::{
    Function, FunctionId, Line, Location, LocationId, Mapping, MappingId, Profile, SampleLabel, StringId, ValueType,
};

use super::dictionary::{AnyValue, Dictionary, LinkRow, MappingRow, fixed64_count, index, utf8};
use super::{Budget, OtlpError, SERVICE_NAME, ServiceProfile};
use crate::limits::{Quantity, check};
use crate::{DecodeLimits, ProtoError, Reader, Value};

/// Field numbers by message.
mod field {
    pub(super) mod request {
        pub(in super::super) const RESOURCE_PROFILES: u32 = 1;
        pub(in super::super) const DICTIONARY: u32 = 2;
    }
    pub(super) mod resource_profiles {
        pub(in super::super) const RESOURCE: u32 = 1;
        pub(in super::super) const SCOPE_PROFILES: u32 = 2;
    }
    pub(super) mod resource {
        pub(in super::super) const ATTRIBUTES: u32 = 1;
    }
    pub(super) mod scope_profiles {
        pub(in super::super) const SCOPE: u32 = 1;
        pub(in super::super) const PROFILES: u32 = 2;
    }
    pub(super) mod scope {
        pub(in super::super) const ATTRIBUTES: u32 = 3;
    }
    pub(super) mod key_value {
        pub(in super::super) const KEY: u32 = 1;
        pub(in super::super) const VALUE: u32 = 2;
        pub(in super::super) const KEY_INDEX: u32 = 3;
    }
    pub(super) mod profile {
        pub(in super::super) const SAMPLE_TYPE: u32 = 1;
        pub(in super::super) const SAMPLES: u32 = 2;
        pub(in super::super) const TIME: u32 = 3;
        pub(in super::super) const DURATION: u32 = 4;
        pub(in super::super) const PERIOD_TYPE: u32 = 5;
        pub(in super::super) const PERIOD: u32 = 6;
    }
    pub(super) mod value_type {
        pub(in super::super) const TYPE: u32 = 1;
        pub(in super::super) const UNIT: u32 = 2;
    }
    pub(super) mod sample {
        pub(in super::super) const STACK: u32 = 1;
        pub(in super::super) const ATTRIBUTES: u32 = 2;
        pub(in super::super) const LINK: u32 = 3;
        pub(in super::super) const VALUES: u32 = 4;
        pub(in super::super) const TIMESTAMPS: u32 = 5;
    }
}

/// What an entry of a growing list costs at most, in sizes of an entry: while a list grows, it is there as it was and with
/// twice the room.
const GROWTH: usize = 3;

type Attributes<'a> = Vec<(Cow<'a, str>, Cow<'a, str>)>;

/// Reads a request and passes on its profiles, apart by service, in their order.
///
/// The limits are those of one profile, but for `memory_bytes`, which is for everything that the request becomes.
/// Errors: [`OtlpError`] at the first damage, with what came before already passed on; errors of `visit`.
pub fn decode<E: From<OtlpError>>(
    bytes: &[u8],
    limits: &DecodeLimits,
    mut visit: impl FnMut(ServiceProfile<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let mut budget = Budget::new(limits.memory_bytes);
    let mut parts: Vec<&[u8]> = Vec::new();
    each_message(bytes, field::request::DICTIONARY, |part| {
        budget.take(GROWTH * size_of::<&[u8]>())?;
        parts.push(part);
        Ok::<_, OtlpError>(())
    })?;
    let dictionary = Dictionary::read(&parts, limits, &mut budget)?;
    let mut importer = Importer::new(&dictionary, &mut budget)?;
    each_message(bytes, field::request::RESOURCE_PROFILES, |resource_profiles| {
        let (mut attributes, mut attribute_bytes) = (Attributes::new(), 0);
        each_message(resource_profiles, field::resource_profiles::RESOURCE, |resource| {
            each_message(resource, field::resource::ATTRIBUTES, |pair| {
                attribute_bytes += add_attribute(&dictionary, pair, &mut attributes, &mut budget)?;
                Ok::<_, OtlpError>(())
            })
        })?;
        let of_resource = attributes.len();
        each_message(resource_profiles, field::resource_profiles::SCOPE_PROFILES, |scope_profiles| {
            attributes.truncate(of_resource);
            each_message(scope_profiles, field::scope_profiles::SCOPE, |scope| {
                each_message(scope, field::scope::ATTRIBUTES, |pair| {
                    attribute_bytes += add_attribute(&dictionary, pair, &mut attributes, &mut budget)?;
                    Ok::<_, OtlpError>(())
                })
            })?;
            each_message(scope_profiles, field::scope_profiles::PROFILES, |profile| {
                let raw = RawProfile::read(profile, &dictionary, limits, &mut budget)?;
                let scratch = raw.memory_bytes();
                raw.visit_services(&mut importer, limits, &mut budget, &attributes, &mut visit)?;
                budget.give(scratch);
                Ok::<_, E>(())
            })
        })?;
        budget.give(attribute_bytes);
        Ok(())
    })
}

/// Calls `visit` with the messages in a field.
fn each_message<'a, E: From<OtlpError>>(
    message: &'a [u8],
    number: u32,
    mut visit: impl FnMut(&'a [u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field().map_err(OtlpError::from)? {
        if field.number == number {
            visit(field.bytes().map_err(OtlpError::from)?)?;
        }
    }
    Ok(())
}

/// Adds an attribute if it has a value that counts; returns what it costs.
fn add_attribute<'a>(
    dictionary: &Dictionary<'a>,
    pair: &'a [u8],
    attributes: &mut Attributes<'a>,
    budget: &mut Budget,
) -> Result<usize, OtlpError> {
    let (mut key, mut value) = ("", None);
    let mut reader = Reader::new(pair);
    while let Some(field) = reader.field()? {
        match field.number {
            field::key_value::KEY => key = utf8("attribute name", field.bytes()?)?,
            field::key_value::KEY_INDEX => {
                key = dictionary.strings[dictionary.string_index("attribute name", &field)? as usize];
            }
            field::key_value::VALUE => value = dictionary.any_value(field.bytes()?)?,
            _ => {}
        }
    }
    let (Some(value), false) = (value, key.is_empty()) else { return Ok(0) };
    /// Longer than any 64-bit integer.
    const NUMBER_BYTES: usize = 24;
    let cost = GROWTH * size_of::<(Cow<'_, str>, Cow<'_, str>)>() + NUMBER_BYTES;
    budget.take(cost)?;
    let value = match value {
        AnyValue::Text(text) => Cow::Borrowed(text),
        AnyValue::Number(number) => Cow::Owned(number.to_string()),
    };
    attributes.push((Cow::Borrowed(key), value));
    Ok(cost)
}

/// A profile whose stacks are still those of the request.
struct RawProfile {
    sample_type: (u32, u32),
    period_type: (u32, u32),
    period: i64,
    time_ns: i64,
    duration_ns: i64,
    samples: Vec<RawSample>,
    /// Attributes of all samples.
    attributes: Vec<u32>,
}

struct RawSample {
    stack: u32,
    link: u32,
    value: i64,
    /// End of its attributes.
    attributes_end: u32,
    /// The attribute that names its service, 0 for none.
    service: u32,
}

impl RawProfile {
    fn read(
        message: &[u8],
        dictionary: &Dictionary<'_>,
        limits: &DecodeLimits,
        budget: &mut Budget,
    ) -> Result<Self, OtlpError> {
        let (mut samples, mut attributes) = (0, 0);
        each_message(message, field::profile::SAMPLES, |sample| {
            samples += 1;
            check(Quantity::Samples, samples, limits.samples)?;
            let mut of_sample = 0;
            let mut reader = Reader::new(sample);
            while let Some(field) = reader.field()? {
                if field.number == field::sample::ATTRIBUTES {
                    of_sample += field.uint_count()?;
                    check(Quantity::LabelsPerSample, of_sample, limits.labels_per_sample)?;
                }
            }
            attributes += of_sample;
            Ok::<_, OtlpError>(())
        })?;
        budget.take(samples * size_of::<RawSample>() + attributes * size_of::<u32>())?;
        let mut raw = Self {
            sample_type: (0, 0),
            period_type: (0, 0),
            period: 0,
            time_ns: 0,
            duration_ns: 0,
            samples: Vec::with_capacity(samples),
            attributes: Vec::with_capacity(attributes),
        };
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            match field.number {
                field::profile::SAMPLE_TYPE => raw.sample_type = value_type(field.bytes()?, dictionary)?,
                field::profile::PERIOD_TYPE => raw.period_type = value_type(field.bytes()?, dictionary)?,
                field::profile::PERIOD => raw.period = field.int()?,
                field::profile::TIME => match field.value {
                    Value::Fixed64(time) => raw.time_ns = i64::try_from(time).unwrap_or(i64::MAX),
                    _ => return Err(ProtoError::WrongWireType { field: field.number, expected: "8 bytes" }.into()),
                },
                field::profile::DURATION => raw.duration_ns = i64::try_from(field.uint()?).unwrap_or(i64::MAX),
                field::profile::SAMPLES => raw.add_sample(field.bytes()?, dictionary)?,
                _ => {}
            }
        }
        Ok(raw)
    }

    fn memory_bytes(&self) -> usize {
        self.samples.capacity() * size_of::<RawSample>() + self.attributes.capacity() * size_of::<u32>()
    }

    fn add_sample(&mut self, message: &[u8], dictionary: &Dictionary<'_>) -> Result<(), OtlpError> {
        let mut sample = RawSample { stack: 0, link: 0, value: 0, attributes_end: 0, service: 0 };
        let (mut values, mut timestamps) = (0usize, 0usize);
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            match field.number {
                field::sample::STACK => sample.stack = dictionary.stack_index(&field)?,
                field::sample::LINK => {
                    sample.link = index("link of a sample", field.uint()?, dictionary.links.len())?;
                }
                field::sample::ATTRIBUTES => field.each_uint(|attribute| {
                    let at = index("attribute of a sample", attribute, dictionary.attributes.len())?;
                    let row = dictionary.attributes[at as usize];
                    let is_service = dictionary.strings[row.key as usize] == SERVICE_NAME;
                    match (is_service, row.text) {
                        (true, Some(name)) if !name.is_empty() => sample.service = at,
                        (false, Some(_)) => self.attributes.push(at),
                        _ => {} // numbers would make a series of every thread
                    }
                    Ok::<_, OtlpError>(())
                })?,
                field::sample::VALUES => field.each_uint(|value| {
                    values += 1;
                    sample.value = sample.value.saturating_add(value.cast_signed());
                    Ok::<_, OtlpError>(())
                })?,
                field::sample::TIMESTAMPS => timestamps += fixed64_count(&field)?,
                _ => {}
            }
        }
        if values == 0 {
            sample.value = i64::try_from(timestamps).unwrap_or(i64::MAX);
        }
        sample.attributes_end = self.attributes.len() as u32;
        self.samples.push(sample);
        Ok(())
    }

    fn attributes_of(&self, sample: usize) -> &[u32] {
        let start = if sample == 0 { 0 } else { self.samples[sample - 1].attributes_end };
        &self.attributes[start as usize..self.samples[sample].attributes_end as usize]
    }

    /// Makes a profile of the samples of every service.
    fn visit_services<E: From<OtlpError>>(
        &self,
        importer: &mut Importer<'_, '_>,
        limits: &DecodeLimits,
        budget: &mut Budget,
        attributes: &Attributes<'_>,
        visit: &mut impl FnMut(ServiceProfile<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let dictionary = importer.dictionary;
        // Different attributes may have the same text.
        let name_of = |attribute: u32| dictionary.attributes[attribute as usize].text.filter(|_| attribute != 0);
        let mut services: BTreeMap<Option<&str>, Vec<u32>> = BTreeMap::new();
        budget.take(self.samples.len() * GROWTH * size_of::<u32>()).map_err(OtlpError::from)?;
        for (position, sample) in self.samples.iter().enumerate() {
            let of_service = services.entry(name_of(sample.service)).or_default();
            of_service.push(position as u32);
        }
        for (service, samples) in services {
            let profile = importer.profile(self, &samples, limits, budget)?;
            visit(ServiceProfile { service, attributes, profile })?;
        }
        budget.give(self.samples.len() * GROWTH * size_of::<u32>());
        Ok(())
    }
}

fn value_type(message: &[u8], dictionary: &Dictionary<'_>) -> Result<(u32, u32), OtlpError> {
    let (mut kind, mut unit) = (0, 0);
    let mut reader = Reader::new(message);
    while let Some(field) = reader.field()? {
        match field.number {
            field::value_type::TYPE => kind = dictionary.string_index("type", &field)?,
            field::value_type::UNIT => unit = dictionary.string_index("unit", &field)?,
            _ => {}
        }
    }
    Ok((kind, unit))
}

/// Ids that entries of a table have in the profile that is being made.
///
/// Shape: one entry per entry of the table; an id counts only with the mark of the profile, so that the next profile
/// costs nothing for what it does not use.
struct Known(Vec<(u32, u32)>);

impl Known {
    fn get(&self, index: u32, mark: u32) -> Option<u32> {
        let (marked, id) = self.0[index as usize];
        (marked == mark).then_some(id)
    }

    fn set(&mut self, index: u32, mark: u32, id: u32) {
        self.0[index as usize] = (mark, id);
    }
}

/// Copies what profiles use out of the dictionary.
struct Importer<'d, 'a> {
    dictionary: &'d Dictionary<'a>,
    strings: Known,
    /// Ids of their values.
    attributes: Known,
    functions: Known,
    mappings: Known,
    locations: Known,
    /// Mark, and ids of both ids as text.
    links: Vec<(u32, StringId, StringId)>,
    mark: u32,
}

/// Texts of a link: both ids in hexadecimal.
const LINK_TEXT_BYTES: usize = 32 + 16;

impl<'d, 'a> Importer<'d, 'a> {
    fn new(dictionary: &'d Dictionary<'a>, budget: &mut Budget) -> Result<Self, OtlpError> {
        let links = dictionary.links.len();
        budget.take(links * size_of::<(u32, StringId, StringId)>())?;
        let mut known = |len: usize| {
            budget.take(len * size_of::<(u32, u32)>())?;
            Ok::<_, OtlpError>(Known(vec![(0, 0); len]))
        };
        Ok(Self {
            dictionary,
            strings: known(dictionary.strings.len())?,
            attributes: known(dictionary.attributes.len())?,
            functions: known(dictionary.functions.len())?,
            mappings: known(dictionary.mappings.len())?,
            locations: known(dictionary.locations.len())?,
            links: vec![(0, StringId(0), StringId(0)); links],
            mark: 0,
        })
    }

    fn profile(
        &mut self,
        raw: &RawProfile,
        samples: &[u32],
        limits: &DecodeLimits,
        budget: &mut Budget,
    ) -> Result<Profile, OtlpError> {
        // A request has fewer profiles than bytes, and those are fewer than marks.
        self.mark += 1;
        let mut profile = Profile { time_ns: raw.time_ns, duration_ns: raw.duration_ns, ..Profile::default() };
        profile.period = raw.period;
        let mut value_type = |(kind, unit): (u32, u32), profile: &mut Profile| {
            let kind = self.string(kind, profile, budget)?;
            Ok::<_, OtlpError>(ValueType { kind, unit: self.string(unit, profile, budget)? })
        };
        profile.sample_types = vec![value_type(raw.sample_type, &mut profile)?];
        profile.period_type = value_type(raw.period_type, &mut profile)?;
        let mut keys = None;
        let (mut stack, mut labels): (Vec<LocationId>, Vec<SampleLabel>) = (Vec::new(), Vec::new());
        let mut frames = 0;
        for &position in samples {
            let sample = &raw.samples[position as usize];
            let locations = self.dictionary.stack(sample.stack);
            frames += locations.len();
            check(Quantity::Frames, frames, limits.frames_total)?;
            let attributes = raw.attributes_of(position as usize);
            let row = size_of::<i64>() + 2 * size_of::<u32>() + (attributes.len() + 2) * size_of::<SampleLabel>();
            budget.take(GROWTH * (row + locations.len() * size_of::<LocationId>()))?;
            stack.clear();
            for &location in locations {
                stack.push(self.location(location, &mut profile, budget)?);
            }
            labels.clear();
            for &attribute in attributes {
                labels.push(self.attribute(attribute, &mut profile, budget)?);
            }
            let LinkRow { trace_id, span_id } = self.dictionary.links[sample.link as usize];
            if trace_id != 0 || span_id != 0 {
                let (trace_key, span_key) = *keys.get_or_insert_with(|| {
                    let strings = &mut profile.symbols.strings;
                    (strings.push("trace_id"), strings.push("span_id"))
                });
                let (trace, span) = self.link(sample.link, &mut profile, budget)?;
                labels.extend([(trace_key, trace), (span_key, span)].map(|(key, text)| text_label(key, text)));
            }
            profile.samples.push(stack.iter().copied(), &[sample.value], &labels);
        }
        Ok(profile)
    }

    fn string(&mut self, index: u32, profile: &mut Profile, budget: &mut Budget) -> Result<StringId, OtlpError> {
        if let Some(known) = self.strings.get(index, self.mark) {
            return Ok(StringId(known));
        }
        let id = push_text(self.dictionary.strings[index as usize], profile, budget)?;
        self.strings.set(index, self.mark, id.0);
        Ok(id)
    }

    fn attribute(&mut self, index: u32, profile: &mut Profile, budget: &mut Budget) -> Result<SampleLabel, OtlpError> {
        let row = self.dictionary.attributes[index as usize];
        let key = self.string(row.key, profile, budget)?;
        let text = self.attribute_text(index, profile, budget)?;
        Ok(text_label(key, text))
    }

    fn attribute_text(
        &mut self,
        index: u32,
        profile: &mut Profile,
        budget: &mut Budget,
    ) -> Result<StringId, OtlpError> {
        if let Some(known) = self.attributes.get(index, self.mark) {
            return Ok(StringId(known));
        }
        let id = push_text(self.dictionary.attributes[index as usize].text.unwrap_or(""), profile, budget)?;
        self.attributes.set(index, self.mark, id.0);
        Ok(id)
    }

    fn link(
        &mut self,
        index: u32,
        profile: &mut Profile,
        budget: &mut Budget,
    ) -> Result<(StringId, StringId), OtlpError> {
        let (marked, trace, span) = self.links[index as usize];
        if marked == self.mark {
            return Ok((trace, span));
        }
        let LinkRow { trace_id, span_id } = self.dictionary.links[index as usize];
        budget.take(2 * LINK_TEXT_BYTES)?;
        // An id of zeros is none, and so is an empty text.
        let hexadecimal = |is_set: bool, text: String| if is_set { text } else { String::new() };
        let trace = push_text(&hexadecimal(trace_id != 0, format!("{trace_id:032x}")), profile, budget)?;
        let span = push_text(&hexadecimal(span_id != 0, format!("{span_id:016x}")), profile, budget)?;
        self.links[index as usize] = (self.mark, trace, span);
        Ok((trace, span))
    }

    fn location(&mut self, index: u32, profile: &mut Profile, budget: &mut Budget) -> Result<LocationId, OtlpError> {
        if let Some(known) = self.locations.get(index, self.mark) {
            return Ok(LocationId(known));
        }
        let dictionary = self.dictionary;
        let row = dictionary.locations[index as usize];
        let rows = dictionary.lines_of(row);
        budget.take(GROWTH * (size_of::<Location>() + 2 * size_of_val(rows)))?;
        let mapping = self.mapping(row.mapping, profile, budget)?;
        let mut lines = Vec::with_capacity(rows.len());
        for line in rows {
            lines.push(Line { function: self.function(line.function, profile, budget)?, line: line.line });
        }
        if lines.is_empty() {
            profile.symbols.mappings[mapping.index()].has_functions = false;
        }
        let id = profile.symbols.push_location(mapping, row.address, false, &lines);
        self.locations.set(index, self.mark, id.0);
        Ok(id)
    }

    fn mapping(&mut self, index: u32, profile: &mut Profile, budget: &mut Budget) -> Result<MappingId, OtlpError> {
        if index == 0 {
            return Ok(MappingId(0));
        }
        if let Some(known) = self.mappings.get(index, self.mark) {
            return Ok(MappingId(known));
        }
        budget.take(GROWTH * size_of::<Mapping>())?;
        let MappingRow { memory_start, memory_limit, file_offset, filename, build_id } =
            self.dictionary.mappings[index as usize];
        let filename = self.string(filename, profile, budget)?;
        let build_id = self.attribute_text(build_id, profile, budget)?;
        let mapping = Mapping {
            memory_start,
            memory_limit,
            file_offset,
            filename,
            build_id,
            has_functions: true,
            ..Mapping::default()
        };
        let id = profile.symbols.push_mapping(mapping);
        self.mappings.set(index, self.mark, id.0);
        Ok(id)
    }

    fn function(&mut self, index: u32, profile: &mut Profile, budget: &mut Budget) -> Result<FunctionId, OtlpError> {
        if index == 0 {
            return Ok(FunctionId(0));
        }
        if let Some(known) = self.functions.get(index, self.mark) {
            return Ok(FunctionId(known));
        }
        budget.take(GROWTH * size_of::<Function>())?;
        let row = self.dictionary.functions[index as usize];
        let name = self.string(row.name, profile, budget)?;
        let system_name = self.string(row.system_name, profile, budget)?;
        let filename = self.string(row.filename, profile, budget)?;
        let id = profile.symbols.push_function(Function { name, system_name, filename, start_line: row.start_line });
        self.functions.set(index, self.mark, id.0);
        Ok(id)
    }
}

fn text_label(key: StringId, text: StringId) -> SampleLabel {
    SampleLabel { key, text, number: 0, number_unit: StringId(0) }
}

/// Appends a text; the empty one is there already.
fn push_text(text: &str, profile: &mut Profile, budget: &mut Budget) -> Result<StringId, OtlpError> {
    if text.is_empty() {
        return Ok(StringId(0));
    }
    budget.take(GROWTH * (text.len() + size_of::<u32>()))?;
    Ok(profile.symbols.strings.push(text))
}
