//! Unary gRPC over cleartext HTTP/2, and gRPC-Web over HTTP/1.1.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Buf, Bytes};
use h2::client::{ResponseFuture, handshake};
use tokio::net::TcpStream;
use tokio::time::timeout;
use ureq::http::{HeaderMap, Request};

use crate::http;

const TIMEOUT: Duration = Duration::from_secs(30);
const PREFIX_BYTES: usize = 5;
const TRAILERS_FLAG: u8 = 0x80;

/// What a unary call came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// `grpc-status`: 0 is success.
    pub(crate) status: u32,
    /// The answer's message, absent after a failure.
    pub(crate) message: Option<Vec<u8>>,
}

/// One gRPC call. `path` is `/package.Service/Method`.
pub(crate) fn call(address: SocketAddr, path: &str, message: &[u8]) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    runtime.block_on(async {
        timeout(TIMEOUT, call_over_h2(address, path, message)).await.expect("the call ends in time")
    })
}

async fn call_over_h2(address: SocketAddr, path: &str, message: &[u8]) -> Outcome {
    let stream = TcpStream::connect(address).await.expect("the server accepts connections");
    let (client, connection) = handshake(stream).await.expect("the server speaks cleartext HTTP/2");
    let driver = tokio::spawn(connection);
    let mut client = client.ready().await.expect("the connection takes a request");
    let request = Request::post(format!("http://{address}{path}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("the request is valid");
    let (response, mut body) = client.send_request(request, false).expect("the request can be sent");
    body.send_data(framed(message), true).expect("the message can be sent");
    let outcome = outcome_of(response).await;
    driver.abort();
    outcome
}

async fn outcome_of(response: ResponseFuture) -> Outcome {
    let response = response.await.expect("an answer comes");
    assert_eq!(response.status(), 200, "gRPC failures are told in grpc-status, not in the HTTP status");
    let (head, mut body) = response.into_parts();
    let mut data = Vec::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.expect("the answer is whole");
        body.flow_control().release_capacity(chunk.len()).expect("what came can be released");
        data.extend_from_slice(&chunk);
    }
    // A call without an answer may put everything in the head ("trailers only").
    let trailers = body.trailers().await.expect("the trailers are whole").unwrap_or(head.headers);
    Outcome { status: grpc_status(&trailers), message: unframed(&data).map(<[u8]>::to_vec) }
}

fn grpc_status(trailers: &HeaderMap) -> u32 {
    let status = trailers.get("grpc-status").expect("every gRPC answer has a grpc-status");
    status.to_str().ok().and_then(|text| text.parse().ok()).expect("grpc-status is a number")
}

/// One gRPC-Web call with binary messages.
pub(crate) fn call_web(url: &str, message: &[u8]) -> Outcome {
    let reply = http::post(url, "application/grpc-web+proto", &framed(message)).expect("an answer comes");
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(reply.content_type().starts_with("application/grpc-web"), "{}", reply.content_type());
    let (mut frames, mut outcome) = (&reply.body[..], Outcome { status: u32::MAX, message: None });
    if reply.headers.contains_key("grpc-status") {
        outcome.status = grpc_status(&reply.headers);
    }
    while frames.len() >= PREFIX_BYTES {
        let (flag, content) = (frames[0], unframed(frames).expect("the frame is whole"));
        if flag & TRAILERS_FLAG == 0 {
            outcome.message = Some(content.to_vec());
        } else {
            outcome.status = status_in_trailers(&String::from_utf8_lossy(content));
        }
        frames.advance(PREFIX_BYTES + content.len());
    }
    outcome
}

fn status_in_trailers(trailers: &str) -> u32 {
    trailers
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("grpc-status"))
        .and_then(|(_, value)| value.trim().parse().ok())
        .expect("the trailers tell a grpc-status")
}

fn framed(message: &[u8]) -> Bytes {
    let length = u32::try_from(message.len()).expect("test messages are small");
    let mut frame = vec![0];
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(message);
    frame.into()
}

/// The content of the first frame.
fn unframed(data: &[u8]) -> Option<&[u8]> {
    let length = u32::from_be_bytes(data.get(1..PREFIX_BYTES)?.try_into().ok()?);
    data.get(PREFIX_BYTES..PREFIX_BYTES + length as usize)
}
