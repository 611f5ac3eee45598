//! The `name` parameter of `/ingest`: `app{key=value,…}`, and what its suffix says of the profile type.

use argand_model::ProfileType;

/// An application name with its tags.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppName {
    /// The application, never empty.
    pub app: String,
    /// Tags in the order given.
    pub tags: Vec<(String, String)>,
}

/// Why a `name` parameter cannot be read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppNameError {
    /// Nothing before the brace.
    #[error("parameter name is missing or has no application: expected app or app{{key=value,key2=value2}}")]
    NoApp,
    /// A character that application names do not have.
    #[error("application name {app:?} contains {character:?}: allowed are letters, digits, blanks and _.-/")]
    AppCharacter {
        /// Name as given.
        app: String,
        /// First offender.
        character: char,
    },
    /// A brace is missing, or text follows the last one.
    #[error("parameter name {0:?} has unbalanced braces: expected app{{key=value,key2=value2}}")]
    Braces(String),
    /// A tag without `=`.
    #[error("tag {0:?} has no value: expected key=value")]
    NoValue(String),
    /// A tag key with a character that keys do not have, or no key.
    #[error("tag key {0:?} is invalid: allowed are letters, digits and _.")]
    Key(String),
    /// A key that the server sets itself.
    #[error("tag key {0:?} is reserved")]
    Reserved(String),
    /// A suffix that names no profile type.
    #[error(
        "unknown profile type suffix {0:?} of the application name: use for example .cpu, .wall, .alloc_space or .inuse_space"
    )]
    UnknownSuffix(String),
}

impl AppName {
    /// Reads `app` or `app{k=v,k2=v2}`. Values are anything up to `,` or `}`; keys that start with `__` are dropped,
    /// but for `__session_id__`. Errors: [`AppNameError`].
    pub fn parse(text: &str) -> Result<Self, AppNameError> {
        let (app, tags) = match text.split_once('{') {
            None => (text, ""),
            Some((app, rest)) => {
                (app, rest.trim_end().strip_suffix('}').ok_or_else(|| AppNameError::Braces(text.to_owned()))?)
            }
        };
        let app = app.trim();
        if app.is_empty() {
            return Err(AppNameError::NoApp);
        }
        if let Some(character) = app.chars().find(|&c| !(c.is_ascii_alphanumeric() || "_.-/ ".contains(c))) {
            return Err(AppNameError::AppCharacter { app: app.to_owned(), character });
        }
        if tags.contains(['{', '}']) {
            return Err(AppNameError::Braces(text.to_owned()));
        }
        let mut parsed = Vec::new();
        for tag in tags.split(',').map(str::trim_start).filter(|t| !t.trim().is_empty()) {
            let (key, value) = tag.split_once('=').ok_or_else(|| AppNameError::NoValue(tag.to_owned()))?;
            let key = key.trim();
            if key.is_empty() || !key.chars().all(|c| c.is_ascii_alphanumeric() || "_.".contains(c)) {
                return Err(AppNameError::Key(key.to_owned()));
            }
            if key == "__name__" {
                return Err(AppNameError::Reserved(key.to_owned()));
            }
            if key.starts_with("__") && key != "__session_id__" {
                continue;
            }
            parsed.push((key.to_owned(), value.to_owned()));
        }
        Ok(Self { app: app.to_owned(), tags: parsed })
    }
}

/// What a name's last part says, for the formats that carry one unnamed number per stack.
pub(crate) struct NamedType {
    /// The application without the suffix.
    pub app: String,
    /// Type of the numbers.
    pub profile_type: ProfileType,
    /// Whether numbers count samples, each worth `1e9 / sampleRate` ns.
    pub is_time: bool,
}

/// Splits `app.suffix`; without a dot the type is `cpu`. Errors: [`AppNameError::UnknownSuffix`].
pub(crate) fn named_type(app: &str) -> Result<NamedType, AppNameError> {
    let (app, suffix) = app.rsplit_once('.').unwrap_or((app, "cpu"));
    let plain = |name: &str, sample_type: &str, unit: &str| {
        (name.to_owned(), sample_type.to_owned(), unit.to_owned(), "", "", false)
    };
    let time = |name: &str, sample_type: &str| {
        (name.to_owned(), sample_type.to_owned(), "nanoseconds".to_owned(), "cpu", "nanoseconds", true)
    };
    let (name, sample_type, sample_unit, period_type, period_unit, is_time) = match suffix {
        "cpu" | "itimer" => time("process_cpu", "cpu"),
        "wall" | "seconds" | "milliseconds" | "microseconds" | "nanoseconds" => time("wall", "wall"),
        "inuse_objects" | "alloc_objects" | "alloc_in_new_tlab_objects" | "alloc_outside_tlab_objects" | "live" => {
            plain("memory", suffix, "count")
        }
        "inuse_space" | "alloc_space" | "alloc_in_new_tlab_bytes" | "alloc_outside_tlab_bytes" => {
            plain("memory", suffix, "bytes")
        }
        "goroutines" => plain("goroutine", "goroutines", "count"),
        "mutex_count" => plain("mutex", "contentions", "count"),
        "mutex_duration" => plain("mutex", "delay", "nanoseconds"),
        "block_count" | "lock_count" => plain("block", "contentions", "count"),
        "block_duration" | "lock_duration" => plain("block", "delay", "nanoseconds"),
        "exceptions" => plain("exceptions", "samples", "count"),
        "bytes" => plain("memory", "samples", "bytes"),
        unknown => return Err(AppNameError::UnknownSuffix(unknown.to_owned())),
    };
    let (period_type, period_unit) = (period_type.to_owned(), period_unit.to_owned());
    let profile_type = ProfileType { name, sample_type, sample_unit, period_type, period_unit };
    Ok(NamedType { app: app.to_owned(), profile_type, is_time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_and_without_tags() {
        for name in ["shop/api-1.cpu", "cart service"] {
            let bare = AppName::parse(name).unwrap();
            assert_eq!((bare.app.as_str(), bare.tags.len()), (name, 0));
        }
        let tagged = AppName::parse("shop{env=prod, runtime=OpenJDK 17+6,__session_id__=ab,__x__=1,}").unwrap();
        let expected = [("env", "prod"), ("runtime", "OpenJDK 17+6"), ("__session_id__", "ab")];
        assert_eq!(tagged.tags, expected.map(|(k, v)| (k.to_owned(), v.to_owned())));
    }

    #[test]
    fn bad_names_say_why() {
        use AppNameError::*;
        for (text, error) in [
            ("", NoApp),
            ("{a=b}", NoApp),
            ("a\"b", AppCharacter { app: "a\"b".into(), character: '"' }),
            ("a{b=c", Braces("a{b=c".into())),
            ("a{b}", NoValue("b".into())),
            ("a{b-c=d}", Key("b-c".into())),
            ("a{__name__=d}", Reserved("__name__".into())),
        ] {
            assert_eq!(AppName::parse(text), Err(error));
        }
    }

    #[test]
    fn suffixes_name_types() {
        let of = |app| named_type(app).map(|t| (t.app, t.profile_type.to_string(), t.is_time)).ok();
        let cpu = "process_cpu:cpu:nanoseconds:cpu:nanoseconds".to_owned();
        assert_eq!(of("shop"), Some(("shop".into(), cpu.clone(), true)));
        assert_eq!(of("my.shop.itimer"), Some(("my.shop".into(), cpu, true)));
        assert_eq!(of("shop.lock_duration"), Some(("shop".into(), "block:delay:nanoseconds::".into(), false)));
        assert_eq!(of("shop.nonsense"), None);
    }
}
