//! The protobuf messages that the tests send, written by hand so that a mistake in the product's own encoder cannot
//! hide behind the same mistake here. Source: pprof `profile.proto`, `push/v1/push.proto`, `types/v1/types.proto`.

use std::collections::HashMap;
use std::time::{SystemTime, UNIX_EPOCH};

/// A message under construction.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn integer(mut self, field: u32, value: u64) -> Self {
        self.varint(u64::from(field) << 3);
        self.varint(value);
        self
    }

    fn bytes(mut self, field: u32, value: &[u8]) -> Self {
        self.varint(u64::from(field) << 3 | 2);
        self.varint(value.len() as u64);
        self.0.extend_from_slice(value);
        self
    }

    fn message(self, field: u32, value: &Message) -> Self {
        self.bytes(field, &value.0)
    }

    fn packed(self, field: u32, values: impl IntoIterator<Item = u64>) -> Self {
        let mut packed = Message::default();
        for value in values {
            packed.varint(value);
        }
        self.message(field, &packed)
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

/// A pprof with one sample type, one line per location and string labels.
pub(crate) struct Profile {
    /// Type and unit of the sample values.
    pub(crate) sample_type: (&'static str, &'static str),
    /// Type and unit of the period.
    pub(crate) period_type: (&'static str, &'static str),
    /// Start, ns since the Unix epoch; 0 = left to the server.
    pub(crate) time_ns: u64,
    /// The samples.
    pub(crate) samples: Vec<Sample>,
}

/// One sample of a [`Profile`].
pub(crate) struct Sample {
    /// Function names, leaf first.
    pub(crate) stack: Vec<String>,
    /// In the unit of the sample type.
    pub(crate) value: u64,
    /// String labels.
    pub(crate) labels: Vec<(&'static str, String)>,
}

impl Profile {
    /// A CPU profile of now.
    pub(crate) fn cpu(samples: Vec<Sample>) -> Self {
        Self { sample_type: ("cpu", "nanoseconds"), period_type: ("cpu", "nanoseconds"), time_ns: now_ns(), samples }
    }

    /// A CPU profile of now with one sample.
    pub(crate) fn cpu_of(stack: &[&str], value: u64) -> Self {
        Self::cpu(vec![Sample::new(stack, value)])
    }

    /// The message, not compressed.
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut strings = Strings::default();
        let value_type = |strings: &mut Strings, (kind, unit): (&str, &str)| {
            Message::default().integer(1, strings.index(kind)).integer(2, strings.index(unit))
        };
        let mut functions = Strings::default();
        let mut profile = Message::default().message(1, &value_type(&mut strings, self.sample_type));
        for sample in &self.samples {
            let locations: Vec<u64> = sample.stack.iter().map(|name| functions.index(name)).collect();
            let mut message = Message::default().packed(1, locations).packed(2, [sample.value]);
            for (key, value) in &sample.labels {
                let label = Message::default().integer(1, strings.index(key)).integer(2, strings.index(value));
                message = message.message(3, &label);
            }
            profile = profile.message(2, &message);
        }
        for (id, name) in functions.list.iter().enumerate().skip(1) {
            let id = id as u64;
            let line = Message::default().integer(1, id).integer(2, 1);
            let function = Message::default().integer(1, id).integer(2, strings.index(name));
            profile = profile.message(4, &Message::default().integer(1, id).message(4, &line)).message(5, &function);
        }
        profile = profile.integer(9, self.time_ns).integer(12, 1);
        profile = profile.message(11, &value_type(&mut strings, self.period_type));
        for string in &strings.list {
            profile = profile.bytes(6, string.as_bytes());
        }
        profile.0
    }
}

impl Sample {
    /// A sample without labels.
    pub(crate) fn new(stack: &[&str], value: u64) -> Self {
        Self { stack: stack.iter().map(ToString::to_string).collect(), value, labels: Vec::new() }
    }

    /// The sample with one more string label.
    pub(crate) fn label(mut self, key: &'static str, value: &str) -> Self {
        self.labels.push((key, value.to_owned()));
        self
    }
}

/// Texts with their indexes; index 0 is the empty text.
struct Strings {
    list: Vec<String>,
    index: HashMap<String, u64>,
}

impl Default for Strings {
    fn default() -> Self {
        Self { list: vec![String::new()], index: HashMap::from([(String::new(), 0)]) }
    }
}

impl Strings {
    fn index(&mut self, text: &str) -> u64 {
        if let Some(&known) = self.index.get(text) {
            return known;
        }
        let index = self.list.len() as u64;
        self.list.push(text.to_owned());
        self.index.insert(text.to_owned(), index);
        index
    }
}

/// One series of a `PushRequest`: labels and pprofs, gzipped or plain, with the id that some SDKs give each.
pub(crate) struct PushSeries<'a> {
    pub(crate) labels: Vec<(&'a str, &'a str)>,
    pub(crate) profiles: Vec<Vec<u8>>,
    pub(crate) id: &'a str,
}

impl<'a> PushSeries<'a> {
    /// A CPU profile of a service.
    pub(crate) fn cpu(service: &'a str, profile: Vec<u8>) -> Self {
        Self { labels: vec![("__name__", "process_cpu"), ("service_name", service)], profiles: vec![profile], id: "" }
    }
}

/// `push.v1.PushRequest`.
pub(crate) fn push_request(series: &[PushSeries<'_>]) -> Vec<u8> {
    let mut request = Message::default();
    for one in series {
        let mut message = Message::default();
        for (name, value) in &one.labels {
            let pair = Message::default().bytes(1, name.as_bytes()).bytes(2, value.as_bytes());
            message = message.message(1, &pair);
        }
        for profile in &one.profiles {
            message = message.message(2, &Message::default().bytes(1, profile).bytes(2, one.id.as_bytes()));
        }
        request = request.message(1, &message);
    }
    request.0
}

/// The clock in ns since the Unix epoch.
pub(crate) fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("the clock is past 1970");
    u64::try_from(since.as_nanos()).expect("the clock is before 2554")
}
