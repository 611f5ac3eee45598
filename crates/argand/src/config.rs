//! Configuration: flag over environment over file over default.

mod limits;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, bail};
use argand_server::{ConfigText, Policy, ServerConfig};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tracing_subscriber::EnvFilter;

use crate::cli::ServerOptions;

use limits::{LimitOverrides, LimitSettings};

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Config {
    /// Listeners, limits and tenancy.
    pub(crate) server: ServerConfig,
    /// Where and how long profiles are kept.
    pub(crate) store: StoreSettings,
    /// Limits and rules of every tenant that has none of its own.
    pub(crate) limits: LimitSettings,
    /// Limits and rules of single tenants, by tenant id: what is not named is as in `limits`. A list of rules takes the
    /// place of the one there.
    pub(crate) overrides: BTreeMap<String, LimitOverrides>,
    /// The program's own log.
    pub(crate) log: LogSettings,
    /// Profiles of the server itself.
    pub(crate) self_profile: SelfProfileSettings,
}

/// The program's own log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct LogSettings {
    /// `error`, `warn`, `info`, `debug` or `trace`, or directives such as `info,argand_store=debug`.
    pub(crate) level: String,
}

impl Default for LogSettings {
    fn default() -> Self {
        Self { level: "info".to_owned() }
    }
}

impl LogSettings {
    /// Errors: directives that cannot be read.
    pub(crate) fn to_filter(&self) -> anyhow::Result<EnvFilter> {
        let parsed = EnvFilter::builder().parse(&self.level);
        parsed.with_context(|| format!("log.level: {:?} is no level, use for example info or debug", self.level))
    }
}

/// Where and how long profiles are kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StoreSettings {
    /// Directory that the server owns.
    pub(crate) data_dir: PathBuf,
    /// How long profiles are kept, such as `31d` or `12h`; `off` keeps them for ever.
    #[serde(deserialize_with = "text")]
    pub(crate) retention: String,
    /// How many bytes of blocks are kept, such as `50GiB`; `off` for no bound.
    #[serde(deserialize_with = "text")]
    pub(crate) retention_size: String,
    /// How many bytes of newest rows are held in memory before they become a block.
    #[serde(deserialize_with = "text")]
    pub(crate) head_size: String,
    /// How many bytes of decoded blocks are held in memory for queries.
    #[serde(deserialize_with = "text")]
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
    #[serde(deserialize_with = "text")]
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

/// Reads a duration or a size as text. For YAML `off` is `false`, and what has no unit is a number.
fn text<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "expected a text such as 31d, 64MiB or off")]
    enum Written {
        Text(String),
        Switch(bool),
        Number(u64),
    }
    match Written::deserialize(deserializer)? {
        Written::Text(text) => Ok(text),
        Written::Switch(false) => Ok("off".to_owned()),
        Written::Switch(true) => Err(serde::de::Error::custom("on is no value, use for example 31d, 64MiB or off")),
        Written::Number(number) => Ok(number.to_string()),
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
    let config: Config = typed(merged).context("invalid configuration")?;
    config.store.to_store_config()?;
    config.policy()?;
    config.log.to_filter()?;
    duration("self_profile.interval", &config.self_profile.interval)?;
    Ok(config)
}

/// Reads a value as what it should be. Errors name the key.
fn typed<T: DeserializeOwned>(value: Value) -> anyhow::Result<T> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let key = error.path().to_string();
        let reason = anyhow::Error::new(error.into_inner());
        // The path of the whole is a dot.
        if key == "." { reason } else { reason.context(key) }
    })
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
    let alone: Config = typed(value.clone()).with_context(|| format!("invalid configuration {place}"))?;
    alone.policy().with_context(|| format!("invalid configuration {place}"))?;
    Ok(value)
}

/// Another name of `log.level`.
const LOG_VARIABLE: &str = "ARGAND_LOG";

/// `ARGAND_SERVER__LISTEN=…` sets `server.listen`; variables without a double underscore are not ours to
/// read, but for `ARGAND_LOG`.
fn from_environment(variables: impl Iterator<Item = (String, String)>) -> anyhow::Result<Value> {
    let mut tree = json!({});
    for (variable, text) in variables {
        if variable == LOG_VARIABLE {
            merge(&mut tree, json!({ "log": { "level": text } }));
        }
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
        typed::<Config>(alone).with_context(|| format!("invalid environment variable {variable}"))?;
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

impl Config {
    /// Limits of all tenants, and the configuration in words. Errors: the first key that cannot be used.
    pub(crate) fn policy(&self) -> anyhow::Result<Policy> {
        let mut overrides = BTreeMap::new();
        for (tenant, settings) in &self.overrides {
            let key = format!("overrides.{tenant}");
            let id = tenant.parse().with_context(|| format!("{key}: not the id of a tenant"))?;
            let merged = settings.over(&self.limits).with_context(|| key.clone())?;
            overrides.insert(id, merged.to_limits(&key)?);
        }
        let config_text = ConfigText {
            current: yaml(&serde_json::to_value(self)?)?,
            changed: yaml(&changed(self)?)?,
            default: yaml(&serde_json::to_value(Self::default())?)?,
            overrides: yaml(&json!({ "overrides": self.overrides }))?,
        };
        Ok(Policy { limits: self.limits.to_limits("limits")?, overrides, config_text })
    }

    /// This configuration with everything of `new` that a running server can take over.
    pub(crate) fn reloaded(&self, new: &Self) -> Self {
        let mut reloaded = self.clone();
        reloaded.limits = new.limits.clone();
        reloaded.overrides = new.overrides.clone();
        reloaded.log = new.log.clone();
        reloaded.store.retention = new.store.retention.clone();
        reloaded.store.retention_size = new.store.retention_size.clone();
        reloaded
    }

    /// Keys in which the two differ, such as `limits.max_samples`.
    pub(crate) fn differing_keys(&self, other: &Self) -> anyhow::Result<BTreeSet<String>> {
        let mut keys = BTreeSet::new();
        collect_differences("", &serde_json::to_value(self)?, &serde_json::to_value(other)?, &mut keys);
        Ok(keys)
    }
}

fn collect_differences(key: &str, one: &Value, other: &Value, keys: &mut BTreeSet<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) => {
            for name in one.keys().chain(other.keys()) {
                let below = if key.is_empty() { name.clone() } else { format!("{key}.{name}") };
                let of = |map: &Map<String, Value>| map.get(name).cloned().unwrap_or(Value::Null);
                collect_differences(&below, &of(one), &of(other), keys);
            }
        }
        (one, other) if one != other => drop(keys.insert(key.to_owned())),
        _ => {}
    }
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
