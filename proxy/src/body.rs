//! Owns how a request body is read: bounded by its announced length, by the
//! bytes that really come, and by how long it may stand still. Called by every
//! handler that takes a body.

use std::time::Duration;

use axum::{body::Body, extract::Request};
use bytes::{Bytes, BytesMut};
use http::header;
use http_body_util::BodyExt as _;
use serde_json::{Map, Value};

use crate::error::ApiError;

/// A body that stands still this long has been given up by its sender.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// What is read and thrown away of a body that is too large, so that its
/// sender gets to read the refusal instead of a reset connection.
const DISCARD_BYTES_MAX: usize = 128 * 1024 * 1024;
const DISCARD_TIMEOUT: Duration = Duration::from_secs(3);

/// The whole body, at most `bytes_max` long.
///
/// # Errors
/// 413 when it is longer, 408 when it stops arriving, 400 when it breaks off.
pub(crate) async fn read(request: Request, bytes_max: usize) -> Result<Bytes, ApiError> {
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let mut body = request.into_body();
    if announced.is_some_and(|length| length > bytes_max as u64) {
        discard(body).await;
        return Err(ApiError::body_too_large(bytes_max));
    }
    let mut read = BytesMut::new();
    while let Some(part) = next(&mut body).await? {
        if read.len() + part.len() > bytes_max {
            drop(read);
            discard(body).await;
            return Err(ApiError::body_too_large(bytes_max));
        }
        read.extend_from_slice(&part);
    }
    Ok(read.freeze())
}

/// A JSON object; an empty body counts as an empty object.
pub(crate) async fn read_object(
    request: Request,
    bytes_max: usize,
) -> Result<Map<String, Value>, ApiError> {
    let bytes = read(request, bytes_max).await?;
    if bytes.is_empty() {
        return Ok(Map::new());
    }
    serde_json::from_slice(&bytes).map_err(|_| ApiError::malformed_body())
}

async fn next(body: &mut Body) -> Result<Option<Bytes>, ApiError> {
    loop {
        let frame = tokio::time::timeout(IDLE_TIMEOUT, body.frame())
            .await
            .map_err(|_| ApiError::body_timeout())?;
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
    let mut seen = 0;
    let reading = async {
        while let Ok(Some(part)) = next(&mut body).await {
            seen += part.len();
            if seen > DISCARD_BYTES_MAX {
                return;
            }
        }
    };
    // Whether or not it ends in time, the answer is the same.
    let _ = tokio::time::timeout(DISCARD_TIMEOUT, reading).await;
}
