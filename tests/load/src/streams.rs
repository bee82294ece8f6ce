//! Streams side by side, each followed by the next: when their first event
//! comes, and that all of them come.

use std::cell::{Cell, RefCell};
use std::io::{Error, ErrorKind};
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::LocalSet;

use crate::provider::{EVENTS, FRAME_EVERY};
use crate::tally::Tally;
use crate::target::Target;
use crate::wire::Connection;

/// Begins streams for `length` and waits for their ends.
pub(crate) async fn run(target: Target, count: usize, length: Duration) -> Result<Value, Error> {
    let tally = Rc::new(RefCell::new(Tally::default()));
    let events = Rc::new(Cell::new(0_usize));
    let started = Instant::now();
    let local = LocalSet::new();
    for at in 0..count {
        let (target, tally, events) = (target.clone(), Rc::clone(&tally), Rc::clone(&events));
        local.spawn_local(async move {
            // Spread over one stream's length, so that they don't all begin at once.
            let offset = stream_length().mul_f64(fraction(at, count));
            tokio::time::sleep(offset).await;
            let (mut connection, mut turn) = (None, at);
            while started.elapsed() < length {
                let begun = Instant::now();
                let (status, first) = match one(&target, turn, &mut connection).await {
                    Ok((status, first)) => (status, first),
                    Err(_) => (0, begun),
                };
                if status == 0 {
                    connection = None;
                } else {
                    events.set(events.get() + EVENTS);
                }
                tally.borrow_mut().count(status, first - begun);
                turn += count;
            }
        });
    }
    local.await;
    let mut report = tally.borrow_mut().report(started.elapsed());
    report["events"] = json!(events.get());
    Ok(report)
}

fn stream_length() -> Duration {
    FRAME_EVERY * u32::try_from(EVENTS).unwrap_or(u32::MAX)
}

#[expect(clippy::cast_precision_loss, reason = "some thousand streams at most")]
fn fraction(at: usize, count: usize) -> f64 {
    at as f64 / count as f64
}

/// Status and when the first event came, of a stream that was whole.
async fn one(
    target: &Target,
    at: usize,
    connection: &mut Option<Connection>,
) -> Result<(u16, Instant), Error> {
    let connection = Connection::reuse(connection, target.address).await?;
    connection.send(target.request(at)).await?;
    let head = connection.answer().await?;
    let (mut first, mut seen) = (None, Events::default());
    connection
        .body(head, |piece| {
            first.get_or_insert_with(Instant::now);
            seen.count(piece);
        })
        .await?;
    if head.status == 200 && seen.ended != EVENTS {
        return Err(Error::new(ErrorKind::InvalidData, "events were lost"));
    }
    Ok((head.status, first.unwrap_or_else(Instant::now)))
}

/// Counts the empty lines that end events, however the stream is cut to pieces.
#[derive(Debug, Default)]
struct Events {
    ended: usize,
    is_line_start: bool,
}

impl Events {
    fn count(&mut self, piece: &[u8]) {
        for byte in piece {
            let is_end = *byte == b'\n';
            self.ended += usize::from(is_end && self.is_line_start);
            self.is_line_start = is_end;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Events;

    #[test]
    fn events_are_counted_however_they_are_cut() {
        let text = b"data: {}\n\ndata: {\"a\":1}\n\ndata: [DONE]\n\n";
        for length in 1..=text.len() {
            let mut events = Events::default();
            text.chunks(length).for_each(|piece| events.count(piece));
            assert_eq!(events.ended, 3, "in pieces of {length}");
        }
    }
}
