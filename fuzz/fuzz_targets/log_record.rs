//! Payloads of log records: any bytes decode or give an error.
#![no_main]

use argand_store::record::Record;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let _ = Record::decode(bytes);
});
