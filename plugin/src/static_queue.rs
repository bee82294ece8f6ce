//! Which static role is to be looked at next. In memory only: built from
//! storage when the first minute after a start, an invalidation or a change of
//! leadership comes, so that a lost queue loses no rotation.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};

/// Vault: a mount may work once a minute, so an earlier retry cannot be.
const FIRST_RETRY: TimeDelta = TimeDelta::minutes(1);
/// Long enough to spare a gateway that is down, short enough to be soon back.
const LAST_RETRY: TimeDelta = TimeDelta::minutes(10);

/// A role that is being worked on comes back by itself after this, should the
/// work never tell of its end.
const CLAIMED: TimeDelta = TimeDelta::minutes(15);

#[derive(Debug, Default)]
pub(crate) struct Queue {
    is_complete: bool,
    order: BTreeSet<(DateTime<Utc>, String)>,
    roles: HashMap<String, Place>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Place {
    at: DateTime<Utc>,
    /// In a row, since the last success.
    failures: u32,
}

impl Queue {
    /// Whether every stored role is in it.
    pub(crate) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Storage has changed behind our back.
    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Takes over what storage holds. A role that is here already was put here
    /// by a later request.
    pub(crate) fn complete(&mut self, stored: impl IntoIterator<Item = (String, DateTime<Utc>)>) {
        for (role, at) in stored {
            if !self.roles.contains_key(&role) {
                self.put(&role, Place { at, failures: 0 });
            }
        }
        self.is_complete = true;
    }

    /// The role's work is done until `at`.
    pub(crate) fn schedule(&mut self, role: &str, at: DateTime<Utc>) {
        self.put(role, Place { at, failures: 0 });
    }

    /// The role's work failed: it waits, longer each time, but not much longer
    /// than `spacing`, the time between two of its rotations: its key dies when
    /// two were missed. `jitter` is a random number from 0 to 1, so that many
    /// roles do not come back at once.
    pub(crate) fn retry(
        &mut self,
        role: &str,
        now: DateTime<Utc>,
        spacing: TimeDelta,
        jitter: f64,
    ) {
        let failures = self
            .roles
            .get(role)
            .map_or(0, |place| place.failures)
            .saturating_add(1);
        let at = now + backoff(failures, spacing, jitter);
        self.put(role, Place { at, failures });
    }

    pub(crate) fn remove(&mut self, role: &str) {
        if let Some(place) = self.roles.remove(role) {
            self.order.remove(&(place.at, role.to_owned()));
        }
    }

    /// The role that has waited longest, if its time has come. It is put aside
    /// until [`Queue::schedule`], [`Queue::retry`] or [`Queue::remove`] tells
    /// what became of it.
    pub(crate) fn claim(&mut self, now: DateTime<Utc>) -> Option<String> {
        let (at, role) = self.order.first()?;
        if *at > now {
            return None;
        }
        let role = role.clone();
        let failures = self.roles.get(&role).map_or(0, |place| place.failures);
        let at = now + CLAIMED;
        self.put(&role, Place { at, failures });
        Some(role)
    }

    fn put(&mut self, role: &str, place: Place) {
        self.remove(role);
        self.order.insert((place.at, role.to_owned()));
        self.roles.insert(role.to_owned(), place);
    }
}

/// Doubles with each failure up to a bound, half of it at random.
fn backoff(failures: u32, spacing: TimeDelta, jitter: f64) -> TimeDelta {
    let doublings = failures.saturating_sub(1).min(8);
    let bound = spacing.clamp(FIRST_RETRY, LAST_RETRY);
    let longest = (FIRST_RETRY * (1 << doublings)).min(bound);
    let half = longest / 2;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a few hundred thousand milliseconds"
    )]
    let random = (half.num_milliseconds() as f64 * jitter.clamp(0.0, 1.0)) as i64;
    half + TimeDelta::milliseconds(random)
}

#[cfg(test)]
mod tests;
