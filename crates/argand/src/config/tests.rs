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

#[test]
fn relabel_rules_are_checked_and_named_by_position() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("argand.yaml");
    let load_with = |rules: &str| {
        std::fs::write(&path, format!("relabel:\n{rules}")).unwrap();
        load(&ServerOptions { config: Some(path.clone()), ..ServerOptions::default() })
    };
    let config = load_with("  - source_labels: [env]\n    regex: test\n    action: drop\n").unwrap();
    assert_eq!(config.relabeling().unwrap().series.len(), 1);
    let error = format!(
        "{:#}",
        load_with("  - action: labeldrop\n    regex: a\n  - regex: '('\n    target_label: x\n").unwrap_err()
    );
    assert!(error.contains("relabel[1]"), "{error}");
    let error = format!("{:#}", load_with("  []\nrelabel_sample_types:\n  - action: keepequal\n").unwrap_err());
    assert!(error.contains("relabel_sample_types[0]") && error.contains("target_label"), "{error}");
}

#[test]
fn the_written_defaults_are_the_limits_in_force() {
    assert_eq!(Config::default().profiles.to_limits().unwrap(), IngestLimits::default());
}
