//! Owns wall-clock time for the whole gateway: expiry and timestamps read it
//! here and nowhere else, so that tests can move it. Never used for timeouts,
//! which run on tokio's monotonic clock. Where gateways share a
//! database it is the database's time, so that they agree on it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
    time::Instant,
};

use chrono::{DateTime, Utc};

/// A cheap handle on the current time.
#[derive(Clone, Debug)]
pub(crate) struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    System,
    /// It goes on by itself from what the database said last, so that setting
    /// this machine's clock changes nothing.
    Database {
        since: Instant,
        at_us: Arc<AtomicI64>,
    },
    #[cfg(test)]
    Manual(Arc<AtomicI64>),
}

impl Clock {
    pub(crate) fn system() -> Self {
        Self(Source::System)
    }

    /// The one clock of all gateways that share a database. Until
    /// [`Clock::set`] it shows this machine's time.
    pub(crate) fn of_database() -> Self {
        Self(Source::Database {
            since: Instant::now(),
            at_us: Arc::new(AtomicI64::new(Utc::now().timestamp_micros())),
        })
    }

    /// What the database's clock shows now. No other clock can be set.
    pub(crate) fn set(&self, now: DateTime<Utc>) {
        if let Source::Database { since, at_us } = &self.0 {
            at_us.store(now.timestamp_micros() - micros(since), Ordering::Relaxed);
        }
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        match &self.0 {
            Source::System => Utc::now(),
            Source::Database { since, at_us } => {
                let now = at_us.load(Ordering::Relaxed).saturating_add(micros(since));
                DateTime::from_timestamp_micros(now).unwrap_or_else(Utc::now)
            }
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

fn micros(since: &Instant) -> i64 {
    i64::try_from(since.elapsed().as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
