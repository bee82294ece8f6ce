//! Streams side by side: when their first frame comes, and whether all come.

use std::cell::RefCell;
use std::io::{Error, ErrorKind};
use std::rc::Rc;
use std::time::Instant;

use memchr::memmem;
use serde_json::{Value, json};
use tokio::task::LocalSet;

use crate::closed::Tally;
use crate::provider::FRAMES;
use crate::target::Target;
use crate::wire::Connection;

pub(crate) async fn run(target: Target, count: usize) -> Result<Value, Error> {
    let tally = Rc::new(RefCell::new(Tally::default()));
    let frames = Rc::new(RefCell::new(0_usize));
    let started = Instant::now();
    let local = LocalSet::new();
    for at in 0..count {
        let (target, tally, frames) = (target.clone(), Rc::clone(&tally), Rc::clone(&frames));
        local.spawn_local(async move {
            let begun = Instant::now();
            let (status, first, seen) = one(&target, at).await.unwrap_or((0, begun, 0));
            tally.borrow_mut().count(status, first - begun);
            *frames.borrow_mut() += seen;
        });
    }
    local.await;
    let mut report = tally.borrow_mut().report(started.elapsed());
    report["frames"] = json!(*frames.borrow());
    report["frames_expected"] = json!(count * FRAMES);
    Ok(report)
}

/// Status, when the first frame came, and how many did.
async fn one(target: &Target, at: usize) -> Result<(u16, Instant, usize), Error> {
    let mut connection = Connection::open(target.address).await?;
    connection.send(target.request(at)).await?;
    let head = connection.head().await?;
    let head = head.ok_or_else(|| Error::from(ErrorKind::UnexpectedEof))?;
    let (mut first, mut seen) = (None, 0);
    connection
        .body(head, |piece| {
            let count = memmem::find_iter(piece, b"data: {").count();
            if count > 0 {
                first.get_or_insert_with(Instant::now);
                seen += count;
            }
        })
        .await?;
    Ok((head.status, first.unwrap_or_else(Instant::now), seen))
}
