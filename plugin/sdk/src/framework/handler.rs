//! The shapes of the functions that an engine gives to the framework.
//!
//! Owns the boxing alone, so that the builders can take plain `async fn`s.

use std::{pin::Pin, sync::Arc};

use chrono::{DateTime, Utc};

use crate::{Error, Request, Response, Value};

/// What a handler answers.
pub type HandlerResult = Result<Option<Response>, Error>;

/// What an engine did about a write-ahead entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WalOutcome {
    /// Nothing is left to undo: the entry is deleted.
    Done,
    /// Too early to tell: the entry stays for the next minute, and no error is reported.
    Keep,
}

pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;
pub(crate) type Handler<S> = Arc<dyn Fn(Arc<S>, Request) -> BoxFuture<HandlerResult> + Send + Sync>;
pub(crate) type Hook<S> =
    Arc<dyn Fn(Arc<S>, Request) -> BoxFuture<Result<(), Error>> + Send + Sync>;
pub(crate) type ExistsHandler<S> =
    Arc<dyn Fn(Arc<S>, Request) -> BoxFuture<Result<bool, Error>> + Send + Sync>;
pub(crate) type KeyHook<S> = Arc<dyn Fn(Arc<S>, String) -> BoxFuture<()> + Send + Sync>;
pub(crate) type EndHook<S> = Arc<dyn Fn(Arc<S>) -> BoxFuture<()> + Send + Sync>;
pub(crate) type WalHandler<S> = Arc<
    dyn Fn(Arc<S>, Request, String, Value, DateTime<Utc>) -> BoxFuture<Result<WalOutcome, Error>>
        + Send
        + Sync,
>;

/// Boxes an `async fn(Arc<S>, Request)`, whatever it answers.
pub(crate) fn boxed<S, T, F, Fut>(
    handler: F,
) -> Arc<dyn Fn(Arc<S>, Request) -> BoxFuture<T> + Send + Sync>
where
    F: Fn(Arc<S>, Request) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = T> + Send + 'static,
{
    Arc::new(move |state, request| Box::pin(handler(state, request)))
}
