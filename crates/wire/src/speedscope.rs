//! speedscope's JSON: `sampled` and `evented` profiles over shared frames.
//!
//! Source: <https://www.speedscope.app/file-format-schema.json>.

use std::fmt;

use argand_model::{Profile, StringId};
use hashbrown::HashMap;
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};

use crate::call_tree::{CallTree, Measure, Node, ROOT};
use crate::limits::{Quantity, check};
use crate::{DecodeLimits, FormatError};

/// What a file has to state as its `$schema`.
pub const SCHEMA: &str = "https://www.speedscope.app/file-format-schema.json";

/// Parsed JSON takes up to this many times its own size: lists of one-digit numbers do.
const MEMORY_BYTES_PER_JSON_BYTE: usize = 8;
/// Profiles of one file: every one costs more in memory than in JSON.
const MAX_PROFILES: usize = 1024;

/// One profile of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpeedscopeProfile {
    /// Its name, often a thread or file; may repeat.
    pub name: String,
    /// Unit that the file states.
    pub unit: Unit,
    /// Its stacks by name, with one sample type `samples` in the unit [`Unit::stored`]; no time.
    pub profile: Profile,
}

/// Unit of a profile's values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// Plain numbers.
    None,
    /// Time.
    Nanoseconds,
    /// Time.
    Microseconds,
    /// Time.
    Milliseconds,
    /// Time.
    Seconds,
    /// Memory.
    Bytes,
}

impl Unit {
    /// As the file spells it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Nanoseconds => "nanoseconds",
            Self::Microseconds => "microseconds",
            Self::Milliseconds => "milliseconds",
            Self::Seconds => "seconds",
            Self::Bytes => "bytes",
        }
    }

    /// Unit of the decoded values: times are stored in nanoseconds, plain numbers as `count`.
    pub fn stored(self) -> &'static str {
        match self {
            Self::None => "count",
            Self::Bytes => "bytes",
            Self::Nanoseconds | Self::Microseconds | Self::Milliseconds | Self::Seconds => "nanoseconds",
        }
    }

    fn scale(self) -> f64 {
        match self {
            Self::None | Self::Bytes | Self::Nanoseconds => 1.0,
            Self::Microseconds => 1e3,
            Self::Milliseconds => 1e6,
            Self::Seconds => 1e9,
        }
    }
}

/// Decodes all profiles of a file, in its order.
///
/// Values are rounded so that their sums do not drift. Frames that are still open when an evented profile ends last
/// until its end value. The limits hold for all profiles together in `memory_bytes` and `string_bytes`, otherwise for
/// each one.
/// Errors: another schema, unknown units, frames that do not exist, samples without weights, negative weights, events
/// out of order.
pub fn decode(json: &[u8], limits: &DecodeLimits) -> Result<Vec<SpeedscopeProfile>, FormatError> {
    check(Quantity::MemoryBytes, json.len().saturating_mul(MEMORY_BYTES_PER_JSON_BYTE), limits.memory_bytes)?;
    let file: File = serde_json::from_slice(json).map_err(|error| FormatError::Speedscope(error.to_string()))?;
    if file.schema != SCHEMA {
        return Err(invalid(format_args!("$schema is not {SCHEMA}")));
    }
    if file.profiles.len() > MAX_PROFILES {
        return Err(invalid(format_args!("more than {MAX_PROFILES} profiles")));
    }
    let mut left = limits.clone();
    let mut decoded = Vec::with_capacity(file.profiles.len());
    for from in file.profiles {
        let (profile, used) = decode_profile(&from, &file.shared.frames, &left)?;
        left.memory_bytes = left.memory_bytes.saturating_sub(used.memory_bytes);
        left.string_bytes = left.string_bytes.saturating_sub(used.string_bytes);
        decoded.push(SpeedscopeProfile { name: from.name, unit: from.unit, profile });
    }
    Ok(decoded)
}

/// What one profile takes of the limits that all share.
struct Usage {
    memory_bytes: usize,
    string_bytes: usize,
}

fn decode_profile(
    from: &FileProfile,
    frames: &[FileFrame],
    limits: &DecodeLimits,
) -> Result<(Profile, Usage), FormatError> {
    let mut stacks = FrameTree { tree: CallTree::new(limits), frames, names: HashMap::new() };
    let mut values = Rounding { scale: from.unit.scale(), exact: 0.0, rounded: 0 };
    match from.kind {
        Kind::Sampled => add_samples(from, &mut stacks, &mut values)?,
        Kind::Evented => add_events(from, &mut stacks, &mut values)?,
    }
    let string_bytes = stacks.tree.string_bytes();
    let profile = stacks.tree.into_profile(Measure { kind: "samples", unit: from.unit.stored(), scale: 1 })?;
    let memory_bytes = profile.symbols.memory_bytes() + profile.samples.stacks.memory_bytes();
    Ok((profile, Usage { memory_bytes, string_bytes }))
}

fn add_samples(from: &FileProfile, stacks: &mut FrameTree<'_>, values: &mut Rounding) -> Result<(), FormatError> {
    let FlatStacks { frames, ends } = &from.samples;
    if ends.len() != from.weights.len() {
        return Err(invalid(format_args!("{} samples with {} weights", ends.len(), from.weights.len())));
    }
    let mut start = 0;
    for (&end, &weight) in ends.iter().zip(&from.weights) {
        let stack = frames[start..end as usize].iter().try_fold(ROOT, |node, &frame| stacks.child(node, frame))?;
        stacks.tree.add(stack, values.advance(weight)?)?;
        start = end as usize;
    }
    Ok(())
}

fn add_events(from: &FileProfile, stacks: &mut FrameTree<'_>, values: &mut Rounding) -> Result<(), FormatError> {
    let mut stack = ROOT;
    let mut now = from.start_value;
    for event in &from.events {
        stacks.pass(stack, event.at - now, values)?;
        now = event.at;
        stack = match event.kind {
            EventKind::Open => stacks.child(stack, event.frame)?,
            EventKind::Close => stacks.close(stack, event.frame)?,
        };
    }
    if stack != ROOT && from.end_value > now {
        stacks.pass(stack, from.end_value - now, values)?;
    }
    Ok(())
}

/// Stacks of frames by their index in the file.
struct FrameTree<'a> {
    tree: CallTree<'a>,
    frames: &'a [FileFrame],
    /// Names that were looked up already: a long one may belong to many samples.
    names: HashMap<u32, StringId>,
}

impl FrameTree<'_> {
    fn child(&mut self, parent: Node, frame: u32) -> Result<Node, FormatError> {
        let name = self.name(frame)?;
        self.tree.child(parent, name)
    }

    /// Leaves the frame, which has to be the innermost one.
    fn close(&mut self, stack: Node, frame: u32) -> Result<Node, FormatError> {
        let name = self.name(frame)?;
        if stack == ROOT || self.tree.name_of(stack) != name {
            return Err(invalid(format_args!("frame {frame} is closed but not the innermost open one")));
        }
        Ok(self.tree.parent(stack))
    }

    /// Lets time pass in a stack; without open frames it counts nowhere.
    fn pass(&mut self, stack: Node, duration: f64, values: &mut Rounding) -> Result<(), FormatError> {
        let value = values.advance(duration)?;
        if stack == ROOT { Ok(()) } else { self.tree.add(stack, value) }
    }

    fn name(&mut self, frame: u32) -> Result<StringId, FormatError> {
        if let Some(&name) = self.names.get(&frame) {
            return Ok(name);
        }
        let FileFrame { name } =
            self.frames.get(frame as usize).ok_or_else(|| invalid(format_args!("frame {frame} does not exist")))?;
        let name = self.tree.name(name)?;
        self.names.insert(frame, name);
        Ok(name)
    }
}

/// Turns a series of weights into integers whose running sum stays within one half of the exact one.
struct Rounding {
    scale: f64,
    exact: f64,
    rounded: i64,
}

impl Rounding {
    fn advance(&mut self, weight: f64) -> Result<i64, FormatError> {
        if weight.is_nan() || weight < 0.0 {
            return Err(invalid(format_args!("weight {weight} is negative")));
        }
        self.exact += weight * self.scale;
        if self.exact >= i64::MAX as f64 {
            return Err(FormatError::Overflow);
        }
        let rounded = self.exact.round() as i64;
        let value = rounded - self.rounded;
        self.rounded = rounded;
        Ok(value)
    }
}

fn invalid(reason: fmt::Arguments<'_>) -> FormatError {
    FormatError::Speedscope(reason.to_string())
}

#[derive(Deserialize)]
struct File {
    #[serde(rename = "$schema")]
    schema: String,
    shared: Shared,
    profiles: Vec<FileProfile>,
}

#[derive(Deserialize)]
struct Shared {
    frames: Vec<FileFrame>,
}

#[derive(Deserialize)]
struct FileFrame {
    name: String,
}

/// Both kinds in one: the field that tells them may come last.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileProfile {
    #[serde(rename = "type")]
    kind: Kind,
    name: String,
    unit: Unit,
    start_value: f64,
    end_value: f64,
    #[serde(default)]
    samples: FlatStacks,
    #[serde(default)]
    weights: Vec<f64>,
    #[serde(default)]
    events: Vec<Event>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Sampled,
    Evented,
}

#[derive(Deserialize)]
struct Event {
    #[serde(rename = "type")]
    kind: EventKind,
    at: f64,
    frame: u32,
}

#[derive(Clone, Copy, Deserialize)]
enum EventKind {
    #[serde(rename = "O")]
    Open,
    #[serde(rename = "C")]
    Close,
}

/// A list of lists of numbers, without an allocation for each: frames from the root, and where each stack ends.
#[derive(Default)]
struct FlatStacks {
    frames: Vec<u32>,
    ends: Vec<u32>,
}

impl<'de> Deserialize<'de> for FlatStacks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Stacks(FlatStacks);

        impl<'de> Visitor<'de> for Stacks {
            type Value = FlatStacks;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of stacks")
            }

            fn visit_seq<A: SeqAccess<'de>>(mut self, mut stacks: A) -> Result<FlatStacks, A::Error> {
                while stacks.next_element_seed(Stack(&mut self.0.frames))?.is_some() {
                    self.0.ends.push(self.0.frames.len() as u32);
                }
                Ok(self.0)
            }
        }

        deserializer.deserialize_seq(Stacks(FlatStacks::default()))
    }
}

/// Appends one stack to the frames of all.
struct Stack<'a>(&'a mut Vec<u32>);

impl<'de> serde::de::DeserializeSeed<'de> for Stack<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de> Visitor<'de> for Stack<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of frame indexes")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut frames: A) -> Result<(), A::Error> {
        while let Some(frame) = frames.next_element()? {
            self.0.push(frame);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
