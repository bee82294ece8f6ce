//! The providers: sends a prepared body to a deployment and hands back the
//! answer's bytes under deadlines.
//!
//! It owns the connections, what headers go out and come in, and the built-in
//! provider. It never retries, never interprets an answer, and knows neither
//! keys nor money.

pub(crate) mod choose;
mod client;
mod connection;
mod echo;
pub(crate) mod headers;
mod openai_compatible;
mod pool;

use std::collections::VecDeque;
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use tokio::time::Instant;

pub(crate) use self::client::ClientError;
use self::pool::{Failure, Pool};
use crate::body::Whole;
use crate::config::{Deployment, Provider};

/// From the last byte sent to a stream's headers: reasoning models think
/// before the first one. Not for whole answers, nor beside a `timeout`.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(60);
/// Between two chunks of an answer.
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
/// A whole call; a deployment's `timeout` replaces it.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(600);

/// The one guarded HTTP client of the process, cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Client(Arc<Pool>);

/// A call as it goes to a provider.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) body: Bytes,
    /// The body asks for a stream.
    pub(crate) streamed: bool,
    /// Already reduced to what may be passed on.
    pub(crate) headers: HeaderMap,
}

/// A provider's answer, its body still to come.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    /// Already reduced to what may be passed back.
    pub(crate) headers: HeaderMap,
    body: AnswerBody,
    deadline: Instant,
}

#[derive(Debug)]
enum AnswerBody {
    Http(pool::Body),
    /// Made by the gateway itself.
    Ready(VecDeque<Bytes>),
    /// Made by the gateway itself while it is read.
    Echo(Box<echo::Events>),
}

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UpstreamError {
    /// Nothing of the request has been sent.
    #[error("the provider cannot be reached")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    #[error("the provider took too long: {0}")]
    Timeout(&'static str),
    #[error("the connection to the provider broke")]
    Broken(#[source] hyper::Error),
    #[error("the provider's answer is larger than this gateway takes")]
    TooLarge,
}

impl UpstreamError {
    /// We ended the call: the provider may have gone on with it.
    pub(crate) fn is_ours(&self) -> bool {
        matches!(self, Self::Timeout(_) | Self::TooLarge)
    }
}

impl Failure {
    fn while_doing(self, doing: &'static str) -> UpstreamError {
        match self {
            Self::Unreachable(error) => UpstreamError::Unreachable(error),
            Self::Broken(error) => UpstreamError::Broken(error),
            Self::Late => UpstreamError::Timeout(doing),
        }
    }
}

impl Client {
    /// # Errors
    /// When the platform's certificates or the TLS stack cannot be set up.
    pub(crate) fn new() -> Result<Self, ClientError> {
        Ok(Self(Arc::new(Pool::new()?)))
    }

    /// Closes connections that nobody uses, until the process ends.
    pub(crate) async fn close_idle(self) {
        self.0.close_idle().await;
    }

    /// Sends one call and waits for the answer's headers.
    pub(crate) async fn send(
        &self,
        deployment: &Deployment,
        outgoing: Outgoing,
    ) -> Result<Answer, UpstreamError> {
        let deadline = Instant::now() + deployment.timeout.unwrap_or(TOTAL_TIMEOUT);
        match deployment.provider {
            Provider::Echo => Ok(echo::answer(&outgoing.body, deadline)),
            Provider::OpenAiCompatible => {
                openai_compatible::send(&self.0, deployment, outgoing, deadline).await
            }
        }
    }
}

impl Answer {
    /// An answer that is there already, for the tests of those who read one.
    #[cfg(test)]
    pub(crate) fn prepared(chunks: impl IntoIterator<Item = Bytes>) -> Self {
        Self {
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: AnswerBody::Ready(chunks.into_iter().collect()),
            deadline: Instant::now() + TOTAL_TIMEOUT,
        }
    }

    /// When the call as a whole must have ended.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// The next bytes of the body; None at its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, UpstreamError> {
        match &mut self.body {
            AnswerBody::Ready(chunks) => Ok(chunks.pop_front()),
            AnswerBody::Echo(events) => Ok(events.next()),
            AnswerBody::Http(body) => {
                let until = self.deadline.min(Instant::now() + IDLE_TIMEOUT);
                let next = body.next(until).await;
                next.map_err(|failure| failure.while_doing("waiting for more of its answer"))
            }
        }
    }

    /// The whole body, at most `bytes_max` of it.
    pub(crate) async fn collect(&mut self, bytes_max: usize) -> Result<Bytes, UpstreamError> {
        let mut body = Whole::default();
        while let Some(chunk) = self.next().await? {
            if body.len() + chunk.len() > bytes_max {
                return Err(UpstreamError::TooLarge);
            }
            body.push(chunk);
        }
        Ok(body.done())
    }
}

#[cfg(test)]
mod tests;
