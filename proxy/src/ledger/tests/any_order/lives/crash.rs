//! The step in which the process dies.

use super::*;

impl Life {
    /// The process dies and another begins. What settles at the last moment may be
    /// in the store or not, but in all of its accounts alike.
    pub(super) async fn crash(mut self, ahead: Option<(Arc<[AccountId]>, i64)>) -> Self {
        for row in self.model.values_mut() {
            row.posted += std::mem::take(&mut row.held);
        }
        let (ahead, free) = ahead.unwrap_or_else(|| (Arc::from([]), 0));
        for id in ahead.iter() {
            self.naive(id).posted += free;
        }
        let mut written = self.model.clone();
        if !self.open.is_empty() {
            let Open { hold, .. } = self.take_open();
            let surplus = self.random.amount(150);
            for id in hold.call().accounts.iter() {
                let row = written.entry(id.clone()).or_default();
                row.posted += surplus - hold.upper().nanos();
            }
            hold.settle(cost(surplus));
        }
        let open = std::mem::take(&mut self.open);
        // As if all calls had been sent.
        self.bench.store.write_claims().await.unwrap();
        let bench = self.bench.crash_holding(open).await;
        let mut life = Self { bench, ..self };
        life.bench.ledger = reopened(&life.bench, &life.clock).await;
        for model in [written, std::mem::take(&mut life.model)] {
            life.model = model;
            for id in ahead.iter() {
                life.give_back(id, free).await;
            }
            if life.difference().await.is_none() {
                break;
            }
        }
        life
    }

    /// What was claimed ahead goes back after two seconds, which may have passed
    /// before the process died.
    async fn give_back(&mut self, id: &AccountId, free: i64) {
        let posted = self.bench.standing_of(id).await.posted.nanos();
        let row = self.naive(id);
        if posted == row.posted - free {
            row.posted = posted;
        }
    }
}
