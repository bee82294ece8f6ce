//! Owns what a panic in one request does: that request is answered 500, its
//! guards run, and everything else goes on. Called for every request.

use std::{
    future::{Future, poll_fn},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    task::Poll,
};

use axum::response::{IntoResponse as _, Response};

use crate::error::ApiError;

/// The answer, or 500 when making it panicked.
pub(super) async fn contained(mut answering: Pin<Box<impl Future<Output = Response>>>) -> Response {
    // What the future shares with others is guarded by locks that are not
    // poisoned or by channels, so nothing half-changed is seen afterwards.
    let outcome = poll_fn(|context| {
        match catch_unwind(AssertUnwindSafe(|| answering.as_mut().poll(context))) {
            Ok(poll) => poll.map(Some),
            Err(_) => Poll::Ready(None),
        }
    })
    .await;
    // The panic hook has logged where it happened.
    outcome.unwrap_or_else(|| ApiError::internal().into_response())
}

#[cfg(test)]
mod tests {
    use axum::response::IntoResponse as _;

    use super::contained;

    #[tokio::test]
    async fn i2_a_panic_is_one_requests_500() {
        let answer = contained(Box::pin(async {
            tokio::task::yield_now().await;
            panic!("on purpose")
        }));
        assert_eq!(answer.await.status(), 500);
        assert_eq!(
            contained(Box::pin(async { "fine".into_response() }))
                .await
                .status(),
            200
        );
    }
}
