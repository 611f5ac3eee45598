//! Flight recordings: the first two bytes give the length of the labels part, which comes next; the rest is the
//! recording. Whatever comes out must be a sound profile.

#![no_main]

use argand_jfr::{LabelsSnapshot, Limits, Options, decode};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((length, rest)) = data.split_first_chunk::<2>() else {
        return;
    };
    let (labels, recording) = rest.split_at(rest.len().min(u16::from_le_bytes(*length).into()));
    let labels = LabelsSnapshot::decode(labels).unwrap_or_default();
    let limits = Limits { memory_bytes: 64 << 20, ..Limits::default() };
    let options = Options { thread_names: true, limits, ..Options::default() };
    let Ok(recording) = decode(recording, &labels, &options) else {
        return;
    };
    for profile in recording.profiles.iter().map(|p| &p.profile) {
        argand_fuzz::walk(profile);
        assert!(!profile.samples.is_empty());
        assert!(profile.samples.stacks.iter().all(|stack| !stack.is_empty()));
        assert!(profile.samples.labels.iter().all(|label| !profile.text(label.key).is_empty()));
    }
});
