//! Owns one connection: HTTP/1.1 with limits on headers, their arrival and
//! idleness, and a graceful end when the process stops. HTTP/2 is not offered.

use std::{convert::Infallible, pin::pin, time::Duration};

use axum::{Router, body::Body};
use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tower::Service as _;

use super::{
    deadline::{Activity, Watched},
    panic::contained,
};
use crate::{app::Tasks, auth::Peer};

/// Headers beyond this count are refused (431).
const HEADERS_MAX: usize = 100;
/// All headers and the request line together.
const HEADER_BYTES_MAX: usize = 64 * 1024;
/// How long a connection may wait for its next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

pub(super) async fn serve(stream: TcpStream, routes: Router, tasks: &Tasks) {
    // Small events of a stream must not wait for an acknowledgement; where it
    // cannot be had, they only come later.
    let _ = stream.set_nodelay(true);
    let peer = Peer::new(stream.peer_addr().ok().map(|address| address.ip()));
    let activity = Activity::new();
    let service = service_fn(|mut request: Request<Incoming>| {
        activity.head_complete();
        request.extensions_mut().insert(peer);
        let mut routes = routes.clone();
        let activity = activity.clone();
        async move {
            let answering = async {
                let Ok(answer) = routes.call(request.map(Body::new)).await;
                answer
            };
            let answer = contained(answering).await;
            Ok::<_, Infallible>(answer.map(|body| activity.until_sent(body)))
        }
    });
    let io = TokioIo::new(Watched::new(stream, activity.clone()));
    let mut connection = pin!(limits().serve_connection(io, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = tasks.stopped() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "connection ended early");
    }
}

fn limits() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE_TIMEOUT)
        .max_headers(HEADERS_MAX)
        .max_buf_size(HEADER_BYTES_MAX);
    builder
}
