//! The closed loop: as many calls under way as there are connections.

use std::cell::{Cell, RefCell};
use std::io::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tokio::task::LocalSet;

use crate::tally::Tally;
use crate::target::Target;
use crate::wire::Connection;

/// When no further call begins.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Until {
    Elapsed(Duration),
    /// So many calls were made, which are the first so many keys' first calls.
    Calls(usize),
}

pub(crate) async fn run(target: Target, connections: usize, until: Until) -> Result<Value, Error> {
    let tally = Rc::new(RefCell::new(Tally::default()));
    let next = Rc::new(Cell::new(0));
    let started = Instant::now();
    let local = LocalSet::new();
    for _ in 0..connections {
        let (target, tally, next) = (target.clone(), Rc::clone(&tally), Rc::clone(&next));
        local.spawn_local(async move {
            let mut connection = None;
            loop {
                let at = next.replace(next.get() + 1);
                let begun = Instant::now();
                let is_over = match until {
                    Until::Elapsed(length) => begun - started >= length,
                    Until::Calls(count) => at >= count,
                };
                if is_over {
                    return;
                }
                let status = call(&target, at, &mut connection).await;
                tally.borrow_mut().count(status, begun.elapsed());
            }
        });
    }
    local.await;
    Ok(tally.borrow_mut().report(started.elapsed()))
}

/// One call's status, 0 where the connection broke. The connection is opened
/// where there is none.
pub(crate) async fn call(target: &Target, at: usize, connection: &mut Option<Connection>) -> u16 {
    let status = try_call(target, at, connection).await.unwrap_or(0);
    if status == 0 {
        *connection = None;
    }
    status
}

async fn try_call(
    target: &Target,
    at: usize,
    connection: &mut Option<Connection>,
) -> Result<u16, Error> {
    let connection = Connection::reuse(connection, target.address).await?;
    connection.send(target.request(at)).await?;
    let head = connection.answer().await?;
    connection.body(head, |_| {}).await?;
    Ok(head.status)
}
