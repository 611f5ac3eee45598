use proptest::prelude::*;

use super::*;

/// The conditions as text, one per line, or the error.
fn parsed(text: &str) -> String {
    match parse_selector(text) {
        Ok(matchers) => show(&matchers),
        Err(error) => error.to_string(),
    }
}

fn show(matchers: &[Matcher]) -> String {
    let symbol = |op| match op {
        MatchOp::Equal => "=",
        MatchOp::NotEqual => "!=",
        MatchOp::Regex => "=~",
        MatchOp::NotRegex => "!~",
    };
    let lines: Vec<String> = matchers.iter().map(|m| format!("{}{}{}", m.name(), symbol(m.op()), m.value())).collect();
    lines.join(" ")
}

#[test]
fn reads_all_operators() {
    assert_eq!(parsed(r#"{a="b",c!="d",e=~"r.*",f!~"s|t"}"#), "a=b c!=d e=~r.* f!~s|t");
    assert_eq!(parsed(" \t{ a = 'b' , \n c=`d`, } "), "a=b c=d");
    assert_eq!(parsed("{}"), "");
}

#[test]
fn a_metric_is_a_condition_on_the_name() {
    assert_eq!(parsed("process_cpu"), "__name__=process_cpu");
    assert_eq!(parsed("a:b{c='d'}"), "__name__=a:b c=d");
    assert_eq!(parsed(r#"{"my metric", a="b"}"#), "__name__=my metric a=b");
    assert_eq!(parsed(r#"{a="b", "my.metric"}"#), "a=b __name__=my.metric");
    assert_eq!(
        parsed("a{__name__='b'}"),
        "invalid selector at byte 2: expected only one metric name, found \"__name__='b'}\""
    );
}

#[test]
fn names_in_quotes_may_be_any_text() {
    assert_eq!(parsed(r#"{"otel.scope.name"="x", 'ä b'!="y"}"#), "otel.scope.name=x ä b!=y");
}

#[test]
fn escapes_are_those_of_go() {
    assert_eq!(parsed(r#"{a="\a\b\f\n\r\t\v\\\""}"#), "a=\x07\x08\x0C\n\r\t\x0B\\\"");
    assert_eq!(parsed(r#"{a='\'"', b="'"}"#), "a='\" b='");
    assert_eq!(parsed(r#"{a="\x41\101\u00e4\U0001F525\xc3\xa4"}"#), "a=AAä🔥ä");
    assert_eq!(parsed(r"{a=`\n`}"), r"a=\n");
    for bad in [r#""\'""#, r#"'\"'"#, r#""\q""#, r#""\x4""#, r#""\400""#, r#""\ud800""#, r#""\U00110000""#] {
        let error = parsed(&format!("{{a={bad}}}"));
        assert!(error.starts_with("invalid selector at byte 4: expected a valid escape sequence"), "{bad}: {error}");
    }
    assert!(parsed(r#"{a="\xff"}"#).starts_with("invalid selector at byte 3: expected a string that is UTF-8"));
}

#[test]
fn errors_say_where_and_what() {
    for (text, message) in [
        ("", "at byte 0: expected a selector such as {service_name=\"shop\"}, found the end"),
        ("  ", "at byte 2: expected a selector such as {service_name=\"shop\"}, found the end"),
        ("{", "at byte 1: expected a label name or `}`, found the end"),
        ("{a", "at byte 2: expected `=`, `!=`, `=~` or `!~`, found the end"),
        ("{a==\"b\"}", "at byte 3: expected a quoted string, found \"=\\\"b\\\"}\""),
        ("{a=b}", "at byte 3: expected a quoted string, found \"b}\""),
        ("{a=\"b}", "at byte 6: expected a closing quote, found the end"),
        ("{a=\"b\nc\"}", "at byte 5: expected a closing quote, found \"\\nc\\\"}\""),
        ("{a=\"b\" c=\"d\"}", "at byte 7: expected `,` or `}`, found \"c=\\\"d\\\"}\""),
        ("{,}", "at byte 1: expected a label name or `}`, found \",}\""),
        ("{1a=\"b\"}", "at byte 1: expected a label name or `}`, found \"1a=\\\"b\\\"}\""),
        ("{\"\"=\"b\"}", "at byte 1: expected a label name or `}`, found \"\\\"\\\"=\\\"b\\\"}\""),
        ("{} x", "at byte 3: expected the end, found \"x\""),
        ("{}[5m]", "at byte 2: expected the end, found \"[5m]\""),
    ] {
        assert_eq!(parsed(text), format!("invalid selector {message}"), "{text:?}");
    }
    assert!(parsed("{a=~\"(\"}").starts_with("invalid regular expression"));
}

#[test]
fn conditions_are_bounded() {
    let of_length = |n: usize| format!("{{{}}}", "a='b',".repeat(n));
    assert!(parse_selector(&of_length(128)).is_ok());
    assert!(parsed(&of_length(129)).contains("at most 128 conditions"));
}

#[test]
fn several_selectors_add_up() {
    assert_eq!(show(&parse_selectors(&["{a='1'}", "{b='2', c='3'}"]).unwrap()), "a=1 b=2 c=3");
    assert_eq!(show(&parse_selectors::<&str>(&[]).unwrap()), "");
    assert!(parse_selectors(&["{}", ""]).is_err());
}

#[test]
fn a_query_begins_with_a_profile_type() {
    let query = parse_query(" memory:alloc_space:bytes:space:bytes:delta{service_name=\"shop\"}").unwrap();
    assert_eq!(query.profile_type.unwrap().to_string(), "memory:alloc_space:bytes:space:bytes");
    assert_eq!(show(&query.matchers), "service_name=shop __profile_type__=memory:alloc_space:bytes:space:bytes");

    let bare = parse_query("off_cpu:off_cpu:nanoseconds::").unwrap();
    assert_eq!(show(&bare.matchers), "__profile_type__=off_cpu:off_cpu:nanoseconds::");

    let untyped = parse_query("{a='b'}").unwrap();
    assert_eq!((untyped.profile_type, show(&untyped.matchers)), (None, "a=b".to_owned()));

    let inside = parse_query("{__profile_type__='a:b:c:d:e'}").unwrap();
    assert_eq!(inside.profile_type.unwrap().to_string(), "a:b:c:d:e");
}

#[test]
fn a_query_needs_a_valid_type_and_selector() {
    assert!(matches!(parse_query("cpu{}"), Err(QueryError::ProfileType(_))));
    assert!(matches!(parse_query(""), Err(QueryError::Selector { position: 0, .. })));
    assert!(matches!(parse_query("a:b:c:d:e{a}"), Err(QueryError::Selector { position: 11, .. })));
}

proptest! {
    #[test]
    fn no_text_panics(text in ".*") {
        let _ = parse_selector(&text);
        let _ = parse_query(&text);
    }

    #[test]
    fn no_text_of_the_right_characters_panics(text in "[{}a_:=!~\"'`\\\\xu0-9, \nä]*") {
        let _ = parse_selector(&text);
        let _ = parse_query(&text);
    }

    #[test]
    fn quoted_values_come_back(value in ".*") {
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let matchers = parse_selector(&format!("{{a=\"{quoted}\"}}")).unwrap();
        prop_assert_eq!(matchers[0].value(), value);
    }
}
