//! Owns how a request body is read: bounded by its announced length, by the
//! bytes that really come, by how long it may stand still, by the room that large
//! bodies have together, and by how deep its JSON is nested. Called by every handler that takes a body.

pub(crate) mod depth;
mod room;

use std::time::Duration;

use axum::{body::Body, extract::Request};
use bytes::{Bytes, BytesMut};
use http::header;
use http_body_util::BodyExt as _;
use serde_json::{Map, Value};
use tokio::time::Instant;

use self::room::{ROOM, Room};
use crate::{error::ApiError, patience::Patience};

/// A body that stands still this long has been given up by its sender.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Ten megabytes at 100 kB/s; who sends on and on keeps a connection for nothing.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(100);
/// What is read and thrown away of a body that is too large, so that its
/// sender gets to read the refusal instead of a reset connection.
const DISCARD_BYTES_MAX: usize = 128 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(3);

/// The whole body, at most `bytes_max` long.
///
/// # Errors
/// 413 when it is longer, 408 when it stops arriving, 400 when it breaks off, 503
/// when too many large ones are there already.
pub(crate) async fn read(request: Request, bytes_max: usize) -> Result<Bytes, ApiError> {
    read_into(&ROOM, request, bytes_max.min(room::BYTES_MAX)).await
}

async fn read_into(
    room: &'static Room,
    request: Request,
    bytes_max: usize,
) -> Result<Bytes, ApiError> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let mut body = request.into_body();
    if announced.is_some_and(|length| length > bytes_max as u64) {
        discard(body).await;
        return Err(ApiError::body_too_large(bytes_max));
    }
    let (mut read, mut patience) = (Whole::default(), Patience::default());
    let mut taken = room.nothing();
    let until = Instant::now() + TOTAL_TIMEOUT;
    while let Some(part) = next(&mut body, &mut patience, until).await? {
        if read.len() + part.len() > bytes_max {
            drop(read);
            discard(body).await;
            return Err(ApiError::body_too_large(bytes_max));
        }
        if !taken.grow(read.len() + part.len()) {
            drop((read, taken));
            discard(body).await;
            return Err(ApiError::too_many_bodies());
        }
        read.push(part);
    }
    Ok(taken.with(read.done()))
}

/// Bytes that come in parts. What comes as one is never copied.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    first: Bytes,
    /// All of them, once there are several parts.
    joined: BytesMut,
}

impl Whole {
    pub(crate) fn len(&self) -> usize {
        self.first.len() + self.joined.len()
    }

    pub(crate) fn push(&mut self, part: Bytes) {
        if self.len() == 0 {
            self.first = part;
            return;
        }
        let first = std::mem::take(&mut self.first);
        self.joined.extend_from_slice(&first);
        self.joined.extend_from_slice(&part);
    }

    pub(crate) fn done(self) -> Bytes {
        match self.joined.is_empty() {
            true => self.first,
            false => self.joined.freeze(),
        }
    }
}

/// A JSON object; an empty body counts as an empty object.
///
/// # Errors
/// As [`read`], and 400 for anything else or for what is nested too deep.
pub(crate) async fn read_object(
    request: Request,
    bytes_max: usize,
) -> Result<Map<String, Value>, ApiError> {
    let bytes = read(request, bytes_max).await?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    depth::shallow(&bytes)?;
    serde_json::from_slice(&bytes).map_err(|_| ApiError::malformed_body())
}

async fn next(
    body: &mut Body,
    patience: &mut Patience,
    until: Instant,
) -> Result<Option<Bytes>, ApiError> {
    loop {
        let until = until.min(Instant::now() + IDLE_TIMEOUT);
        let frame = patience.wait(until, body.frame()).await;
        let frame = frame.ok_or_else(ApiError::body_timeout)?;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(ApiError::malformed_body()),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

async fn discard(mut body: Body) {
    let (mut seen, mut patience) = (0, Patience::default());
    let until = Instant::now() + DISCARD_TIMEOUT;
    // Whether or not it ends in time, the answer is the same.
    while seen <= DISCARD_BYTES_MAX
        && let Ok(Some(part)) = next(&mut body, &mut patience, until).await
    {
        seen += part.len();
    }
}

#[cfg(test)]
mod tests {
    use std::{convert::Infallible, time::Duration};

    use axum::{body::Body, extract::Request};
    use bytes::Bytes;
    use tokio_stream::{StreamExt as _, iter, pending};

    use super::{Room, read, read_into};

    async fn status(body: Body, announced: Option<usize>) -> u16 {
        let mut request = Request::builder();
        if let Some(length) = announced {
            request = request.header("content-length", length);
        }
        match read(request.body(body).unwrap(), 10).await {
            Ok(_) => 200,
            Err(error) => error.status().as_u16(),
        }
    }

    fn parts(count: usize) -> impl tokio_stream::Stream<Item = Result<Bytes, Infallible>> {
        iter((0..count).map(|_| Ok(Bytes::from_static(b"12345"))))
    }

    #[tokio::test(start_paused = true)]
    async fn h9_bodies_are_bounded_by_length_by_count_and_by_patience() {
        assert_eq!(status(Body::from("0123456789"), Some(10)).await, 200);
        assert_eq!(status(Body::from("0123456789x"), Some(11)).await, 413);
        assert_eq!(status(Body::from_stream(parts(2)), None).await, 200);
        assert_eq!(status(Body::from_stream(parts(3)), None).await, 413);
        let stuck = parts(1).chain(pending());
        let since = tokio::time::Instant::now();
        assert_eq!(status(Body::from_stream(stuck), None).await, 408);
        assert_eq!(since.elapsed().as_secs(), 30);
        // A trickle that never stands still is not waited for either.
        let trickle = tokio_stream::StreamExt::throttle(parts(1_000), Duration::from_secs(20))
            .map(|part| part.map(|_| Bytes::new()));
        let since = tokio::time::Instant::now();
        assert_eq!(status(Body::from_stream(trickle), None).await, 408);
        assert_eq!(since.elapsed().as_secs(), 100);
        // An endless body is not read to its end before it is refused.
        let endless = parts(3).chain(pending());
        let since = tokio::time::Instant::now();
        assert_eq!(status(Body::from_stream(endless), None).await, 413);
        assert!(since.elapsed() <= Duration::from_secs(4));
    }

    #[tokio::test]
    async fn h9_a_large_body_is_refused_while_others_fill_the_room() {
        static ROOM: Room = Room::new(256 * 1024);
        let read = async |length: usize| {
            let body = Body::from(vec![b'x'; length]);
            let request = Request::builder().body(body).unwrap();
            read_into(&ROOM, request, 1024 * 1024).await
        };
        let first = read(200 * 1024).await.unwrap();
        assert_eq!(read(200 * 1024).await.unwrap_err().status().as_u16(), 503);
        assert_eq!(read(1024).await.unwrap().len(), 1024);
        drop(first);
        assert_eq!(read(200 * 1024).await.unwrap().len(), 200 * 1024);
    }
}
