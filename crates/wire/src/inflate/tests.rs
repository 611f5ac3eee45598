use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn inflates_gzip_and_passes_on_the_rest() {
    let limits = InflateLimits::new(100);
    assert_eq!(*gunzip_if_needed(&gzip(b"profile"), limits).unwrap(), *b"profile");
    assert!(matches!(gunzip_if_needed(b"profile", limits).unwrap(), Cow::Borrowed(b"profile")));
    assert!(gunzip_if_needed(b"", limits).unwrap().is_empty());
}

#[test]
fn members_are_joined_and_counted_together() {
    let both = [gzip(b"one "), gzip(b"two")].concat();
    assert_eq!(gunzip(&both, InflateLimits::new(7)).unwrap(), b"one two");
    assert!(matches!(gunzip(&both, InflateLimits::new(6)), Err(InflateError::TooLarge { limit: 6 })));
}

#[test]
fn equal_members_do_not_hide_each_other() {
    let twice = [gzip(b"same"), gzip(b"same")].concat();
    assert_eq!(gunzip_at_once(&twice, 100), None);
    assert_eq!(gunzip(&twice, InflateLimits::new(100)).unwrap(), b"samesame");
}

#[test]
fn at_once_only_what_is_one_whole_member() {
    let packed = gzip(b"profile");
    assert_eq!(gunzip_at_once(&packed, 7).unwrap(), b"profile");
    assert_eq!(gunzip_at_once(&packed, 6), None);
    assert_eq!(gunzip_at_once(&[&packed[..], b"garbage"].concat(), 1 << 30), None);
    // A member that holds another one as it is, not compressed.
    let mut outer = GzEncoder::new(Vec::new(), Compression::none());
    outer.write_all(&packed).unwrap();
    let outer = outer.finish().unwrap();
    assert_eq!(gunzip(&outer, InflateLimits::new(100)).unwrap(), packed);
}

#[test]
fn the_size_limit_is_exact() {
    let (plain, packed) = (vec![0; 5000], gzip(&[0; 5000]));
    for input in [&plain, &packed] {
        assert_eq!(gunzip_if_needed(input, InflateLimits::new(5000)).unwrap().len(), 5000);
        let error = gunzip_if_needed(input, InflateLimits::new(4999)).unwrap_err();
        assert_eq!(error.to_string(), "decompressed size exceeds the limit of 4999 bytes");
    }
}

#[test]
fn the_ratio_counts_beyond_the_free_bytes_only() {
    let packed = gzip(&[0; 1 << 20]);
    let limits = InflateLimits { output_bytes: 1 << 30, max_ratio: 200, ratio_free_bytes: 1 << 20 };
    assert_eq!(gunzip(&packed, limits).unwrap().len(), 1 << 20);
    let strict = InflateLimits { ratio_free_bytes: (1 << 20) - 1, ..limits };
    assert!(
        matches!(gunzip(&packed, strict), Err(InflateError::Ratio { limit: 200, input_bytes }) if input_bytes == packed.len())
    );
}

#[test]
fn repetitive_profiles_pass_the_defaults() {
    let folded = "main;worker;poll;epoll_wait 1\n".repeat(100_000);
    assert_eq!(gunzip(&gzip(folded.as_bytes()), InflateLimits::new(256 << 20)).unwrap().len(), folded.len());
}

#[test]
fn truncation_and_damage_are_errors() {
    let packed = gzip(b"some text that compresses, some text that compresses");
    let limits = InflateLimits::new(1000);
    for cut in 2..packed.len() {
        assert!(
            matches!(gunzip(&packed[..cut], limits), Err(InflateError::Damaged { format: "gzip", .. })),
            "cut {cut}"
        );
    }
    let mut wrong_checksum = packed.clone();
    let at = packed.len() - 5;
    wrong_checksum[at] ^= 1;
    assert!(gunzip(&wrong_checksum, limits).is_err());
    assert!(gunzip(&[&packed[..], b"garbage"].concat(), limits).is_err());
}
