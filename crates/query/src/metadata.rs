//! What there is: profile types, labels, services.

use std::collections::{BTreeMap, BTreeSet};

use argand_model::{Labels, ProfileType, name};

use crate::Selection;

/// A service with what is measured of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its `service_name`.
    pub name: String,
    /// Its profile types, sorted by id.
    pub profile_types: Vec<ProfileType>,
}

/// Profile types, distinct and sorted by id bytewise; malformed ones are skipped.
pub fn profile_types(selection: &Selection) -> Vec<ProfileType> {
    let texts: BTreeSet<&str> = series(selection).filter_map(|labels| labels.get(name::PROFILE_TYPE)).collect();
    texts.into_iter().filter_map(|text| text.parse().ok()).collect()
}

/// Names of labels, distinct and sorted; those of any UTF-8 and those that begin with `__` included.
pub fn label_names(selection: &Selection) -> Vec<String> {
    let names: BTreeSet<&str> = series(selection).flat_map(|labels| labels.iter().map(|(name, _)| name)).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// Values of a label, distinct and sorted; none for a label that nothing has.
pub fn label_values(selection: &Selection, name: &str) -> Vec<String> {
    let values: BTreeSet<&str> = series(selection).filter_map(|labels| labels.get(name)).collect();
    values.into_iter().map(str::to_owned).collect()
}

/// Label sets with only the labels in `names` (all of them when empty), distinct and sorted. Series that have none of
/// the labels make no set.
pub fn series_labels<T: AsRef<str>>(selection: &Selection, names: &[T]) -> Vec<Labels> {
    let wanted = |name: &str| names.is_empty() || names.iter().any(|n| n.as_ref() == name);
    let sets: BTreeSet<Labels> = series(selection).map(|labels| labels.retain(wanted)).collect();
    sets.into_iter().filter(|labels| !labels.is_empty()).collect()
}

/// Services with their profile types, sorted by name.
pub fn services(selection: &Selection) -> Vec<Service> {
    let mut types: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for labels in series(selection) {
        let of_service = types.entry(labels.get(name::SERVICE_NAME).unwrap_or("")).or_default();
        of_service.extend(labels.get(name::PROFILE_TYPE));
    }
    let service = |(name, types): (&str, BTreeSet<&str>)| Service {
        name: name.to_owned(),
        profile_types: types.into_iter().filter_map(|text| text.parse().ok()).collect(),
    };
    types.into_iter().map(service).collect()
}

/// Whether a label name is one that clients without UTF-8 support understand: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_legacy_label_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// Label sets of the series that have a selected profile; one may come several times, from different datasets.
fn series(selection: &Selection) -> impl Iterator<Item = &Labels> {
    selection.parts.iter().flat_map(|part| {
        let mut used = vec![false; part.series.len()];
        part.profiles.iter().for_each(|&i| used[part.table.series[i as usize] as usize] = true);
        part.series.iter().zip(used).filter(|(_, used)| *used).map(|(labels, _)| labels)
    })
}

#[cfg(test)]
mod tests;
