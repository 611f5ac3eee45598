//! OTLP profiles: what decodes is consistent, as protobuf and as JSON.
#![no_main]

use argand_fuzz::walk;
use argand_wire::DecodeLimits;
use argand_wire::otlp::{OtlpError, decode, transcode};

fn check(bytes: &[u8]) {
    // Damage is a result like any other.
    let _ = decode(bytes, &DecodeLimits::default(), |part| {
        walk(&part.profile);
        Ok::<_, OtlpError>(())
    });
}

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    check(bytes);
    if let Ok(message) = transcode(bytes) {
        check(&message);
    }
});
