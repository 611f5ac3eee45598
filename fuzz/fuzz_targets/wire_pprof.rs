//! pprof: what decodes is consistent, and encodes to bytes that decode and encode to themselves.
#![no_main]

use argand_fuzz::walk;
use argand_wire::pprof::{PprofOptions, decode, encode};

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    for repair_zero_function_ids in [false, true] {
        let options = PprofOptions { repair_zero_function_ids, ..PprofOptions::default() };
        if let Ok(profile) = decode(bytes, &options) {
            walk(&profile);
            let encoded = encode(&profile);
            let again = decode(&encoded, &PprofOptions::default()).expect("encoded profiles are valid");
            assert_eq!(walk(&profile), walk(&again));
            assert_eq!(encode(&again), encoded);
        }
    }
});
