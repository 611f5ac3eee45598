//! speedscope files.
#![no_main]

use argand_fuzz::walk;
use argand_wire::{DecodeLimits, speedscope};

libfuzzer_sys::fuzz_target!(|json: &[u8]| {
    if let Ok(profiles) = speedscope::decode(json, &DecodeLimits::default()) {
        for decoded in &profiles {
            walk(&decoded.profile);
        }
    }
});
