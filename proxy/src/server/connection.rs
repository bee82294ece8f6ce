//! Owns one connection: HTTP/1.1 with limits on headers, their arrival and
//! idleness, and a graceful end when the process stops. HTTP/2 is not offered.

use std::{convert::Infallible, pin::pin, time::Duration};

use axum::{Router, body::Body};
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower::Service as _;

use super::deadline::{Activity, Watched};
use crate::app::Tasks;

/// Headers beyond this count are refused (431).
const HEADERS_MAX: usize = 100;
/// All headers and the request line together.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// How long a connection may wait for its next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) async fn serve(stream: TcpStream, routes: Router, tasks: &Tasks) {
    // Small events of a stream must not wait for an acknowledgement.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "setting no-delay failed");
    }
    let activity = Activity::new();
    let service = service_fn(|request: Request<Incoming>| {
        activity.head_complete();
        let mut routes = routes.clone();
        let activity = activity.clone();
        async move {
            let answer = routes.call(request.map(Body::new)).await;
            activity.answered();
            Ok::<_, Infallible>(answer.unwrap_or_else(|never| match never {}))
        }
    });
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    let io = TokioIo::new(Watched::new(stream, activity.clone()));
    let mut connection = pin!(builder.serve_connection(io, service));
    let mut stopping = false;
    loop {
        tokio::select! {
            outcome = connection.as_mut() => {
                if let Err(error) = outcome {
                    tracing::debug!(error = %error, "connection ended early");
                }
                return;
            }
            () = tasks.stopped(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
