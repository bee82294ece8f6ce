//! The open loop: calls are due at a fixed rate whether or not earlier ones are
//! answered, and each counts from the moment it was due, so that a stall is
//! seen by every call that it held up.

use std::cell::{Cell, RefCell};
use std::io::Error;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::sync::Semaphore;
use tokio::task::LocalSet;

use crate::closed::call;
use crate::tally::Tally;
use crate::target::Target;

pub(crate) async fn run(
    target: Target,
    connections: usize,
    rate: u32,
    length: Duration,
) -> Result<Value, Error> {
    let every = Duration::from_secs(1) / rate;
    let calls = u32::try_from(length.as_nanos() / every.as_nanos()).unwrap_or(u32::MAX);
    let tally = Rc::new(RefCell::new(Tally::default()));
    let next = Rc::new(Cell::new(0_u32));
    let due = Arc::new(Semaphore::new(0));
    let started = Instant::now();
    let pacer = {
        let due = Arc::clone(&due);
        std::thread::spawn(move || pace(&due, started, every, calls, connections))
    };
    let local = LocalSet::new();
    for _ in 0..connections {
        let (target, tally, next) = (target.clone(), Rc::clone(&tally), Rc::clone(&next));
        let due = Arc::clone(&due);
        local.spawn_local(async move {
            let mut connection = None;
            while let Ok(permit) = due.acquire().await {
                permit.forget();
                let at = next.replace(next.get() + 1);
                if at >= calls {
                    return;
                }
                let status = call(&target, at as usize, &mut connection).await;
                let waited = (started + every * at).elapsed();
                tally.borrow_mut().count(status, waited);
            }
        });
    }
    local.await;
    let elapsed = started.elapsed();
    pacer
        .join()
        .map_err(|_| Error::other("the thread that paces calls broke"))?;
    Ok(tally.borrow_mut().report(elapsed))
}

/// A thread of its own, because tokio's timer ticks in milliseconds and a
/// thread's sleep is as exact as `finest_timer` makes it.
fn pace(due: &Semaphore, started: Instant, every: Duration, calls: u32, connections: usize) {
    for at in 0..calls {
        let wait = (started + every * at).saturating_duration_since(Instant::now());
        if !wait.is_zero() {
            std::thread::sleep(wait);
        }
        due.add_permits(1);
    }
    // One more for each connection, which then sees that all calls are made.
    due.add_permits(connections);
}

/// Linux adds up to 50 µs to each sleep where nothing else is asked for. Where
/// it can't be asked for, calls are late by that, at every contender alike.
pub(crate) fn finest_timer() {
    let _kept_as_it_is = std::fs::write("/proc/self/timerslack_ns", "1");
}
