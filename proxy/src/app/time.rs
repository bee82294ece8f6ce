//! Keeps the clock of a gateway on the time of the database that it shares with
//! others: expiry and windows are the same for all, whatever the clocks of their
//! machines show. `app` starts it.

use std::time::Duration;

use chrono::{TimeDelta, Utc};
use tokio::time::{Instant, sleep};

use super::Tasks;
use crate::{
    clock::Clock,
    store::{Store, StoreError},
};

/// Two clocks drift apart by less than a millisecond in it.
const INTERVAL: Duration = Duration::from_secs(10);
/// An answer that took longer says too little of when it was given.
const ANSWER_MAX: Duration = Duration::from_secs(1);
/// Worth a warning at the start.
const DIFFERENCE_MAX: TimeDelta = TimeDelta::seconds(5);

/// The clock for this store, which is right from the start where the store
/// answers.
pub(super) async fn clock_of(store: &Store, tasks: &Tasks) -> Clock {
    if !store.is_shared() {
        return Clock::system();
    }
    let clock = Clock::of_database();
    if let Err(error) = synchronise(store, &clock).await {
        tracing::warn!(%error, "this machine's time is used until the database tells its own");
    }
    let difference = (clock.now() - Utc::now()).abs();
    if difference > DIFFERENCE_MAX {
        let seconds = difference.num_seconds();
        tracing::warn!(
            seconds,
            "this machine's clock is not the database's, which counts"
        );
    }
    tasks.spawn_service(follow(store.clone(), clock.clone()));
    clock
}

async fn follow(store: Store, clock: Clock) {
    loop {
        sleep(INTERVAL).await;
        if let Err(error) = synchronise(&store, &clock).await {
            tracing::debug!(%error, "the clock goes on by itself");
        }
    }
}

pub(crate) async fn synchronise(store: &Store, clock: &Clock) -> Result<(), StoreError> {
    let asked = Instant::now();
    let told = store.now().await?;
    let took = asked.elapsed();
    if let Some(told) = told
        && took <= ANSWER_MAX
    {
        clock.set(told + took / 2);
    }
    Ok(())
}
