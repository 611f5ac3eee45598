//! Where the source code of a service is: labels of the client, kept with every mapping of its profiles.
//!
//! Front ends that show code find the revision in a mapping's build id, which then is JSON with `repository`,
//! `git_ref`, `build_id` (what the mapping had before) and `root_path`; what is empty is left out.

use argand_model::{Labels, Mapping, MappingId, Profile, StringId};
use hashbrown::HashMap;
use serde::Serialize;

use crate::{IngestLimits, Reason, Rejection};

const REPOSITORY: &str = "service_repository";
const GIT_REF: &str = "service_git_ref";
const ROOT_PATH: &str = "service_root_path";

#[derive(Serialize)]
struct SourceLink<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    repository: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    git_ref: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    build_id: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    root_path: &'a str,
}

/// Folds the labels of `series` into the build ids of `profile`; locations without a mapping get one to hold it.
///
/// Errors: the new build ids take more than a profile may.
pub(crate) fn attach(profile: &mut Profile, series: &Labels, limits: &IngestLimits) -> Result<(), Rejection> {
    let [repository, git_ref, root_path] = [REPOSITORY, GIT_REF, ROOT_PATH].map(|l| series.get(l).unwrap_or(""));
    if repository.is_empty() && git_ref.is_empty() && root_path.is_empty() {
        return Ok(());
    }
    let symbols = &mut profile.symbols;
    if symbols.locations.iter().any(|location| location.mapping == MappingId(0)) {
        let stub = MappingId::from_index(symbols.mappings.len());
        symbols.mappings.push(Mapping::default());
        let homeless = symbols.locations.iter_mut().filter(|location| location.mapping == MappingId(0));
        homeless.for_each(|location| location.mapping = stub);
    }
    let mut folded: HashMap<StringId, StringId> = HashMap::new();
    let mut added_bytes = 0;
    for mapping in symbols.mappings.iter_mut().skip(1) {
        let id = match folded.get(&mapping.build_id) {
            Some(&id) => id,
            None => {
                let build_id = symbols.strings.get(mapping.build_id);
                let link = SourceLink { repository, git_ref, build_id, root_path };
                let json = serde_json::to_string(&link).expect("a link is plain strings");
                added_bytes += json.len();
                if added_bytes > limits.profile_size_bytes {
                    let message = format!("{REPOSITORY}, {GIT_REF} and {ROOT_PATH} are too long for so many mappings");
                    return Err(Rejection::new(Reason::ProfileSizeLimit, message));
                }
                let id = symbols.strings.push(&json);
                folded.insert(mapping.build_id, id);
                id
            }
        };
        mapping.build_id = id;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile() -> Profile {
        let mut profile = Profile::default();
        let build_id = profile.symbols.strings.push("abc");
        profile
            .symbols
            .mappings
            .extend([build_id, build_id].map(|build_id| Mapping { build_id, ..Mapping::default() }));
        profile.symbols.push_location(MappingId(2), 7, false, &[]);
        profile.symbols.push_named_location("main");
        profile
    }

    fn build_ids(profile: &Profile) -> Vec<&str> {
        let of_mapping = |m: MappingId| profile.text(profile.symbols.mappings[m.index()].build_id);
        profile.symbols.locations.iter().map(|location| of_mapping(location.mapping)).collect()
    }

    #[test]
    fn every_mapping_carries_the_link() {
        let mut profile = profile();
        let labels = [(REPOSITORY, "https://example.org/shop"), (GIT_REF, "v\"1"), (ROOT_PATH, "")];
        attach(&mut profile, &Labels::new(labels), &IngestLimits::default()).unwrap();
        let link = r#"{"repository":"https://example.org/shop","git_ref":"v\"1""#;
        assert_eq!(build_ids(&profile), [format!(r#"{link},"build_id":"abc"}}"#), format!("{link}}}")]);
    }

    #[test]
    fn without_labels_nothing_changes() {
        let mut profile = profile();
        let before = profile.clone();
        attach(&mut profile, &Labels::new([("service_name", "shop")]), &IngestLimits::default()).unwrap();
        assert_eq!(profile, before);
    }

    #[test]
    fn many_mappings_cannot_multiply_a_long_label() {
        let mut profile = Profile::default();
        for build in 0..100 {
            let build_id = profile.symbols.strings.push(&build.to_string());
            profile.symbols.mappings.push(Mapping { build_id, ..Mapping::default() });
        }
        let limits = IngestLimits { profile_size_bytes: 50_000, ..IngestLimits::default() };
        let long = Labels::new([(ROOT_PATH, "p".repeat(1000))]);
        assert_eq!(attach(&mut profile, &long, &limits).unwrap_err().reason, Reason::ProfileSizeLimit);
    }
}
