//! The tables that all profiles of a request share.

use super::{Budget, OtlpError};
use crate::limits::{Quantity, check};
use crate::{DecodeLimits, Field, Reader, Value};

/// Field numbers by message.
mod field {
    pub(super) mod dictionary {
        pub(in super::super) const MAPPING: u32 = 1;
        pub(in super::super) const LOCATION: u32 = 2;
        pub(in super::super) const FUNCTION: u32 = 3;
        pub(in super::super) const LINK: u32 = 4;
        pub(in super::super) const STRING: u32 = 5;
        pub(in super::super) const ATTRIBUTE: u32 = 6;
        pub(in super::super) const STACK: u32 = 7;
    }
    pub(super) mod mapping {
        pub(in super::super) const MEMORY_START: u32 = 1;
        pub(in super::super) const MEMORY_LIMIT: u32 = 2;
        pub(in super::super) const FILE_OFFSET: u32 = 3;
        pub(in super::super) const FILENAME: u32 = 4;
        pub(in super::super) const ATTRIBUTES: u32 = 5;
    }
    pub(super) mod location {
        pub(in super::super) const MAPPING: u32 = 1;
        pub(in super::super) const ADDRESS: u32 = 2;
        pub(in super::super) const LINES: u32 = 3;
    }
    pub(super) mod line {
        pub(in super::super) const FUNCTION: u32 = 1;
        pub(in super::super) const LINE: u32 = 2;
    }
    pub(super) mod function {
        pub(in super::super) const NAME: u32 = 1;
        pub(in super::super) const SYSTEM_NAME: u32 = 2;
        pub(in super::super) const FILENAME: u32 = 3;
        pub(in super::super) const START_LINE: u32 = 4;
    }
    pub(super) mod stack {
        pub(in super::super) const LOCATIONS: u32 = 1;
    }
    pub(super) mod link {
        pub(in super::super) const TRACE_ID: u32 = 1;
        pub(in super::super) const SPAN_ID: u32 = 2;
    }
    pub(super) mod attribute {
        pub(in super::super) const KEY: u32 = 1;
        pub(in super::super) const VALUE: u32 = 2;
    }
    pub(super) mod any_value {
        pub(in super::super) const STRING: u32 = 1;
        pub(in super::super) const INT: u32 = 3;
        pub(in super::super) const ARRAY: u32 = 5;
        pub(in super::super) const STRING_INDEX: u32 = 8;
    }
    pub(super) mod array_value {
        pub(in super::super) const VALUES: u32 = 1;
    }
}

/// Attribute of a mapping that identifies the executable.
const BUILD_ID: &str = "process.executable.build_id.gnu";

#[derive(Clone, Copy, Default)]
pub(super) struct FunctionRow {
    pub(super) name: u32,
    pub(super) system_name: u32,
    pub(super) filename: u32,
    pub(super) start_line: u32,
}

#[derive(Clone, Copy, Default)]
pub(super) struct MappingRow {
    pub(super) memory_start: u64,
    pub(super) memory_limit: u64,
    pub(super) file_offset: u64,
    pub(super) filename: u32,
    /// The attribute with the build id, 0 for none.
    pub(super) build_id: u32,
}

#[derive(Clone, Copy, Default)]
pub(super) struct LocationRow {
    pub(super) mapping: u32,
    pub(super) address: u64,
    lines_start: u32,
    lines_len: u32,
}

#[derive(Clone, Copy)]
pub(super) struct LineRow {
    pub(super) function: u32,
    pub(super) line: u32,
}

#[derive(Clone, Copy, Default)]
pub(super) struct AttributeRow<'a> {
    /// String index of the name.
    pub(super) key: u32,
    /// The value if it is a text.
    pub(super) text: Option<&'a str>,
}

#[derive(Clone, Copy, Default)]
pub(super) struct LinkRow {
    pub(super) trace_id: u128,
    pub(super) span_id: u64,
}

/// Columns over the bytes of the request.
///
/// Shape: every table has at least its entry 0, which means "none"; every index points into its table.
pub(super) struct Dictionary<'a> {
    pub(super) strings: Vec<&'a str>,
    pub(super) attributes: Vec<AttributeRow<'a>>,
    pub(super) functions: Vec<FunctionRow>,
    pub(super) mappings: Vec<MappingRow>,
    pub(super) locations: Vec<LocationRow>,
    pub(super) links: Vec<LinkRow>,
    lines: Vec<LineRow>,
    frames: Vec<u32>,
    frame_ends: Vec<u32>,
}

/// Number of entries of every table.
#[derive(Default)]
struct Counts {
    strings: usize,
    string_bytes: usize,
    attributes: usize,
    functions: usize,
    mappings: usize,
    locations: usize,
    lines: usize,
    links: usize,
    stacks: usize,
    frames: usize,
}

impl Counts {
    fn of(parts: &[&[u8]], limits: &DecodeLimits) -> Result<Self, OtlpError> {
        let mut counts = Self::default();
        each_entry(parts, |field| {
            match field.number {
                field::dictionary::MAPPING => counts.mappings += 1,
                field::dictionary::LOCATION => {
                    counts.locations += 1;
                    let mut reader = Reader::new(field.bytes()?);
                    while let Some(field) = reader.field()? {
                        counts.lines += usize::from(field.number == field::location::LINES);
                    }
                }
                field::dictionary::FUNCTION => counts.functions += 1,
                field::dictionary::LINK => counts.links += 1,
                field::dictionary::STRING => {
                    counts.strings += 1;
                    counts.string_bytes += field.bytes()?.len();
                }
                field::dictionary::ATTRIBUTE => {
                    counts.attributes += 1;
                    // Of its bytes a text can take all.
                    counts.string_bytes += field.bytes()?.len();
                }
                field::dictionary::STACK => {
                    counts.stacks += 1;
                    let mut reader = Reader::new(field.bytes()?);
                    while let Some(field) = reader.field()? {
                        if field.number == field::stack::LOCATIONS {
                            counts.frames += field.uint_count()?;
                        }
                    }
                }
                _ => {}
            }
            Ok(())
        })?;
        check(Quantity::Mappings, counts.mappings, limits.mappings)?;
        check(Quantity::Locations, counts.locations, limits.locations)?;
        check(Quantity::Functions, counts.functions, limits.functions)?;
        check(Quantity::Strings, counts.strings, limits.strings)?;
        check(Quantity::StringBytes, counts.string_bytes, limits.string_bytes)?;
        check(Quantity::Frames, counts.frames, limits.frames_total)?;
        Ok(counts)
    }

    /// What the tables take; one entry more each, since entry 0 is always there.
    fn memory_bytes(&self) -> usize {
        (self.strings + 1) * size_of::<&str>()
            + (self.attributes + 1) * size_of::<AttributeRow<'_>>()
            + (self.functions + 1) * size_of::<FunctionRow>()
            + (self.mappings + 1) * size_of::<MappingRow>()
            + (self.locations + 1) * size_of::<LocationRow>()
            + (self.links + 1) * size_of::<LinkRow>()
            + self.lines * size_of::<LineRow>()
            + self.frames * size_of::<u32>()
            + (self.stacks + 1) * size_of::<u32>()
    }
}

impl<'a> Dictionary<'a> {
    /// Reads the tables, which may come in several pieces.
    pub(super) fn read(parts: &[&'a [u8]], limits: &DecodeLimits, budget: &mut Budget) -> Result<Self, OtlpError> {
        let counts = Counts::of(parts, limits)?;
        budget.take(counts.memory_bytes())?;
        let mut tables = Self {
            strings: Vec::with_capacity(counts.strings + 1),
            attributes: Vec::with_capacity(counts.attributes + 1),
            functions: Vec::with_capacity(counts.functions + 1),
            mappings: Vec::with_capacity(counts.mappings + 1),
            locations: Vec::with_capacity(counts.locations + 1),
            links: Vec::with_capacity(counts.links + 1),
            lines: Vec::with_capacity(counts.lines),
            frames: Vec::with_capacity(counts.frames),
            frame_ends: Vec::with_capacity(counts.stacks + 1),
        };
        // Tables may come in any order; each is read when those that it points to are there.
        use field::dictionary::{ATTRIBUTE, FUNCTION, LINK, LOCATION, MAPPING, STACK, STRING};
        let mut each = |number: u32, read: fn(&mut Self, &'a [u8]) -> Result<(), OtlpError>| {
            each_entry(parts, |field| match field.number == number {
                true => read(&mut tables, field.bytes()?),
                false => Ok(()),
            })?;
            tables.fill_empty(number);
            Ok::<_, OtlpError>(())
        };
        each(STRING, Self::read_string)?;
        each(ATTRIBUTE, Self::read_attribute)?;
        each(MAPPING, Self::read_mapping)?;
        each(FUNCTION, Self::read_function)?;
        each(LOCATION, Self::read_location)?;
        each(STACK, Self::read_stack)?;
        each(LINK, Self::read_link)?;
        Ok(tables)
    }

    /// A table without entries has the one that means "none".
    fn fill_empty(&mut self, number: u32) {
        fn fill<T: Default>(table: &mut Vec<T>) {
            if table.is_empty() {
                table.push(T::default());
            }
        }
        match number {
            field::dictionary::STRING => fill(&mut self.strings),
            field::dictionary::ATTRIBUTE => fill(&mut self.attributes),
            field::dictionary::MAPPING => fill(&mut self.mappings),
            field::dictionary::FUNCTION => fill(&mut self.functions),
            field::dictionary::LOCATION => fill(&mut self.locations),
            field::dictionary::STACK => fill(&mut self.frame_ends),
            _ => fill(&mut self.links),
        }
    }

    fn read_string(&mut self, text: &'a [u8]) -> Result<(), OtlpError> {
        self.strings.push(utf8("string", text)?);
        Ok(())
    }

    fn read_attribute(&mut self, message: &'a [u8]) -> Result<(), OtlpError> {
        let mut row = AttributeRow::default();
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            match field.number {
                field::attribute::KEY => row.key = self.string_index("attribute name", &field)?,
                field::attribute::VALUE => {
                    row.text = match self.any_value(field.bytes()?)? {
                        Some(AnyValue::Text(text)) => Some(text),
                        _ => None,
                    }
                }
                _ => {}
            }
        }
        self.attributes.push(row);
        Ok(())
    }

    fn read_mapping(&mut self, message: &'a [u8]) -> Result<(), OtlpError> {
        let mut row = MappingRow::default();
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            match field.number {
                field::mapping::MEMORY_START => row.memory_start = field.uint()?,
                field::mapping::MEMORY_LIMIT => row.memory_limit = field.uint()?,
                field::mapping::FILE_OFFSET => row.file_offset = field.uint()?,
                field::mapping::FILENAME => row.filename = self.string_index("mapping file name", &field)?,
                field::mapping::ATTRIBUTES => field.each_uint(|attribute| {
                    let index = index("attribute of a mapping", attribute, self.attributes.len())?;
                    let key = self.attributes[index as usize].key;
                    if self.strings[key as usize] == BUILD_ID {
                        row.build_id = index;
                    }
                    Ok::<_, OtlpError>(())
                })?,
                _ => {}
            }
        }
        self.mappings.push(row);
        Ok(())
    }

    fn read_function(&mut self, message: &'a [u8]) -> Result<(), OtlpError> {
        let mut row = FunctionRow::default();
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            match field.number {
                field::function::NAME => row.name = self.string_index("function name", &field)?,
                field::function::SYSTEM_NAME => row.system_name = self.string_index("function system name", &field)?,
                field::function::FILENAME => row.filename = self.string_index("function file name", &field)?,
                field::function::START_LINE => row.start_line = line_number(&field)?,
                _ => {}
            }
        }
        self.functions.push(row);
        Ok(())
    }

    fn read_location(&mut self, message: &'a [u8]) -> Result<(), OtlpError> {
        let mut row = LocationRow { lines_start: self.lines.len() as u32, ..LocationRow::default() };
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            match field.number {
                field::location::MAPPING => {
                    row.mapping = index("mapping of a location", field.uint()?, self.mappings.len())?;
                }
                field::location::ADDRESS => row.address = field.uint()?,
                field::location::LINES => {
                    let line = self.read_line(field.bytes()?)?;
                    self.lines.push(line);
                }
                _ => {}
            }
        }
        row.lines_len = self.lines.len() as u32 - row.lines_start;
        self.locations.push(row);
        Ok(())
    }

    fn read_line(&self, message: &[u8]) -> Result<LineRow, OtlpError> {
        let mut row = LineRow { function: 0, line: 0 };
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            match field.number {
                field::line::FUNCTION => {
                    row.function = index("function of a line", field.uint()?, self.functions.len())?;
                }
                field::line::LINE => row.line = line_number(&field)?,
                _ => {}
            }
        }
        Ok(row)
    }

    fn read_stack(&mut self, message: &[u8]) -> Result<(), OtlpError> {
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            if field.number == field::stack::LOCATIONS {
                field.each_uint(|location| {
                    self.frames.push(index("location of a stack", location, self.locations.len())?);
                    Ok::<_, OtlpError>(())
                })?;
            }
        }
        self.frame_ends.push(self.frames.len() as u32);
        Ok(())
    }

    fn read_link(&mut self, message: &[u8]) -> Result<(), OtlpError> {
        let mut row = LinkRow::default();
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            match field.number {
                // An id of another length is none.
                field::link::TRACE_ID => row.trace_id = field.bytes()?.try_into().map_or(0, u128::from_be_bytes),
                field::link::SPAN_ID => row.span_id = field.bytes()?.try_into().map_or(0, u64::from_be_bytes),
                _ => {}
            }
        }
        self.links.push(row);
        Ok(())
    }

    /// The lines of a location, the innermost call first.
    pub(super) fn lines_of(&self, location: LocationRow) -> &[LineRow] {
        &self.lines[location.lines_start as usize..][..location.lines_len as usize]
    }

    /// Locations of a stack, leaf first.
    pub(super) fn stack(&self, index: u32) -> &[u32] {
        let start = if index == 0 { 0 } else { self.frame_ends[index as usize - 1] };
        &self.frames[start as usize..self.frame_ends[index as usize] as usize]
    }

    pub(super) fn stack_index(&self, field: &Field<'_>) -> Result<u32, OtlpError> {
        index("stack of a sample", field.uint()?, self.frame_ends.len())
    }

    pub(super) fn string_index(&self, what: &'static str, field: &Field<'_>) -> Result<u32, OtlpError> {
        index(what, field.uint()?, self.strings.len())
    }

    /// The text or number in an `AnyValue`; a list of one counts as what is in it.
    pub(super) fn any_value(&self, message: &'a [u8]) -> Result<Option<AnyValue<'a>>, OtlpError> {
        let mut message = message;
        loop {
            let (mut value, mut list) = (None, None);
            let mut reader = Reader::new(message);
            while let Some(field) = reader.field()? {
                match field.number {
                    field::any_value::STRING => value = Some(AnyValue::Text(utf8("attribute value", field.bytes()?)?)),
                    field::any_value::STRING_INDEX => {
                        let text = self.strings[self.string_index("attribute value", &field)? as usize];
                        value = Some(AnyValue::Text(text));
                    }
                    field::any_value::INT => value = Some(AnyValue::Number(field.int()?)),
                    field::any_value::ARRAY => list = Some(field.bytes()?),
                    _ => {}
                }
            }
            let Some(list) = list else { return Ok(value) };
            let Some(only) = only_element(list)? else { return Ok(None) };
            message = only;
        }
    }
}

/// Value of an attribute.
#[derive(Clone, Copy)]
pub(super) enum AnyValue<'a> {
    Text(&'a str),
    Number(i64),
}

fn only_element(list: &[u8]) -> Result<Option<&[u8]>, OtlpError> {
    let mut only = None;
    let mut reader = Reader::new(list);
    while let Some(field) = reader.field()? {
        if field.number == field::array_value::VALUES && only.replace(field.bytes()?).is_some() {
            return Ok(None);
        }
    }
    Ok(only)
}

fn each_entry<'a>(
    parts: &[&'a [u8]],
    mut visit: impl FnMut(Field<'a>) -> Result<(), OtlpError>,
) -> Result<(), OtlpError> {
    for part in parts {
        let mut reader = Reader::new(part);
        while let Some(field) = reader.field()? {
            visit(field)?;
        }
    }
    Ok(())
}

/// Checks an index; 0 is "none" and always there.
pub(super) fn index(what: &'static str, index: u64, len: usize) -> Result<u32, OtlpError> {
    match usize::try_from(index) {
        Ok(at) if at < len => Ok(at as u32),
        _ => Err(OtlpError::Reference { what, index, len }),
    }
}

pub(super) fn utf8<'a>(what: &'static str, bytes: &'a [u8]) -> Result<&'a str, OtlpError> {
    std::str::from_utf8(bytes).map_err(|_| OtlpError::Utf8 { what })
}

fn line_number(field: &Field<'_>) -> Result<u32, OtlpError> {
    Ok(u32::try_from(field.int()?).unwrap_or(0))
}

/// How many fixed 64-bit numbers a field adds to a list, packed or not.
pub(super) fn fixed64_count(field: &Field<'_>) -> Result<usize, OtlpError> {
    match field.value {
        Value::Fixed64(_) => Ok(1),
        Value::Bytes(packed) if packed.len() % 8 == 0 => Ok(packed.len() / 8),
        Value::Bytes(_) => Err(crate::ProtoError::Truncated.into()),
        _ => {
            let expected = "8 bytes or packed 8 bytes";
            Err(crate::ProtoError::WrongWireType { field: field.number, expected }.into())
        }
    }
}
