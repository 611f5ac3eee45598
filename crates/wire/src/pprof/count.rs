//! First pass: what a profile holds, without allocating anything.

use std::ops::Range;

use argand_model::{Function, Line, Location, LocationId, Mapping, SampleLabel};

use super::PprofError;
use super::field::{location, profile, sample};
use super::ids::MEMORY_BYTES_PER_ID;
use crate::limits::{Quantity, check};
use crate::{DecodeLimits, LimitError, Reader};

/// Most bytes of a profile: no table has more entries than the profile has bytes, and positions in tables are `u32`.
const MAX_BYTES: usize = u32::MAX as usize - 1;

/// Number of entries of every table of a profile, and where they are.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    pub(super) sample_types: usize,
    pub(super) samples: usize,
    pub(super) frames: usize,
    pub(super) values: usize,
    pub(super) labels: usize,
    pub(super) mappings: usize,
    pub(super) locations: usize,
    pub(super) lines: usize,
    pub(super) functions: usize,
    pub(super) strings: usize,
    pub(super) string_bytes: usize,
    /// From the first sample to the last; other fields may lie between.
    pub(super) sample_range: Range<usize>,
    /// From the first location to the last.
    pub(super) location_range: Range<usize>,
}

impl Counts {
    /// Counts the fields of `bytes` and stops at the first that exceeds `limits`.
    pub(super) fn of(bytes: &[u8], limits: &DecodeLimits) -> Result<Self, PprofError> {
        check(Quantity::MemoryBytes, bytes.len(), MAX_BYTES)?;
        let mut counts = Self::default();
        let mut reader = Reader::new(bytes);
        loop {
            let start = bytes.len() - reader.remaining();
            let Some(field) = reader.field()? else { break };
            let range = start..bytes.len() - reader.remaining();
            match field.number {
                profile::SAMPLE_TYPE => {
                    increment(&mut counts.sample_types, Quantity::SampleTypes, limits.sample_types)?;
                }
                profile::SAMPLE => {
                    increment(&mut counts.samples, Quantity::Samples, limits.samples)?;
                    counts.add_sample(field.bytes()?, limits)?;
                    grow(&mut counts.sample_range, range);
                }
                profile::MAPPING => increment(&mut counts.mappings, Quantity::Mappings, limits.mappings)?,
                profile::LOCATION => {
                    increment(&mut counts.locations, Quantity::Locations, limits.locations)?;
                    counts.add_location(field.bytes()?)?;
                    grow(&mut counts.location_range, range);
                }
                profile::FUNCTION => increment(&mut counts.functions, Quantity::Functions, limits.functions)?,
                profile::STRING_TABLE => {
                    increment(&mut counts.strings, Quantity::Strings, limits.strings)?;
                    counts.string_bytes += field.bytes()?.len();
                    check(Quantity::StringBytes, counts.string_bytes, limits.string_bytes)?;
                }
                _ => {}
            }
        }
        check(Quantity::MemoryBytes, counts.memory_bytes(), limits.memory_bytes)?;
        Ok(counts)
    }

    fn add_sample(&mut self, message: &[u8], limits: &DecodeLimits) -> Result<(), PprofError> {
        let mut reader = Reader::new(message);
        let mut labels = 0;
        while let Some(field) = reader.field()? {
            match field.number {
                sample::LOCATION_ID => self.frames += field.uint_count()?,
                sample::VALUE => self.values += field.uint_count()?,
                sample::LABEL => increment(&mut labels, Quantity::LabelsPerSample, limits.labels_per_sample)?,
                _ => {}
            }
        }
        self.labels += labels;
        check(Quantity::Frames, self.frames, limits.frames_total)?;
        Ok(())
    }

    fn add_location(&mut self, message: &[u8]) -> Result<(), PprofError> {
        let mut reader = Reader::new(message);
        while let Some(field) = reader.field()? {
            self.lines += usize::from(field.number == location::LINE);
        }
        Ok(())
    }

    /// Upper bound of what decoding allocates.
    fn memory_bytes(&self) -> usize {
        let per_sample = 2 * size_of::<u32>();
        self.samples * per_sample
            + self.frames * size_of::<LocationId>()
            + self.values * size_of::<i64>()
            + self.labels * size_of::<SampleLabel>()
            + self.mappings * (size_of::<Mapping>() + MEMORY_BYTES_PER_ID)
            + self.locations * (size_of::<Location>() + MEMORY_BYTES_PER_ID)
            + self.lines * size_of::<Line>()
            + self.functions * (size_of::<Function>() + MEMORY_BYTES_PER_ID)
            + self.strings * size_of::<u32>()
            + self.string_bytes
    }
}

fn increment(count: &mut usize, quantity: Quantity, limit: usize) -> Result<(), LimitError> {
    *count += 1;
    check(quantity, *count, limit)
}

fn grow(range: &mut Range<usize>, by: Range<usize>) {
    if range.start == range.end {
        range.start = by.start;
    }
    range.end = by.end;
}
