//! Trees and tries, which share their layout.
#![no_main]

use argand_fuzz::walk;
use argand_wire::{DecodeLimits, Measure, tree, trie};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let measure = Measure { kind: "samples", unit: "count", scale: 1 };
    let _ = tree::decode(bytes, measure, &DecodeLimits::default()).map(|profile| walk(&profile));
    let _ = trie::decode(bytes, measure, &DecodeLimits::default()).map(|profile| walk(&profile));
});
