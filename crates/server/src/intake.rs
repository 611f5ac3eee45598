//! Reads request bodies: bounded in size, memory and time, decompressed.

use std::io::Write;
use std::time::Duration;

use argand_wire::inflate;
use bytes::Bytes;
use connectrpc::ErrorCode;
use flate2::write::MultiGzDecoder;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderMap, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use tokio::time::Instant;

use crate::admission::{MemoryBudget, Reservation};
use crate::config::{ConnectionLimits, millis};
use crate::error::ApiError;

/// Compressed data may grow by this factor once [`RATIO_GRACE_BYTES`] came out. Profiles reach 20.
const MAX_RATIO: u64 = 200;
const RATIO_GRACE_BYTES: u64 = 1 << 20;

/// A refused body is read on for this long, because many clients look for the answer only when they have sent all.
const DRAIN_TIME: Duration = Duration::from_secs(5);
const DRAIN_BYTES: u64 = 1 << 30;

/// Reads bodies within the bounds of a server.
#[derive(Clone, Debug)]
pub(crate) struct Intake {
    budget: MemoryBudget,
    grace: Duration,
    min_bytes_per_second: u64,
}

/// A whole body, and the memory that it counts for.
#[derive(Debug)]
pub(crate) struct ReadBody {
    pub(crate) bytes: Bytes,
    pub(crate) reservation: Reservation,
}

impl Intake {
    pub(crate) fn new(budget: MemoryBudget, limits: &ConnectionLimits) -> Self {
        Self {
            budget,
            grace: millis(limits.body_grace_ms),
            min_bytes_per_second: limits.body_min_bytes_per_second.max(1),
        }
    }

    /// Reads `body` to its end and undoes its `Content-Encoding`, which it removes from `headers`.
    ///
    /// Errors: 413 beyond `max_bytes` (as sent or decompressed), 415 for an unknown encoding, 400 for damaged data,
    /// 408 when the client is too slow or goes away, 503 when the memory for bodies is used up.
    pub(crate) async fn read<B>(&self, headers: &mut HeaderMap, body: B, max_bytes: u64) -> Result<ReadBody, ApiError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let mut frames = Frames { body, started: Instant::now(), received_bytes: 0 };
        let outcome = self.read_frames(headers, &mut frames, max_bytes).await;
        if outcome.is_err() {
            frames.drain().await;
        }
        outcome
    }

    async fn read_frames<B>(
        &self,
        headers: &mut HeaderMap,
        frames: &mut Frames<B>,
        max_bytes: u64,
    ) -> Result<ReadBody, ApiError>
    where
        B: Body<Data = Bytes> + Unpin,
    {
        // Only to refuse early: what counts is what arrives.
        let announced = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
        if announced.is_some_and(|length| length > max_bytes) {
            return Err(too_large(max_bytes));
        }
        let mut sink = Sink {
            bytes: Vec::new(),
            reservation: self.budget.reservation(),
            packed_bytes: 0,
            max_bytes,
            max_by_ratio: u64::MAX,
            refusal: None,
        };
        let is_gzip = is_gzip(headers)?;
        while let Some(chunk) = frames.next(self).await? {
            sink.push(&chunk)?;
        }
        if is_gzip {
            sink = sink.gunzip()?;
            headers.remove(CONTENT_ENCODING);
            headers.remove(CONTENT_LENGTH);
        }
        Ok(ReadBody { bytes: sink.bytes.into(), reservation: sink.reservation })
    }
}

/// Undoes the compression of messages in the frames of gRPC, gRPC-Web and Connect streams: one byte of flags, four of
/// length, the message. Bodies without frames, or with an encoding that is not gzip, pass as they are.
///
/// Errors: as [`Intake::read`].
pub(crate) async fn unpack_frames(
    headers: &mut HeaderMap,
    body: ReadBody,
    max_bytes: u64,
) -> Result<ReadBody, ApiError> {
    let names = ["grpc-encoding", "connect-content-encoding"];
    let Some(name) = names.into_iter().find(|name| headers.get(*name).is_some_and(|value| value == "gzip")) else {
        return Ok(body);
    };
    let unpacked = tokio::task::spawn_blocking(move || unpack_each(body, max_bytes)).await;
    let unpacked = unpacked.map_err(|_| ApiError::internal())??;
    headers.remove(name);
    Ok(unpacked)
}

const FRAME_HEAD_BYTES: usize = 5;
const COMPRESSED: u8 = 1;

fn unpack_each(body: ReadBody, max_bytes: u64) -> Result<ReadBody, ApiError> {
    let ReadBody { bytes: packed, mut reservation } = body;
    let packed_bytes = packed.len() as u64;
    let mut bytes = Vec::new();
    let mut rest = packed.as_ref();
    while let Some((&[flags, a, b, c, d], after)) = rest.split_first_chunk::<FRAME_HEAD_BYTES>() {
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some((message, next)) = after.split_at_checked(length) else {
            return Err(ApiError::invalid("the request body ends inside a message"));
        };
        rest = next;
        let at = bytes.len();
        bytes.extend([flags & !COMPRESSED, 0, 0, 0, 0]);
        let max_by_ratio = RATIO_GRACE_BYTES.max(packed_bytes.saturating_mul(MAX_RATIO));
        let mut sink = Sink { bytes, reservation, packed_bytes, max_bytes, max_by_ratio, refusal: None };
        if flags & COMPRESSED == 0 {
            sink.push(message)?;
        } else {
            let mut gunzip = MultiGzDecoder::new(sink);
            let written = gunzip.write_all(message).and_then(|()| gunzip.try_finish());
            written.map_err(|error| gunzip.get_mut().explain(&error))?;
            sink = gunzip.finish().map_err(|error| damaged(&error))?;
        }
        (bytes, reservation) = (sink.bytes, sink.reservation);
        let length = u32::try_from(bytes.len() - at - FRAME_HEAD_BYTES).map_err(|_| too_large(max_bytes))?;
        bytes[at + 1..at + FRAME_HEAD_BYTES].copy_from_slice(&length.to_be_bytes());
    }
    bytes.extend_from_slice(rest); // the callee says what is wrong with it
    Ok(ReadBody { bytes: bytes.into(), reservation })
}

fn is_gzip(headers: &HeaderMap) -> Result<bool, ApiError> {
    let Some(encoding) = headers.get(CONTENT_ENCODING) else { return Ok(false) };
    match encoding.to_str().unwrap_or("").trim().to_ascii_lowercase().as_str() {
        "" | "identity" => Ok(false),
        "gzip" | "x-gzip" => Ok(true),
        other => {
            let message = format!("unsupported content encoding {other:?}: send gzip or none");
            Err(ApiError::new(ErrorCode::Unimplemented, message).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE))
        }
    }
}

/// The same code as the reference server gives, with the status that says what it is.
fn too_large(max_bytes: u64) -> ApiError {
    ApiError::invalid(format!("request body is larger than {max_bytes} bytes"))
        .with_status(StatusCode::PAYLOAD_TOO_LARGE)
}

fn damaged(error: &std::io::Error) -> ApiError {
    ApiError::invalid(format!("request body is not valid gzip: {error}"))
}

struct Frames<B> {
    body: B,
    started: Instant,
    received_bytes: u64,
}

impl<B: Body<Data = Bytes> + Unpin> Frames<B> {
    /// The next piece of data, awaited as long as the average rate stays above the minimum.
    async fn next(&mut self, intake: &Intake) -> Result<Option<Bytes>, ApiError> {
        loop {
            let earned = Duration::from_secs_f64(self.received_bytes as f64 / intake.min_bytes_per_second as f64);
            let deadline = self.started + intake.grace + earned;
            let frame = tokio::time::timeout_at(deadline, self.body.frame()).await;
            let frame = frame.map_err(|_| timed_out("the request body arrives too slowly"))?;
            match frame {
                None => return Ok(None),
                Some(Err(_)) => return Err(timed_out("the request body ended early")),
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.received_bytes += data.len() as u64;
                        return Ok(Some(data));
                    }
                }
            }
        }
    }

    async fn drain(&mut self) {
        let read_on = async {
            while let Some(Ok(frame)) = self.body.frame().await {
                self.received_bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
                if self.received_bytes > DRAIN_BYTES {
                    break;
                }
            }
        };
        // Whether it ended in time does not matter: the answer is known.
        let _ = tokio::time::timeout(DRAIN_TIME, read_on).await;
    }
}

fn timed_out(message: &str) -> ApiError {
    ApiError::new(ErrorCode::Canceled, message).with_status(StatusCode::REQUEST_TIMEOUT)
}

/// Where decompressed bytes go: as many as the limits allow.
struct Sink {
    bytes: Vec<u8>,
    reservation: Reservation,
    /// What is held besides `bytes`: the input that they come from.
    packed_bytes: u64,
    max_bytes: u64,
    max_by_ratio: u64,
    refusal: Option<ApiError>,
}

impl Sink {
    fn push(&mut self, data: &[u8]) -> Result<(), ApiError> {
        let size = self.bytes.len() as u64 + data.len() as u64;
        if size > self.max_bytes {
            return Err(too_large(self.max_bytes));
        }
        if size > self.max_by_ratio {
            return Err(ApiError::invalid(format!("request body is compressed more than {MAX_RATIO} times")));
        }
        // A growing vector holds up to twice its content.
        let capacity = if size as usize <= self.bytes.capacity() { self.bytes.capacity() as u64 } else { size * 2 };
        self.reservation.grow_to(self.packed_bytes + capacity)?;
        self.bytes.extend_from_slice(data);
        Ok(())
    }

    /// What its bytes become when inflated.
    fn gunzip(mut self) -> Result<Self, ApiError> {
        let packed = std::mem::take(&mut self.bytes);
        self.packed_bytes = packed.len() as u64;
        self.max_by_ratio = RATIO_GRACE_BYTES.max(self.packed_bytes.saturating_mul(MAX_RATIO));
        let (size, allowed) = (inflate::gunzipped_bytes(&packed) as u64, self.max_bytes.min(self.max_by_ratio));
        if size <= allowed {
            self.reservation.grow_to(self.packed_bytes + size)?;
            if let Some(bytes) = inflate::gunzip_at_once(&packed, size as usize) {
                return Ok(Self { bytes, ..self });
            }
        }
        let mut gunzip = MultiGzDecoder::new(self);
        let written = gunzip.write_all(&packed).and_then(|()| gunzip.try_finish());
        written.map_err(|error| gunzip.get_mut().explain(&error))?;
        gunzip.finish().map_err(|error| damaged(&error))
    }

    fn explain(&mut self, error: &std::io::Error) -> ApiError {
        self.refusal.take().unwrap_or_else(|| damaged(error))
    }
}

impl Write for Sink {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.push(data).map_err(|refusal| {
            self.refusal = Some(refusal);
            std::io::Error::other("refused")
        })?;
        Ok(data.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
