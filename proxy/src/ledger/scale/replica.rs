//! One gateway: the real books, and the ledger's and the writer's rules around
//! them, moved by the simulation's events instead of tasks.

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::store::Write;
use crate::key::{ACCOUNTS_MAX, AccountId};
use crate::ledger::account::Account;
use crate::ledger::books::{Books, TakeAll};
use crate::ledger::claim::CLAIM_TIMEOUT;
use crate::ledger::entry::{Amounts, Claim, Grant, NOTHING, Outcome};
use crate::ledger::writer::{BATCH_MAX, HEARTBEAT, LINGER};
use crate::ledger::{CLAIM_TRIES, account::Standing};
use crate::money::NanoUsd;

/// A call and what it holds.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) accounts: Arc<[AccountId]>,
    pub(super) need: NanoUsd,
    pub(super) cost: NanoUsd,
    asked_at: u64,
    /// When its last claim was handed to the writer.
    pub(super) claimed_at: u64,
    tries: usize,
    held: Amounts,
    changes: [u64; ACCOUNTS_MAX],
}

/// What becomes of an attempt to hold.
#[derive(Debug)]
pub(super) enum Attempt {
    Held(Call),
    Refused,
    /// The store took too long to answer.
    Unavailable,
    /// A claim waits for the writer.
    Claimed,
    /// An account is to be read first.
    Load(Call, AccountId),
}

#[derive(Debug)]
pub(super) struct Replica {
    pub(super) books: Books,
    owed: Vec<Write>,
    claims: Vec<(Claim, Call)>,
    /// The claims of the batch under way.
    sent: Option<Vec<(Claim, Call)>>,
    written: Option<u64>,
    /// Its own monotonic clock began so long before the simulation's.
    started: Duration,
}

impl Call {
    pub(super) fn new(accounts: Arc<[AccountId]>, need: i64, cost: i64, now: u64) -> Self {
        Self {
            accounts,
            need: NanoUsd::from_nanos(need),
            cost: NanoUsd::from_nanos(cost),
            asked_at: now,
            claimed_at: now,
            tries: 0,
            held: NOTHING,
            changes: [0; ACCOUNTS_MAX],
        }
    }

    fn is_too_late(&self, now: u64) -> bool {
        Duration::from_micros(now - self.asked_at) > CLAIM_TIMEOUT
    }
}

impl Replica {
    pub(super) fn new(started: Duration) -> Self {
        Self {
            books: Books::new(Uuid::new_v4()),
            owed: Vec::new(),
            claims: Vec::new(),
            sent: None,
            written: None,
            started,
        }
    }

    fn clock(&self, now: u64) -> Duration {
        self.started + Duration::from_micros(now)
    }

    /// As `Ledger::hold`.
    pub(super) fn hold(&mut self, mut call: Call, now: u64) -> Attempt {
        let clock = self.clock(now);
        match self.books.take(&call.accounts, call.need, clock) {
            TakeAll::Held => {
                call.held = all(&call);
                Attempt::Held(call)
            }
            TakeAll::Unknown(at) => {
                let account = call.accounts[at].clone();
                Attempt::Load(call, account)
            }
            TakeAll::Refused(_) => Attempt::Refused,
            TakeAll::Short(short) => {
                call.held = short.held;
                let claim = Claim {
                    process: self.books.process(),
                    accounts: Arc::clone(&call.accounts),
                    least: short.missing,
                    ahead: short.ahead,
                };
                call.changes = short.changes;
                call.claimed_at = now;
                self.claims.push((claim, call));
                Attempt::Claimed
            }
        }
    }

    pub(super) fn loaded(&mut self, account: AccountId, standing: Standing, now: u64) {
        let clock = self.clock(now);
        self.books.insert(account, Account::new(standing, clock));
    }

    pub(super) fn settle(&mut self, call: Call, now: u64) {
        let clock = self.clock(now);
        let releases = self
            .books
            .settle(&call.accounts, &call.held, call.cost, clock);
        self.owed.push(Write::Post {
            accounts: call.accounts,
            cost: call.cost,
            releases,
        });
    }

    /// Whether it says only that it lives.
    pub(super) fn is_silent(&self, now: u64) -> bool {
        let heartbeat = u64::try_from(HEARTBEAT.as_micros()).expect("a short time");
        self.sent.is_none() && self.written.is_none_or(|at| now >= at + heartbeat)
    }

    /// When the writer has something to send, at `now` or later; none while a
    /// batch is under way.
    pub(super) fn due(&self, now: u64) -> Option<u64> {
        if self.sent.is_some() || (self.owed.is_empty() && self.claims.is_empty()) {
            return None;
        }
        if !self.claims.is_empty() {
            return Some(now);
        }
        let linger = u64::try_from(LINGER.as_micros()).expect("a short time");
        Some(self.written.map_or(now, |at| now.max(at + linger)))
    }

    /// The next batch, in the order in which the writer sends it.
    pub(super) fn send(&mut self, now: u64) -> Vec<Write> {
        self.written = Some(now);
        let claims = self.claims.len().min(BATCH_MAX);
        let claims = self.claims.drain(..claims).collect::<Vec<_>>();
        let mut batch = std::mem::take(&mut self.owed);
        batch.extend(claims.iter().map(|(claim, _)| Write::Claim(claim.clone())));
        self.sent = Some(claims);
        batch
    }

    /// The store has answered: what each call that waited for it does now.
    pub(super) fn answered(&mut self, outcomes: &[Outcome], now: u64) -> Vec<Attempt> {
        let claims = self.sent.take().expect("a batch under way");
        let skipped = outcomes.len() - claims.len();
        let both = claims.iter().zip(&outcomes[skipped..]);
        let doubts = both.map(|((claim, call), outcome)| match outcome {
            Outcome::Refused { at, standing } => {
                let own = call.held[*at];
                self.books.is_in_doubt(claim, *at, own, *standing)
            }
            _ => false,
        });
        let doubts = doubts.collect::<Vec<_>>();
        let mut attempts = Vec::with_capacity(claims.len());
        let answers = claims.into_iter().zip(&outcomes[skipped..]).zip(doubts);
        for (((claim, call), outcome), in_doubt) in answers {
            attempts.push(match outcome {
                Outcome::Granted(grants) => self.granted(&claim, call, grants, now),
                Outcome::Refused { at, standing } => {
                    let clock = self.clock(now);
                    self.books.claim_ended(&call.accounts, &call.held);
                    self.release(&call, clock);
                    let changes = call.changes[*at];
                    self.books.refused(&claim, *at, changes, *standing, clock);
                    self.again(call, *at, in_doubt, now)
                }
                other => panic!("no answer to a claim: {other:?}"),
            });
        }
        attempts
    }

    /// Too late where nobody waits for it any longer.
    fn granted(&mut self, claim: &Claim, mut call: Call, grants: &[Grant], now: u64) -> Attempt {
        self.books.claim_ended(&call.accounts, &call.held);
        self.books.granted(claim, grants);
        call.held = all(&call);
        if !call.is_too_late(now) {
            return Attempt::Held(call);
        }
        let clock = self.clock(now);
        self.release(&call, clock);
        Attempt::Unavailable
    }

    /// A refused claim is tried again where something has changed meanwhile, or
    /// another was in its way that was not answered yet.
    fn again(&mut self, mut call: Call, at: usize, in_doubt: bool, now: u64) -> Attempt {
        call.tries += usize::from(!in_doubt);
        let changes = self.books.changes(&call.accounts[at]);
        let may_fit = call.tries < CLAIM_TRIES && changes != call.changes[at];
        if call.is_too_late(now) || !(in_doubt || may_fit) {
            return Attempt::Refused;
        }
        call.held = NOTHING;
        self.hold(call, now)
    }

    fn release(&mut self, call: &Call, clock: Duration) {
        let surplus = self.books.release(&call.accounts, &call.held, clock);
        for (account, amount) in call.accounts.iter().zip(surplus) {
            self.give_back(account.clone(), amount);
        }
    }

    pub(super) fn sweep(&mut self, now: u64) {
        let clock = self.clock(now);
        for (account, amount) in self.books.sweep(clock) {
            self.give_back(account, amount);
        }
    }

    /// As the ledger's drain.
    pub(super) fn give_back_all(&mut self) {
        for id in self.books.ids() {
            let account = self.books.get_mut(&id).expect("an account");
            let amount = account.give_back_all();
            self.give_back(id, amount);
        }
    }

    fn give_back(&mut self, account: AccountId, amount: NanoUsd) {
        if amount > NanoUsd::ZERO {
            self.owed.push(Write::Return(account, amount));
        }
    }
}

fn all(call: &Call) -> Amounts {
    let mut held = NOTHING;
    for (held, _) in held.iter_mut().zip(call.accounts.iter()) {
        *held = call.need;
    }
    held
}
