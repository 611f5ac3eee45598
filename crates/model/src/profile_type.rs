//! Profile types: what the numbers of a series mean.

use std::fmt;
use std::str::FromStr;

use crate::{Labels, name};

/// `name:sample_type:sample_unit:period_type:period_unit`, such as
/// `process_cpu:cpu:nanoseconds:cpu:nanoseconds`. The period parts may be empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileType {
    /// First part, the `__name__` of the series, such as `memory`.
    pub name: String,
    /// What is counted, such as `inuse_space`.
    pub sample_type: String,
    /// Unit of the values, such as `bytes`.
    pub sample_unit: String,
    /// What triggers a sample, such as `space`.
    pub period_type: String,
    /// Unit of the period.
    pub period_unit: String,
}

/// Why a text is no profile type.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid profile type {0:?}: expected name:sample_type:sample_unit:period_type:period_unit, such as process_cpu:cpu:nanoseconds:cpu:nanoseconds"
)]
pub struct ProfileTypeError(pub String);

impl ProfileType {
    /// The type that the labels of a series state, if they hold a valid one.
    pub fn of(labels: &Labels) -> Option<Self> {
        labels.get(name::PROFILE_TYPE)?.parse().ok()
    }
}

impl FromStr for ProfileType {
    type Err = ProfileTypeError;

    /// Five parts, or six where the last is `delta` (accepted and forgotten).
    fn from_str(text: &str) -> Result<Self, ProfileTypeError> {
        let parts: Vec<&str> = text.split(':').collect();
        let (&[name, sample_type, sample_unit, period_type, period_unit]
        | &[name, sample_type, sample_unit, period_type, period_unit, "delta"]) = parts.as_slice()
        else {
            return Err(ProfileTypeError(text.to_owned()));
        };
        if name.is_empty() || sample_type.is_empty() {
            return Err(ProfileTypeError(text.to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
            sample_type: sample_type.to_owned(),
            sample_unit: sample_unit.to_owned(),
            period_type: period_type.to_owned(),
            period_unit: period_unit.to_owned(),
        })
    }
}

impl fmt::Display for ProfileType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, sample_type, sample_unit, period_type, period_unit } = self;
        write!(f, "{name}:{sample_type}:{sample_unit}:{period_type}:{period_unit}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips() {
        for text in ["process_cpu:cpu:nanoseconds:cpu:nanoseconds", "memory:alloc_space:bytes::"] {
            assert_eq!(text.parse::<ProfileType>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_delta_suffix_is_forgotten() {
        let with_suffix: ProfileType = "memory:alloc_space:bytes:space:bytes:delta".parse().unwrap();
        assert_eq!(with_suffix.to_string(), "memory:alloc_space:bytes:space:bytes");
    }

    #[test]
    fn other_shapes_are_refused() {
        for text in ["", "process_cpu", "a:b:c:d", "a:b:c:d:e:f", ":b:c:d:e"] {
            assert_eq!(text.parse::<ProfileType>(), Err(ProfileTypeError(text.to_owned())));
        }
    }
}
