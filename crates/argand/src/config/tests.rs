use argand_server::TenantLimits;

use super::*;

fn environment(variables: &[(&str, &str)]) -> anyhow::Result<Value> {
    from_environment(variables.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())))
}

#[test]
fn flags_win_over_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("argand.yaml");
    std::fs::write(&path, "server:\n  listen: 127.0.0.1:1\n  multitenancy: true\nstore:\n  retention: 7d\n").unwrap();
    let options = ServerOptions { config: Some(path), listen: Some("127.0.0.1:2".into()), ..ServerOptions::default() };
    let config = load(&options).unwrap();
    assert_eq!((config.server.listen.as_str(), config.server.multitenancy), ("127.0.0.1:2", true));
    assert_eq!(config.store.to_store_config().unwrap().retention, Some(Duration::from_secs(7 * 86_400)));
}

#[test]
fn toml_and_json_read_alike() {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in
        [("a.toml", "[store]\nretention_size = \"1GiB\""), ("a.json", r#"{"store":{"retention_size":"1GiB"}}"#)]
    {
        let path = directory.path().join(name);
        std::fs::write(&path, text).unwrap();
        let config = load(&ServerOptions { config: Some(path), ..ServerOptions::default() }).unwrap();
        assert_eq!(config.store.to_store_config().unwrap().retention_bytes, Some(1 << 30));
    }
}

#[test]
fn the_environment_nests_by_double_underscores() {
    let tree = environment(&[("ARGAND_SERVER__MULTITENANCY", "true"), ("ARGAND_CONFIG", "x"), ("PATH", "y")]).unwrap();
    assert_eq!(tree, json!({"server": {"multitenancy": true}}));
}

#[test]
fn unknown_keys_are_named_with_their_source() {
    let error = format!("{:#}", environment(&[("ARGAND_SERVER__LISTN", "x")]).unwrap_err());
    assert!(error.contains("ARGAND_SERVER__LISTN") && error.contains("listen"), "{error}");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("bad.yaml");
    std::fs::write(&path, "sever: {}\n").unwrap();
    let error = format!("{:#}", load(&ServerOptions { config: Some(path), ..ServerOptions::default() }).unwrap_err());
    assert!(error.contains("bad.yaml") && error.contains("sever") && error.contains("server"), "{error}");
}

#[test]
fn bad_durations_and_sizes_name_their_key() {
    let options = ServerOptions { retention: Some("a while".into()), ..ServerOptions::default() };
    assert!(format!("{:#}", load(&options).unwrap_err()).contains("store.retention"));
    let options = ServerOptions { retention_size: Some("lots".into()), ..ServerOptions::default() };
    assert!(format!("{:#}", load(&options).unwrap_err()).contains("store.retention_size"));
}

#[test]
fn the_difference_to_the_defaults_is_what_was_set() {
    let base = json!({"a": {"b": 1, "c": 2}});
    assert_eq!(difference(&base, &json!({"a": {"b": 1, "c": 3}})), Some(json!({"a": {"c": 3}})));
    assert_eq!(difference(&base, &base), None);
}

fn load_text(text: &str) -> anyhow::Result<Config> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("argand.yaml");
    std::fs::write(&path, text).unwrap();
    load(&ServerOptions { config: Some(path), ..ServerOptions::default() })
}

/// What is said about a configuration that is refused.
fn refusal(text: &str) -> String {
    format!("{:#}", load_text(text).unwrap_err())
}

#[test]
fn relabel_rules_are_checked_and_named_by_position() {
    let rules = "limits:\n  relabel:\n    - {source_labels: [env], regex: test, action: drop}\n";
    assert_eq!(load_text(rules).unwrap().policy().unwrap().limits.relabel.series.len(), 1);
    let error = refusal("limits:\n  relabel: [{action: labeldrop, regex: a}, {regex: '(', target_label: x}]\n");
    assert!(error.contains("limits.relabel[1]") && error.contains("argand.yaml"), "{error}");
    let error = refusal("limits:\n  relabel_sample_types: [{action: keepequal}]\n");
    assert!(error.contains("limits.relabel_sample_types[0]") && error.contains("target_label"), "{error}");
}

#[test]
fn the_written_defaults_are_the_limits_in_force() {
    let (written, default) = (LimitSettings::default().to_limits("limits").unwrap(), TenantLimits::default());
    let numbers = |limits: &TenantLimits| (limits.max_body_bytes, limits.rate_bytes_per_second, limits.burst_bytes);
    assert_eq!(numbers(&written), numbers(&default));
    assert_eq!((written.profile, written.query), (default.profile, default.query));
}

#[test]
fn overrides_change_what_they_name() {
    let text = "
limits: {max_samples: 5, relabel: [{action: labeldrop, regex: pod}]}
overrides:
  team-a: {max_body_size: 1MiB, relabel: []}
  team-b: {}
";
    let policy = load_text(text).unwrap().policy().unwrap();
    let limits = |tenant: &str| {
        let limits = policy.of(&tenant.parse().unwrap());
        (limits.profile.samples, limits.max_body_bytes, limits.relabel.series.len())
    };
    assert_eq!(limits("team-a"), (5, 1 << 20, 0));
    assert_eq!((limits("team-b"), limits("team-c")), ((5, 256 << 20, 1), (5, 256 << 20, 1)));
}

#[test]
fn off_may_be_written_as_yaml_understands_it() {
    let text = "
store: {retention: off, retention_size: 1048576}
limits: {reject_older_than: off, reject_newer_than: 'off', max_body_size: 1000}
overrides: {team-a: {reject_older_than: 1h, ingest_rate: off}}
";
    let config = load_text(text).unwrap();
    let (store, policy) = (config.store.to_store_config().unwrap(), config.policy().unwrap());
    assert_eq!((store.retention, store.retention_bytes), (None, Some(1 << 20)));
    let profile = &policy.limits.profile;
    assert_eq!((profile.reject_older_than_ns, profile.reject_newer_than_ns), (None, None));
    assert_eq!(policy.limits.max_body_bytes, 1000);
    assert_eq!(policy.of(&"team-a".parse().unwrap()).profile.reject_older_than_ns, Some(3_600_000_000_000));
    for text in ["store: {retention: on}", "store: {retention: [1d]}"] {
        let error = refusal(text);
        assert!(error.contains("store.retention") && error.contains("31d"), "{error}");
    }
}

#[test]
fn bad_limits_are_named() {
    for (text, words) in [
        ("limits: {max_samples: many}", ["limits.max_samples", "many"]),
        ("limits: {max_sample: 1}", ["max_sample", "max_samples"]),
        ("limits: {query_default_nodes: 0}", ["limits.query_default_nodes", "between"]),
        ("overrides: {team-a: {max_samples: many}}", ["overrides.team-a", "max_samples"]),
        ("overrides: {team-a: {max_sample: 1}}", ["overrides.team-a", "max_sample"]),
        ("overrides: {team-a: {reject_older_than: soon}}", ["overrides.team-a.reject_older_than", "soon"]),
        ("overrides: {'a/b': {}}", ["overrides.a/b", "tenant"]),
        ("log: {level: 'a=b=c'}", ["log.level", "a=b=c"]),
    ] {
        let error = refusal(text);
        assert!(words.iter().all(|word| error.contains(word)), "{text}: {error}");
    }
}

#[test]
fn a_running_server_takes_over_what_it_can() {
    let old = Config::default();
    let new =
        load_text("limits: {max_samples: 5}\nstore: {retention: 1d, head_size: 1MiB}\nlog: {level: debug}").unwrap();
    let reloaded = old.reloaded(&new);
    let keys = |keys: &[&str]| keys.iter().map(ToString::to_string).collect::<BTreeSet<_>>();
    let changed = reloaded.differing_keys(&old).unwrap();
    assert_eq!(changed, keys(&["limits.max_samples", "log.level", "store.retention"]));
    assert_eq!(reloaded.differing_keys(&new).unwrap(), keys(&["store.head_size"]));
}
