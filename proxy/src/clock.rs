//! Owns wall-clock time for the whole gateway: expiry and timestamps read it
//! here and nowhere else, so that tests can move it. Never used for timeouts,
//! which run on tokio's monotonic clock.

#[cfg(test)]
use std::sync::{
    Arc,
    atomic::{AtomicI64, Ordering},
};

use chrono::{DateTime, Utc};

/// A cheap handle on the current time.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    #[cfg(test)]
    Manual(Arc<AtomicI64>),
}

impl Clock {
    pub(crate) fn system() -> Self {
        Self(Source::System)
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Source::System => Utc::now(),
            #[cfg(test)]
            Source::Manual(micros) => {
                DateTime::from_timestamp_micros(micros.load(Ordering::SeqCst)).unwrap()
            }
        }
    }

    /// A clock that stands still until the test moves it.
    #[cfg(test)]
    pub(crate) fn manual(start: DateTime<Utc>) -> Self {
        Self(Source::Manual(Arc::new(AtomicI64::new(
            start.timestamp_micros(),
        ))))
    }

    #[cfg(test)]
    pub(crate) fn advance(&self, by: chrono::Duration) {
        if let Source::Manual(micros) = &self.0 {
            micros.fetch_add(by.num_microseconds().unwrap(), Ordering::SeqCst);
        }
    }
}
