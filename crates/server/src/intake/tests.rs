use std::convert::Infallible;

use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream;
use http_body::Frame;
use http_body_util::{Full, StreamBody};

use super::*;

fn intake(memory_bytes: u64) -> Intake {
    let limits = ConnectionLimits { body_grace_ms: 1000, ..ConnectionLimits::default() };
    Intake::new(MemoryBudget::new(memory_bytes), &limits)
}

fn gzip(data: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn encoded(encoding: &str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_ENCODING, encoding.parse().unwrap())])
}

async fn read(headers: &mut HeaderMap, body: impl Into<Bytes>, max_bytes: u64) -> Result<Bytes, ApiError> {
    let read = intake(64 << 20).read(headers, Full::new(body.into()), max_bytes).await;
    read.map(|body| body.bytes)
}

#[tokio::test]
async fn plain_bodies_pass() {
    assert_eq!(read(&mut HeaderMap::new(), "hello", 5).await.unwrap(), "hello");
    assert_eq!(read(&mut HeaderMap::new(), "hello", 4).await.unwrap_err().http_status(), 413);
}

#[tokio::test]
async fn gzip_is_undone_and_its_header_removed() {
    let (mut headers, text) = (encoded("gzip"), "hello ".repeat(20));
    assert_eq!(read(&mut headers, gzip(text.as_bytes()), 120).await.unwrap(), text);
    assert!(headers.is_empty());
    let two_members = [gzip(&text.as_bytes()[..60]), gzip(&text.as_bytes()[60..])].concat();
    assert_eq!(read(&mut encoded("gzip"), two_members, 120).await.unwrap(), text);
}

#[tokio::test]
async fn limits_count_decompressed_bytes() {
    let error = read(&mut encoded("gzip"), gzip(&[7; 1000]), 999).await.unwrap_err();
    assert_eq!(error.http_status(), 413);
}

#[tokio::test]
async fn bombs_are_refused_before_they_unfold() {
    let error = read(&mut encoded("gzip"), gzip(&vec![0; 16 << 20]), 64 << 20).await.unwrap_err();
    assert_eq!(error.http_status(), 400);
    assert!(error.message.contains("200 times"), "{error}");
}

#[tokio::test]
async fn damaged_gzip_is_the_senders_fault() {
    let mut cut = gzip(b"hello hello hello");
    cut.truncate(cut.len() - 9);
    for body in [cut, b"not gzip at all".to_vec()] {
        assert_eq!(read(&mut encoded("gzip"), body, 100).await.unwrap_err().http_status(), 400);
    }
}

#[tokio::test]
async fn other_encodings_are_refused() {
    assert_eq!(read(&mut encoded("br"), "x", 9).await.unwrap_err().http_status(), 415);
}

#[tokio::test]
async fn memory_is_shared_and_bounded() {
    let intake = intake(1 << 20);
    let body = || Full::new(Bytes::from(vec![1; 300 << 10]));
    let first = intake.read(&mut HeaderMap::new(), body(), 1 << 20).await.unwrap();
    let error = intake.read(&mut HeaderMap::new(), body(), 1 << 20).await.unwrap_err();
    assert_eq!(error.http_status(), 503);
    drop(first);
    intake.read(&mut HeaderMap::new(), body(), 1 << 20).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn slow_bodies_are_given_up() {
    let drip = stream::unfold((), |()| async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        Some((Ok::<_, Infallible>(Frame::data(Bytes::from_static(b"x"))), ()))
    });
    let started = Instant::now();
    let error = intake(1 << 20).read(&mut HeaderMap::new(), StreamBody::new(Box::pin(drip)), 100).await.unwrap_err();
    assert_eq!(error.http_status(), 408);
    assert!(started.elapsed() < Duration::from_secs(7), "one second of grace, five of draining");
}

fn frame(flags: u8, message: &[u8]) -> Vec<u8> {
    [&[flags][..], &(message.len() as u32).to_be_bytes(), message].concat()
}

async fn unpacked(body: Vec<u8>, max_bytes: u64) -> Result<Bytes, ApiError> {
    let mut headers = HeaderMap::from_iter([("grpc-encoding".parse().unwrap(), "gzip".parse().unwrap())]);
    let body = intake(64 << 20).read(&mut HeaderMap::new(), Full::new(body.into()), 1 << 20).await.unwrap();
    let body = unpack_frames(&mut headers, body, max_bytes).await?;
    assert!(headers.is_empty());
    Ok(body.bytes)
}

#[tokio::test]
async fn compressed_messages_in_frames_are_unpacked() {
    let body = [frame(1, &gzip(b"hello")), frame(0, b"plain"), frame(2, b"")].concat();
    assert_eq!(unpacked(body, 100).await.unwrap(), [frame(0, b"hello"), frame(0, b"plain"), frame(2, b"")].concat());
}

#[tokio::test]
async fn messages_in_frames_are_bounded_too() {
    assert_eq!(unpacked(frame(1, &gzip(&[7; 1000])), 1000).await.unwrap_err().http_status(), 413);
    assert_eq!(unpacked(frame(1, &gzip(&vec![0; 16 << 20])), 64 << 20).await.unwrap_err().http_status(), 400);
    assert_eq!(unpacked(frame(1, b"not gzip"), 100).await.unwrap_err().http_status(), 400);
    assert_eq!(unpacked(frame(1, b"cut")[..6].to_vec(), 100).await.unwrap_err().http_status(), 400);
    assert_eq!(unpacked(vec![1, 0], 100).await.unwrap(), vec![1, 0]);
}

#[tokio::test]
async fn frames_of_other_encodings_are_for_the_protocol_to_refuse() {
    let mut headers = HeaderMap::from_iter([("grpc-encoding".parse().unwrap(), "snappy".parse().unwrap())]);
    let body = intake(1 << 20).read(&mut HeaderMap::new(), Full::new("abc".into()), 9).await.unwrap();
    assert_eq!(unpack_frames(&mut headers, body, 9).await.unwrap().bytes, "abc");
}
