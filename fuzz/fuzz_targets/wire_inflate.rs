//! gzip: no more output than allowed.
#![no_main]

use argand_wire::inflate::{InflateLimits, gunzip_if_needed};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let limits = InflateLimits { output_bytes: 1 << 16, max_ratio: 10, ratio_free_bytes: 1 << 10 };
    if let Ok(output) = gunzip_if_needed(input, limits) {
        assert!(output.len() <= limits.output_bytes);
    }
});
