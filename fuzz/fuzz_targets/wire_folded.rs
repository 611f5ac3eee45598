//! Folded text, with and without counts.
#![no_main]

use argand_fuzz::walk;
use argand_wire::{DecodeLimits, Measure, folded};

libfuzzer_sys::fuzz_target!(|text: &[u8]| {
    let measure = Measure { kind: "samples", unit: "count", scale: 3 };
    let _ = folded::decode_groups(text, measure, &DecodeLimits::default()).map(|profile| walk(&profile));
    let _ = folded::decode_lines(text, measure, &DecodeLimits::default()).map(|profile| walk(&profile));
});
