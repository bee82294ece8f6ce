//! The closed loop: as many calls under way as there are connections.

use std::cell::RefCell;
use std::io::Error;
use std::rc::Rc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::task::LocalSet;

use crate::target::Target;
use crate::wire::Connection;

/// What calls came to.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    pub(crate) micros: Vec<u32>,
    /// By status; 0 where a connection broke.
    pub(crate) refused: std::collections::BTreeMap<u16, u64>,
}

impl Tally {
    pub(crate) fn count(&mut self, status: u16, took: Duration) {
        if status == 200 {
            self.micros
                .push(u32::try_from(took.as_micros()).unwrap_or(u32::MAX));
        } else {
            *self.refused.entry(status).or_default() += 1;
        }
    }

    /// Rates in 1/s, times in microseconds.
    pub(crate) fn report(&mut self, elapsed: Duration) -> Value {
        self.micros.sort_unstable();
        let rank = |part: f64| {
            #[expect(
                clippy::cast_precision_loss,
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a rank among a few million"
            )]
            let at = (self.micros.len().saturating_sub(1) as f64 * part) as usize;
            self.micros.get(at)
        };
        json!({
            "answered": self.micros.len(),
            "refused": self.refused.iter().map(|(status, count)| (status.to_string(), count)).collect::<std::collections::BTreeMap<_, _>>(),
            "seconds": elapsed.as_secs_f64(),
            "p50_us": rank(0.5),
            "p99_us": rank(0.99),
        })
    }
}

pub(crate) async fn run(
    target: Target,
    connections: usize,
    length: Duration,
) -> Result<Value, Error> {
    let tally = Rc::new(RefCell::new(Tally::default()));
    let started = Instant::now();
    let local = LocalSet::new();
    for at in 0..connections {
        let (target, tally) = (target.clone(), Rc::clone(&tally));
        // Each connection goes through the keys from a place of its own.
        local.spawn_local(
            async move { call_until(&target, &tally, at * 7919, started + length).await },
        );
    }
    local.await;
    Ok(tally.borrow_mut().report(started.elapsed()))
}

async fn call_until(target: &Target, tally: &RefCell<Tally>, first: usize, end: Instant) {
    let mut connection = None;
    let mut at = first;
    while Instant::now() < end {
        let begun = Instant::now();
        let status = call(target, at, &mut connection).await.unwrap_or(0);
        if status == 0 {
            connection = None;
        }
        tally.borrow_mut().count(status, begun.elapsed());
        at += 1;
    }
}

/// One call; the connection is opened where there is none.
pub(crate) async fn call(
    target: &Target,
    at: usize,
    connection: &mut Option<Connection>,
) -> Result<u16, Error> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(Connection::open(target.address).await?),
    };
    connection.send(target.request(at)).await?;
    let head = connection.head().await?;
    let head = head.ok_or_else(|| Error::from(std::io::ErrorKind::UnexpectedEof))?;
    connection.body(head, |_| {}).await?;
    Ok(head.status)
}
