//! Waiting in real time: asks again until the answer is yes or the deadline has
//! passed. Tests never sleep for a guessed time.

use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(20);

/// Returns how long it took until `ask` answered true.
///
/// # Panics
/// When it has not done so within `deadline`.
pub async fn eventually(
    what: &str,
    deadline: Duration,
    mut ask: impl AsyncFnMut() -> bool,
) -> Duration {
    let started = Instant::now();
    loop {
        if ask().await {
            return started.elapsed();
        }
        assert!(
            started.elapsed() < deadline,
            "not within {deadline:?}: {what}"
        );
        tokio::time::sleep(PAUSE).await;
    }
}

/// Asks for the whole of `span` and fails as soon as the answer is no.
///
/// # Panics
/// When `ask` answers false.
pub async fn throughout(what: &str, span: Duration, mut ask: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while started.elapsed() < span {
        assert!(
            ask().await,
            "no longer after {:?}: {what}",
            started.elapsed()
        );
        tokio::time::sleep(PAUSE).await;
    }
}
