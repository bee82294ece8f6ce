//! Calls that wait for the store's answer to their claims.
//!
//! It owns what such a call holds already, which may be in the way of others and
//! may go again. What a refused claim held is free before any claim of its batch
//! is answered, and a refusal that came about by what another waiting call held
//! is marked, so that it is tried again.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;
use uuid::Uuid;

use super::books::Short;
use super::entry::{Claim, Grant, Outcome};
use super::hold::Reserved;
use super::rates::keeper;
use super::writer::Command;
use super::{Ledger, Shared};
use crate::key::{ACCOUNTS_MAX, AccountId};
use crate::store::ledger::claim_at_once;
use crate::store::ledger::give_back::{Kind, Word};

/// How long an admission waits for the store to answer a claim.
pub(super) const CLAIM_TIMEOUT: Duration = Duration::from_secs(5);

/// How long other processes have to give back what a call is short of, before it
/// is refused.
pub(super) const PATIENCE: Duration = Duration::from_millis(50);

/// A claim's answer.
type ClaimAnswer = Result<Reserved, ClaimError>;

#[derive(Debug, Clone, Copy)]
pub(super) enum ClaimError {
    /// By the account at this place among the call's. In doubt, it was because of
    /// what another claim held that was not answered yet either.
    Refused {
        at: usize,
        in_doubt: bool,
        /// Other processes hold some of the account: they are asked first.
        ask_others: bool,
    },
    /// This process was taken for dead, and what the call held is void.
    Swept,
    StoreUnavailable,
}

/// A claim on its way to the store, and who waits for it.
pub(super) type Waiting = (Box<Claim>, Box<Waiter>);

#[derive(Debug)]
pub(super) struct Waiter {
    partial: Reserved,
    /// [`Short::changes`].
    changes: [u64; ACCOUNTS_MAX],
    /// Others have been asked: a refusal stands.
    is_last: bool,
    answer: oneshot::Sender<ClaimAnswer>,
}

impl Ledger {
    /// Claims what the accounts are short of. What is held already is freed
    /// where the claim fails.
    pub(super) async fn claim(
        &self,
        accounts: &Arc<[AccountId]>,
        short: &Short,
        process: Uuid,
        is_last: bool,
    ) -> ClaimAnswer {
        let partial = Reserved::partial(&self.0, accounts, short.held, process);
        if !self.0.store.is_well() {
            return Err(ClaimError::StoreUnavailable);
        }
        let claim = Claim {
            process,
            accounts: Arc::clone(accounts),
            least: short.missing,
            ahead: short.ahead,
        };
        let posted = self.0.books().posted(accounts);
        if let Some(grants) = claim_at_once(&self.0.store, &claim, &posted) {
            return Ok(self.0.granted_at_once(&claim, partial, grants));
        }
        let (answer, waiting) = oneshot::channel();
        let waiter = Waiter {
            partial,
            changes: short.changes,
            is_last,
            answer,
        };
        let queued = (Box::new(claim), Box::new(waiter));
        self.0.send(Command::Claim(queued));
        match tokio::time::timeout(CLAIM_TIMEOUT, waiting).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => Err(ClaimError::StoreUnavailable),
            Err(_) => {
                self.0.store.missed();
                Err(ClaimError::StoreUnavailable)
            }
        }
    }

    /// Asks the processes that share the store for what they do not use of an
    /// account. Resolves when one has given something back, or at that time.
    pub(super) async fn ask_others(&self, account: &AccountId, until: Instant) {
        let given = self.0.given.notified();
        self.0.send(Command::Ask(account.clone()));
        let _too_late = tokio::time::timeout_at(until, given).await;
    }

    /// What another process has said of an allotment.
    pub(crate) fn heard(&self, text: &str) {
        let Some(word) = Word::parse(text) else {
            return;
        };
        let (is_own, is_known) = {
            let books = self.0.books();
            let is_own = books.process() == word.process;
            (is_own, books.get(&word.account).is_some())
        };
        match word.kind {
            _ if is_own => {}
            Kind::RatesAsked => self.0.ask(keeper::Command::Asked(word.account)),
            Kind::RatesGiven => self.0.ask(keeper::Command::Given(word.account)),
            _ if !is_known => {}
            Kind::Asked => self.0.send(Command::Asked(word.account)),
            Kind::Given => self.0.given.notify_waiters(),
        }
    }
}

impl Waiter {
    pub(super) fn is_gone(&self) -> bool {
        self.answer.is_closed()
    }

    /// Frees what the call holds, and says why.
    pub(super) fn fail(self, error: ClaimError) {
        drop(self.partial);
        // Who no longer waits does not mind.
        let _not_waiting = self.answer.send(Err(error));
    }
}

impl Shared {
    /// Takes the store's answers to the claims of a batch into the accounts, and
    /// passes them on once all are in.
    pub(super) fn answer(
        self: &Arc<Self>,
        claims: Vec<Waiting>,
        outcomes: impl Iterator<Item = Outcome>,
    ) {
        let outcomes = outcomes.collect::<Vec<_>>();
        let doubts = self.doubts(&claims, &outcomes);
        let mut answers = Vec::with_capacity(claims.len());
        for (((claim, waiter), outcome), in_doubt) in claims.into_iter().zip(outcomes).zip(doubts) {
            let Waiter {
                partial,
                changes,
                is_last,
                answer,
            } = *waiter;
            let result = match outcome {
                Outcome::Granted(grants) => Ok(self.granted(&claim, partial, &grants)),
                Outcome::Refused { at, standing } => {
                    drop(partial);
                    let mut books = self.books();
                    if self.store.is_shared() {
                        books.stands(&claim.accounts[at], standing);
                    }
                    let ask_others =
                        !is_last && self.store.is_shared() && books.could_fit(&claim, at, standing);
                    if !ask_others {
                        books.refused(&claim, at, changes[at], standing, self.now());
                    }
                    Err(ClaimError::Refused {
                        at,
                        in_doubt,
                        ask_others,
                    })
                }
                // The store answers a claim with nothing else.
                _ => Err(ClaimError::StoreUnavailable),
            };
            answers.push((answer, result));
        }
        for (waiting, answer) in answers {
            // A request that has gone drops its reservation, which frees it.
            let _not_waiting = waiting.send(answer);
        }
    }

    /// Of each claim, before anything that these hold is freed.
    fn doubts(&self, claims: &[Waiting], outcomes: &[Outcome]) -> Vec<bool> {
        let books = self.books();
        let both = claims.iter().zip(outcomes);
        both.map(|((claim, waiter), outcome)| match outcome {
            Outcome::Refused { at, standing } => {
                let own = waiter.partial.held_of(*at);
                books.is_in_doubt(claim, *at, own, *standing)
            }
            _ => false,
        })
        .collect()
    }

    fn granted(self: &Arc<Self>, claim: &Claim, partial: Reserved, grants: &[Grant]) -> Reserved {
        let mut books = self.books();
        books.granted(claim, grants);
        // Nobody else spends of a store that is not shared.
        if self.store.is_shared() {
            for grant in grants {
                books.stands(&claim.accounts[grant.at], grant.standing);
            }
        }
        drop(books);
        self.whole(claim, partial)
    }

    /// As [`Shared::granted`], of a claim that no batch has answered. A limit that
    /// was changed since is known here already.
    fn granted_at_once(
        self: &Arc<Self>,
        claim: &Claim,
        partial: Reserved,
        mut grants: Vec<Grant>,
    ) -> Reserved {
        let mut books = self.books();
        for grant in &mut grants {
            if let Some(account) = books.get(&claim.accounts[grant.at]) {
                grant.standing.limit = account.limit();
            }
        }
        books.granted(claim, &grants);
        drop(books);
        self.whole(claim, partial)
    }

    fn whole(self: &Arc<Self>, claim: &Claim, partial: Reserved) -> Reserved {
        let rest = Reserved::new(self, &claim.accounts, claim.least, claim.process);
        partial.join(rest)
    }
}
