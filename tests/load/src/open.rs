//! The open loop: calls are due at a fixed rate whether or not earlier ones are
//! answered, and each counts from the moment it was due, so that a stall is
//! seen by every call that it held up.

use std::cell::{Cell, RefCell};
use std::io::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::LocalSet;

use crate::closed::{Tally, call};
use crate::target::Target;

pub(crate) async fn run(
    target: Target,
    connections: usize,
    rate: u32,
    length: Duration,
) -> Result<Value, Error> {
    let every = Duration::from_secs(1) / rate;
    let tally = Rc::new(RefCell::new(Tally::default()));
    let next = Rc::new(Cell::new(0_u32));
    let started = Instant::now();
    let local = LocalSet::new();
    for _ in 0..connections {
        let (target, tally, next) = (target.clone(), Rc::clone(&tally), Rc::clone(&next));
        local.spawn_local(async move {
            let mut connection = None;
            loop {
                let at = next.replace(next.get() + 1);
                let due = started + every * at;
                if due > started + length {
                    return;
                }
                wait(due).await;
                let status = call(&target, at as usize, &mut connection)
                    .await
                    .unwrap_or(0);
                if status == 0 {
                    connection = None;
                }
                tally.borrow_mut().count(status, due.elapsed());
            }
        });
    }
    local.await;
    Ok(tally.borrow_mut().report(started.elapsed()))
}

/// tokio's timer ticks in milliseconds; the rest is waited for by yielding.
async fn wait(due: Instant) {
    const TICK: Duration = Duration::from_millis(2);
    if let Some(early) = due.checked_sub(TICK) {
        tokio::time::sleep_until(early.into()).await;
    }
    while Instant::now() < due {
        tokio::task::yield_now().await;
    }
}
