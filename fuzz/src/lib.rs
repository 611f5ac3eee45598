//! What fuzz targets share.

use argand_model::Profile;

/// Reads everything that a profile points to, so that an index out of range shows.
///
/// Returns the values' sum, so that nothing is optimised away.
pub fn walk(profile: &Profile) -> i64 {
    let symbols = &profile.symbols;
    assert_eq!(profile.samples.values.len(), profile.samples.len() * profile.sample_types.len());
    assert_eq!(profile.samples.label_ends.len(), profile.samples.len());
    let mut sum = profile.text(profile.default_sample_type).len() as i64;
    for value_type in profile.sample_types.iter().chain([&profile.period_type]) {
        sum += (profile.text(value_type.kind).len() + profile.text(value_type.unit).len()) as i64;
    }
    for index in 0..profile.samples.len() {
        for &location in profile.samples.stacks.get(index as u32) {
            let mapping = symbols.mappings[symbols.locations[location.index()].mapping.index()];
            sum += (profile.text(mapping.filename).len() + profile.text(mapping.build_id).len()) as i64;
            for line in symbols.lines_of(location) {
                let function = symbols.functions[line.function.index()];
                for text in [function.name, function.system_name, function.filename] {
                    sum += profile.text(text).len() as i64;
                }
            }
        }
        for label in profile.samples.labels_of(index) {
            for text in [label.key, label.text, label.number_unit] {
                sum += profile.text(text).len() as i64;
            }
        }
        sum = profile.values_of(index).iter().fold(sum, |sum, value| sum.wrapping_add(*value));
    }
    sum
}
