//! Owns the deadline of a request's head: from its first byte, ten seconds.
//! Hyper's own timeout runs from the end of the previous answer and so bounds
//! idleness; this one bounds a caller that sends its headers byte by byte.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
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
    time::{Instant, Sleep, sleep},
};

/// Long enough for any honest client, short enough to bound slow ones.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Whether the connection is between the end of one answer and the end of the
/// next request's head.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<AtomicBool>);

impl Activity {
    pub(super) fn new() -> Self {
        Self(Arc::new(AtomicBool::new(true)))
    }

    pub(super) fn head_complete(&self) {
        self.0.store(false, Ordering::Release);
    }

    /// The next head is awaited once this body is sent or given up.
    pub(super) fn until_sent(self, body: Body) -> Sent {
        Sent {
            body,
            activity: self,
        }
    }

    fn awaits_head(&self) -> bool {
        self.0.load(Ordering::Acquire)
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
        self.activity.0.store(true, Ordering::Release);
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

/// A socket that fails to read once a head takes too long.
#[derive(Debug)]
pub(super) struct Watched {
    stream: TcpStream,
    activity: Activity,
    /// Runs while a head is incomplete.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl Watched {
    pub(super) fn new(stream: TcpStream, activity: Activity) -> Self {
        Self {
            stream,
            activity,
            deadline: None,
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.activity.awaits_head() {
            self.deadline = None;
        }
        if let Some(deadline) = &mut self.deadline
            && deadline.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let before = buffer.filled().len();
        let outcome = Pin::new(&mut self.stream).poll_read(context, buffer);
        if buffer.filled().len() > before && self.activity.awaits_head() && self.deadline.is_none()
        {
            let mut deadline = Box::pin(sleep(HEAD_TIMEOUT));
            // Polled once so that it wakes this task; it cannot be over yet.
            if deadline.as_mut().poll(context).is_ready() {
                deadline.as_mut().reset(Instant::now() + HEAD_TIMEOUT);
            }
            self.deadline = Some(deadline);
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
