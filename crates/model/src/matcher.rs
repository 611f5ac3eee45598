//! Label matchers: one condition of a selector.

use regex::Regex;

use crate::Labels;

/// How a [`Matcher`] compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`, anchored at both ends
    Regex,
    /// `!~`, anchored at both ends
    NotRegex,
}

/// One condition on a label. A label that a series lacks counts as the empty string, as in Prometheus.
#[derive(Clone, Debug)]
pub struct Matcher {
    name: Box<str>,
    op: MatchOp,
    value: Box<str>,
    regex: Option<Regex>,
}

/// Why a matcher could not be made.
#[derive(Debug, thiserror::Error)]
pub enum MatcherError {
    /// The pattern does not compile or would be too large.
    #[error("invalid regular expression {pattern:?} for label {name:?}: {reason}")]
    Regex {
        /// Label that the matcher is about.
        name: String,
        /// Pattern as given.
        pattern: String,
        /// What the compiler says, on one line.
        reason: String,
    },
}

/// Bound of a compiled pattern, so that a selector cannot bloat the server.
const REGEX_SIZE_LIMIT_BYTES: usize = 1 << 20;

impl Matcher {
    /// A matcher of any kind. Errors: [`MatcherError::Regex`] for a bad or huge pattern.
    pub fn new(name: &str, op: MatchOp, value: &str) -> Result<Self, MatcherError> {
        let regex = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(anchored(name, value)?),
        };
        Ok(Self { name: name.into(), op, value: value.into(), regex })
    }

    /// `name="value"`
    pub fn equal(name: &str, value: &str) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// Label that the condition is about.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How it compares.
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// The text or pattern compared with.
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Whether a series whose label has `value` (empty when it lacks the label) is meant.
    pub fn matches_value(&self, value: &str) -> bool {
        let regex_matches = || self.regex.as_ref().expect("regex operators hold a pattern").is_match(value);
        match self.op {
            MatchOp::Equal => *self.value == *value,
            MatchOp::NotEqual => *self.value != *value,
            MatchOp::Regex => regex_matches(),
            MatchOp::NotRegex => !regex_matches(),
        }
    }

    /// Whether the series `labels` is meant.
    pub fn matches(&self, labels: &Labels) -> bool {
        self.matches_value(labels.get(&self.name).unwrap_or(""))
    }
}

fn anchored(name: &str, pattern: &str) -> Result<Regex, MatcherError> {
    let compile = |text: &str| {
        regex::RegexBuilder::new(text).size_limit(REGEX_SIZE_LIMIT_BYTES).dot_matches_new_line(true).build()
    };
    // The pattern must stand alone first: `a)|(b` would close our group.
    compile(pattern).and_then(|_| compile(&format!("^(?:{pattern})$"))).map_err(|error| MatcherError::Regex {
        name: name.to_owned(),
        pattern: pattern.to_owned(),
        reason: error.to_string().lines().last().unwrap_or("not a regular expression").trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(op: MatchOp, pattern: &str, value: &str) -> bool {
        Matcher::new("l", op, pattern).unwrap().matches_value(value)
    }

    #[test]
    fn regexes_are_anchored() {
        assert!(matches(MatchOp::Regex, "a|bc", "bc"));
        assert!(!matches(MatchOp::Regex, "a|bc", "abc"));
        assert!(matches(MatchOp::NotRegex, "a", "ab"));
    }

    #[test]
    fn an_absent_label_is_empty() {
        let labels = Labels::new([("a", "1")]);
        assert!(Matcher::equal("b", "").matches(&labels));
        assert!(Matcher::new("b", MatchOp::NotEqual, "x").unwrap().matches(&labels));
        assert!(Matcher::new("b", MatchOp::Regex, ".*").unwrap().matches(&labels));
    }

    #[test]
    fn a_pattern_cannot_escape_its_group() {
        assert!(Matcher::new("l", MatchOp::Regex, "a)|(b").is_err());
    }

    #[test]
    fn a_huge_pattern_is_refused() {
        let error = Matcher::new("l", MatchOp::Regex, "(x{1000}){1000}").unwrap_err().to_string();
        assert!(error.contains("label \"l\""), "{error}");
    }
}
