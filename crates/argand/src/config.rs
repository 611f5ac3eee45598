//! Configuration: flag over environment over file over default.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use argand_ingest::{BuiltInRules, IngestLimits, RelabelAction, RelabelRule, Relabeling};
use argand_server::ServerConfig;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::cli::ServerOptions;

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Listeners, limits and tenancy.
    pub(crate) server: ServerConfig,
    /// Where and how long profiles are kept.
    pub(crate) store: StoreSettings,
    /// What an uploaded profile may contain.
    pub(crate) profiles: ProfileSettings,
    /// Rules for the labels of uploaded profiles, in Prometheus' terms, applied in order.
    pub(crate) relabel: Vec<RelabelSettings>,
    /// Rules for every sample type of a profile. They see the type as `__type__` and `__unit__`, may drop it alone, and
    /// may change other labels.
    pub(crate) relabel_sample_types: Vec<RelabelSettings>,
    /// Where the built-in rules stand in both lists: `godeltaprof_*` becomes the plain name, and CPU time inside a
    /// wall-clock profile becomes a CPU profile.
    pub(crate) relabel_built_in: BuiltIn,
    /// Profiles of the server itself.
    pub(crate) self_profile: SelfProfileSettings,
}

/// What an uploaded profile may contain.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ProfileSettings {
    /// Largest profile once decompressed, such as `4MiB`.
    pub(crate) max_size: String,
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
    pub(crate) reject_older_than: String,
    /// How far ahead of now a profile may be, such as `10m`; `off` accepts any.
    pub(crate) reject_newer_than: String,
}

impl Default for ProfileSettings {
    fn default() -> Self {
        let limits = IngestLimits::default();
        Self {
            max_size: "4MiB".to_owned(),
            max_samples: limits.samples,
            max_sample_labels: limits.sample_labels,
            max_stack_depth: limits.stack_depth,
            max_symbol_length: limits.symbol_length_bytes,
            max_label_names: limits.label_names,
            max_label_name_length: limits.label_name_length_bytes,
            max_label_value_length: limits.label_value_length_bytes,
            reject_older_than: "1h".to_owned(),
            reject_newer_than: "10m".to_owned(),
        }
    }
}

impl ProfileSettings {
    /// Errors: a duration or size that cannot be read, by the key's name.
    pub(crate) fn to_limits(&self) -> anyhow::Result<IngestLimits> {
        let window = |key, text: &str| {
            Ok::<_, anyhow::Error>(duration(key, text)?.and_then(|d| i64::try_from(d.as_nanos()).ok()))
        };
        Ok(IngestLimits {
            profile_size_bytes: memory("profiles.max_size", &self.max_size)?,
            samples: self.max_samples,
            sample_labels: self.max_sample_labels,
            stack_depth: self.max_stack_depth,
            symbol_length_bytes: self.max_symbol_length,
            label_names: self.max_label_names,
            label_name_length_bytes: self.max_label_name_length,
            label_value_length_bytes: self.max_label_value_length,
            reject_older_than_ns: window("profiles.reject_older_than", &self.reject_older_than)?,
            reject_newer_than_ns: window("profiles.reject_newer_than", &self.reject_newer_than)?,
        })
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

impl Config {
    /// Errors: the first rule that cannot be used, by its position.
    pub(crate) fn relabeling(&self) -> anyhow::Result<Relabeling> {
        let rules = |key: &str, list: &[RelabelSettings]| {
            let rule = |(index, settings): (usize, &RelabelSettings)| {
                settings.to_rule().with_context(|| format!("{key}[{index}]"))
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

/// Where and how long profiles are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StoreSettings {
    /// Directory that the server owns.
    pub(crate) data_dir: PathBuf,
    /// How long profiles are kept, such as `31d` or `12h`; `off` keeps them for ever.
    pub(crate) retention: String,
    /// How many bytes of blocks are kept, such as `50GiB`; `off` for no bound.
    pub(crate) retention_size: String,
    /// How many bytes of newest rows are held in memory before they become a block.
    pub(crate) head_size: String,
    /// How many bytes of decoded blocks are held in memory for queries.
    pub(crate) cache_size: String,
}

impl Default for StoreSettings {
    fn default() -> Self {
        Self {
            data_dir: PathBuf::from("./argand-data"),
            retention: "31d".to_owned(),
            retention_size: "off".to_owned(),
            head_size: "128MiB".to_owned(),
            cache_size: "128MiB".to_owned(),
        }
    }
}

/// Profiles of the server itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SelfProfileSettings {
    /// Whether the server profiles itself as service `argand`.
    pub(crate) enabled: bool,
    /// Time that one profile covers, such as `10s`.
    pub(crate) interval: String,
    /// CPU samples per second.
    pub(crate) rate: u32,
}

impl Default for SelfProfileSettings {
    fn default() -> Self {
        Self { enabled: true, interval: "10s".to_owned(), rate: 99 }
    }
}

impl StoreSettings {
    /// Errors: a duration or size that cannot be read, by the key's name.
    pub(crate) fn to_store_config(&self) -> anyhow::Result<argand_store::StoreConfig> {
        Ok(argand_store::StoreConfig {
            retention: duration("store.retention", &self.retention)?,
            retention_bytes: size("store.retention_size", &self.retention_size)?,
            head_bytes: memory("store.head_size", &self.head_size)?,
            cache_bytes: memory("store.cache_size", &self.cache_size)?,
            ..argand_store::StoreConfig::default()
        })
    }
}

/// Reads the duration under `key`; `off` is none.
pub(crate) fn duration(key: &str, text: &str) -> anyhow::Result<Option<Duration>> {
    if matches!(text, "off" | "0") {
        return Ok(None);
    }
    let parsed = humantime::parse_duration(text);
    parsed.map(Some).with_context(|| format!("{key}: {text:?} is no duration, use for example 31d, 12h or off"))
}

fn size(key: &str, text: &str) -> anyhow::Result<Option<u64>> {
    if matches!(text, "off" | "0") {
        return Ok(None);
    }
    let parsed = text.parse::<bytesize::ByteSize>().map_err(anyhow::Error::msg);
    parsed
        .map(|size| Some(size.as_u64()))
        .with_context(|| format!("{key}: {text:?} is no size, use for example 64MiB or off"))
}

/// Reads the size of memory under `key`, which cannot be off.
fn memory(key: &str, text: &str) -> anyhow::Result<usize> {
    let bytes = size(key, text)?.with_context(|| format!("{key}: cannot be off"))?;
    usize::try_from(bytes).with_context(|| format!("{key}: more than this machine can address"))
}

/// The configuration in force. Errors name the source and the key.
pub(crate) fn load(options: &ServerOptions) -> anyhow::Result<Config> {
    let mut merged = serde_json::to_value(Config::default()).context("defaults")?;
    if let Some(path) = &options.config {
        merge(&mut merged, read_file(path)?);
    }
    merge(&mut merged, from_environment(std::env::vars())?);
    merge(&mut merged, from_flags(options));
    let config: Config = serde_json::from_value(merged).context("invalid configuration")?;
    config.store.to_store_config()?;
    config.profiles.to_limits()?;
    config.relabeling()?;
    duration("self_profile.interval", &config.self_profile.interval)?;
    Ok(config)
}

/// Puts `over` on top of `base`, table by table.
fn merge(base: &mut Value, over: Value) {
    match (base, over) {
        (Value::Object(base), Value::Object(over)) => {
            for (key, value) in over {
                merge(base.entry(key).or_insert(Value::Null), value);
            }
        }
        (base, over) => *base = over,
    }
}

fn read_file(path: &Path) -> anyhow::Result<Value> {
    let place = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("cannot read configuration {place}"))?;
    let value: Value = match path.extension().and_then(|e| e.to_str()) {
        Some("toml") => toml::from_str(&text).with_context(|| format!("{place} is no valid TOML"))?,
        Some("json") => serde_json::from_str(&text).with_context(|| format!("{place} is no valid JSON"))?,
        _ if text.trim().is_empty() => json!({}),
        _ => serde_saphyr::from_str(&text).with_context(|| format!("{place} is no valid YAML"))?,
    };
    // Checked by itself first, so that the error names the file and not the merged result.
    serde_json::from_value::<Config>(value.clone()).with_context(|| format!("invalid configuration {place}"))?;
    Ok(value)
}

/// `ARGAND_SERVER__LISTEN=…` sets `server.listen`; variables without a double underscore are not ours to read.
fn from_environment(variables: impl Iterator<Item = (String, String)>) -> anyhow::Result<Value> {
    let mut tree = json!({});
    for (variable, text) in variables {
        let Some(path) = variable.strip_prefix("ARGAND_").filter(|p| p.contains("__")) else { continue };
        let keys: Vec<String> = path.split("__").map(str::to_ascii_lowercase).collect();
        // Numbers and booleans read as such; everything else is text.
        let value = match serde_json::from_str::<Value>(&text) {
            Ok(value) if !value.is_null() => value,
            _ => Value::String(text),
        };
        let mut over = value;
        for key in keys.iter().rev() {
            over = Value::Object(Map::from_iter([(key.clone(), over)]));
        }
        let mut alone = serde_json::to_value(Config::default())?;
        merge(&mut alone, over.clone());
        serde_json::from_value::<Config>(alone).with_context(|| format!("invalid environment variable {variable}"))?;
        merge(&mut tree, over);
    }
    Ok(tree)
}

fn from_flags(options: &ServerOptions) -> Value {
    let mut tree = json!({});
    let mut set = |section: &str, key: &str, value: Option<Value>| {
        if let Some(value) = value {
            merge(&mut tree, json!({ section: { key: value } }));
        }
    };
    let admin_listen = options.admin_listen.as_deref().map(|a| if a == "off" { "" } else { a });
    set("server", "listen", options.listen.clone().map(Value::from));
    set("server", "admin_listen", admin_listen.map(Value::from));
    set("store", "data_dir", options.data_dir.as_ref().map(|d| json!(d)));
    set("store", "retention", options.retention.clone().map(Value::from));
    set("store", "retention_size", options.retention_size.clone().map(Value::from));
    set("self_profile", "enabled", options.self_profile.map(Value::from));
    tree
}

pub(crate) fn check(options: &ServerOptions) -> anyhow::Result<()> {
    load(options)?;
    match &options.config {
        Some(path) => println!("{} is valid", path.display()),
        None => println!("the environment and the flags are valid"),
    }
    Ok(())
}

pub(crate) fn show(options: &ServerOptions, diff_default: bool, json: bool) -> anyhow::Result<()> {
    let config = load(options)?;
    let value = if diff_default { changed(&config)? } else { serde_json::to_value(&config)? };
    match json {
        true => println!("{}", serde_json::to_string_pretty(&value)?),
        false => print!("{}", yaml(&value)?),
    }
    Ok(())
}

/// The whole configuration.
pub(crate) fn to_yaml(config: &Config) -> anyhow::Result<String> {
    yaml(&serde_json::to_value(config)?)
}

/// What differs from the defaults.
pub(crate) fn to_yaml_changed(config: &Config) -> anyhow::Result<String> {
    yaml(&changed(config)?)
}

fn changed(config: &Config) -> anyhow::Result<Value> {
    let (default, current) = (serde_json::to_value(Config::default())?, serde_json::to_value(config)?);
    Ok(difference(&default, &current).unwrap_or_else(|| json!({})))
}

fn yaml(value: &Value) -> anyhow::Result<String> {
    serde_saphyr::to_string(value).map_err(|error| anyhow::anyhow!("cannot write YAML: {error}"))
}

/// What `value` has other than `base`, table by table.
fn difference(base: &Value, value: &Value) -> Option<Value> {
    match (base, value) {
        (Value::Object(base), Value::Object(value)) => {
            let changed = value
                .iter()
                .filter_map(|(k, v)| Some((k.clone(), difference(base.get(k).unwrap_or(&Value::Null), v)?)));
            let changed: Map<String, Value> = changed.collect();
            (!changed.is_empty()).then_some(Value::Object(changed))
        }
        (base, value) => (base != value).then(|| value.clone()),
    }
}

pub(crate) fn print_schema() -> anyhow::Result<()> {
    println!("{}", serde_json::to_string_pretty(&schemars::schema_for!(Config))?);
    Ok(())
}

/// Refuses an address that cannot be listened on, by the key's name.
pub(crate) fn address(key: &str, text: &str) -> anyhow::Result<std::net::SocketAddr> {
    use std::net::ToSocketAddrs;
    let mut found = text
        .to_socket_addrs()
        .with_context(|| format!("{key}: {text:?} is no address, use for example 127.0.0.1:4040"))?;
    match found.next() {
        Some(address) => Ok(address),
        None => bail!("{key}: {text:?} names no address"),
    }
}

#[cfg(test)]
mod tests;
