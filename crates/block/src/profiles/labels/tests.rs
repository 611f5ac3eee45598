use argand_model::MatchOp;
use proptest::prelude::*;

use super::*;

fn series() -> impl Strategy<Value = Vec<Labels>> {
    let pair = ("[abc]", "[xyzλ]{0,2}");
    let labels = prop::collection::vec(pair, 1..4).prop_map(Labels::new::<String, String>);
    prop::collection::vec(labels, 0..20)
}

fn encode(series: &[Labels]) -> Vec<u8> {
    Postings::of_series(series).encode(&mut Encoder::new(3))
}

proptest! {
    #[test]
    fn label_sets_round_trip(series in series()) {
        let postings = Postings::decode(&encode(&series), series.len() as u32).unwrap();
        prop_assert_eq!(&postings, &Postings::of_series(&series));
        prop_assert_eq!(postings.to_series(), series);
    }

    #[test]
    fn matching_agrees_with_the_matchers_themselves(
        series in series(),
        name in "[abcd]",
        op in prop::sample::select(vec![MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex]),
        value in prop::sample::select(vec!["", "x", "y|z", ".*", ".+"]),
    ) {
        let matchers = [Matcher::new(&name, op, value).unwrap(), Matcher::new("a", MatchOp::NotEqual, "xx").unwrap()];
        let expected: Vec<u32> = (0u32..)
            .zip(&series)
            .filter(|(_, labels)| matchers.iter().all(|matcher| matcher.matches(labels)))
            .map(|(index, _)| index)
            .collect();
        prop_assert_eq!(Postings::of_series(&series).matching(&matchers), expected);
    }

    #[test]
    fn damage_is_an_error_or_another_set(series in series(), at: prop::sample::Index, byte: u8) {
        let mut bytes = encode(&series);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(postings) = Postings::decode(&bytes, series.len() as u32) {
            prop_assert_eq!(postings.to_series().len(), series.len());
        }
    }
}

#[test]
fn a_series_beyond_the_count_is_refused() {
    let series = [Labels::new([("a", "x")]), Labels::new([("a", "y")])];
    assert!(Postings::decode(&encode(&series), 2).is_ok());
    assert!(Postings::decode(&encode(&series), 1).is_err());
    assert!(Postings::decode(&encode(&series), u32::MAX).is_err());
}
