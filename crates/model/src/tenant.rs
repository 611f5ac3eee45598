//! Tenants: whose data it is.

use std::fmt;
use std::str::FromStr;

/// A validated tenant id; a storage handle carries one, so data of two tenants cannot meet.
///
/// At most 150 bytes of `[a-zA-Z0-9!_.*'()-]`, neither `.` nor `..`. Never used as a path.
/// Source: the `X-Scope-OrgID` rules that Grafana's databases share.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Box<str>);

/// Why a text is no tenant id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum TenantIdError {
    /// No bytes at all.
    #[error("tenant id is empty")]
    Empty,
    /// More than 150 bytes.
    #[error("tenant id of {0} bytes is too long: at most {max} are allowed", max = TenantId::MAX_LEN_BYTES)]
    TooLong(usize),
    /// A character outside the allowed set.
    #[error("tenant id contains {0:?}: allowed are letters, digits and !_.*'()-")]
    Character(char),
    /// `.` or `..`
    #[error("tenant id must not be \".\" or \"..\"")]
    Dots,
}

impl TenantId {
    /// Longest id in bytes.
    pub const MAX_LEN_BYTES: usize = 150;

    /// The tenant of a server that serves one tenant only.
    pub fn anonymous() -> Self {
        Self("anonymous".into())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for TenantId {
    type Err = TenantIdError;

    fn from_str(text: &str) -> Result<Self, TenantIdError> {
        if text.is_empty() {
            return Err(TenantIdError::Empty);
        }
        if text.len() > Self::MAX_LEN_BYTES {
            return Err(TenantIdError::TooLong(text.len()));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || "!_.*'()-".contains(c);
        if let Some(character) = text.chars().find(|&c| !allowed(c)) {
            return Err(TenantIdError::Character(character));
        }
        if text == "." || text == ".." {
            return Err(TenantIdError::Dots);
        }
        Ok(Self(text.into()))
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_the_allowed_set() {
        for text in ["anonymous", "team-a", "A1!_.*'()-", &"x".repeat(150)] {
            assert_eq!(text.parse::<TenantId>().unwrap().as_str(), text);
        }
    }

    #[test]
    fn refuses_everything_else() {
        assert_eq!("".parse::<TenantId>(), Err(TenantIdError::Empty));
        assert_eq!("..".parse::<TenantId>(), Err(TenantIdError::Dots));
        assert_eq!("a/b".parse::<TenantId>(), Err(TenantIdError::Character('/')));
        assert_eq!("ä".parse::<TenantId>(), Err(TenantIdError::Character('ä')));
        assert_eq!("x".repeat(151).parse::<TenantId>(), Err(TenantIdError::TooLong(151)));
    }
}
