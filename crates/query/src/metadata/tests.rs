use argand_model::TimeRange;

use super::*;
use crate::fixture::{CPU, datasets, selection, upload, upload_at};
use crate::{Control, select};

const MEMORY: &str = "memory:alloc_space:bytes:space:bytes";

fn everything() -> Selection {
    selection(&[
        upload_at("a 1 \n b 2", 1_000, &[("region", "eu")]),
        upload_at("a 1", 2_000, &[("region", "eu")]),
        upload_at("a 1", 3_000, &[("service_name", "mail"), (name::PROFILE_TYPE, MEMORY), ("otel.scope", "x")]),
        upload_at("a 1", 4_000, &[("service_name", "mail"), (name::PROFILE_TYPE, "malformed")]),
    ])
}

#[test]
fn profile_types_are_distinct_sorted_and_valid() {
    let ids: Vec<String> = profile_types(&everything()).iter().map(ToString::to_string).collect();
    assert_eq!(ids, [MEMORY, CPU]);
    assert!(profile_types(&Selection::default()).is_empty());
}

#[test]
fn labels_are_distinct_and_sorted() {
    assert_eq!(label_names(&everything()), ["__profile_type__", "otel.scope", "region", "service_name"]);
    assert_eq!(label_values(&everything(), "service_name"), ["mail", "shop"]);
    assert_eq!(label_values(&everything(), "region"), ["eu"]);
    assert!(label_values(&everything(), "nothing").is_empty());
}

#[test]
fn series_are_projected_on_the_labels_asked_for() {
    let show =
        |names: &[&str]| -> Vec<String> { series_labels(&everything(), names).iter().map(|l| l.to_string()).collect() };
    assert_eq!(show(&["region"]), [r#"{region="eu"}"#]);
    assert_eq!(
        show(&["service_name", "region"]),
        [r#"{region="eu", service_name="shop"}"#, r#"{service_name="mail"}"#]
    );
    assert_eq!(show(&[]).len(), 3);
    assert!(show(&["nothing"]).is_empty());
}

#[test]
fn services_name_their_types() {
    let services = services(&everything());
    let shown: Vec<(&str, Vec<String>)> =
        services.iter().map(|s| (s.name.as_str(), s.profile_types.iter().map(|t| t.to_string()).collect())).collect();
    assert_eq!(shown, [("mail", vec![MEMORY.to_owned()]), ("shop", vec![CPU.to_owned()])]);
}

#[test]
fn only_what_has_a_profile_in_the_range_counts() {
    let all = datasets(&[upload_at("a 1", 1_000, &[]), upload_at("a 1", 9_000, &[("late", "yes")])]);
    let early = TimeRange { start_ns: 0, end_ns: 5_000 };
    let selection = select(&all, &[], early, &Control::default()).unwrap();
    assert!(label_values(&selection, "late").is_empty());

    let mut two_series = upload("a 1");
    let mut other = two_series.series[0].clone();
    (other.labels, other.time_ns) = (other.labels.with("late", "yes"), 2_000_000_000);
    two_series.series.push(other);
    let range = TimeRange { start_ns: 0, end_ns: 1_000_000_000 };
    let selection = select(&datasets(&[two_series]), &[], range, &Control::default()).unwrap();
    assert!(label_values(&selection, "late").is_empty());
}

#[test]
fn legacy_names() {
    for name in ["a", "_", "__name__", "A9"] {
        assert!(is_legacy_label_name(name), "{name}");
    }
    for name in ["", "9a", "a.b", "ä", "a-b"] {
        assert!(!is_legacy_label_name(name), "{name}");
    }
}
