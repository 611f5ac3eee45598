//! Limits and rules of tenants, as the configuration has them.

use anyhow::{Context, ensure};
use argand_ingest::{BuiltInRules, IngestLimits, RelabelAction, RelabelRule, Relabeling};
use argand_server::{QueryLimits, TenantLimits};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{duration, memory, merge, size, text, typed};

/// What a tenant may do, and the rules for its labels.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LimitSettings {
    /// Largest profile once decompressed, such as `4MiB`.
    #[serde(deserialize_with = "text")]
    pub(crate) max_profile_size: String,
    /// Most samples of one profile.
    pub(crate) max_samples: usize,
    /// Most labels of one sample.
    pub(crate) max_sample_labels: usize,
    /// Deepest stack; deeper ones lose their leaf side.
    pub(crate) max_stack_depth: usize,
    /// Longest name in bytes; longer ones lose their beginning.
    pub(crate) max_symbol_length: usize,
    /// Most labels of a series.
    pub(crate) max_label_names: usize,
    /// Longest label name in bytes.
    pub(crate) max_label_name_length: usize,
    /// Longest label value in bytes.
    pub(crate) max_label_value_length: usize,
    /// Oldest accepted profile, such as `1h`; `off` accepts any.
    #[serde(deserialize_with = "text")]
    pub(crate) reject_older_than: String,
    /// How far ahead of now a profile may be, such as `10m`; `off` accepts any.
    #[serde(deserialize_with = "text")]
    pub(crate) reject_newer_than: String,
    /// Largest body of an ingest request, after decompression.
    #[serde(deserialize_with = "text")]
    pub(crate) max_body_size: String,
    /// Ingest per second, such as `4MiB`; `off` for no limit, since most clients drop what is refused.
    #[serde(deserialize_with = "text")]
    pub(crate) ingest_rate: String,
    /// Ingest that may come at once where there is a rate.
    #[serde(deserialize_with = "text")]
    pub(crate) ingest_burst: String,
    /// Longest range of one query, such as `24h`; `off` for no limit.
    #[serde(deserialize_with = "text")]
    pub(crate) query_max_length: String,
    /// How far back a query reaches, such as `7d`; `off` for no limit.
    #[serde(deserialize_with = "text")]
    pub(crate) query_max_lookback: String,
    /// Nodes of a flame graph where the request does not say.
    pub(crate) query_default_nodes: usize,
    /// Most nodes that a request may ask for.
    pub(crate) query_max_nodes: usize,
    /// Rules for the labels of uploaded profiles, in Prometheus' terms, applied in order.
    pub(crate) relabel: Vec<RelabelSettings>,
    /// Rules for every sample type of a profile. They see the type as `__type__` and `__unit__`, may drop it alone, and
    /// may change other labels.
    pub(crate) relabel_sample_types: Vec<RelabelSettings>,
    /// Where the built-in rules stand in both lists: `godeltaprof_*` becomes the plain name, and CPU time inside a
    /// wall-clock profile becomes a CPU profile.
    pub(crate) relabel_built_in: BuiltIn,
}

impl Default for LimitSettings {
    fn default() -> Self {
        let (profile, query) = (IngestLimits::default(), QueryLimits::default());
        Self {
            max_profile_size: "4MiB".to_owned(),
            max_samples: profile.samples,
            max_sample_labels: profile.sample_labels,
            max_stack_depth: profile.stack_depth,
            max_symbol_length: profile.symbol_length_bytes,
            max_label_names: profile.label_names,
            max_label_name_length: profile.label_name_length_bytes,
            max_label_value_length: profile.label_value_length_bytes,
            reject_older_than: "1h".to_owned(),
            reject_newer_than: "10m".to_owned(),
            max_body_size: "256MiB".to_owned(),
            ingest_rate: "off".to_owned(),
            ingest_burst: "2MiB".to_owned(),
            query_max_length: "off".to_owned(),
            query_max_lookback: "off".to_owned(),
            query_default_nodes: query.default_nodes,
            query_max_nodes: query.max_nodes,
            relabel: Vec::new(),
            relabel_sample_types: Vec::new(),
            relabel_built_in: BuiltIn::First,
        }
    }
}

impl LimitSettings {
    /// The same in numbers; `place` is where the settings stand. Errors: the first key that cannot be used.
    pub(crate) fn to_limits(&self, place: &str) -> anyhow::Result<TenantLimits> {
        let key = |name: &str| format!("{place}.{name}");
        let window = |name: &str, text: &str| {
            Ok::<_, anyhow::Error>(duration(&key(name), text)?.and_then(|d| i64::try_from(d.as_nanos()).ok()))
        };
        // 0 is no limit.
        let ms = |name: &str, text: &str| {
            let limit = duration(&key(name), text)?;
            Ok::<_, anyhow::Error>(limit.map_or(0, |d| u64::try_from(d.as_millis()).unwrap_or(u64::MAX).max(1)))
        };
        ensure!(
            (1..=self.query_max_nodes).contains(&self.query_default_nodes),
            "{}: {} is not between 1 and query_max_nodes, which is {}",
            key("query_default_nodes"),
            self.query_default_nodes,
            self.query_max_nodes
        );
        Ok(TenantLimits {
            profile: IngestLimits {
                profile_size_bytes: memory(&key("max_profile_size"), &self.max_profile_size)?,
                samples: self.max_samples,
                sample_labels: self.max_sample_labels,
                stack_depth: self.max_stack_depth,
                symbol_length_bytes: self.max_symbol_length,
                label_names: self.max_label_names,
                label_name_length_bytes: self.max_label_name_length,
                label_value_length_bytes: self.max_label_value_length,
                reject_older_than_ns: window("reject_older_than", &self.reject_older_than)?,
                reject_newer_than_ns: window("reject_newer_than", &self.reject_newer_than)?,
            },
            relabel: self.to_relabeling(place)?,
            max_body_bytes: memory(&key("max_body_size"), &self.max_body_size)? as u64,
            rate_bytes_per_second: size(&key("ingest_rate"), &self.ingest_rate)?.unwrap_or(0),
            burst_bytes: memory(&key("ingest_burst"), &self.ingest_burst)? as u64,
            query: QueryLimits {
                max_length_ms: ms("query_max_length", &self.query_max_length)?,
                max_lookback_ms: ms("query_max_lookback", &self.query_max_lookback)?,
                default_nodes: self.query_default_nodes,
                max_nodes: self.query_max_nodes,
            },
        })
    }

    fn to_relabeling(&self, place: &str) -> anyhow::Result<Relabeling> {
        let rules = |name: &str, list: &[RelabelSettings]| {
            let rule = |(index, settings): (usize, &RelabelSettings)| {
                settings.to_rule().with_context(|| format!("{place}.{name}[{index}]"))
            };
            list.iter().enumerate().map(rule).collect::<anyhow::Result<Vec<_>>>()
        };
        Ok(Relabeling {
            series: rules("relabel", &self.relabel)?,
            sample_types: rules("relabel_sample_types", &self.relabel_sample_types)?,
            built_in: match self.relabel_built_in {
                BuiltIn::First => BuiltInRules::First,
                BuiltIn::Last => BuiltInRules::Last,
                BuiltIn::Disabled => BuiltInRules::Disabled,
            },
        })
    }
}

/// Some of the [`LimitSettings`], for one tenant.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub(crate) struct LimitOverrides(#[schemars(with = "LimitSettings")] Map<String, Value>);

impl LimitOverrides {
    /// The settings of the tenant. Errors: a key that does not exist, or a value of the wrong type.
    pub(crate) fn over(&self, defaults: &LimitSettings) -> anyhow::Result<LimitSettings> {
        let mut merged = serde_json::to_value(defaults)?;
        merge(&mut merged, Value::Object(self.0.clone()));
        typed(merged)
    }
}

/// One relabel rule.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct RelabelSettings {
    /// Labels whose values are joined by `separator`.
    pub(crate) source_labels: Vec<String>,
    /// Text between source values.
    pub(crate) separator: String,
    /// Pattern that must match the whole text.
    pub(crate) regex: String,
    /// Number of buckets of `hashmod`.
    pub(crate) modulus: u64,
    /// Label to write.
    pub(crate) target_label: String,
    /// Text to write; `$1` is the first group.
    pub(crate) replacement: String,
    /// What the rule does.
    pub(crate) action: Action,
}

/// Where the built-in relabel rules stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BuiltIn {
    /// Before the configured ones.
    #[default]
    First,
    /// After the configured ones.
    Last,
    /// Not applied.
    Disabled,
}

/// What a relabel rule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    Lowercase,
    Uppercase,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
}

impl Default for RelabelSettings {
    fn default() -> Self {
        Self {
            source_labels: Vec::new(),
            separator: ";".to_owned(),
            regex: "(.*)".to_owned(),
            modulus: 0,
            target_label: String::new(),
            replacement: "$1".to_owned(),
            action: Action::Replace,
        }
    }
}

impl RelabelSettings {
    fn to_rule(&self) -> anyhow::Result<RelabelRule> {
        let action = match self.action {
            Action::Replace => RelabelAction::Replace,
            Action::Keep => RelabelAction::Keep,
            Action::Drop => RelabelAction::Drop,
            Action::KeepEqual => RelabelAction::KeepEqual,
            Action::DropEqual => RelabelAction::DropEqual,
            Action::Lowercase => RelabelAction::Lowercase,
            Action::Uppercase => RelabelAction::Uppercase,
            Action::HashMod => RelabelAction::HashMod,
            Action::LabelMap => RelabelAction::LabelMap,
            Action::LabelDrop => RelabelAction::LabelDrop,
            Action::LabelKeep => RelabelAction::LabelKeep,
        };
        let rule = RelabelRule::new(action).sources(self.source_labels.iter().cloned()).separator(&self.separator);
        let rule = rule.matching(&self.regex)?.modulus(self.modulus).target(&self.target_label);
        Ok(rule.replacement(&self.replacement).check()?)
    }
}
