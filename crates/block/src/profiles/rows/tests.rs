use proptest::prelude::*;

use super::*;

fn round_trip(stack: &[u32], value: &[i64], runs: &[usize]) -> (Vec<u8>, Columns) {
    let leaves: Vec<StackId> = (0..10).map(|leaf| StackId(leaf * 3)).collect();
    let page = encode_rows(stack.iter().copied(), 10, value, runs, &mut Encoder::new(3));
    let mut columns = Columns::default();
    decode_rows(&page, value.len(), &leaves, &mut Scratch::new(), &mut columns).unwrap();
    (page, columns)
}

proptest! {
    #[test]
    fn rows_round_trip(rows in prop::collection::vec((0u32..10, any::<i64>()), 1..200), cut: prop::sample::Index) {
        let (stack, value): (Vec<u32>, Vec<i64>) = rows.into_iter().unzip();
        let cut = cut.index(value.len());
        let (_, columns) = round_trip(&stack, &value, &[cut, value.len() - cut]);
        prop_assert_eq!(columns.value, value);
        prop_assert_eq!(columns.stack, stack.iter().map(|leaf| StackId(leaf * 3)).collect::<Vec<_>>());
    }

    #[test]
    fn ids_round_trip(ids in prop::collection::vec(prop_oneof![Just(0u64), 0u64..5, any::<u64>()], 0..200)) {
        let page = encode_ids(&ids, &mut Encoder::new(3));
        let mut decoded = vec![7];
        decode_ids(&page, ids.len(), &mut Scratch::new(), &mut decoded).unwrap();
        if ids.iter().all(|&id| id == 0) {
            prop_assert!(page.is_empty() && decoded.is_empty());
        } else {
            prop_assert_eq!(decoded, ids);
        }
    }

    #[test]
    fn fetches_cover_each_wanted_page_once(
        cuts in prop::collection::btree_set(0u32..20 * PAGE_ROWS, 0..8), max_bytes in 0u64..5_000,
    ) {
        let mut pages = Pages::new(20 * PAGE_ROWS - 5);
        (0..20).for_each(|_| pages.push(Stream::Rows, &[0; 1_000]));
        let cuts: Vec<u32> = cuts.into_iter().collect();
        let ranges: Vec<Range<u32>> = cuts.chunks_exact(2).map(|pair| pair[0]..pair[1]).collect();
        let fetches = pages.fetches(&ranges, max_bytes);
        let fetched: Vec<usize> = fetches.iter().cloned().flatten().collect();
        let wanted: Vec<usize> = (0..20)
            .filter(|&page| ranges.iter().any(|range| range.start < pages.rows_of(page).end && pages.rows_of(page).start < range.end))
            .collect();
        prop_assert_eq!(fetched, wanted);
        prop_assert!(fetches.iter().all(|fetch| fetch.len() == 1 || fetch.len() as u64 * 1_000 <= max_bytes));
    }
}

#[test]
fn multiples_cost_no_more_than_what_they_count() {
    let small: Vec<i64> = (0..1_000).map(|i| 1 + i % 7).collect();
    let large: Vec<i64> = small.iter().map(|value| value * 10_000_000).collect();
    let (small, large) = (round_trip(&[0; 1_000], &small, &[1_000]).0, round_trip(&[0; 1_000], &large, &[1_000]).0);
    assert!(large.len() <= small.len() + 8, "{} and {}", large.len(), small.len());
}

#[test]
fn runs_follow_the_series() {
    let profiles = ProfileTable { series: vec![0, 0, 1, 2], row_end: vec![10, 30, 30, 90], ..ProfileTable::default() };
    assert_eq!(series_runs(&profiles, 0, &(0..64)), [30, 0, 34]);
    assert_eq!(series_runs(&profiles, 3, &(64..90)), [26]);
}

#[test]
fn a_page_index_round_trips() {
    let mut pages = Pages::new(PAGE_ROWS + 1);
    for stream in [Stream::Rows, Stream::Traces] {
        pages.push(stream, b"first");
        pages.push(stream, b"second page");
    }
    let bytes = pages.encode(&mut Encoder::new(3));
    assert_eq!(Pages::decode(&bytes, PAGE_ROWS + 1), Ok(pages));
    for other_count in [0, PAGE_ROWS, u32::MAX] {
        assert!(Pages::decode(&bytes, other_count).is_err());
    }
}
