//! Samples of an interval, summed by process and stack.

use std::sync::Arc;

use hashbrown::HashMap;

use crate::memory::read_plain;
use crate::processes::ProcessKey;
use crate::shared::{End, Sample};
use crate::stats::Stats;

/// Bound on the words of all distinct stacks of an interval, 32 MiB: 65,536 stacks of 32 frames.
const MAX_WORDS: usize = 4 << 20;

/// A stack as the kernel side wrote it.
///
/// Shape: a head word, then `kernel` addresses of the kernel, then user frames of two words each; leaf first.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct RawStack(Box<[u64]>);

impl From<&[u64]> for RawStack {
    fn from(words: &[u64]) -> Self {
        Self(words.into())
    }
}

impl std::borrow::Borrow<[u64]> for RawStack {
    fn borrow(&self) -> &[u64] {
        &self.0
    }
}

/// A frame of user space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawFrame<'s> {
    /// An enum Frame, if it is known.
    pub(crate) kind: u8,
    pub(crate) flags: u16,
    pub(crate) data: u32,
    pub(crate) payload: &'s [u64],
}

impl RawStack {
    const OVERFLOW: u64 = 1 << 63;

    /// Addresses in the kernel, leaf first.
    pub(crate) fn kernel(&self) -> &[u64] {
        &self.0[1..1 + self.kernel_words()]
    }

    fn kernel_words(&self) -> usize {
        (self.0[0] & 0xffff) as usize
    }

    /// Frames of user space, leaf first.
    pub(crate) fn user(&self) -> impl Iterator<Item = RawFrame<'_>> {
        let mut rest = &self.0[1 + self.kernel_words()..];
        std::iter::from_fn(move || {
            let (&head, after) = rest.split_first()?;
            let extra = (head >> 8 & 0xff) as usize;
            let (payload, after) = after.split_at_checked(extra)?;
            rest = after;
            Some(RawFrame { kind: head as u8, flags: (head >> 16) as u16, data: (head >> 32) as u32, payload })
        })
    }

    /// Why the user stack ends; `None` where all stacks beyond the bound were merged.
    pub(crate) fn end(&self) -> Option<End> {
        if self.0[0] & Self::OVERFLOW != 0 { None } else { End::from_number(self.0[0] >> 16 & 0xff) }
    }
}

/// The samples of one process.
#[derive(Debug, Default)]
pub(crate) struct ProcessSamples {
    /// Name of a thread that was sampled: all there is of a process that was too fast.
    pub(crate) comm: String,
    /// Value by stack.
    pub(crate) stacks: HashMap<RawStack, u64>,
}

/// The samples of all processes.
pub(crate) struct Aggregate {
    by_process: HashMap<ProcessKey, ProcessSamples>,
    words: usize,
    scratch: Vec<u64>,
    stats: Arc<Stats>,
}

impl Aggregate {
    pub(crate) fn new(stats: Arc<Stats>) -> Self {
        Self { by_process: HashMap::new(), words: 0, scratch: Vec::new(), stats }
    }

    /// Adds a record of the kernel side. Gives the process and its parent's pid.
    pub(crate) fn add(&mut self, record: &[u8]) -> Option<(ProcessKey, u32)> {
        let parsed = read_plain::<Sample>(record).and_then(|sample| {
            let words = record.get(size_of::<Sample>()..size_of::<Sample>() + usize::from(sample.words) * 8)?;
            (sample.kernel_words <= sample.words).then_some((sample, words))
        });
        let Some((sample, words)) = parsed else {
            self.stats.samples_invalid.add(1);
            return None;
        };
        // The kernel's threads are one program.
        let key = if sample.end == End::NoUser as u8 {
            ProcessKey::KERNEL
        } else {
            ProcessKey { pid: sample.pid, exec_id: sample.exec_id, start_ns: sample.start_ns }
        };
        let head = u64::from(sample.kernel_words) | u64::from(sample.end) << 16;
        self.scratch.clear();
        self.scratch.push(head);
        self.scratch.extend(words.as_chunks().0.iter().map(|word| u64::from_ne_bytes(*word)));
        let process = self
            .by_process
            .entry(key)
            .or_insert_with(|| ProcessSamples { comm: text(&sample.comm), stacks: HashMap::new() });
        if let Some(value) = process.stacks.get_mut(self.scratch.as_slice()) {
            *value += sample.value;
            return Some((key, sample.parent_pid));
        }
        if self.words + self.scratch.len() > MAX_WORDS {
            self.stats.stacks_full.add(1);
            self.scratch.clear();
            self.scratch.push(RawStack::OVERFLOW);
        }
        self.words += self.scratch.len();
        *process.stacks.entry(RawStack::from(self.scratch.as_slice())).or_insert(0) += sample.value;
        Some((key, sample.parent_pid))
    }

    /// Takes everything out.
    pub(crate) fn take(&mut self) -> HashMap<ProcessKey, ProcessSamples> {
        self.words = 0;
        std::mem::take(&mut self.by_process)
    }
}

fn text(bytes: &[u8]) -> String {
    let end = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::bytes_of;

    fn record(sample: Sample, words: &[u64]) -> Vec<u8> {
        let sample = Sample { words: words.len() as u16, ..sample };
        let mut bytes = bytes_of(&sample).to_vec();
        bytes.extend(words.iter().flat_map(|word| word.to_ne_bytes()));
        bytes
    }

    #[test]
    fn equal_stacks_add_up_and_others_do_not() {
        let mut aggregate = Aggregate::new(Arc::default());
        let sample =
            Sample { pid: 7, parent_pid: 3, value: 10, kernel_words: 1, end: End::Root as u8, ..Sample::default() };
        let frame = 1 | 1 << 8 | 1 << 16 | 5 << 32;
        for words in [[0xffff, frame, 0x1000], [0xffff, frame, 0x1000], [0xffff, frame, 0x1001]] {
            let (key, parent) = aggregate.add(&record(sample, &words)).unwrap();
            assert_eq!((key.pid, parent), (7, 3));
        }
        let all = aggregate.take();
        assert_eq!(all.len(), 1);
        let stacks = &all.values().next().unwrap().stacks;
        let mut values: Vec<u64> = stacks.values().copied().collect();
        values.sort_unstable();
        assert_eq!(values, [10, 20]);
        let stack = stacks.iter().find(|(_, value)| **value == 20).unwrap().0;
        assert_eq!(stack.kernel(), [0xffff]);
        assert_eq!(stack.end(), Some(End::Root));
        let frames: Vec<_> = stack.user().collect();
        assert_eq!(frames, [RawFrame { kind: 1, flags: 1, data: 5, payload: &[0x1000] }]);
    }

    #[test]
    fn damaged_records_are_counted() {
        let stats = Arc::new(Stats::default());
        let mut aggregate = Aggregate::new(stats.clone());
        let whole = record(Sample { kernel_words: 1, ..Sample::default() }, &[1, 2]);
        for length in 0..whole.len() {
            assert!(aggregate.add(&whole[..length]).is_none());
        }
        let lying = record(Sample { kernel_words: 9, ..Sample::default() }, &[1, 2]);
        assert!(aggregate.add(&lying).is_none());
        assert_eq!(stats.samples_invalid.get(), whole.len() as u64 + 1);
        // A frame that claims more words than there are ends the stack.
        aggregate.add(&record(Sample::default(), &[1 | 200 << 8, 0])).unwrap();
        let all = aggregate.take();
        assert_eq!(all.values().next().unwrap().stacks.keys().next().unwrap().user().count(), 0);
    }
}
