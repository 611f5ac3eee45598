use std::time::{Duration, Instant};

use http::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::harness::*;

/// Sends bytes and reads until the server closes; at most ten seconds.
async fn raw(server: &TestServer, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    let read = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    read.expect("the server closes in time").ok();
    String::from_utf8_lossy(&answer).into_owned()
}

async fn impatient() -> TestServer {
    start_with(|config| {
        config.connections.header_timeout_ms = 200;
        config.connections.idle_timeout_ms = 400;
        config.connections.body_grace_ms = 200;
    })
    .await
}

#[tokio::test]
async fn large_bodies() {
    let server = start_with_policy(|config, policy| {
        policy.limits.max_body_bytes = 1000;
        config.connections.max_body_bytes = 500;
    })
    .await;
    let answer = server.post("/ingest?name=a.cpu", "text/plain", vec![b'x'; 1001]).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (413, "invalid_argument"));
    assert_eq!(server.post("/push.v1.PusherService/Push", "application/proto", vec![0; 1001]).await.status, 413);
    assert_eq!(
        server.post("/querier.v1.QuerierService/ProfileTypes", "application/json", vec![b' '; 501]).await.status,
        413
    );
    let chunked = b"POST /ingest?name=a.cpu HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    let mut body = chunked.to_vec();
    for _ in 0..3 {
        body.extend(b"190\r\n");
        body.extend([b'x'; 400]);
        body.extend(b"\r\n");
    }
    body.extend(b"0\r\n\r\n");
    assert!(raw(&server, &body).await.starts_with("HTTP/1.1 413"));
}

#[tokio::test]
async fn chunked_bodies_without_length() {
    let server = start().await;
    let head = "POST /ingest?name=shop.cpu HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n";
    assert!(raw(&server, format!("{head}6\r\nmain 1\r\n0\r\n\r\n").as_bytes()).await.starts_with("HTTP/1.1 200"));
    assert_eq!(server.stored().len(), 1);
}

#[tokio::test]
async fn large_heads() {
    let server = start().await;
    let long = format!("GET /ready HTTP/1.1\r\nhost: localhost\r\nx: {}\r\n\r\n", "y".repeat(40_000));
    assert!(raw(&server, long.as_bytes()).await.starts_with("HTTP/1.1 431"));
    let many = format!("GET /ready HTTP/1.1\r\nhost: localhost\r\n{}\r\n", "x: y\r\n".repeat(101));
    assert!(raw(&server, many.as_bytes()).await.starts_with("HTTP/1.1 431"));
}

#[tokio::test]
async fn silent_and_slow_connections_are_closed() {
    let server = impatient().await;
    for start_of_request in ["", "P", "PRI * HTTP/2.0\r\n", "GET /ready HTTP/1.1\r\nhost: loc"] {
        let started = Instant::now();
        raw(&server, start_of_request.as_bytes()).await;
        assert!(started.elapsed() < Duration::from_secs(3), "{start_of_request:?}");
    }
    assert_eq!(server.get("/ready").await.status, 200);
}

#[tokio::test]
async fn idle_connections_are_closed() {
    let server = impatient().await;
    let started = Instant::now();
    let answer = raw(&server, b"GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!((200..3000).contains(&started.elapsed().as_millis()), "{:?}", started.elapsed());
}

#[tokio::test]
async fn slow_bodies_are_cut() {
    let server = impatient().await;
    let head = "POST /ingest?name=a.cpu HTTP/1.1\r\nhost: localhost\r\ncontent-length: 100\r\n\r\nmain";
    let answer = raw(&server, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    assert_eq!(server.stored(), []);
}

#[tokio::test]
async fn connections_are_kept_alive() {
    let server = start().await;
    let twice = "GET /ready HTTP/1.1\r\nhost: localhost\r\n\r\nGET /ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert_eq!(raw(&server, twice.as_bytes()).await.matches("HTTP/1.1 200").count(), 2);
}

#[tokio::test]
async fn connections_over_the_limit_wait() {
    let server = start_with(|config| {
        config.connections.max_connections = 1;
        config.connections.header_timeout_ms = 300;
    })
    .await;
    let _silent = TcpStream::connect(server.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let started = Instant::now();
    assert_eq!(server.get("/ready").await.status, 200);
    assert!(started.elapsed() > Duration::from_millis(150), "it waited for the silent connection to be closed");
}

#[tokio::test]
async fn stopping_finishes_requests_in_flight() {
    let server = start().await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /ingest?name=shop.cpu HTTP/1.1\r\nhost: localhost\r\ncontent-length: 6\r\n\r\nmai";
    stream.write_all(head.as_bytes()).await.unwrap();
    let address = server.address;
    let metrics = || async { server.get("/metrics").await.text().contains("argand_requests_in_flight 2") };
    eventually(metrics).await;
    let storage = server.storage.clone();
    let stopping = tokio::spawn(server.stop());
    eventually(|| async { TcpStream::connect(address).await.is_err() }).await;
    stream.write_all(b"n 1").await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    stopping.await.unwrap();
    assert_eq!(storage.uploads.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn stopping_does_not_wait_for_ever() {
    let server = start_with(|config| config.connections.shutdown_timeout_ms = 100).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = "POST /ingest?name=shop.cpu HTTP/1.1\r\nhost: localhost\r\ncontent-length: 6\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    eventually(|| async { server.get("/metrics").await.text().contains("argand_requests_in_flight 2") }).await;
    let started = Instant::now();
    server.stop().await;
    assert!(started.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn without_memory_for_bodies_requests_are_refused() {
    let server = start_with(|config| config.connections.body_memory_bytes = 0).await;
    let answer = server.send(request(Method::POST, "/ingest?name=a.cpu", &[], "main 1")).await;
    assert_eq!((answer.status.as_u16(), answer.code().as_str()), (503, "unavailable"));
}
