//! The labels that Pyroscope's Java agent sends next to a recording.

use hashbrown::HashMap;

use crate::JfrError;

/// Label contexts and texts by the numbers that events refer to them with.
///
/// Source: protobuf message `LabelsSnapshot { map<int64, Context> contexts = 1; map<int64, string> strings = 2; }`,
/// `Context { map<int64, int64> labels = 1; }` with numbers of texts on both sides.
#[derive(Clone, Debug, Default)]
pub struct LabelsSnapshot<'a> {
    contexts: HashMap<u64, std::ops::Range<usize>>,
    pairs: Vec<(u64, u64)>,
    texts: HashMap<u64, &'a str>,
}

impl<'a> LabelsSnapshot<'a> {
    /// Reads the message. Memory: at most 16 times the length of `message`.
    ///
    /// Errors: [`JfrError::Labels`] where it is malformed.
    pub fn decode(message: &'a [u8]) -> Result<Self, JfrError> {
        let mut snapshot = Self::default();
        each_field(message, 0, |number, value, offset| {
            let (key, value, offset) = match number {
                1 | 2 => entry(value, offset)?,
                _ => return Ok(()),
            };
            if number == 1 {
                snapshot.add_context(key, value, offset)
            } else {
                let text = std::str::from_utf8(value.bytes()).map_err(|_| damaged("text is not UTF-8", offset))?;
                snapshot.texts.insert(key, text);
                Ok(())
            }
        })?;
        Ok(snapshot)
    }

    /// Labels of a context, sorted by name; pairs with missing texts or an empty name are left out.
    pub(crate) fn labels(&self, context: u64) -> Vec<(&'a str, &'a str)> {
        let pairs = self.contexts.get(&context).map_or(&[][..], |range| &self.pairs[range.clone()]);
        let mut labels: Vec<_> =
            pairs.iter().filter_map(|&(name, value)| Some((self.text(name)?, self.text(value)?))).collect();
        labels.retain(|(name, _)| !name.is_empty());
        labels.sort_unstable();
        labels.dedup_by_key(|&mut (name, _)| name);
        labels
    }

    /// Number of labels that [`Self::labels`] gives at most.
    pub(crate) fn label_count(&self, context: u64) -> usize {
        self.contexts.get(&context).map_or(0, std::ops::Range::len)
    }

    /// The text with a number.
    pub(crate) fn text(&self, number: u64) -> Option<&'a str> {
        self.texts.get(&number).copied()
    }

    fn add_context(&mut self, key: u64, context: Wire<'a>, offset: usize) -> Result<(), JfrError> {
        let start = self.pairs.len();
        each_field(context.bytes(), offset, |number, value, offset| {
            if number == 1 {
                let (name, value, _) = entry(value, offset)?;
                self.pairs.push((name, value.number()));
            }
            Ok(())
        })?;
        self.contexts.insert(key, start..self.pairs.len());
        Ok(())
    }
}

/// Value of a protobuf field; the other kind reads as the default.
#[derive(Clone, Copy)]
enum Wire<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

impl<'a> Wire<'a> {
    fn number(self) -> u64 {
        match self {
            Self::Number(number) => number,
            Self::Bytes(_) => 0,
        }
    }

    fn bytes(self) -> &'a [u8] {
        match self {
            Self::Number(_) => &[],
            Self::Bytes(bytes) => bytes,
        }
    }
}

fn damaged(what: &'static str, offset: usize) -> JfrError {
    JfrError::Labels { what, offset }
}

/// Key, value and the value's offset of an entry of a map.
fn entry(map_entry: Wire<'_>, offset: usize) -> Result<(u64, Wire<'_>, usize), JfrError> {
    let mut found = (0, Wire::Bytes(&[]), offset);
    each_field(map_entry.bytes(), offset, |number, value, offset| {
        match number {
            1 => found.0 = value.number(),
            2 => (found.1, found.2) = (value, offset),
            _ => {}
        }
        Ok(())
    })?;
    Ok(found)
}

/// Calls `visit` with number, value and offset of every field of a message that starts at `offset`.
fn each_field<'a>(
    message: &'a [u8],
    offset: usize,
    mut visit: impl FnMut(u64, Wire<'a>, usize) -> Result<(), JfrError>,
) -> Result<(), JfrError> {
    let mut rest = message;
    while !rest.is_empty() {
        let at = offset + message.len() - rest.len();
        let early = damaged("message ends early", at);
        let tag = varint(&mut rest).ok_or(early.clone())?;
        let length = match tag & 7 {
            0 => {
                let number = varint(&mut rest).ok_or(early)?;
                visit(tag >> 3, Wire::Number(number), at)?;
                continue;
            }
            1 => 8,
            2 => varint(&mut rest).ok_or(early.clone())?,
            5 => 4,
            _ => return Err(damaged("unknown wire type", at)),
        };
        let (bytes, after) = usize::try_from(length).ok().and_then(|n| rest.split_at_checked(n)).ok_or(early)?;
        visit(tag >> 3, Wire::Bytes(bytes), offset + message.len() - rest.len())?;
        rest = after;
    }
    Ok(())
}

fn varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}
