//! What `claim_rate` does in the database, in a few lines: tests of the pure part
//! run on it, and a test on a real PostgreSQL holds the two to the same answers.

use std::collections::BTreeMap;

use super::{Answer, Ask};
use crate::key::{AccountId, Rate};

#[derive(Debug, Default)]
pub(in crate::ledger) struct Books {
    taken: BTreeMap<(AccountId, &'static str, String, i64), u64>,
    slots: BTreeMap<(usize, AccountId), u64>,
}

impl Books {
    pub(in crate::ledger) fn claim(&mut self, process: usize, ask: &Ask) -> Answer {
        let own = (process, ask.account.clone());
        let taken = self.taken.entry(place(ask)).or_default();
        *taken = match ask.rate {
            Rate::Slots => {
                let had = self.slots.get(&own).copied().unwrap_or_default();
                (*taken + ask.held).saturating_sub(had)
            }
            _ => (*taken + ask.debt).saturating_sub(ask.returned),
        };
        let rest = ask.limit.saturating_sub(*taken);
        let mut granted = 0;
        if ask.least > 0 && rest >= ask.least {
            granted = ask.demand.min(rest);
            granted += ask.ahead.min((rest - granted) / 4);
        }
        *taken += granted;
        let stands = *taken;
        if ask.rate == Rate::Slots {
            self.slots.insert(own, ask.held + granted);
        }
        Answer { granted, stands }
    }

    /// A process is buried.
    pub(in crate::ledger) fn bury(&mut self, process: usize) {
        let dead = |(owner, _): &(usize, AccountId)| *owner == process;
        for ((_, account), had) in self.slots.extract_if(.., |key, _| dead(key)) {
            let name = Rate::Slots.as_str();
            let taken = self.taken.entry((account, name, String::new(), 0));
            *taken.or_default() -= had;
        }
    }
}

fn place(ask: &Ask) -> (AccountId, &'static str, String, i64) {
    let model = ask.model.as_deref().unwrap_or_default();
    let unit = ask.rate.as_str();
    (ask.account.clone(), unit, model.to_owned(), ask.minute)
}
