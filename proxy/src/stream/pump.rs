//! Moves a provider's event stream to the caller through a bounded channel
//! while the meter reads it.
//!
//! It owns the stream until its end, also after the caller has gone: then it
//! drains for the usage, within limits. A caller that reads slowly slows the
//! provider down, nothing piles up. It never settles; `api` spawns it and asks
//! it how the stream ended.

use std::convert::Infallible;
use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;
use tokio::task::coop::consume_budget;
use tokio::time::{Instant, timeout_at};

use super::meter::{Kind, Meter};
use super::sse::{Frame, Payload, Splitter};
use crate::upstream::{Answer, UpstreamError};

/// Chunks between provider and caller: with [`CHUNK_BYTES_MAX`] at most 64 KiB.
pub(crate) const CHUNKS_MAX: usize = 4;
const CHUNK_BYTES_MAX: usize = 16 * 1024;
/// How long, and how much, is still read of a stream that nobody waits for.
/// A provider that takes longer is cut and the call charged its upper bound.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(60);
const DRAIN_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How long a finished stream may take to end its HTTP message as well.
const FRAMING_TIMEOUT: Duration = Duration::from_millis(100);

/// How long a caller whose key has ended may take to read that.
const TELL_TIMEOUT: Duration = Duration::from_secs(1);

/// Type and code of an error inside a stream.
const UPSTREAM_ERROR: (&str, &str) = ("upstream_error", "502");
const REVOKED: (&str, &str) = ("auth_error", "401");

/// What goes to the caller's response body.
pub(crate) type Chunk = Result<Bytes, Infallible>;

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The provider closed it, well or badly: it can have counted no more than
    /// what it had sent, save what got lost on the way.
    Ended,
    /// We closed it: the provider may have gone on counting.
    Cut,
}

/// Ends a stream whose caller may listen no longer. Who makes it polls the pump
/// afterwards, in the same task: it wakes nobody, which would cost each event.
#[derive(Debug, Clone, Default)]
pub(crate) struct Cut(Arc<AtomicBool>);

/// One stream under way.
#[derive(Debug)]
pub(crate) struct Pump {
    answer: Answer,
    splitter: Splitter,
    meter: Meter,
    /// The caller did not ask for the usage chunk that we asked for.
    hides_usage: bool,
    /// None once the caller has gone.
    caller: Option<mpsc::Sender<Chunk>>,
    drain_until: Instant,
    drained_bytes: usize,
    done: bool,
    cut: Cut,
}

enum Step {
    Chunk(Bytes),
    End,
    CallerGone,
    Failed(UpstreamError),
    /// The caller's key has ended.
    Revoked,
}

impl Cut {
    pub(crate) fn make(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn is_made(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Ready at the first poll after it was made.
    async fn made(&self) {
        poll_fn(|_| match self.is_made() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

impl Pump {
    pub(crate) fn new(
        answer: Answer,
        caller: mpsc::Sender<Chunk>,
        hides_usage: bool,
        cut: Cut,
    ) -> Self {
        Self {
            drain_until: answer.deadline(),
            answer,
            splitter: Splitter::default(),
            meter: Meter::default(),
            hides_usage,
            caller: Some(caller),
            drained_bytes: 0,
            done: false,
            cut,
        }
    }

    /// Runs to the stream's end.
    pub(crate) async fn run(mut self) -> (Meter, Ending) {
        let ending = loop {
            match self.step().await {
                Step::Chunk(chunk) => {
                    let mut frames = Vec::new();
                    self.splitter.push(&chunk, &mut frames);
                    self.forward(frames).await;
                    if self.is_over_drain(chunk.len()) {
                        break Ending::Cut;
                    }
                    // Neither an answer that is there nor a caller with room waits,
                    // and whether the key still works must be looked at.
                    consume_budget().await;
                    if self.done {
                        self.read_framing().await;
                        break Ending::Ended;
                    }
                }
                Step::CallerGone => self.caller_gone(),
                Step::End => {
                    self.end().await;
                    break Ending::Ended;
                }
                Step::Failed(error) => {
                    tracing::warn!(%error, "a stream broke off");
                    self.report(UPSTREAM_ERROR, &error.to_string()).await;
                    break match error.is_ours() {
                        true => Ending::Cut,
                        false => Ending::Ended,
                    };
                }
                Step::Revoked => {
                    let told = self.report(REVOKED, "the key of this stream has ended");
                    // Who does not read is not waited for.
                    let _in_time = tokio::time::timeout(TELL_TIMEOUT, told).await;
                    break Ending::Cut;
                }
            }
        };
        (self.meter, ending)
    }

    /// The caller has all of it. What is left is the end of the last chunk of HTTP,
    /// without which the connection to the provider could serve no other call.
    async fn read_framing(&mut self) {
        self.caller = None;
        let end = self.answer.next();
        // Whatever comes in its place, or nothing, ends the connection.
        let _end = tokio::time::timeout(FRAMING_TIMEOUT, end).await;
    }

    async fn step(&mut self) -> Step {
        let Some(caller) = &self.caller else {
            return tokio::select! {
                biased;
                () = self.cut.made() => Step::Revoked,
                next = timeout_at(self.drain_until, self.answer.next()) => match next {
                    Ok(next) => Step::from(next),
                    Err(_) => Step::Failed(UpstreamError::Timeout("draining")),
                },
            };
        };
        tokio::select! {
            biased;
            () = self.cut.made() => Step::Revoked,
            next = self.answer.next() => Step::from(next),
            () = caller.closed() => Step::CallerGone,
        }
    }

    async fn forward(&mut self, frames: Vec<Frame>) {
        let mut out = BytesMut::new();
        for frame in frames {
            let kind = match &frame.payload {
                Payload::Data(data) => self.meter.event(data),
                Payload::Nothing => Kind::Content,
                Payload::Oversize => {
                    self.meter.unread(frame.raw.len());
                    Kind::Content
                }
            };
            self.done |= kind == Kind::Done;
            if !(self.hides_usage && kind == Kind::UsageOnly) {
                out.extend_from_slice(&frame.raw);
            }
        }
        self.send(out.freeze()).await;
    }

    async fn send(&mut self, mut bytes: Bytes) {
        while !bytes.is_empty() {
            let Some(caller) = &self.caller else {
                return;
            };
            let chunk = bytes.split_to(bytes.len().min(CHUNK_BYTES_MAX));
            let is_sent = match caller.try_send(Ok(chunk)) {
                Ok(()) => true,
                Err(TrySendError::Closed(_)) => false,
                Err(TrySendError::Full(chunk)) => {
                    let sending = timeout_at(self.answer.deadline(), caller.send(chunk));
                    tokio::select! {
                        biased;
                        // A caller that does not read must not put off its own end.
                        () = self.cut.made(), if !self.cut.is_made() => return,
                        sent = sending => matches!(sent, Ok(Ok(()))),
                    }
                }
            };
            if !is_sent {
                self.caller_gone();
            }
        }
    }

    fn caller_gone(&mut self) {
        self.caller = None;
        self.drain_until = (Instant::now() + DRAIN_TIMEOUT).min(self.answer.deadline());
    }

    fn is_over_drain(&mut self, bytes: usize) -> bool {
        if self.caller.is_none() {
            self.drained_bytes += bytes;
        }
        self.drained_bytes > DRAIN_BYTES_MAX
    }

    async fn end(&mut self) {
        let mut frames = Vec::new();
        self.splitter.finish(&mut frames);
        self.forward(frames).await;
        if !self.meter.is_finished() {
            let message = "the provider ended the stream before the answer was complete";
            self.report(UPSTREAM_ERROR, message).await;
        }
    }

    /// OpenAI: an error inside a stream is an event like any other. An event
    /// that was handed out in part is closed first.
    async fn report(&mut self, (kind, code): (&str, &str), message: &str) {
        let is_broken = self.splitter.is_inside_oversize() || self.cut.is_made();
        let lead = match is_broken {
            true => "\n\n",
            false => "",
        };
        let error = serde_json::json!({"error": {
            "message": message,
            "type": kind,
            "param": null,
            "code": code,
        }});
        self.send(Bytes::from(format!("{lead}data: {error}\n\n")))
            .await;
    }
}

impl From<Result<Option<Bytes>, UpstreamError>> for Step {
    fn from(next: Result<Option<Bytes>, UpstreamError>) -> Self {
        match next {
            Ok(Some(chunk)) => Self::Chunk(chunk),
            Ok(None) => Self::End,
            Err(error) => Self::Failed(error),
        }
    }
}

#[cfg(test)]
mod tests;
