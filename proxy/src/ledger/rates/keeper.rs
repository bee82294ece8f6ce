//! The one task that asks a shared store for parts of rates: calls that are short
//! wait here, and are claimed for together; what is not used goes back.
//!
//! It also says that this process lives while it has slots, because others take
//! the slots of a dead process for free. It ends when the ledger is dropped. On a
//! store that is not shared it does not run.

use std::collections::HashSet;
use std::sync::Weak;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, MissedTickBehavior};
use uuid::Uuid;

use super::part::{Ask, Shortage};
use super::{Moment, NoRoom};
use crate::key::{AccountId, Rate, Rates};
use crate::ledger::Shared;
use crate::ledger::claim::PATIENCE;
use crate::ledger::place::{MINUTE, Place, PlaceError};
use crate::store::ledger::give_back::{Kind, Word, tell};
use crate::store::ledger::process::LAPSE;
use crate::store::ledger::rates;
use crate::store::{Store, StoreError};

/// How often idle parts are looked for.
const TICK: Duration = Duration::from_millis(500);
/// How often a process that has slots says that it lives, and for how long that
/// is good: less than the time after which others take it for dead.
const PROVE: Duration = Duration::from_secs(2);
const GOOD_FOR: Duration = LAPSE.saturating_sub(PROVE);
/// How often past minutes are deleted, and how many are kept for clocks that
/// differ.
const FORGET: Duration = Duration::from_secs(60);
const MINUTES_KEPT: i64 = 2;
/// The store's answer to a claim.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Taken together at most.
const TOGETHER: usize = 512;
/// A part that was granted may be used by a call that did not wait; then it is
/// claimed again.
const TRIES: u32 = 4;

/// What the ledger asks of its keeper.
#[derive(Debug)]
pub(in crate::ledger) enum Command {
    Admit(Waiting),
    /// Another process asks for what no call uses of the rates of this one.
    Asked(AccountId),
    /// Another process has given back some of them.
    Given(AccountId),
    /// Answers once all that no call uses has been given back, or cannot be.
    Drain(oneshot::Sender<()>),
}

/// A call that is short.
#[derive(Debug)]
pub(in crate::ledger) struct Waiting {
    rates: Rates,
    tokens: u64,
    /// When it is looked at again.
    due: Instant,
    tries: u32,
    /// Others have been asked, and have until then.
    patient_until: Option<Instant>,
    answer: oneshot::Sender<Result<Place, PlaceError>>,
}

#[derive(Debug)]
pub(in crate::ledger) struct Keeper {
    shared: Weak<Shared>,
    store: Store,
    commands: mpsc::UnboundedReceiver<Command>,
    /// By which name the store knows this process.
    process: Uuid,
    waiting: Vec<Waiting>,
    /// Others ask for what no call uses of these.
    wanted: HashSet<AccountId>,
    proven: Option<Instant>,
    forgot: Instant,
}

impl Waiting {
    pub(in crate::ledger) fn new(
        rates: &Rates,
        tokens: u64,
        answer: oneshot::Sender<Result<Place, PlaceError>>,
    ) -> Self {
        Self {
            rates: rates.clone(),
            tokens,
            due: Instant::now(),
            tries: 0,
            patient_until: None,
            answer,
        }
    }

    fn is_counted_by(&self, account: &AccountId) -> bool {
        let mut quotas = self.rates.iter();
        quotas.any(|(whose, _)| whose == account)
    }

    fn call(&self) -> (&Rates, u64) {
        (&self.rates, self.tokens)
    }

    fn end(self, answer: Result<Place, PlaceError>) {
        // A call that has gone drops its place, which frees it.
        let _not_waiting = self.answer.send(answer);
    }
}

impl Keeper {
    pub(in crate::ledger) fn new(
        shared: Weak<Shared>,
        store: Store,
        commands: mpsc::UnboundedReceiver<Command>,
        process: Uuid,
    ) -> Self {
        Self {
            shared,
            store,
            commands,
            process,
            waiting: Vec::new(),
            wanted: HashSet::new(),
            proven: None,
            forgot: Instant::now(),
        }
    }

    pub(in crate::ledger) async fn run(mut self) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut received = Vec::with_capacity(TOGETHER);
        loop {
            let due = self.waiting.iter().map(|call| call.due).min();
            let is_waiting = due.is_some();
            tokio::select! {
                count = self.commands.recv_many(&mut received, TOGETHER) => {
                    if count == 0 {
                        return;
                    }
                }
                () = tokio::time::sleep_until(due.unwrap_or_else(Instant::now)), if is_waiting => {}
                _ = tick.tick() => self.sweep().await,
            }
            let drains = self.sort(&mut received);
            self.give_back(!drains.is_empty()).await;
            self.admit().await;
            for drained in drains {
                // Who no longer waits does not mind.
                let _not_waiting = drained.send(());
            }
        }
    }

    fn sort(&mut self, received: &mut Vec<Command>) -> Vec<oneshot::Sender<()>> {
        let mut drains = Vec::new();
        for command in received.drain(..) {
            match command {
                Command::Admit(call) => self.waiting.push(call),
                Command::Asked(account) => {
                    self.wanted.insert(account);
                }
                Command::Given(account) => {
                    let all = self.waiting.iter_mut();
                    for call in all.filter(|call| call.is_counted_by(&account)) {
                        call.due = Instant::now();
                    }
                }
                Command::Drain(done) => drains.push(done),
            }
        }
        drains
    }

    /// What others ask for, or all.
    async fn give_back(&mut self, is_all: bool) {
        let wanted = std::mem::take(&mut self.wanted);
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let minute = shared.moment().minute;
        let asks = shared.with_gauges(|all| match is_all {
            true => all.give_all_back(minute),
            false => wanted
                .iter()
                .flat_map(|account| all.give_back(account, minute))
                .collect(),
        });
        drop(shared);
        if asks.is_empty() || self.write(&asks).await.is_err() {
            return;
        }
        let given = asks.iter().filter(|ask| ask.returned > 0);
        let given = given.map(|ask| ask.account.clone()).collect();
        self.tell(Kind::RatesGiven, given).await;
    }

    /// The calls that are due: placed, refused, or left to wait for others.
    async fn admit(&mut self) {
        let now = Instant::now();
        let (due, later) = std::mem::take(&mut self.waiting)
            .into_iter()
            .filter(|call| !call.answer.is_closed())
            .partition::<Vec<_>, _>(|call| call.due <= now);
        self.waiting = later;
        let short = self.place(due);
        if short.is_empty() {
            return;
        }
        if self.claim(&short).await.is_err() {
            for call in short {
                call.end(Err(PlaceError::StoreUnavailable));
            }
            return;
        }
        let mut to_ask = HashSet::new();
        for call in self.place(short) {
            self.decide(call, &mut to_ask);
        }
        self.tell(Kind::RatesAsked, to_ask).await;
    }

    /// Answers the calls that have room, or none at all; the others are short.
    fn place(&self, calls: Vec<Waiting>) -> Vec<Waiting> {
        let Some(shared) = self.shared.upgrade() else {
            return Vec::new();
        };
        let mut short = Vec::new();
        for call in calls {
            let at = shared.moment();
            match shared.with_gauges(|all| all.take(&call.rates, call.tokens, at)) {
                Ok(taken) => {
                    let place = Place::new(&shared, &call.rates, taken);
                    call.end(Ok(place));
                }
                Err(NoRoom::Full(full)) => {
                    let refused = shared.exceeded(&call.rates, call.tokens, full);
                    call.end(Err(refused));
                }
                Err(NoRoom::Short) => short.push(call),
            }
        }
        short
    }

    /// Of a call that is short of what the store has just answered.
    fn decide(&mut self, mut call: Waiting, to_ask: &mut HashSet<AccountId>) {
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let (at, now) = (shared.moment(), Instant::now());
        let short = shared.with_gauges(|all| all.shortages(&call.rates, call.tokens, at));
        let Some(worst) = short.first() else {
            // Room for it, and yet none: slots, of a process that is not known to
            // live.
            return call.end(Err(PlaceError::StoreUnavailable));
        };
        if worst.may_fit && call.tries < TRIES {
            call.tries += 1;
            call.due = now;
            return self.waiting.push(call);
        }
        if worst.others_have && call.patient_until.is_none_or(|until| now < until) {
            if call.patient_until.is_none() {
                let scarce = short.iter().filter(|it| it.others_have);
                let whose = |it: &Shortage| call.rates.at(it.full.quota).0.clone();
                to_ask.extend(scarce.map(whose));
            }
            call.due = *call.patient_until.get_or_insert(now + PATIENCE);
            return self.waiting.push(call);
        }
        shared.with_gauges(|all| all.refuse(&call.rates, worst.full, call.tokens, at));
        let refused = shared.exceeded(&call.rates, call.tokens, worst.full);
        call.end(Err(refused));
    }

    /// Asks the store for what these calls are short of.
    async fn claim(&mut self, calls: &[Waiting]) -> Result<(), StoreError> {
        let mut quotas = calls.iter().flat_map(|call| call.rates.iter());
        if quotas.any(|(_, quota)| quota.limit(Rate::Slots).is_some()) {
            self.prove().await?;
        }
        let Some(shared) = self.shared.upgrade() else {
            return Ok(());
        };
        let at = shared.moment();
        let asks = shared.with_gauges(|all| all.asks(calls.iter().map(Waiting::call), at));
        drop(shared);
        self.write(&asks).await
    }

    async fn write(&mut self, asks: &[Ask]) -> Result<(), StoreError> {
        if asks.is_empty() {
            return Ok(());
        }
        let claimed = rates::claim(&self.store, self.process, asks);
        let answers = self.store.within(TIMEOUT, claimed).await;
        if let Some(shared) = self.shared.upgrade() {
            shared.with_gauges(|all| match &answers {
                Ok(answers) => {
                    for (ask, answer) in asks.iter().zip(answers) {
                        all.answered(ask, *answer);
                    }
                }
                Err(_) => {
                    for ask in asks {
                        all.answered(ask, None);
                    }
                }
            });
        }
        answers.map(drop).inspect_err(report)
    }

    /// Says that this process lives, where it has not of late. Where it was taken
    /// for dead, the ledger's writer finds it another name.
    async fn prove(&mut self) -> Result<(), StoreError> {
        let Some(shared) = self.shared.upgrade() else {
            return Ok(());
        };
        let process = shared.books().process();
        if process != self.process {
            (self.process, self.proven) = (process, None);
            shared.with_gauges(super::Gauges::lose_slots);
        }
        if self.proven.is_some_and(|at| at.elapsed() < PROVE) {
            return Ok(());
        }
        let (asked, now) = (Instant::now(), shared.now());
        let proven = rates::prove(&self.store, self.process);
        let is_alive = self.store.within(TIMEOUT, proven).await;
        if is_alive.inspect_err(report)? {
            self.proven = Some(asked);
            shared.with_gauges(|all| all.lives_until(now + GOOD_FOR));
        } else {
            self.proven = None;
            shared.with_gauges(super::Gauges::lose_slots);
        }
        Ok(())
    }

    async fn sweep(&mut self) {
        // What is given back now cannot be claimed again: calls live on it.
        if !self.store.is_well() {
            return;
        }
        let Some(shared) = self.shared.upgrade() else {
            return;
        };
        let at = shared.moment();
        let (has_slots, asks) = shared.with_gauges(|all| (all.has_slots(), all.sweep(at)));
        drop(shared);
        if has_slots && self.prove().await.is_err() {
            return;
        }
        if self.write(&asks).await.is_err() || self.forgot.elapsed() < FORGET {
            return;
        }
        self.forgot = Instant::now();
        if let Err(error) = rates::forget(&self.store, at.minute - MINUTES_KEPT).await {
            report(&error);
        }
    }

    async fn tell(&self, kind: Kind, accounts: HashSet<AccountId>) {
        for account in accounts {
            let word = Word {
                kind,
                process: self.process,
                account,
            };
            let told = tell(&self.store, &word);
            if let Err(error) = self.store.within(TIMEOUT, told).await {
                tracing::warn!(%error, "other processes are not told of a rate");
            }
        }
    }
}

fn report(error: &StoreError) {
    // That the store is away was said when it began.
    if !matches!(error, StoreError::Unavailable) {
        tracing::error!(%error, "keeping rates");
    }
}

impl Shared {
    pub(in crate::ledger) fn moment(&self) -> Moment {
        Moment {
            minute: self.clock.now().timestamp().div_euclid(MINUTE),
            now: self.now(),
        }
    }
}
