//! Owns one connection: HTTP/1.1 with limits on headers, their arrival and
//! idleness (`deadline`), and a graceful end when the process stops. HTTP/2 is not offered.

use std::{
    convert::Infallible,
    future::{Future as _, poll_fn},
    pin::pin,
    task::Poll,
};

use axum::body::Body;
use http::Request;
use hyper::{
    body::{Body as _, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::{
    deadline::{Activity, Waiting, Watched},
    panic::contained,
};
use crate::{app::Tasks, auth::Peer, router::Routes, turn};

/// All headers and the request line together.
const HEADER_BYTES_MAX: usize = 64 * 1024;

pub(super) async fn serve(stream: TcpStream, routes: Routes, tasks: &Tasks) {
    // Small events of a stream must not wait for an acknowledgement; where it
    // cannot be had, they only come later.
    let _ = stream.set_nodelay(true);
    let peer = Peer::new(stream.peer_addr().ok().map(|address| address.ip()));
    let activity = Activity::new();
    let service = service_fn(|mut request: Request<Incoming>| {
        activity.head_complete();
        request.extensions_mut().insert(peer);
        let (routes, activity) = (&routes, activity.clone());
        async move {
            let answer = contained(Box::pin(routes.answer(request.map(Body::new)))).await;
            // Whoever reads a stream waits for its first event.
            if answer.body().size_hint().exact().is_some() {
                turn::end().await;
            }
            Ok::<_, Infallible>(answer.map(|body| activity.until_sent(body)))
        }
    });
    let io = TokioIo::new(Watched::new(stream, activity.clone()));
    let mut connection = pin!(limits().serve_connection(io, service));
    let mut waiting = Waiting::new(activity.clone());
    let (mut stopped, mut is_stopping) = (pin!(tasks.stopped()), None);
    let ended = poll_fn(|context| {
        // Waited for once, as the task has one waker all its life.
        if is_stopping.is_none() || is_stopping == Some(false) && tasks.is_stopping() {
            is_stopping = Some(stopped.as_mut().poll(context).is_ready());
            if is_stopping == Some(true) {
                connection.as_mut().graceful_shutdown();
            }
        }
        match connection.as_mut().poll(context) {
            Poll::Ready(ended) => Poll::Ready(ended.err()),
            Poll::Pending => waiting.poll_over(context).map(|()| None),
        }
    });
    if let Some(error) = ended.await {
        tracing::debug!(error = %error, "connection ended early");
    }
}

/// More than a hundred headers are refused (431) without being told so: said, the
/// same number would make hyper fill a table for each request.
fn limits() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .header_read_timeout(None)
        .max_buf_size(HEADER_BYTES_MAX);
    builder
}
