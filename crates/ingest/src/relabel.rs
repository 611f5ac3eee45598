//! Relabel rules in Prometheus' terms.

use argand_model::{Labels, name};
use regex::Regex;

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelabelAction {
    /// Sets the target label to the expanded replacement where the pattern matches.
    Replace,
    /// Drops the series unless the pattern matches.
    Keep,
    /// Drops the series where the pattern matches.
    Drop,
    /// Sets the target label to the hash of the sources modulo `modulus`.
    HashMod,
    /// Copies labels whose names match to the expanded replacement.
    LabelMap,
    /// Removes labels whose names match.
    LabelDrop,
    /// Removes labels whose names do not match.
    LabelKeep,
}

/// One rule. Sources are joined by `separator`; patterns match whole texts.
#[derive(Clone, Debug)]
pub struct RelabelRule {
    source_labels: Vec<String>,
    separator: String,
    regex: Regex,
    modulus: u64,
    target_label: String,
    replacement: String,
    action: RelabelAction,
}

/// Why a rule cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RelabelRuleError {
    /// The pattern does not compile.
    #[error("invalid regular expression {0:?} in a relabel rule: {1}")]
    Regex(String, String),
    /// The action needs a target label.
    #[error("relabel action {0:?} needs target_label")]
    NoTarget(RelabelAction),
    /// `hashmod` needs a modulus.
    #[error("relabel action HashMod needs a modulus greater than zero")]
    NoModulus,
}

impl RelabelRule {
    /// A rule with Prometheus' defaults: separator `;`, pattern `(.*)`, replacement `$1`.
    pub fn new(action: RelabelAction) -> Self {
        Self {
            source_labels: Vec::new(),
            separator: ";".to_owned(),
            regex: Regex::new("^(?s:(.*))$").expect("a constant pattern compiles"),
            modulus: 0,
            target_label: String::new(),
            replacement: "$1".to_owned(),
            action,
        }
    }

    /// Labels whose values the rule reads.
    #[must_use]
    pub fn sources<S: Into<String>>(mut self, labels: impl IntoIterator<Item = S>) -> Self {
        self.source_labels = labels.into_iter().map(Into::into).collect();
        self
    }

    /// Text between source values.
    #[must_use]
    pub fn separator(mut self, separator: &str) -> Self {
        separator.clone_into(&mut self.separator);
        self
    }

    /// Pattern for the joined sources or, for label actions, for names. Errors: [`RelabelRuleError::Regex`].
    pub fn matching(mut self, pattern: &str) -> Result<Self, RelabelRuleError> {
        let fail = |error: regex::Error| {
            let reason = error.to_string().lines().last().unwrap_or_default().trim().to_owned();
            RelabelRuleError::Regex(pattern.to_owned(), reason)
        };
        Regex::new(pattern).map_err(fail)?;
        self.regex = Regex::new(&format!("^(?s:{pattern})$")).map_err(fail)?;
        Ok(self)
    }

    /// Label to write.
    #[must_use]
    pub fn target(mut self, label: &str) -> Self {
        label.clone_into(&mut self.target_label);
        self
    }

    /// Text to write, with `$1` or `${name}` for groups.
    #[must_use]
    pub fn replacement(mut self, replacement: &str) -> Self {
        replacement.clone_into(&mut self.replacement);
        self
    }

    /// Number of buckets of `HashMod`.
    #[must_use]
    pub fn modulus(mut self, modulus: u64) -> Self {
        self.modulus = modulus;
        self
    }

    /// Whether the rule has all that its action needs. Errors: [`RelabelRuleError`].
    pub fn check(self) -> Result<Self, RelabelRuleError> {
        let needs_target = matches!(self.action, RelabelAction::Replace | RelabelAction::HashMod);
        if needs_target && self.target_label.is_empty() {
            return Err(RelabelRuleError::NoTarget(self.action));
        }
        if self.action == RelabelAction::HashMod && self.modulus == 0 {
            return Err(RelabelRuleError::NoModulus);
        }
        Ok(self)
    }

    /// The labels after the rule, or `None` if it drops the series.
    fn apply(&self, labels: &Labels) -> Option<Labels> {
        match self.action {
            RelabelAction::Replace => {
                let source = self.source(labels);
                let Some(groups) = self.regex.captures(&source) else { return Some(labels.clone()) };
                let expand = |template: &str| {
                    let mut text = String::new();
                    groups.expand(template, &mut text);
                    text
                };
                Some(set(labels, &expand(&self.target_label), &expand(&self.replacement)))
            }
            RelabelAction::Keep => self.regex.is_match(&self.source(labels)).then(|| labels.clone()),
            RelabelAction::Drop => (!self.regex.is_match(&self.source(labels))).then(|| labels.clone()),
            RelabelAction::HashMod => {
                let bucket = Labels::new([("", self.source(labels).as_str())]).fingerprint() % self.modulus;
                Some(set(labels, &self.target_label, &bucket.to_string()))
            }
            RelabelAction::LabelMap => {
                Some(labels.iter().fold(labels.clone(), |mapped, (name, value)| match self.regex.is_match(name) {
                    true => set(&mapped, &self.regex.replace(name, self.replacement.as_str()), value),
                    false => mapped,
                }))
            }
            RelabelAction::LabelDrop => Some(labels.retain(|name| !self.regex.is_match(name))),
            RelabelAction::LabelKeep => Some(labels.retain(|name| self.regex.is_match(name))),
        }
    }

    fn source(&self, labels: &Labels) -> String {
        let values: Vec<&str> = self.source_labels.iter().map(|l| labels.get(l).unwrap_or("")).collect();
        values.join(&self.separator)
    }
}

/// An empty value removes the label, as in Prometheus.
fn set(labels: &Labels, name: &str, value: &str) -> Labels {
    if value.is_empty() { labels.retain(|n| n != name) } else { labels.with(name, value) }
}

/// The labels after all rules, or `None` if one drops the series.
pub(crate) fn relabel(rules: &[RelabelRule], labels: &Labels) -> Option<Labels> {
    rules.iter().try_fold(labels.clone(), |labels, rule| rule.apply(&labels))
}

/// The built-in rule for a whole profile: godeltaprof's names become the plain ones.
pub(crate) fn built_in(labels: &Labels) -> Labels {
    let sent = labels.get(name::NAME).unwrap_or("");
    match sent.strip_prefix("godeltaprof_") {
        Some(plain) => labels.with("__name_replaced__", sent).with("__delta__", "false").with(name::NAME, plain),
        None => labels.clone(),
    }
}

/// The built-in rule for one sample type: CPU time inside a wall-clock profile is a CPU profile.
pub(crate) fn built_in_for_type(labels: &Labels, sample_type: &str) -> Labels {
    match (labels.get(name::NAME), sample_type) {
        (Some("wall"), "cpu") => labels.with("__name_replaced__", "wall").with(name::NAME, "process_cpu"),
        _ => labels.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels() -> Labels {
        Labels::new([("__name__", "process_cpu"), ("env", "prod"), ("pod", "a-1")])
    }

    #[test]
    fn replace_expands_groups() {
        let rule = RelabelRule::new(RelabelAction::Replace).sources(["env", "pod"]).matching("(.*);(.*)-.*").unwrap();
        let rule = rule.target("where").replacement("$2.${1}").check().unwrap();
        assert_eq!(relabel(&[rule], &labels()).unwrap().get("where"), Some("a.prod"));
    }

    #[test]
    fn keep_and_drop_decide_on_the_series() {
        let keep = RelabelRule::new(RelabelAction::Keep).sources(["env"]).matching("prod").unwrap();
        let drop = RelabelRule::new(RelabelAction::Drop).sources(["env"]).matching("pro.").unwrap();
        assert!(relabel(std::slice::from_ref(&keep), &labels()).is_some());
        assert!(relabel(&[keep, drop], &labels()).is_none());
    }

    #[test]
    fn label_actions_work_on_names() {
        let map = RelabelRule::new(RelabelAction::LabelMap).matching("e(.*)").unwrap().replacement("stage_$1");
        let drop = RelabelRule::new(RelabelAction::LabelDrop).matching("env|pod").unwrap();
        let after = relabel(&[map, drop], &labels()).unwrap();
        assert_eq!(after, Labels::new([("__name__", "process_cpu"), ("stage_nv", "prod")]));
    }

    #[test]
    fn hashmod_is_a_stable_bucket() {
        let rule =
            RelabelRule::new(RelabelAction::HashMod).sources(["pod"]).target("shard").modulus(4).check().unwrap();
        let bucket: u64 = relabel(&[rule], &labels()).unwrap().get("shard").unwrap().parse().unwrap();
        assert!(bucket < 4);
    }

    #[test]
    fn incomplete_rules_are_refused() {
        assert!(RelabelRule::new(RelabelAction::Replace).check().is_err());
        assert!(RelabelRule::new(RelabelAction::HashMod).target("x").check().is_err());
        assert!(RelabelRule::new(RelabelAction::Keep).matching("(").is_err());
    }

    #[test]
    fn built_in_rules_rename() {
        let delta = built_in(&Labels::new([("__name__", "godeltaprof_memory")]));
        assert_eq!(delta.get("__name__"), Some("memory"));
        assert_eq!(delta.get("__name_replaced__"), Some("godeltaprof_memory"));
        let wall = Labels::new([("__name__", "wall")]);
        assert_eq!(built_in_for_type(&wall, "cpu").get("__name__"), Some("process_cpu"));
        assert_eq!(built_in_for_type(&wall, "wall").get("__name__"), Some("wall"));
    }
}
