//! Names of C++ and Rust as people write them.

use std::borrow::Cow;
use std::fmt::Write;

use cpp_demangle::{DemangleOptions, ParseOptions, Symbol};

/// Bound on bytes of a demangled name: substitutions let a short name become exponentially long.
pub const MAX_DEMANGLED: usize = 16 << 10;

/// Bound on the depth of a name.
const MAX_DEPTH: u32 = 96;

/// The readable form of a mangled name, or the name itself if it is not mangled, is damaged or would become too long.
///
/// C++ (Itanium ABI) keeps parameters; Rust (v0 and legacy) loses its hash. Swift names (`$s…`) stay as they are, as there is
/// no well-kept library for them.
pub fn demangle(name: &str) -> Cow<'_, str> {
    if is_rust(name)
        && let Ok(demangled) = rustc_demangle::try_demangle(name)
    {
        let mut text = Bounded(String::new());
        return match write!(text, "{demangled:#}") {
            Ok(()) => Cow::Owned(text.0),
            Err(_) => Cow::Borrowed(name),
        };
    }
    if name.starts_with("_Z") || name.starts_with("__Z") {
        let parse = ParseOptions::default().recursion_limit(MAX_DEPTH);
        let print = DemangleOptions::new().recursion_limit(MAX_DEPTH);
        if let Ok(symbol) = Symbol::new_with_options(name, &parse) {
            let mut text = Bounded(String::new());
            if symbol.structured_demangle(&mut text, &print).is_ok() {
                return Cow::Owned(text.0);
            }
        }
    }
    Cow::Borrowed(name)
}

/// v0 names, and legacy ones, which differ from C++ by a component with a hash at the end.
fn is_rust(name: &str) -> bool {
    if name.starts_with("_R") {
        return true;
    }
    let Some(hash) = name.strip_prefix("_ZN").and_then(|rest| Some(&rest[rest.rfind("17h")? + 3..])) else {
        return false;
    };
    hash.len() > 16 && hash.as_bytes()[16] == b'E' && hash.bytes().take(16).all(|digit| digit.is_ascii_hexdigit())
}

/// A text that refuses to grow beyond [`MAX_DEMANGLED`].
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() + text.len() > MAX_DEMANGLED {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_each_language_become_readable() {
        for (mangled, readable) in [
            ("main", "main"),
            ("_ZN3foo3barEi", "foo::bar(int)"),
            ("_ZNSt6vectorIiSaIiEE9push_backERKi", "std::vector<int, std::allocator<int> >::push_back(int const&)"),
            ("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE", "core::fmt::Formatter::pad"),
            ("_ZN4core3fmt9Formatter3pad17h0123456789abcdefE.llvm.123", "core::fmt::Formatter::pad"),
            ("_RNvCs1234_7mycrate3foo", "mycrate::foo"),
            ("_Z", "_Z"),
            ("_ZN", "_ZN"),
            ("_R", "_R"),
            ("main.(*T).method", "main.(*T).method"),
            ("$s4main3fooyyF", "$s4main3fooyyF"),
        ] {
            assert_eq!(demangle(mangled), readable, "{mangled}");
        }
        assert!(demangle("_ZN3foo3barEi.cold").starts_with("foo::bar(int)"));
    }

    #[test]
    fn names_that_would_explode_or_nest_stay_as_they_are() {
        // Each parameter doubles the one before by substitution.
        let mut bomb = String::from("_Z1fSt4pairIiiE");
        for index in 0..40u32 {
            let back = char::from_digit(index % 36, 36).unwrap().to_ascii_uppercase();
            bomb.push_str(&format!("St4pairIS{back}_S{back}_E"));
        }
        assert!(demangle(&bomb).len() <= MAX_DEMANGLED);
        for deep in ["_Z1f".to_owned() + &"P".repeat(100_000) + "i", "_RNvC".to_owned() + &"N".repeat(100_000)] {
            assert_eq!(demangle(&deep), deep);
        }
    }
}
