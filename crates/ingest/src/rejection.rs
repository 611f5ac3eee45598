//! Why an upload was not taken.

use std::fmt;

/// The kinds of refusal: label `reason` of the discard counters, named as Pyroscope's dashboards expect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// The bytes are no profile of the stated format.
    MalformedProfile,
    /// Larger than the limit once decompressed.
    ProfileSizeLimit,
    /// Too many samples.
    SamplesLimit,
    /// Too many labels on one sample.
    SampleLabelsLimit,
    /// No labels at all.
    MissingLabels,
    /// A label name or value that cannot be stored.
    InvalidLabels,
    /// Too many labels.
    MaxLabelNamesPerSeries,
    /// Label name too long.
    LabelNameTooLong,
    /// Label value too long.
    LabelValueTooLong,
    /// The same label twice.
    DuplicateLabelNames,
    /// Too old, or from the future.
    NotInIngestionWindow,
    /// A relabel rule dropped it; the sender is told success.
    DroppedByRelabelRules,
    /// The whole request is too large.
    BodySizeLimitExceeded,
    /// More bytes per second than the tenant may send.
    RateLimited,
    /// More series than the tenant may have.
    SeriesLimit,
}

impl Reason {
    /// The label value.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::MalformedProfile => "malformed_profile",
            Self::ProfileSizeLimit => "profile_size_limit",
            Self::SamplesLimit => "samples_limit",
            Self::SampleLabelsLimit => "sample_labels_limit",
            Self::MissingLabels => "missing_labels",
            Self::InvalidLabels => "invalid_labels",
            Self::MaxLabelNamesPerSeries => "max_label_names_per_series",
            Self::LabelNameTooLong => "label_name_too_long",
            Self::LabelValueTooLong => "label_value_too_long",
            Self::DuplicateLabelNames => "duplicate_label_names",
            Self::NotInIngestionWindow => "not_in_ingestion_window",
            Self::DroppedByRelabelRules => "dropped_by_relabel_rules",
            Self::BodySizeLimitExceeded => "body_size_limit_exceeded",
            Self::RateLimited => "rate_limited",
            Self::SeriesLimit => "series_limit",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// An upload that was refused, with the words for its sender.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Rejection {
    /// Kind, for counters and status codes.
    pub reason: Reason,
    /// What is wrong and, where it helps, what to do.
    pub message: String,
}

impl Rejection {
    /// A refusal of a kind, in words.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}
