use serde_json::{Value, json};

use super::*;
use crate::LimitError;
use crate::drawn::drawn;

fn file(profiles: &[Value]) -> Vec<u8> {
    let frames = json!([{"name": "main", "file": "a.rs", "line": 3}, {"name": "work"}, {"name": "idle"}, {"name": ""}]);
    json!({"$schema": SCHEMA, "exporter": "x", "profiles": profiles, "shared": {"frames": frames}})
        .to_string()
        .into_bytes()
}

fn sampled(unit: &str, samples: &Value, weights: &Value) -> Value {
    json!({"samples": samples, "weights": weights, "name": "s", "unit": unit, "startValue": 0, "endValue": 9, "type": "sampled"})
}

fn evented(unit: &str, start: f64, end: f64, events: &[(&str, f64, u32)]) -> Value {
    let events: Vec<Value> =
        events.iter().map(|(kind, at, frame)| json!({"type": kind, "at": at, "frame": frame})).collect();
    json!({"type": "evented", "name": "e", "unit": unit, "startValue": start, "endValue": end, "events": events})
}

fn one(profile: Value) -> Result<Profile, FormatError> {
    let mut all = decode(&file(&[profile]), &DecodeLimits::default())?;
    assert_eq!(all.len(), 1);
    Ok(all.remove(0).profile)
}

fn error(profile: Value) -> String {
    one(profile).unwrap_err().to_string()
}

#[test]
fn samples_are_stacks_from_the_root_with_weights() {
    let profile = one(sampled("none", &json!([[0, 1], [0], [0, 1], [], [0, 3]]), &json!([1, 2, 4, 8, 0]))).unwrap();
    assert_eq!(drawn(&profile), [" 8", "main 2", "main;work 5"]);
}

#[test]
fn events_open_and_close_frames() {
    let events = [("O", 1.0, 0), ("O", 3.0, 1), ("C", 7.0, 1), ("O", 7.0, 2), ("C", 8.0, 2), ("C", 10.0, 0)];
    let profile = one(evented("none", 0.0, 20.0, &events)).unwrap();
    assert_eq!(drawn(&profile), ["main 4", "main;work 4", "main;idle 1"]);
}

#[test]
fn open_frames_last_until_the_end() {
    let events = [("O", 100.0, 0), ("O", 103.0, 1)];
    assert_eq!(drawn(&one(evented("none", 100.0, 110.0, &events)).unwrap()), ["main 3", "main;work 7"]);
}

#[test]
fn times_become_nanoseconds() {
    for (unit, stored, value) in [
        ("none", "count", 2),
        ("bytes", "bytes", 2),
        ("nanoseconds", "nanoseconds", 2),
        ("microseconds", "nanoseconds", 1_500),
        ("milliseconds", "nanoseconds", 1_500_000),
        ("seconds", "nanoseconds", 1_500_000_000),
    ] {
        let profile = one(sampled(unit, &json!([[0]]), &json!([1.5]))).unwrap();
        assert_eq!((profile.text(profile.sample_types[0].unit), profile.samples.values[0]), (stored, value));
        let events = [("O", 1.25, 0), ("C", 2.75, 0)];
        assert_eq!(one(evented(unit, 1.25, 3.0, &events)).unwrap().samples.values, [value]);
    }
}

#[test]
fn rounding_does_not_drift() {
    let samples: Vec<Value> = (0..1000).map(|i| json!([i % 2])).collect();
    let profile = one(sampled("nanoseconds", &json!(samples), &json!(vec![0.3; 1000]))).unwrap();
    assert_eq!(profile.samples.values.iter().sum::<i64>(), 300);
}

#[test]
fn a_file_may_hold_several_profiles() {
    let bytes = file(&[
        sampled("seconds", &json!([[0]]), &json!([1])),
        evented("bytes", 0.0, 5.0, &[("O", 0.0, 1), ("C", 5.0, 1)]),
    ]);
    let all = decode(&bytes, &DecodeLimits::default()).unwrap();
    let summary: Vec<_> = all.iter().map(|p| (p.name.as_str(), p.unit, drawn(&p.profile))).collect();
    assert_eq!(
        summary,
        [("s", Unit::Seconds, vec!["main 1000000000".to_owned()]), ("e", Unit::Bytes, vec!["work 5".to_owned()])]
    );
    assert_eq!(all[0].unit.name(), "seconds");
}

#[test]
fn contradictions_are_refused() {
    let samples = |samples, weights| error(sampled("none", &samples, &weights));
    assert_eq!(samples(json!([[0]]), json!([])), "invalid speedscope profile: 1 samples with 0 weights");
    assert_eq!(samples(json!([[4]]), json!([1])), "invalid speedscope profile: frame 4 does not exist");
    assert_eq!(samples(json!([[0]]), json!([-1])), "invalid speedscope profile: weight -1 is negative");
    assert_eq!(samples(json!([[0]]), json!([1e19])), "values exceed 63 bits");
    let events = |events: &[_]| error(evented("none", 0.0, 9.0, events));
    let not_innermost = "invalid speedscope profile: frame 0 is closed but not the innermost open one";
    assert_eq!(events(&[("C", 0.0, 0)]), not_innermost);
    assert_eq!(events(&[("O", 0.0, 0), ("O", 1.0, 1), ("C", 2.0, 0)]), not_innermost);
    assert_eq!(events(&[("O", 2.0, 0), ("C", 1.0, 0)]), "invalid speedscope profile: weight -1 is negative");
}

#[test]
fn other_files_are_refused() {
    let refused = |text: &str, part: &str| {
        let message = decode(text.as_bytes(), &DecodeLimits::default()).unwrap_err().to_string();
        assert!(message.contains(part), "{message}");
    };
    refused("", "EOF");
    refused("{}", "missing field `$schema`");
    refused(r#"{"$schema":"x","shared":{"frames":[]},"profiles":[]}"#, "$schema is not https://");
    let unit = String::from_utf8(file(&[sampled("hours", &json!([]), &json!([]))])).unwrap();
    refused(&unit, "unknown variant `hours`");
    refused(&"[".repeat(10_000), "invalid");
}

#[test]
fn all_profiles_share_the_memory() {
    let long = "x".repeat(1000);
    let profiles: Vec<Value> = (0..50).map(|_| sampled("none", &json!([[0]]), &json!([1]))).collect();
    let text = json!({"$schema": SCHEMA, "profiles": profiles, "shared": {"frames": [{"name": long}]}}).to_string();
    let limits = DecodeLimits { string_bytes: 49_999, ..DecodeLimits::default() };
    let refused = decode(text.as_bytes(), &limits).unwrap_err();
    assert!(matches!(refused, FormatError::Limit(LimitError { quantity: Quantity::StringBytes, .. })), "{refused}");
    assert_eq!(decode(text.as_bytes(), &DecodeLimits::default()).unwrap().len(), 50);
}

#[test]
fn large_files_and_many_profiles_are_refused() {
    let limits = DecodeLimits { memory_bytes: 8 * 100, ..DecodeLimits::default() };
    let refused = decode(&[b' '; 101], &limits).unwrap_err();
    assert_eq!(refused, FormatError::Limit(LimitError { quantity: Quantity::MemoryBytes, limit: 800 }));
    let many = vec![sampled("none", &json!([]), &json!([])); MAX_PROFILES + 1];
    let message = decode(&file(&many), &DecodeLimits::default()).unwrap_err().to_string();
    assert_eq!(message, "invalid speedscope profile: more than 1024 profiles");
}

#[test]
fn no_damage_panics() {
    let bytes = file(&[
        sampled("seconds", &json!([[0, 1], [2]]), &json!([1, 2.5])),
        evented("bytes", 0.0, 5.0, &[("O", 0.0, 1), ("C", 5.0, 1)]),
    ]);
    for cut in 0..bytes.len() {
        assert!(decode(&bytes[..cut], &DecodeLimits::default()).is_err());
    }
    for bit in 0..bytes.len() * 8 {
        let mut damaged = bytes.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        if let Ok(profiles) = decode(&damaged, &DecodeLimits::default()) {
            profiles.iter().for_each(|p| drop(drawn(&p.profile)));
        }
    }
}
