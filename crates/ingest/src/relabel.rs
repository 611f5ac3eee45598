//! Relabel rules in Prometheus' terms.
//!
//! Source: Prometheus' documentation of `relabel_config`; what a rule does to a label set is the same, so that rules
//! can be copied, buckets of `hashmod` included.

use std::fmt;

use argand_model::{Labels, name};
use md5::{Digest, Md5};
use regex::Regex;

/// The rules that an upload goes through.
#[derive(Clone, Debug, Default)]
pub struct Relabeling {
    /// Applied once to the labels of a series as sent.
    pub series: Vec<RelabelRule>,
    /// Applied to every sample type of a profile, with the labels that its samples brought along. They see the type as
    /// `__type__` and `__unit__`, may drop it alone, and may change every label but these two.
    pub sample_types: Vec<RelabelRule>,
    /// Where the built-in rules stand in both lists.
    pub built_in: BuiltInRules,
}

/// Where the built-in rules stand: `godeltaprof_*` become the plain names, and CPU time inside a wall-clock profile
/// becomes a CPU profile.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BuiltInRules {
    /// Before the configured ones.
    #[default]
    First,
    /// After the configured ones.
    Last,
    /// Not applied.
    Disabled,
}

impl Relabeling {
    /// The labels of a series, or `None` where a rule drops it.
    pub(crate) fn of_series(&self, labels: &Labels) -> Option<Labels> {
        self.run(&self.series, labels, built_in)
    }

    /// The labels of one sample type of a series, or `None` where a rule drops it.
    pub(crate) fn of_sample_type(&self, labels: &Labels, kind: &str, unit: &str) -> Option<Labels> {
        let built_in = |labels: &Labels| built_in_for_type(labels, kind);
        if self.sample_types.is_empty() {
            return self.run(&[], labels, built_in);
        }
        let seen = labels.with(name::TYPE, kind).with(name::UNIT, unit);
        let labels = self.run(&self.sample_types, &seen, built_in)?;
        Some(labels.retain(|label| label != name::TYPE && label != name::UNIT))
    }

    fn run(&self, rules: &[RelabelRule], labels: &Labels, built_in: impl Fn(&Labels) -> Labels) -> Option<Labels> {
        match self.built_in {
            BuiltInRules::First => relabel(rules, &built_in(labels)),
            BuiltInRules::Last => relabel(rules, labels).map(|labels| built_in(&labels)),
            BuiltInRules::Disabled => relabel(rules, labels),
        }
    }
}

/// What a rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelabelAction {
    /// Sets the target label to the expanded replacement where the pattern matches.
    Replace,
    /// Drops the series unless the pattern matches.
    Keep,
    /// Drops the series where the pattern matches.
    Drop,
    /// Drops the series unless the target label equals the sources.
    KeepEqual,
    /// Drops the series where the target label equals the sources.
    DropEqual,
    /// Sets the target label to the sources in lower case.
    Lowercase,
    /// Sets the target label to the sources in upper case.
    Uppercase,
    /// Sets the target label to the hash of the sources modulo `modulus`: the last eight bytes of their MD5, big endian.
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

impl RelabelAction {
    /// The word for it in a configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::KeepEqual => "keepequal",
            Self::DropEqual => "dropequal",
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
            Self::HashMod => "hashmod",
            Self::LabelMap => "labelmap",
            Self::LabelDrop => "labeldrop",
            Self::LabelKeep => "labelkeep",
        }
    }

    fn writes(self) -> bool {
        matches!(self, Self::Replace | Self::Lowercase | Self::Uppercase | Self::HashMod)
    }

    fn compares(self) -> bool {
        matches!(self, Self::KeepEqual | Self::DropEqual)
    }
}

impl fmt::Display for RelabelAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a rule cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RelabelRuleError {
    /// The pattern does not compile.
    #[error("invalid regular expression {0:?} in a relabel rule: {1}")]
    Regex(String, String),
    /// The action needs a target label.
    #[error("relabel action {0} needs target_label")]
    NoTarget(RelabelAction),
    /// `hashmod` needs a modulus.
    #[error("relabel action hashmod needs a modulus greater than zero")]
    NoModulus,
    /// A field that the action would ignore, so that it does not do what its writer meant.
    #[error("relabel action {action} does not use {field}: remove it or choose another action")]
    Unused {
        /// The action.
        action: RelabelAction,
        /// Name of the field.
        field: &'static str,
    },
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

    /// Whether the rule has all that its action needs, and nothing that it ignores. Errors: [`RelabelRuleError`].
    pub fn check(self) -> Result<Self, RelabelRuleError> {
        use RelabelAction::{DropEqual, HashMod, KeepEqual, LabelDrop, LabelKeep, Lowercase, Uppercase};
        let action = self.action;
        if (action.writes() || action.compares()) && self.target_label.is_empty() {
            return Err(RelabelRuleError::NoTarget(action));
        }
        if action == HashMod && self.modulus == 0 {
            return Err(RelabelRuleError::NoModulus);
        }
        let default = Self::new(action);
        let set = [
            ("source_labels", !self.source_labels.is_empty()),
            ("target_label", !self.target_label.is_empty()),
            ("regex", self.regex.as_str() != default.regex.as_str()),
            ("separator", self.separator != default.separator),
            ("modulus", self.modulus != default.modulus),
            ("replacement", self.replacement != default.replacement),
        ];
        // The fields that Prometheus refuses, too; others it ignores in silence, and rules are copied from there.
        let unused: &[&str] = match action {
            KeepEqual | DropEqual => &["regex", "separator", "modulus", "replacement"],
            Lowercase | Uppercase => &["replacement"],
            LabelDrop | LabelKeep => &["source_labels", "target_label", "separator", "modulus", "replacement"],
            _ => &[],
        };
        match set.into_iter().find(|(field, is_set)| *is_set && unused.contains(field)) {
            Some((field, _)) => Err(RelabelRuleError::Unused { action, field }),
            None => Ok(self),
        }
    }

    /// The labels after the rule, or `None` if it drops the series.
    fn apply(&self, labels: Labels) -> Option<Labels> {
        let target = || labels.get(&self.target_label).unwrap_or("");
        let keep_if = |keep: bool| keep.then(|| labels.clone());
        match self.action {
            RelabelAction::Replace => {
                let source = self.source(&labels);
                let Some(groups) = self.regex.captures(&source) else { return Some(labels) };
                let expand = |template: &str| {
                    let mut text = String::new();
                    groups.expand(template, &mut text);
                    text
                };
                Some(set(labels, &expand(&self.target_label), &expand(&self.replacement)))
            }
            RelabelAction::Keep => keep_if(self.regex.is_match(&self.source(&labels))),
            RelabelAction::Drop => keep_if(!self.regex.is_match(&self.source(&labels))),
            RelabelAction::KeepEqual => keep_if(target() == self.source(&labels)),
            RelabelAction::DropEqual => keep_if(target() != self.source(&labels)),
            RelabelAction::Lowercase => {
                let source = self.source(&labels);
                Some(set(labels, &self.target_label, &source.to_lowercase()))
            }
            RelabelAction::Uppercase => {
                let source = self.source(&labels);
                Some(set(labels, &self.target_label, &source.to_uppercase()))
            }
            RelabelAction::HashMod => {
                let digest = Md5::digest(self.source(&labels));
                let (_, hash) = digest.split_last_chunk().expect("an MD5 digest has 16 bytes");
                let bucket = u64::from_be_bytes(*hash) % self.modulus;
                Some(set(labels, &self.target_label, &bucket.to_string()))
            }
            RelabelAction::LabelMap => {
                let sources = labels.clone();
                let matching = sources.iter().filter(|(name, _)| self.regex.is_match(name));
                Some(matching.fold(labels, |mapped, (name, value)| {
                    set(mapped, &self.regex.replace(name, self.replacement.as_str()), value)
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

/// An empty value removes the label and an empty name writes none, as in Prometheus.
fn set(labels: Labels, name: &str, value: &str) -> Labels {
    match (name, value) {
        ("", _) => labels,
        (_, "") => labels.retain(|n| n != name),
        _ => labels.with(name, value),
    }
}

/// The labels after all rules, or `None` if one drops the series.
fn relabel(rules: &[RelabelRule], labels: &Labels) -> Option<Labels> {
    rules.iter().try_fold(labels.clone(), |labels, rule| rule.apply(labels))
}

/// The built-in rule for a whole profile: godeltaprof's names become the plain ones.
fn built_in(labels: &Labels) -> Labels {
    let sent = labels.get(name::NAME).unwrap_or("");
    match sent.strip_prefix("godeltaprof_") {
        Some(plain) => labels.with("__name_replaced__", sent).with("__delta__", "false").with(name::NAME, plain),
        None => labels.clone(),
    }
}

/// The built-in rule for one sample type: CPU time inside a wall-clock profile is a CPU profile.
fn built_in_for_type(labels: &Labels, sample_type: &str) -> Labels {
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
    fn hashmod_finds_the_buckets_of_prometheus() {
        let bucket = |source: &str, modulus| {
            let rule = RelabelRule::new(RelabelAction::HashMod).sources(["c"]).target("d").modulus(modulus);
            let after = relabel(&[rule.check().unwrap()], &Labels::new([("c", source)])).unwrap();
            after.get("d").unwrap().to_owned()
        };
        // Both are examples of its own tests.
        assert_eq!(bucket("baz", 1000), "976");
        assert_eq!(bucket("foo\nbar", 1000), "734");
    }

    #[test]
    fn equality_is_that_of_the_target_and_the_sources() {
        let keep = RelabelRule::new(RelabelAction::KeepEqual).sources(["env"]).target("stage").check().unwrap();
        let drop = RelabelRule::new(RelabelAction::DropEqual).sources(["env"]).target("stage").check().unwrap();
        let (equal, other) = (labels().with("stage", "prod"), labels().with("stage", "test"));
        let kept = |rule: &RelabelRule, labels| relabel(std::slice::from_ref(rule), labels).is_some();
        assert_eq!((kept(&keep, &equal), kept(&keep, &other)), (true, false));
        assert_eq!((kept(&drop, &equal), kept(&drop, &other)), (false, true));
    }

    #[test]
    fn case_changes() {
        let to = |action| RelabelRule::new(action).sources(["env"]).target("env").check().unwrap();
        let upper = relabel(&[to(RelabelAction::Uppercase)], &labels()).unwrap();
        assert_eq!(upper.get("env"), Some("PROD"));
        assert_eq!(relabel(&[to(RelabelAction::Lowercase)], &upper).unwrap().get("env"), Some("prod"));
    }

    #[test]
    fn only_named_labels_are_kept() {
        let rule = RelabelRule::new(RelabelAction::LabelKeep).matching("__name__|env").unwrap().check().unwrap();
        let after = relabel(&[rule], &labels()).unwrap();
        assert_eq!(after, Labels::new([("__name__", "process_cpu"), ("env", "prod")]));
    }

    #[test]
    fn an_empty_result_removes_the_label_and_an_empty_name_writes_none() {
        let clear = RelabelRule::new(RelabelAction::Replace).target("env").replacement("").check().unwrap();
        let named = RelabelRule::new(RelabelAction::Replace).sources(["absent"]).target("$1").replacement("x");
        let after = relabel(&[clear, named.check().unwrap()], &labels()).unwrap();
        assert_eq!(after, Labels::new([("__name__", "process_cpu"), ("pod", "a-1")]));
    }

    #[test]
    fn incomplete_rules_are_refused() {
        use RelabelAction::{DropEqual, HashMod, Keep, KeepEqual, LabelDrop, Lowercase, Replace};
        for action in [Replace, HashMod, KeepEqual, DropEqual, Lowercase] {
            let error = RelabelRule::new(action).modulus(1).check().unwrap_err().to_string();
            assert!(error.contains(action.as_str()) && error.contains("target_label"), "{error}");
        }
        assert!(RelabelRule::new(HashMod).target("x").check().is_err());
        assert!(RelabelRule::new(Keep).matching("(").is_err());
        let ignored = RelabelRule::new(KeepEqual).sources(["a"]).target("b").matching("c").unwrap();
        assert!(ignored.check().unwrap_err().to_string().contains("regex"));
        assert!(RelabelRule::new(LabelDrop).sources(["a"]).check().is_err());
    }

    #[test]
    fn rules_of_sample_types_see_the_type_and_cannot_change_it() {
        let drop = RelabelRule::new(RelabelAction::Drop).sources(["__type__", "__unit__"]).matching("cpu;ns").unwrap();
        let rewrite = RelabelRule::new(RelabelAction::Replace).sources(["__type__"]).target("kind").check().unwrap();
        let pretend = RelabelRule::new(RelabelAction::Replace).target("__type__").replacement("other").check().unwrap();
        let rules = Relabeling { sample_types: vec![drop, rewrite, pretend], ..Relabeling::default() };
        assert_eq!(rules.of_sample_type(&labels(), "cpu", "ns"), None);
        assert_eq!(rules.of_sample_type(&labels(), "wall", "ns"), Some(labels().with("kind", "wall")));
        assert_eq!(rules.of_series(&labels()), Some(labels()), "the other list does not run");
    }

    #[test]
    fn the_place_of_the_built_in_rules_decides_what_the_others_see() {
        let old = RelabelRule::new(RelabelAction::Drop).sources(["__name__"]).matching("godeltaprof_.*").unwrap();
        let sent = Labels::new([("__name__", "godeltaprof_memory")]);
        let with = |built_in| {
            let rules = Relabeling { series: vec![old.clone()], built_in, ..Relabeling::default() };
            rules.of_series(&sent)
        };
        assert_eq!(with(BuiltInRules::First).unwrap().get("__name__"), Some("memory"));
        assert_eq!(with(BuiltInRules::Last), None);
        let disabled = Relabeling { built_in: BuiltInRules::Disabled, ..Relabeling::default() };
        assert_eq!(disabled.of_series(&sent), Some(sent));
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
