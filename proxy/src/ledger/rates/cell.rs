//! One limit of one key as this process sees it: what its own calls have used,
//! and, where other processes share the store, the part that this one may use.

use std::time::Duration;

use crate::ledger::account::IDLE;

/// A limit without room is asked for again after this long, once for all calls.
const REFUSED_FOR: Duration = Duration::from_secs(1);
/// Claimed ahead is what was used in so long a time.
const AHEAD: Duration = Duration::from_secs(1);
/// Use in less than this says nothing of the time to come.
const MEASURED_MIN: Duration = Duration::from_millis(100);

#[derive(Debug, Default)]
pub(super) struct Cell {
    pub(super) used: u64,
    /// None until the store was first asked.
    share: Option<Box<Share>>,
}

/// What the store has told this process of the limit.
#[derive(Debug, Default)]
struct Share {
    /// This process's part, used or not.
    allotted: u64,
    /// All others' parts together, as of the last answer.
    others: u64,
    /// Used since the store was last asked, and when that was.
    drawn: u64,
    asked: Duration,
    /// When it was last drawn on.
    touched: Duration,
    refused: Option<Refused>,
    /// An answer has not come: the store may have allotted more than is known.
    is_unsure: bool,
}

#[derive(Debug)]
struct Refused {
    at: Duration,
    limit: u64,
    need: u64,
}

/// Whether a call has room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fit {
    Fits,
    Full,
    /// Not in the part of this process; the store may have more.
    Short,
}

/// What is asked of the store for one limit.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) returned: u64,
    pub(super) debt: u64,
    pub(super) held: u64,
    pub(super) ahead: u64,
}

impl Cell {
    pub(super) fn fit(&self, limit: u64, need: u64, is_shared: bool, now: Duration) -> Fit {
        if limit.saturating_sub(self.used) < need {
            return Fit::Full;
        }
        if !is_shared || self.free() >= need {
            return Fit::Fits;
        }
        let refused = self.share.as_ref().and_then(|share| share.refused.as_ref());
        let still_refused = refused.is_some_and(|it| {
            it.limit == limit && it.need <= need && now.saturating_sub(it.at) < REFUSED_FOR
        });
        match still_refused {
            true => Fit::Full,
            false => Fit::Short,
        }
    }

    /// What is left of a limit as far as this process knows.
    pub(super) fn left(&self, limit: u64) -> u64 {
        limit.saturating_sub(self.used.saturating_add(self.others()))
    }

    pub(super) fn others(&self) -> u64 {
        self.share.as_ref().map_or(0, |share| share.others)
    }

    /// Allotted to this process and not used.
    pub(super) fn free(&self) -> u64 {
        self.allotted().saturating_sub(self.used)
    }

    pub(super) fn allotted(&self) -> u64 {
        self.share.as_ref().map_or(0, |share| share.allotted)
    }

    pub(super) fn draw(&mut self, amount: u64, now: Duration) {
        self.used = self.used.saturating_add(amount);
        if let Some(share) = &mut self.share {
            share.drawn = share.drawn.saturating_add(amount);
            share.touched = now;
        }
    }

    /// Another minute: what was allotted in the one before is void.
    pub(super) fn turn(&mut self) {
        self.used = 0;
        if let Some(share) = &mut self.share {
            (share.allotted, share.others) = (0, 0);
            (share.refused, share.is_unsure) = (None, false);
        }
    }

    /// The store has given to others what this process had.
    pub(super) fn lose(&mut self) {
        if let Some(share) = &mut self.share {
            (share.allotted, share.is_unsure) = (0, true);
        }
    }

    /// For a claim: what was used lately is claimed ahead.
    pub(super) fn ask(&mut self, now: Duration) -> Change {
        let debt = self.used.saturating_sub(self.allotted());
        let share = self.share.get_or_insert_default();
        let is_first = share.asked == Duration::ZERO;
        let elapsed = now.saturating_sub(share.asked).max(MEASURED_MIN);
        let drawn = u128::from(std::mem::take(&mut share.drawn));
        let ahead = drawn.saturating_mul(AHEAD.as_millis()) / elapsed.as_millis();
        share.asked = now;
        share.touched = now;
        Change {
            returned: 0,
            debt,
            held: share.allotted.saturating_add(debt),
            ahead: match is_first {
                true => 0,
                false => u64::try_from(ahead).unwrap_or(u64::MAX),
            },
        }
    }

    /// Takes out of this process's part what no call uses. None where the store
    /// knows all that there is to know.
    pub(super) fn give_back(&mut self) -> Option<Change> {
        let (returned, debt) = (self.free(), self.used.saturating_sub(self.allotted()));
        let share = self.share.as_mut()?;
        share.allotted -= returned;
        let change = Change {
            returned,
            debt,
            held: share.allotted.saturating_add(debt),
            ahead: 0,
        };
        (returned > 0 || debt > 0 || share.is_unsure).then_some(change)
    }

    /// The same where nothing has drawn on it for long, or where the store is
    /// behind.
    pub(super) fn sweep(&mut self, now: Duration) -> Option<Change> {
        let share = self.share.as_ref()?;
        let is_idle = now.saturating_sub(share.touched) >= IDLE;
        let is_behind = share.is_unsure || self.used > share.allotted;
        match is_idle || is_behind {
            true => self.give_back(),
            false => None,
        }
    }

    /// `stands` is what all processes have, this one included.
    pub(super) fn answered(&mut self, debt: u64, granted: u64, stands: u64) {
        let share = self.share.get_or_insert_default();
        share.allotted = share.allotted.saturating_add(debt).saturating_add(granted);
        share.others = stands.saturating_sub(share.allotted);
        share.is_unsure = false;
        if granted > 0 {
            share.refused = None;
        }
    }

    pub(super) fn unanswered(&mut self) {
        if let Some(share) = &mut self.share {
            share.is_unsure = true;
        }
    }

    pub(super) fn refuse(&mut self, limit: u64, need: u64, at: Duration) {
        let share = self.share.get_or_insert_default();
        share.refused = Some(Refused { at, limit, need });
    }

    /// The store may count on this process to use it, or to give it back.
    pub(super) fn is_in_use(&self) -> bool {
        let is_unsure = self.share.as_ref().is_some_and(|share| share.is_unsure);
        self.used > 0 || self.allotted() > 0 || is_unsure
    }
}
