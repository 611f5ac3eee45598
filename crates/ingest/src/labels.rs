//! Labels of a series on their way in: defaults, validation, removal of internal ones.

use argand_model::{Labels, name};

use crate::{IngestLimits, Reason, Rejection};

/// Value of `service_name` where a client states none.
pub(crate) const UNKNOWN_SERVICE: &str = "unknown_service";

/// Labels that clients and rules use among themselves and that are never stored.
const INTERNAL: [&str; 3] = ["__session_id__", "__delta__", "__order__"];

/// Pairs as sent become a label set. Errors: the same name twice, names without text.
pub(crate) fn from_client(pairs: &[(String, String)]) -> Result<Labels, Rejection> {
    if pairs.is_empty() {
        return Err(Rejection::new(Reason::MissingLabels, "the series has no labels: send at least __name__"));
    }
    if pairs.iter().any(|(name, _)| name.is_empty()) {
        return Err(Rejection::new(Reason::InvalidLabels, "a label has an empty name"));
    }
    let labels = Labels::new(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    if labels.len() < pairs.len() {
        let mut names: Vec<&str> = pairs.iter().map(|(n, _)| n.as_str()).collect();
        names.sort_unstable();
        let twice = names.windows(2).find(|pair| pair[0] == pair[1]).map_or("", |pair| pair[0]);
        return Err(Rejection::new(
            Reason::DuplicateLabelNames,
            format!("label {twice:?} is given more than once in {labels}"),
        ));
    }
    Ok(labels)
}

/// Adds the default service name.
pub(crate) fn with_service_name(labels: &Labels) -> Labels {
    match labels.get(name::SERVICE_NAME) {
        Some(value) if !value.is_empty() => labels.clone(),
        _ => labels.with(name::SERVICE_NAME, UNKNOWN_SERVICE),
    }
}

/// Checks a set against the limits. Errors name the label and the limit.
pub(crate) fn validate(labels: &Labels, limits: &IngestLimits) -> Result<(), Rejection> {
    let refuse = |reason, message| Err(Rejection::new(reason, message));
    if labels.get(name::NAME).is_none_or(str::is_empty) {
        return refuse(Reason::InvalidLabels, format!("label __name__ is missing or empty in {labels}"));
    }
    if labels.get(name::NAME).is_some_and(|metric| metric.contains(':')) {
        let message =
            format!("label __name__ contains a colon, which separates the parts of a profile type, in {labels}");
        return refuse(Reason::InvalidLabels, message);
    }
    if labels.len() > limits.label_names {
        let (count, limit) = (labels.len(), limits.label_names);
        return refuse(Reason::MaxLabelNamesPerSeries, format!("the series has {count} labels, the limit is {limit}"));
    }
    for (name, value) in labels.iter() {
        if name.len() > limits.label_name_length_bytes {
            let (shown, limit) = (beginning(name), limits.label_name_length_bytes);
            return refuse(Reason::LabelNameTooLong, format!("label name {shown:?}… is longer than {limit} bytes"));
        }
        if value.len() > limits.label_value_length_bytes {
            let (shown, limit) = (beginning(value), limits.label_value_length_bytes);
            return refuse(
                Reason::LabelValueTooLong,
                format!("value {shown:?}… of label {name:?} is longer than {limit} bytes"),
            );
        }
    }
    Ok(())
}

/// The set without internal labels and without empty values, which mean absence.
pub(crate) fn storable(labels: &Labels) -> Labels {
    Labels::new(labels.iter().filter(|(name, value)| !INTERNAL.contains(name) && !value.is_empty()))
}

fn beginning(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|&(n, v)| (n.to_owned(), v.to_owned())).collect()
    }

    #[test]
    fn a_repeated_label_is_named() {
        let error = from_client(&pairs(&[("a", "1"), ("b", "1"), ("a", "2")])).unwrap_err();
        assert_eq!(error.reason, Reason::DuplicateLabelNames);
        assert!(error.message.contains("\"a\""), "{error}");
    }

    #[test]
    fn no_labels_and_nameless_labels_are_refused() {
        assert_eq!(from_client(&[]).unwrap_err().reason, Reason::MissingLabels);
        assert_eq!(from_client(&pairs(&[("", "1")])).unwrap_err().reason, Reason::InvalidLabels);
    }

    #[test]
    fn any_text_is_a_name() {
        let labels =
            from_client(&pairs(&[("__name__", "x"), ("local root span id", "ä"), ("otel.scope.name", "a/b")])).unwrap();
        assert_eq!(validate(&labels, &IngestLimits::default()), Ok(()));
    }

    #[test]
    fn limits_hold() {
        let limits = IngestLimits::default();
        let named = Labels::new([("__name__", "x")]);
        let reason = |labels: &Labels| validate(labels, &limits).unwrap_err().reason;
        assert_eq!(reason(&Labels::new([("a", "b")])), Reason::InvalidLabels);
        assert_eq!(reason(&named.with(&"n".repeat(1025), "v")), Reason::LabelNameTooLong);
        assert_eq!(reason(&named.with("n", &"v".repeat(2049))), Reason::LabelValueTooLong);
        let many = Labels::new((0..30).map(|i| (format!("l{i}"), "v")).chain([("__name__".to_owned(), "x")]));
        assert_eq!(reason(&many), Reason::MaxLabelNamesPerSeries);
    }

    #[test]
    fn internal_and_empty_labels_are_not_stored() {
        let labels = Labels::new([("__delta__", "false"), ("__session_id__", "1"), ("a", ""), ("b", "x")]);
        assert_eq!(storable(&labels), Labels::new([("b", "x")]));
    }
}
