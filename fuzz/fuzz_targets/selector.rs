//! Selectors and queries: no text panics, and what is read has names.
#![no_main]

use argand_query::{parse_query, parse_selector};

libfuzzer_sys::fuzz_target!(|text: &str| {
    if let Ok(matchers) = parse_selector(text) {
        assert!(matchers.iter().all(|matcher| !matcher.name().is_empty()));
    }
    let _ = parse_query(text);
});
