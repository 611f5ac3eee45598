//! Profiles of named frames as text, for tests.

use argand_model::Profile;

/// One line per sample: frames from the root joined by `;`, a blank, the values joined by `,`.
pub(crate) fn drawn(profile: &Profile) -> Vec<String> {
    let name = |location| {
        let lines = profile.symbols.lines_of(location).iter();
        lines.map(|line| profile.symbols.function_name(line.function)).collect::<String>()
    };
    let sample = |index: usize| {
        let stack = profile.samples.stacks.get(index as u32).iter().rev();
        let frames: Vec<String> = stack.map(|&location| name(location)).collect();
        let values: Vec<String> = profile.values_of(index).iter().map(i64::to_string).collect();
        format!("{} {}", frames.join(";"), values.join(","))
    };
    (0..profile.samples.len()).map(sample).collect()
}
