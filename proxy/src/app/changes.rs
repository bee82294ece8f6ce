//! Keeps this process's memory true while others change keys and budgets in the
//! same store: it reads each change there, at once when it is notified, and
//! every second besides. Only PostgreSQL has other processes; `app` starts it.

use std::{sync::Arc, time::Duration};

use tokio::{
    sync::Notify,
    time::{Instant, MissedTickBehavior, interval, sleep},
};

use super::Tasks;
use crate::{
    key::Cache,
    ledger::Ledger,
    store::{
        Store, StoreError,
        changes::{Change, Changes, Heard, Listener, News},
    },
};

/// How often changes are asked for without a notification: one may be lost with
/// its connection.
const POLL: Duration = Duration::from_secs(1);
/// Between two tries to listen.
const PAUSE: Duration = Duration::from_secs(1);

/// Begins before the first key is in memory.
pub(super) async fn follow(
    store: &Store,
    keys: &Cache,
    ledger: &Ledger,
    tasks: &Tasks,
) -> Result<(), StoreError> {
    let Some(changes) = store.changes().await? else {
        return Ok(());
    };
    let told = Arc::new(Notify::new());
    tasks.spawn_service(listen(store.clone(), ledger.clone(), Arc::clone(&told)));
    let memory = (keys.clone(), ledger.clone());
    tasks.spawn_service(read(store.clone(), changes, memory, told));
    Ok(())
}

async fn listen(store: Store, ledger: Ledger, told: Arc<Notify>) {
    loop {
        let lost = match Listener::connect(&store).await {
            Ok(None) => return,
            Ok(Some(listener)) => tell(listener, &ledger, &told).await,
            Err(error) => error,
        };
        tracing::warn!(error = %lost, "changes of keys are only asked for, until listening works");
        sleep(PAUSE).await;
    }
}

/// Answers why it could not go on.
async fn tell(mut listener: Listener, ledger: &Ledger, told: &Notify) -> StoreError {
    // What was changed before it listened was told to nobody.
    told.notify_one();
    loop {
        match listener.heard().await {
            Ok(Heard::Change) => told.notify_one(),
            Ok(Heard::Allotment(word)) => ledger.heard(&word),
            Err(lost) => return lost,
        }
    }
}

async fn read(
    store: Store,
    mut changes: Changes,
    (keys, ledger): (Cache, Ledger),
    told: Arc<Notify>,
) {
    let mut tick = interval(POLL);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_lost = false;
    loop {
        tokio::select! {
            () = told.notified() => {}
            _ = tick.tick() => {}
        }
        let asked = Instant::now();
        let answer = changes.next().await;
        store.looked_at(answer.is_ok().then(|| asked.elapsed()));
        match answer {
            Ok(news) => {
                take_in(news, &keys, &ledger);
                keys.confirm(asked);
                is_lost = false;
            }
            Err(error) if !is_lost => {
                tracing::error!(%error, "changes of other processes cannot be read");
                is_lost = true;
            }
            // Said once.
            Err(_) => {}
        }
    }
}

fn take_in(news: News, keys: &Cache, ledger: &Ledger) {
    let News::Changes(changes) = news else {
        tracing::warn!("more changes were missed than the store remembers: all keys are read anew");
        keys.invalidate_all();
        ledger.changed_anywhere();
        return;
    };
    let mut accounts = Vec::new();
    for Change {
        hash,
        account,
        corrected,
    } in changes
    {
        if let Some(hash) = hash {
            keys.invalidate(hash);
        }
        accounts.extend(account.map(|account| (account, corrected)));
    }
    ledger.changed_elsewhere(accounts);
}

#[cfg(test)]
mod tests;
