//! Writes recordings. Stands alone, so that benchmarks can include it.

use std::collections::BTreeMap;

/// How texts are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Utf8,
    Utf16,
    Latin1,
    /// As constants of the table of strings, in UTF-8.
    Constant,
}

/// Bytes with integers of either encoding.
#[derive(Clone, Debug, Default)]
pub(crate) struct Out {
    pub(crate) bytes: Vec<u8>,
    pub(crate) is_compressed: bool,
}

impl Out {
    pub(crate) fn new(is_compressed: bool) -> Self {
        Self { bytes: Vec::new(), is_compressed }
    }

    pub(crate) fn byte(&mut self, value: u8) -> &mut Self {
        self.bytes.push(value);
        self
    }

    pub(crate) fn short(&mut self, value: u16) -> &mut Self {
        self.integer(value.into(), 2)
    }

    pub(crate) fn int(&mut self, value: u32) -> &mut Self {
        self.integer(value.into(), 4)
    }

    pub(crate) fn long(&mut self, value: u64) -> &mut Self {
        self.integer(value, 8)
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend_from_slice(bytes);
        self
    }

    pub(crate) fn text(&mut self, text: &str, encoding: Encoding) -> &mut Self {
        match encoding {
            _ if text.is_empty() => self.byte(1),
            Encoding::Utf8 => self.byte(3).int(text.len() as u32).raw(text.as_bytes()),
            Encoding::Utf16 => {
                let units: Vec<u16> = text.encode_utf16().collect();
                self.byte(4).int(units.len() as u32);
                units.into_iter().fold(self, |out, unit| out.short(unit))
            }
            Encoding::Latin1 => {
                let bytes: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
                self.byte(5).int(bytes.len() as u32).raw(&bytes)
            }
            Encoding::Constant => unreachable!("constants are written by the recorder"),
        }
    }

    fn integer(&mut self, mut value: u64, width: usize) -> &mut Self {
        if !self.is_compressed {
            return self.raw(&value.to_be_bytes()[8 - width..]);
        }
        for _ in 0..8 {
            if value < 0x80 {
                return self.byte(value as u8);
            }
            self.byte(value as u8 | 0x80);
            value >>= 7;
        }
        self.byte(value as u8)
    }
}

/// A field of a type.
#[derive(Clone, Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    pub(crate) class: u64,
    pub(crate) is_constant: bool,
    pub(crate) is_array: bool,
}

/// A type.
#[derive(Clone, Debug)]
pub(crate) struct Class {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
}

/// Class id, and its constants by key.
pub(crate) type Pool = (u64, Vec<(u64, Vec<u8>)>);

/// A chunk whose values are bytes already.
#[derive(Clone, Debug)]
pub(crate) struct Chunk {
    pub(crate) is_compressed: bool,
    pub(crate) ticks_per_second: u64,
    pub(crate) classes: Vec<Class>,
    /// The constants of each checkpoint.
    pub(crate) checkpoints: Vec<Vec<Pool>>,
    /// Types and fields of the events.
    pub(crate) events: Vec<(u64, Vec<u8>)>,
}

/// Positions of what one may want to damage.
#[derive(Clone, Debug, Default)]
pub(crate) struct Layout {
    pub(crate) events: Vec<usize>,
    pub(crate) checkpoints: Vec<usize>,
    pub(crate) metadata: usize,
}

impl Chunk {
    pub(crate) fn write(&self) -> Vec<u8> {
        self.write_with_layout().0
    }

    /// Header, events, checkpoints, metadata.
    pub(crate) fn write_with_layout(&self) -> (Vec<u8>, Layout) {
        let mut layout = Layout::default();
        let mut bytes = vec![0; 68];
        for (event_type, fields) in &self.events {
            layout.events.push(bytes.len());
            bytes.extend(self.sized(*event_type, fields));
        }
        for checkpoint in &self.checkpoints {
            let delta = layout.checkpoints.last().map_or(0, |&previous| previous as i64 - bytes.len() as i64);
            layout.checkpoints.push(bytes.len());
            bytes.extend(self.sized(1, &self.checkpoint(checkpoint, delta)));
        }
        layout.metadata = bytes.len();
        bytes.extend(self.sized(0, &self.metadata()));
        let last_checkpoint = layout.checkpoints.last().copied().unwrap_or(0);
        let mut header = Out::new(false);
        header.raw(b"FLR\0").short(2).short(0).long(bytes.len() as u64);
        header.long(last_checkpoint as u64).long(layout.metadata as u64);
        header.long(1_700_000_000_000_000_000).long(1_000_000_000).long(0).long(self.ticks_per_second);
        header.int(self.is_compressed.into());
        bytes[..68].copy_from_slice(&header.bytes);
        (bytes, layout)
    }

    /// Size, which counts itself and is padded to four bytes as the JDK does, and type in front of `fields`.
    fn sized(&self, event_type: u64, fields: &[u8]) -> Vec<u8> {
        let mut body = Out::new(self.is_compressed);
        body.long(event_type).raw(fields);
        let size = body.bytes.len() as u32 + 4;
        let padded = [size as u8 | 0x80, (size >> 7) as u8 | 0x80, (size >> 14) as u8 | 0x80, (size >> 21) as u8];
        let mut out = if self.is_compressed { padded.to_vec() } else { size.to_be_bytes().to_vec() };
        out.extend(body.bytes);
        out
    }

    fn checkpoint(&self, pools: &[Pool], delta: i64) -> Vec<u8> {
        let mut out = Out::new(self.is_compressed);
        out.long(0).long(0).long(delta as u64).byte(1).int(pools.len() as u32);
        for (class, constants) in pools {
            out.long(*class).int(constants.len() as u32);
            constants.iter().for_each(|(key, value)| {
                out.long(*key).raw(value);
            });
        }
        out.bytes
    }

    fn metadata(&self) -> Vec<u8> {
        let mut texts = Vec::new();
        let mut tree = Out::new(self.is_compressed);
        let mut element = |tree: &mut Out, name: &str, attributes: &[(&str, &str)], children: usize| {
            let mut index = |text: &str| {
                texts.iter().position(|t| t == text).unwrap_or_else(|| {
                    texts.push(text.to_owned());
                    texts.len() - 1
                }) as u32
            };
            tree.int(index(name)).int(attributes.len() as u32);
            for (key, value) in attributes {
                tree.int(index(key)).int(index(value));
            }
            tree.int(children as u32);
        };
        element(&mut tree, "root", &[], 2);
        element(&mut tree, "metadata", &[], self.classes.len());
        for class in &self.classes {
            let id = class.id.to_string();
            let attributes = [("name", &*class.name), ("id", &id), ("superType", "jdk.jfr.Event")];
            element(&mut tree, "class", &attributes, class.fields.len() + 1);
            element(&mut tree, "annotation", &[("class", "7"), ("value", "x")], 0);
            for field in &class.fields {
                let id = field.class.to_string();
                let mut attributes = vec![("name", &*field.name), ("class", &id)];
                attributes.extend(field.is_constant.then_some(("constantPool", "true")));
                attributes.extend(field.is_array.then_some(("dimension", "1")));
                element(&mut tree, "field", &attributes, 0);
            }
        }
        element(&mut tree, "region", &[("locale", "en_US"), ("gmtOffset", "0")], 0);
        let mut out = Out::new(self.is_compressed);
        out.long(0).long(0).long(1).int(texts.len() as u32);
        texts.iter().for_each(|text| {
            out.text(text, Encoding::Utf8);
        });
        out.raw(&tree.bytes);
        out.bytes
    }
}

/// Value of a field of an event.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Number(u64),
    Text(&'a str),
}

/// Ids of the types that [`Recorder`] describes.
pub(crate) mod id {
    pub(crate) const BOOLEAN: u64 = 4;
    pub(crate) const FLOAT: u64 = 6;
    pub(crate) const INT: u64 = 10;
    pub(crate) const LONG: u64 = 11;
    pub(crate) const STRING: u64 = 20;
    pub(crate) const CLASS: u64 = 21;
    pub(crate) const THREAD: u64 = 22;
    pub(crate) const SYMBOL: u64 = 30;
    pub(crate) const METHOD: u64 = 31;
    pub(crate) const STACK_TRACE: u64 = 32;
    pub(crate) const STACK_FRAME: u64 = 33;
    pub(crate) const THREAD_STATE: u64 = 34;
    pub(crate) const FIRST_EVENT: u64 = 100;
}

/// Frame: class, method, line.
pub(crate) type Frame<'a> = (&'a str, &'a str, i32);

/// Records one chunk with the types of async-profiler and of the JDK.
pub(crate) struct Recorder {
    pub(crate) chunk: Chunk,
    encoding: Encoding,
    first_key: u64,
    constants: BTreeMap<u64, Vec<(Vec<u8>, u64)>>,
}

/// Name, type, and whether it is a constant.
type EventField = (&'static str, u64, bool);

/// Event types with the fields behind start time, thread and stack trace.
const EVENTS: &[(&str, &[EventField])] = &[
    ("jdk.ExecutionSample", &[("state", id::THREAD_STATE, true)]),
    ("profiler.WallClockSample", &[("state", id::THREAD_STATE, true), ("samples", id::INT, false)]),
    ("jdk.ObjectAllocationInNewTLAB", &[("allocationSize", id::LONG, false), ("tlabSize", id::LONG, false)]),
    ("jdk.ObjectAllocationOutsideTLAB", &[("allocationSize", id::LONG, false)]),
    ("jdk.ObjectAllocationSample", &[("weight", id::LONG, false)]),
    ("jdk.JavaMonitorEnter", &[("duration", id::LONG, false)]),
    ("jdk.ThreadPark", &[("duration", id::LONG, false)]),
    ("profiler.LiveObject", &[("allocationSize", id::LONG, false)]),
    ("profiler.Malloc", &[("address", id::LONG, false), ("size", id::LONG, false)]),
    ("jdk.ActiveSetting", &[("name", id::STRING, false), ("value", id::STRING, false)]),
    ("jdk.CPULoad", &[("jvmUser", id::FLOAT, false), ("comment", id::STRING, false)]),
];

impl Recorder {
    /// Keys of constants start at `first_key`.
    pub(crate) fn new(is_compressed: bool, encoding: Encoding, first_key: u64) -> Self {
        let field =
            |name: &str, class, is_constant| Field { name: name.to_owned(), class, is_constant, is_array: false };
        let class = |id, name: &str, fields| Class { id, name: name.to_owned(), fields };
        let primitives = [
            (id::BOOLEAN, "boolean"),
            (id::FLOAT, "float"),
            (id::INT, "int"),
            (id::LONG, "long"),
            (id::STRING, "java.lang.String"),
        ];
        let mut classes: Vec<Class> = primitives.map(|(id, name)| class(id, name, Vec::new())).into();
        classes.extend([
            class(
                id::CLASS,
                "java.lang.Class",
                vec![field("name", id::SYMBOL, true), field("modifiers", id::INT, false)],
            ),
            class(
                id::THREAD,
                "java.lang.Thread",
                vec![field("osName", id::STRING, false), field("javaName", id::STRING, false)],
            ),
            class(id::SYMBOL, "jdk.types.Symbol", vec![field("string", id::STRING, false)]),
            class(
                id::METHOD,
                "jdk.types.Method",
                vec![
                    field("type", id::CLASS, true),
                    field("name", id::SYMBOL, true),
                    field("hidden", id::BOOLEAN, false),
                ],
            ),
            class(
                id::STACK_TRACE,
                "jdk.types.StackTrace",
                vec![
                    field("truncated", id::BOOLEAN, false),
                    Field { is_array: true, ..field("frames", id::STACK_FRAME, false) },
                ],
            ),
            class(
                id::STACK_FRAME,
                "jdk.types.StackFrame",
                vec![
                    field("method", id::METHOD, true),
                    field("lineNumber", id::INT, false),
                    field("bytecodeIndex", id::INT, false),
                ],
            ),
            class(id::THREAD_STATE, "jdk.types.ThreadState", vec![field("name", id::STRING, false)]),
        ]);
        for (event_id, (name, fields)) in (id::FIRST_EVENT..).zip(EVENTS) {
            let thread =
                if name.contains("Sample") && !name.contains("Alloc") { "sampledThread" } else { "eventThread" };
            let mut all = vec![
                field("startTime", id::LONG, false),
                field(thread, id::THREAD, true),
                field("stackTrace", id::STACK_TRACE, true),
            ];
            all.extend(fields.iter().map(|&(name, class, is_constant)| field(name, class, is_constant)));
            all.extend(["contextId", "spanId", "spanName"].map(|name| field(name, id::LONG, false)));
            classes.push(class(event_id, name, all));
        }
        Self {
            chunk: Chunk {
                is_compressed,
                ticks_per_second: 1_000_000_000,
                classes,
                checkpoints: Vec::new(),
                events: Vec::new(),
            },
            encoding,
            first_key,
            constants: BTreeMap::new(),
        }
    }

    /// Key of a stack, leaf first.
    pub(crate) fn stack(&mut self, frames: &[Frame<'_>]) -> u64 {
        let mut out = self.out();
        out.byte(0).int(frames.len() as u32);
        for &(class, method, line) in frames {
            let method = self.method(class, method);
            out.long(method).int(line as u32).int(7);
        }
        self.constant(id::STACK_TRACE, out.bytes)
    }

    pub(crate) fn state(&mut self, name: &str) -> u64 {
        self.named(id::THREAD_STATE, name)
    }

    pub(crate) fn thread(&mut self, java_name: &str) -> u64 {
        let mut out = self.out();
        self.put_text(&mut out, "os");
        self.put_text(&mut out, java_name);
        self.constant(id::THREAD, out.bytes)
    }

    /// Adds an event; fields that are not given are 0 or empty.
    pub(crate) fn event(&mut self, name: &str, values: &[(&str, Value<'_>)]) {
        let class = self.chunk.classes.iter().find(|class| class.name == name).expect("the type is described").clone();
        let mut out = self.out();
        for field in &class.fields {
            let value = values.iter().find(|(name, _)| *name == field.name).map(|&(_, value)| value);
            match (value, field.class) {
                (Some(Value::Text(text)), _) => self.put_text(&mut out, text),
                (Some(Value::Number(number)), id::INT) if !field.is_constant => {
                    out.int(number as u32);
                }
                (Some(Value::Number(number)), _) => {
                    out.long(number);
                }
                (None, id::STRING) => {
                    out.byte(0);
                }
                (None, id::FLOAT) => {
                    out.raw(&[0; 4]);
                }
                (None, id::INT) => {
                    out.int(0);
                }
                (None, _) => {
                    out.long(0);
                }
            }
        }
        self.chunk.events.push((class.id, out.bytes));
    }

    pub(crate) fn setting(&mut self, name: &str, value: &str) {
        self.event("jdk.ActiveSetting", &[("name", Value::Text(name)), ("value", Value::Text(value))]);
    }

    /// The chunk with its constants in `checkpoint_count` checkpoints.
    pub(crate) fn finish(mut self, checkpoint_count: usize) -> Chunk {
        let mut checkpoints = vec![Vec::new(); checkpoint_count.max(1)];
        let mut slot = 0;
        for (class, constants) in self.constants {
            for part in constants.chunks(3) {
                let constants = part.iter().map(|(value, key)| (*key, value.clone())).collect();
                checkpoints[slot % checkpoint_count.max(1)].push((class, constants));
                slot += 1;
            }
        }
        self.chunk.checkpoints = checkpoints;
        self.chunk
    }

    fn method(&mut self, class: &str, method: &str) -> u64 {
        let (class_name, name) = (self.named(id::SYMBOL, class), self.named(id::SYMBOL, method));
        let mut out = self.out();
        out.long(class_name).int(1);
        let class = self.constant(id::CLASS, out.bytes);
        let mut out = self.out();
        out.long(class).long(name).byte(0);
        self.constant(id::METHOD, out.bytes)
    }

    /// Key of a constant that is just a text.
    fn named(&mut self, class: u64, text: &str) -> u64 {
        let mut out = self.out();
        self.put_text(&mut out, text);
        self.constant(class, out.bytes)
    }

    fn put_text(&mut self, out: &mut Out, text: &str) {
        if self.encoding == Encoding::Constant {
            let mut string = self.out();
            string.text(text, Encoding::Utf8);
            let key = self.constant(id::STRING, string.bytes);
            out.byte(2).long(key);
        } else {
            out.text(text, self.encoding);
        }
    }

    /// Key of a constant with these bytes.
    pub(crate) fn constant(&mut self, class: u64, value: Vec<u8>) -> u64 {
        let constants = self.constants.entry(class).or_default();
        if let Some((_, key)) = constants.iter().find(|(known, _)| *known == value) {
            return *key;
        }
        let key = self.first_key + constants.len() as u64;
        constants.push((value, key));
        key
    }

    fn out(&self) -> Out {
        Out::new(self.chunk.is_compressed)
    }
}
