//! Label sets: what names a series.

use std::fmt;
use std::hash::Hasher;
use std::sync::Arc;

use twox_hash::XxHash3_64;

/// Names of labels with a meaning of their own. Source: Pyroscope's wire conventions.
pub mod name {
    /// First part of the profile type, such as `process_cpu`.
    pub const NAME: &str = "__name__";
    /// The service that a profile belongs to.
    pub const SERVICE_NAME: &str = "service_name";
    /// The whole profile type, see [`crate::ProfileType`].
    pub const PROFILE_TYPE: &str = "__profile_type__";
    /// The sample type, such as `cpu`.
    pub const TYPE: &str = "__type__";
    /// The sample unit, such as `nanoseconds`.
    pub const UNIT: &str = "__unit__";
    /// The period type, may be empty.
    pub const PERIOD_TYPE: &str = "__period_type__";
    /// The period unit, may be empty.
    pub const PERIOD_UNIT: &str = "__period_unit__";
    /// Copy of [`SERVICE_NAME`] that clients of the reference server ask for.
    pub const SERVICE_NAME_PRIVATE: &str = "__service_name__";
}

/// A sorted set of label pairs; cheap to clone.
///
/// Shape: names are unique and ascending bytewise. Names and values are any UTF-8.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Labels(Arc<[(Box<str>, Box<str>)]>);

impl Labels {
    /// Sorts `pairs` by name; of pairs with the same name the last one stays.
    pub fn new<N: Into<Box<str>>, V: Into<Box<str>>>(pairs: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut sorted: Vec<(Box<str>, Box<str>)> = Vec::new();
        for (name, value) in pairs {
            let (name, value) = (name.into(), value.into());
            match sorted.binary_search_by(|(n, _)| n.as_ref().cmp(&name)) {
                Ok(at) => sorted[at].1 = value,
                Err(at) => sorted.insert(at, (name, value)),
            }
        }
        Self(sorted.into())
    }

    /// The value of `name`, if the set has it.
    pub fn get(&self, name: &str) -> Option<&str> {
        let at = self.0.binary_search_by(|(n, _)| n.as_ref().cmp(name)).ok()?;
        Some(&self.0[at].1)
    }

    /// Pairs in ascending order of their names.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.0.iter().map(|(n, v)| (n.as_ref(), v.as_ref()))
    }

    /// Number of pairs.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is no pair.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// A copy with `name` set to `value`.
    #[must_use]
    pub fn with(&self, name: &str, value: &str) -> Self {
        Self::new(self.iter().chain([(name, value)]))
    }

    /// A copy that keeps only the pairs that `keep` accepts by name.
    #[must_use]
    pub fn retain(&self, keep: impl Fn(&str) -> bool) -> Self {
        Self(self.0.iter().filter(|(n, _)| keep(n)).cloned().collect())
    }

    /// 64-bit XXH3 of the pairs, stable across versions: it names the series on disk.
    ///
    /// Two different sets may share a fingerprint, so compare the sets where it matters.
    pub fn fingerprint(&self) -> u64 {
        let mut hasher = XxHash3_64::new();
        for (name, value) in self.iter() {
            hasher.write(name.as_bytes());
            hasher.write(&[0xFF]); // never part of UTF-8
            hasher.write(value.as_bytes());
            hasher.write(&[0xFF]);
        }
        hasher.finish()
    }
}

impl Default for Labels {
    fn default() -> Self {
        Self(Arc::from([]))
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// As a selector: `{name="value", …}`.
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (i, (name, value)) in self.iter().enumerate() {
            let separator = if i == 0 { "" } else { ", " };
            write!(f, "{separator}{name}={value:?}")?;
        }
        f.write_str("}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sorts_and_keeps_the_last_of_equal_names() {
        let labels = Labels::new([("b", "1"), ("a", "2"), ("b", "3")]);
        assert_eq!(labels.iter().collect::<Vec<_>>(), [("a", "2"), ("b", "3")]);
        assert_eq!(labels.get("b"), Some("3"));
        assert_eq!(labels.get("c"), None);
    }

    #[test]
    fn fingerprint_separates_names_from_values() {
        assert_ne!(Labels::new([("ab", "c")]).fingerprint(), Labels::new([("a", "bc")]).fingerprint());
        assert_eq!(
            Labels::new([("x", "1"), ("a", "2")]).fingerprint(),
            Labels::new([("a", "2"), ("x", "1")]).fingerprint()
        );
    }

    #[test]
    fn fingerprint_never_changes() {
        assert_eq!(Labels::new([("service_name", "shop")]).fingerprint(), 8_246_444_274_216_895_141);
    }

    #[test]
    fn displays_as_a_selector() {
        assert_eq!(Labels::new([("b", "x\"y"), ("a", "1")]).to_string(), r#"{a="1", b="x\"y"}"#);
    }
}
