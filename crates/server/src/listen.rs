//! Accepts connections and speaks HTTP/1.1 and cleartext HTTP/2 on them.

use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::activity::{Activity, Patience, Verdict, Watched};
use crate::config::{ConnectionLimits, millis};

/// Distance of two looks at what a connection is doing.
const MAX_CHECK_INTERVAL: Duration = Duration::from_secs(1);

/// Pause after a failed accept, which is mostly a lack of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Serves `handle` on `listener` until `stopping` turns true; then stops accepting, lets requests in flight finish
/// within the configured time and closes the rest.
pub(crate) async fn serve<H, F>(
    listener: TcpListener,
    limits: ConnectionLimits,
    handle: H,
    mut stopping: watch::Receiver<bool>,
) where
    H: Fn(Request<Incoming>) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let slots = Arc::new(Semaphore::new(limits.max_connections.clamp(1, Semaphore::MAX_PERMITS)));
    let protocol = Arc::new(protocol(&limits));
    let patience = Patience {
        first_request: millis(limits.header_timeout_ms),
        idle: millis(limits.idle_timeout_ms),
        write: millis(limits.write_timeout_ms),
    };
    let mut connections = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = accept(&listener, &slots) => accepted,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        let (stream, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let connection = serve_connection(stream, protocol.clone(), patience, handle.clone(), stopping.clone());
        connections.spawn(async move {
            connection.await;
            drop(slot);
        });
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(millis(limits.shutdown_timeout_ms), finished).await.is_err() {
        tracing::warn!(connections = connections.len(), "closing connections whose requests did not finish");
        connections.shutdown().await;
    }
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> std::io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let slot = slots.clone().acquire_owned().await.expect("the semaphore is never closed");
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    Ok((stream, slot))
}

fn protocol(limits: &ConnectionLimits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(millis(limits.header_timeout_ms))
        .max_headers(limits.max_headers)
        .max_buf_size(limits.max_header_bytes.max(8192) as usize)
        .keep_alive(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.max_concurrent_streams)
        .max_header_list_size(limits.max_header_bytes)
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(20)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20)
        .max_send_buf_size(1 << 20)
        .keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

async fn serve_connection<H, F>(
    stream: TcpStream,
    protocol: Arc<auto::Builder<TokioExecutor>>,
    patience: Patience,
    handle: H,
    mut stopping: watch::Receiver<bool>,
) where
    H: Fn(Request<Incoming>) -> F + Send + Sync + 'static,
    F: Future<Output = Response<Body>> + Send + 'static,
{
    let activity = Arc::new(Activity::new());
    let service = service_fn(|request| {
        let ticket = activity.request();
        let response = handle(request);
        async move { Ok::<_, Infallible>(response.await.map(|body| ticket.respond(body))) }
    });
    let io = TokioIo::new(Watched { stream, activity: activity.clone() });
    let connection = protocol.serve_connection(io, service);
    tokio::pin!(connection);

    let shortest = patience.first_request.min(patience.idle).min(patience.write);
    let mut check = tokio::time::interval((shortest / 4).clamp(Duration::from_millis(10), MAX_CHECK_INTERVAL));
    let mut leaving = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection ended");
                }
                return;
            }
            _ = stopping.wait_for(|stop| *stop), if !leaving => {
                leaving = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = check.tick() => match activity.verdict(patience) {
                Verdict::Keep => {}
                Verdict::Idle if !leaving => {
                    leaving = true;
                    connection.as_mut().graceful_shutdown();
                }
                Verdict::Idle | Verdict::Stalled => return,
            }
        }
    }
}
