//! A profile as a client sent it.

use crate::{LocationId, Stacks, StringId, Symbols};

/// What is measured, in which unit; both are ids of the profile's strings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ValueType {
    /// Such as `cpu`.
    pub kind: StringId,
    /// Such as `nanoseconds`.
    pub unit: StringId,
}

/// A label of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SampleLabel {
    /// Name.
    pub key: StringId,
    /// Text value; the empty string for a numeric label.
    pub text: StringId,
    /// Numeric value; 0 for a text label.
    pub number: i64,
    /// Unit of the numeric value.
    pub number_unit: StringId,
}

/// Samples as columns.
///
/// Shape: `stacks.len()` samples; `values` holds `value_count` numbers per sample, sample by sample;
/// `label_ends[i]` ends the labels of sample `i` in `labels`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Samples {
    /// Stack of each sample, leaf first.
    pub stacks: Stacks,
    /// Values of all samples.
    pub values: Vec<i64>,
    /// Labels of all samples.
    pub labels: Vec<SampleLabel>,
    /// End of each sample's labels.
    pub label_ends: Vec<u32>,
}

impl Samples {
    /// Number of samples.
    pub fn len(&self) -> usize {
        self.stacks.len()
    }

    /// Whether there is no sample.
    pub fn is_empty(&self) -> bool {
        self.stacks.is_empty()
    }

    /// Appends a sample: locations leaf first, one value per sample type, labels.
    pub fn push(&mut self, leaf_first: impl IntoIterator<Item = LocationId>, values: &[i64], labels: &[SampleLabel]) {
        self.stacks.push(leaf_first);
        self.values.extend_from_slice(values);
        self.labels.extend_from_slice(labels);
        self.label_ends.push(u32::try_from(self.labels.len()).expect("tables are limited to u32 entries"));
    }

    /// Labels of the sample at `index`.
    pub fn labels_of(&self, index: usize) -> &[SampleLabel] {
        let start = if index == 0 { 0 } else { self.label_ends[index - 1] };
        &self.labels[start as usize..self.label_ends[index] as usize]
    }
}

/// One profile with its own symbol tables, as decoded from any format.
///
/// Shape: `samples.values.len() == samples.len() * sample_types.len()`; every id points into `symbols`
/// (decoders check, so that readers may index).
/// Units: times in ns since the Unix epoch (0 where unknown); values in the unit of their sample type.
/// Source: pprof's profile.proto, which the other formats are mapped to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Profile {
    /// What each value of a sample means, at least one.
    pub sample_types: Vec<ValueType>,
    /// Samples.
    pub samples: Samples,
    /// Symbol tables that everything here points into.
    pub symbols: Symbols,
    /// When the profile was taken.
    pub time_ns: i64,
    /// Length of the window that it covers, 0 where unknown.
    pub duration_ns: i64,
    /// What triggers a sample.
    pub period_type: ValueType,
    /// Distance of two samples in the unit of `period_type`.
    pub period: i64,
    /// Sample type to show first, as text id; the empty string where unset.
    pub default_sample_type: StringId,
}

impl Profile {
    /// Values of the sample at `index`, one per sample type.
    pub fn values_of(&self, index: usize) -> &[i64] {
        let width = self.sample_types.len();
        &self.samples.values[index * width..(index + 1) * width]
    }

    /// Text of an id of this profile.
    pub fn text(&self, id: StringId) -> &str {
        self.symbols.strings.get(id)
    }
}
