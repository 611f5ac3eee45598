//! What a connection is doing, so that idle and stalled ones can be closed.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// How long a connection may wait for what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// From connecting to the first request.
    pub(crate) first_request: Duration,
    /// From the end of a request to the next.
    pub(crate) idle: Duration,
    /// For the client to take more of a response.
    pub(crate) write: Duration,
}

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Keep,
    /// No request for too long.
    Idle,
    /// A response that nobody reads.
    Stalled,
}

/// Counters of one connection. Times are milliseconds since it was accepted.
#[derive(Debug)]
pub(crate) struct Activity {
    accepted: Instant,
    requests: AtomicU64,
    in_handler: AtomicUsize,
    in_response: AtomicUsize,
    idle_since_ms: AtomicU64,
    written_ms: AtomicU64,
}

impl Activity {
    pub(crate) fn new() -> Self {
        Self {
            accepted: Instant::now(),
            requests: AtomicU64::new(0),
            in_handler: AtomicUsize::new(0),
            in_response: AtomicUsize::new(0),
            idle_since_ms: AtomicU64::new(0),
            written_ms: AtomicU64::new(0),
        }
    }

    /// A request arrived; the ticket lives as long as its handler, then as its response.
    pub(crate) fn request(self: &Arc<Self>) -> Ticket {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.in_handler.fetch_add(1, Ordering::Relaxed);
        Ticket { activity: self.clone(), responding: false }
    }

    pub(crate) fn verdict(&self, patience: Patience) -> Verdict {
        let now_ms = self.now_ms();
        let waited = |since: &AtomicU64| Duration::from_millis(now_ms.saturating_sub(since.load(Ordering::Relaxed)));
        if self.in_handler.load(Ordering::Relaxed) > 0 {
            return Verdict::Keep; // handlers keep their own deadlines
        }
        if self.in_response.load(Ordering::Relaxed) > 0 {
            return if waited(&self.written_ms) > patience.write { Verdict::Stalled } else { Verdict::Keep };
        }
        let first = self.requests.load(Ordering::Relaxed) == 0;
        let limit = if first { patience.first_request } else { patience.idle };
        if waited(&self.idle_since_ms) > limit { Verdict::Idle } else { Verdict::Keep }
    }

    fn now_ms(&self) -> u64 {
        self.accepted.elapsed().as_millis() as u64
    }
}

/// One request in flight.
#[derive(Debug)]
pub(crate) struct Ticket {
    activity: Arc<Activity>,
    responding: bool,
}

impl Ticket {
    /// The handler is done: from now on the client has to take the response.
    pub(crate) fn respond<B>(mut self, body: B) -> Tracked<B> {
        let activity = &self.activity;
        activity.written_ms.store(activity.now_ms(), Ordering::Relaxed);
        activity.in_response.fetch_add(1, Ordering::Relaxed);
        activity.in_handler.fetch_sub(1, Ordering::Relaxed);
        self.responding = true;
        Tracked { body, _ticket: self }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let activity = &self.activity;
        activity.idle_since_ms.store(activity.now_ms(), Ordering::Relaxed);
        let counter = if self.responding { &activity.in_response } else { &activity.in_handler };
        counter.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A response body that ends its ticket when it is sent or given up.
#[derive(Debug)]
pub(crate) struct Tracked<B> {
    body: B,
    _ticket: Ticket,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Tracked<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket that notes when bytes leave.
pub(crate) struct Watched<S> {
    pub(crate) stream: S,
    pub(crate) activity: Arc<Activity>,
}

impl<S> Watched<S> {
    fn note<T>(&self, written: Poll<std::io::Result<T>>) -> Poll<std::io::Result<T>> {
        if matches!(written, Poll::Ready(Ok(_))) {
            self.activity.written_ms.store(self.activity.now_ms(), Ordering::Relaxed);
        }
        written
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, data: &[u8]) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, data);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        data: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, data);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience {
        first_request: Duration::from_secs(10),
        idle: Duration::from_secs(100),
        write: Duration::from_secs(30),
    };

    async fn after(activity: &Activity, seconds: u64) -> Verdict {
        tokio::time::advance(Duration::from_secs(seconds)).await;
        activity.verdict(PATIENCE)
    }

    #[tokio::test(start_paused = true)]
    async fn silence_closes_a_connection() {
        let activity = Arc::new(Activity::new());
        assert_eq!(after(&activity, 9).await, Verdict::Keep);
        assert_eq!(after(&activity, 2).await, Verdict::Idle);
        drop(activity.request());
        assert_eq!(after(&activity, 99).await, Verdict::Keep);
        assert_eq!(after(&activity, 2).await, Verdict::Idle);
    }

    #[tokio::test(start_paused = true)]
    async fn an_unread_response_stalls_and_a_slow_handler_does_not() {
        let activity = Arc::new(Activity::new());
        let ticket = activity.request();
        assert_eq!(after(&activity, 1000).await, Verdict::Keep);
        let response = ticket.respond(http_body_util::Full::new(Bytes::from_static(b"x")));
        assert_eq!(after(&activity, 29).await, Verdict::Keep);
        assert_eq!(after(&activity, 2).await, Verdict::Stalled);
        drop(response);
        assert_eq!(after(&activity, 99).await, Verdict::Keep);
    }
}
