//! OTLP/JSON to protobuf, field by field, so that there is one decoder.
//!
//! The text is walked once and never becomes a tree; fields that the decoder does not look at are skipped. Differences
//! to protobuf's own JSON: ids of traces and spans are hexadecimal. Names may be lowerCamelCase or the original ones,
//! numbers may be texts, and `null` is no value.
//! Source: <https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding>.

use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Unexpected, Visitor};

use crate::proto::{put_bytes, put_varint};

/// Why a JSON request cannot be read; names the line and the column.
#[derive(Debug, thiserror::Error)]
#[error("invalid OTLP JSON: {0}")]
pub struct JsonError(#[from] serde_json::Error);

/// The protobuf form of an export request in JSON.
///
/// It takes at most 6 times the bytes of the JSON, and of the largest message in it once more while it is made.
pub fn transcode(json: &[u8]) -> Result<Vec<u8>, JsonError> {
    let mut out = Vec::new();
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    MessageSeed { message: &REQUEST, out: &mut out }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(out)
}

struct Message {
    name: &'static str,
    fields: &'static [Field],
}

struct Field {
    /// In lowerCamelCase.
    name: &'static str,
    number: u32,
    kind: Kind,
}

#[derive(Clone, Copy)]
enum Kind {
    Text,
    /// Bytes in hexadecimal.
    Id,
    Integer,
    Fixed64,
    Message(&'static Message),
}

const fn field(name: &'static str, number: u32, kind: Kind) -> Field {
    Field { name, number, kind }
}

static REQUEST: Message = Message {
    name: "ExportProfilesServiceRequest",
    fields: &[
        field("resourceProfiles", 1, Kind::Message(&RESOURCE_PROFILES)),
        field("dictionary", 2, Kind::Message(&DICTIONARY)),
    ],
};
static RESOURCE_PROFILES: Message = Message {
    name: "ResourceProfiles",
    fields: &[
        field("resource", 1, Kind::Message(&RESOURCE)),
        field("scopeProfiles", 2, Kind::Message(&SCOPE_PROFILES)),
    ],
};
static RESOURCE: Message = Message { name: "Resource", fields: &[field("attributes", 1, Kind::Message(&KEY_VALUE))] };
static SCOPE_PROFILES: Message = Message {
    name: "ScopeProfiles",
    fields: &[field("scope", 1, Kind::Message(&SCOPE)), field("profiles", 2, Kind::Message(&PROFILE))],
};
static SCOPE: Message =
    Message { name: "InstrumentationScope", fields: &[field("attributes", 3, Kind::Message(&KEY_VALUE))] };
static KEY_VALUE: Message = Message {
    name: "KeyValue",
    fields: &[
        field("key", 1, Kind::Text),
        field("value", 2, Kind::Message(&ANY_VALUE)),
        field("keyStrindex", 3, Kind::Integer),
    ],
};
static ANY_VALUE: Message = Message {
    name: "AnyValue",
    fields: &[
        field("stringValue", 1, Kind::Text),
        field("intValue", 3, Kind::Integer),
        field("arrayValue", 5, Kind::Message(&ARRAY_VALUE)),
        field("stringValueStrindex", 8, Kind::Integer),
    ],
};
static ARRAY_VALUE: Message =
    Message { name: "ArrayValue", fields: &[field("values", 1, Kind::Message(&ELEMENT_VALUE))] };
/// Without lists in it: nothing reads them.
static ELEMENT_VALUE: Message = Message {
    name: "AnyValue",
    fields: &[
        field("stringValue", 1, Kind::Text),
        field("intValue", 3, Kind::Integer),
        field("stringValueStrindex", 8, Kind::Integer),
    ],
};
static PROFILE: Message = Message {
    name: "Profile",
    fields: &[
        field("sampleType", 1, Kind::Message(&VALUE_TYPE)),
        field("samples", 2, Kind::Message(&SAMPLE)),
        field("timeUnixNano", 3, Kind::Fixed64),
        field("durationNano", 4, Kind::Integer),
        field("periodType", 5, Kind::Message(&VALUE_TYPE)),
        field("period", 6, Kind::Integer),
    ],
};
static VALUE_TYPE: Message = Message {
    name: "ValueType",
    fields: &[field("typeStrindex", 1, Kind::Integer), field("unitStrindex", 2, Kind::Integer)],
};
static SAMPLE: Message = Message {
    name: "Sample",
    fields: &[
        field("stackIndex", 1, Kind::Integer),
        field("attributeIndices", 2, Kind::Integer),
        field("linkIndex", 3, Kind::Integer),
        field("values", 4, Kind::Integer),
        field("timestampsUnixNano", 5, Kind::Fixed64),
    ],
};
static DICTIONARY: Message = Message {
    name: "ProfilesDictionary",
    fields: &[
        field("mappingTable", 1, Kind::Message(&MAPPING)),
        field("locationTable", 2, Kind::Message(&LOCATION)),
        field("functionTable", 3, Kind::Message(&FUNCTION)),
        field("linkTable", 4, Kind::Message(&LINK)),
        field("stringTable", 5, Kind::Text),
        field("attributeTable", 6, Kind::Message(&ATTRIBUTE)),
        field("stackTable", 7, Kind::Message(&STACK)),
    ],
};
static MAPPING: Message = Message {
    name: "Mapping",
    fields: &[
        field("memoryStart", 1, Kind::Integer),
        field("memoryLimit", 2, Kind::Integer),
        field("fileOffset", 3, Kind::Integer),
        field("filenameStrindex", 4, Kind::Integer),
        field("attributeIndices", 5, Kind::Integer),
    ],
};
static LOCATION: Message = Message {
    name: "Location",
    fields: &[
        field("mappingIndex", 1, Kind::Integer),
        field("address", 2, Kind::Integer),
        field("lines", 3, Kind::Message(&LINE)),
    ],
};
static LINE: Message =
    Message { name: "Line", fields: &[field("functionIndex", 1, Kind::Integer), field("line", 2, Kind::Integer)] };
static FUNCTION: Message = Message {
    name: "Function",
    fields: &[
        field("nameStrindex", 1, Kind::Integer),
        field("systemNameStrindex", 2, Kind::Integer),
        field("filenameStrindex", 3, Kind::Integer),
        field("startLine", 4, Kind::Integer),
    ],
};
static LINK: Message = Message { name: "Link", fields: &[field("traceId", 1, Kind::Id), field("spanId", 2, Kind::Id)] };
static ATTRIBUTE: Message = Message {
    name: "KeyValueAndUnit",
    fields: &[field("keyStrindex", 1, Kind::Integer), field("value", 2, Kind::Message(&ANY_VALUE))],
};
static STACK: Message = Message { name: "Stack", fields: &[field("locationIndices", 1, Kind::Integer)] };

impl Message {
    /// By either of a field's names.
    fn field(&self, name: &str) -> Option<&'static Field> {
        let letters = |name: &str, field: &Field| {
            let folded = name.bytes().filter(|&byte| byte != b'_').map(|byte| byte.to_ascii_lowercase());
            folded.eq(field.name.bytes().map(|byte| byte.to_ascii_lowercase()))
        };
        self.fields.iter().find(|field| field.name == name).or_else(|| {
            let is_original = name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            self.fields.iter().find(|field| is_original && letters(name, field))
        })
    }
}

/// Reads an object and appends its fields.
struct MessageSeed<'o> {
    message: &'static Message,
    out: &'o mut Vec<u8>,
}

impl<'de> DeserializeSeed<'de> for MessageSeed<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MessageSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an object {}", self.message.name)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(field) = map.next_key_seed(KeySeed(self.message))? {
            match field {
                Some(field) => map.next_value_seed(ValueSeed { field, out: self.out, in_list: false })?,
                None => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        Ok(())
    }
}

struct KeySeed(&'static Message);

impl<'de> DeserializeSeed<'de> for KeySeed {
    type Value = Option<&'static Field>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_identifier(self)
    }
}

impl Visitor<'_> for KeySeed {
    type Value = Option<&'static Field>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.0.field(name))
    }
}

/// Reads the value of a field, or a list of them, and appends it.
struct ValueSeed<'o> {
    field: &'static Field,
    out: &'o mut Vec<u8>,
    in_list: bool,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_> {
    type Value = ();

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl ValueSeed<'_> {
    fn put_number<E: Error>(self, value: u64, unexpected: Unexpected<'_>) -> Result<(), E> {
        let number = u64::from(self.field.number);
        match self.field.kind {
            Kind::Integer => {
                put_varint(self.out, number << 3);
                put_varint(self.out, value);
            }
            Kind::Fixed64 => {
                put_varint(self.out, number << 3 | 1);
                self.out.extend_from_slice(&value.to_le_bytes());
            }
            _ => return Err(E::invalid_type(unexpected, &self)),
        }
        Ok(())
    }
}

impl<'de> Visitor<'de> for ValueSeed<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.field.kind {
            Kind::Text => "a text",
            Kind::Id => "an id in hexadecimal",
            Kind::Integer | Kind::Fixed64 => "an integer",
            Kind::Message(message) => message.name,
        };
        write!(f, "{kind} for {}", self.field.name)
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.put_number(value, Unexpected::Unsigned(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.put_number(value.cast_unsigned(), Unexpected::Signed(value))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        // `1e9` is an integer, too.
        if value.fract() == 0.0 && value.abs() < 9e15 {
            return self.visit_i64(value as i64);
        }
        Err(E::invalid_type(Unexpected::Float(value), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        match self.field.kind {
            Kind::Text => put_bytes(self.out, self.field.number, text.as_bytes()),
            Kind::Id => {
                let bytes = hexadecimal(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))?;
                put_bytes(self.out, self.field.number, &bytes);
            }
            Kind::Integer | Kind::Fixed64 => {
                if let Ok(value) = text.parse::<u64>() {
                    return self.visit_u64(value);
                }
                let value = text.parse::<i64>().map_err(|_| E::invalid_value(Unexpected::Str(text), &self))?;
                return self.visit_i64(value);
            }
            Kind::Message(_) => return Err(E::invalid_type(Unexpected::Str(text), &self)),
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        if self.in_list {
            return Err(A::Error::invalid_type(Unexpected::Seq, &self));
        }
        let Self { field, out, .. } = self;
        while list.next_element_seed(ValueSeed { field, out, in_list: true })?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let Kind::Message(message) = self.field.kind else {
            return Err(A::Error::invalid_type(Unexpected::Map, &self));
        };
        let mut content = Vec::new();
        MessageSeed { message, out: &mut content }.visit_map(map)?;
        put_bytes(self.out, self.field.number, &content);
        Ok(())
    }
}

/// Ids have at most 16 bytes.
fn hexadecimal(text: &str) -> Option<Vec<u8>> {
    let is_hexadecimal =
        text.len() <= 32 && text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit());
    let digits = is_hexadecimal.then_some(text.as_bytes())?;
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    digits.chunks_exact(2).map(|pair| Some(digit(pair[0])? << 4 | digit(pair[1])?)).collect()
}
