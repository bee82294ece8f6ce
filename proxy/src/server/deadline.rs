//! Owns how long a connection may wait for its next request, and how long a
//! request's head may take from its first byte on. Hyper's own timeout would make
//! and cancel a timer for each request; here a connection has one for both, and a
//! head that comes in one piece needs none.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::Body;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::Instant,
};

use crate::patience::Patience;

/// Long enough for any honest client, short enough to bound slow ones.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a connection may wait for its next request.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// Nothing of the next request is there.
const IDLE: u8 = 0;
/// Some of its head is.
const BEGUN: u8 = 1;
/// All of its head is, and it is being answered.
const ANSWERING: u8 = 2;

/// What a connection is at.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<AtomicU8>);

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicU8::new(IDLE)))
    }

    pub(super) fn head_complete(&self) {
        self.0.store(ANSWERING, Ordering::Release);
    }

    /// The next head is awaited once this body is sent or given up.
    pub(super) fn until_sent(self, body: Body) -> Sent {
        Sent {
            body,
            activity: self,
        }
    }

    fn now(&self) -> u8 {
        self.0.load(Ordering::Acquire)
    }
}

/// Ends a connection that waits for too long.
#[derive(Debug)]
pub(super) struct Waiting {
    activity: Activity,
    /// What the connection was at when it was looked at last, and since when.
    seen: (u8, Instant),
    patience: Patience,
}

impl Waiting {
    pub(super) fn new(activity: Activity) -> Self {
        Self {
            activity,
            seen: (ANSWERING, Instant::now()),
            patience: Patience::default(),
        }
    }

    /// Looked at whenever the connection has done what it could: ready once it
    /// has been waited for long enough.
    pub(super) fn poll_over(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let now = self.activity.now();
        let patience = match now {
            IDLE => IDLE_TIMEOUT,
            BEGUN => HEAD_TIMEOUT,
            _ => {
                self.seen.0 = now;
                return Poll::Pending;
            }
        };
        if self.seen.0 != now {
            self.seen = (now, Instant::now());
        }
        self.patience.poll_over(self.seen.1 + patience, context)
    }
}

/// A body that tells when it is over.
#[derive(Debug)]
pub(super) struct Sent {
    body: Body,
    activity: Activity,
}

impl Drop for Sent {
    fn drop(&mut self) {
        self.activity.0.store(IDLE, Ordering::Release);
    }
}

impl hyper::body::Body for Sent {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// A socket that tells when the first bytes of a head come.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    activity: Activity,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, activity: Activity) -> Self {
        Self { stream, activity }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before && self.activity.now() == IDLE {
            self.activity.0.store(BEGUN, Ordering::Release);
        }
        outcome
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
