//! Goal: a call is charged to the window of its admission, whenever it settles; no
//! window begins twice or goes over. Method: random lives that step from one edge
//! of the calendar to the next, against edges found by looking at a wall clock.

use std::collections::BTreeMap;

use chrono::{Datelike as _, TimeDelta, Timelike as _};

use super::*;

const LIMIT: i64 = 1_000;

/// Whether a window of this length begins at this second.
fn is_edge(duration: &str, at: DateTime<Utc>) -> bool {
    let at = at.naive_utc();
    let second = i64::from(at.num_seconds_from_midnight());
    match duration {
        "30s" => second % 30 == 0,
        "5m" => second % 300 == 0,
        "1h" => second % 3_600 == 0,
        "1d" | "24h" => second == 0,
        "7d" => second == 0 && at.weekday() == chrono::Weekday::Mon,
        "30d" | "1mo" => second == 0 && at.day() == 1,
        other => panic!("{other}"),
    }
}

/// The last edge that is not after this moment.
fn last_edge(duration: &str, now: DateTime<Utc>) -> DateTime<Utc> {
    let step = match duration {
        "30s" => 30,
        "5m" => 300,
        _ => 3_600,
    };
    let mut at = now.timestamp() - now.timestamp().rem_euclid(step);
    loop {
        let moment = DateTime::from_timestamp(at, 0).expect("a time");
        if is_edge(duration, moment) {
            return moment;
        }
        at -= step;
    }
}

/// Month ends, a leap day, a year's end, and what lies around them.
const MOMENTS: [&str; 7] = [
    "2026-11-30T23:59:58Z",
    "2026-12-06T23:59:59Z",
    "2026-12-31T23:59:57Z",
    "2027-02-28T23:59:59Z",
    "2028-02-28T23:59:59Z",
    "2028-02-29T23:59:58Z",
    "2028-03-31T23:00:00Z",
];

struct Charged {
    open: usize,
    began: DateTime<Utc>,
}

#[derive(Default)]
struct Life {
    world: World,
    /// By when a window began: what was charged to it.
    charged: BTreeMap<DateTime<Utc>, i64>,
    /// Which account a window is.
    windows: BTreeMap<DateTime<Utc>, AccountId>,
    open: Vec<Charged>,
}

impl Life {
    fn call(&mut self, duration: &str, given: &Arc<[AccountId]>, need: i64, now: DateTime<Utc>) {
        let current = loop {
            match self.world.books.current(given, now) {
                Ok(current) => break current,
                Err(at) => {
                    let account = Account::new(self.world.store[&given[at]].standing(), now_s(now));
                    self.world.books.insert(given[at].clone(), account);
                }
            }
        };
        let began = last_edge(duration, now);
        let opened = self
            .windows
            .entry(began)
            .or_insert_with(|| current[1].clone());
        assert_eq!(*opened, current[1], "{duration} {now}: it began twice");
        let row = Row {
            limit: Some(LIMIT),
            ..Row::default()
        };
        self.world.store.entry(current[1].clone()).or_insert(row);
        if self.world.hold(&current, need) {
            let open = self.world.open.len() - 1;
            self.open.push(Charged { open, began });
        }
    }

    fn settle(&mut self, index: usize, cost: i64) {
        let Charged { open, began } = self.open.swap_remove(index);
        self.world.settle(open, cost);
        // What was the last one has taken its place.
        let moved = self.world.open.len();
        for other in &mut self.open {
            if other.open == moved {
                other.open = open;
            }
        }
        *self.charged.entry(began).or_default() += cost;
    }

    fn check(&self, duration: &str) {
        self.world.check();
        for (began, account) in &self.windows {
            let charged = self.charged.get(began).copied().unwrap_or_default();
            let row = &self.world.store[account];
            assert_eq!(row.posted, charged, "{duration} {began}");
            assert!(charged + self.world.held(account) <= LIMIT, "{duration}");
        }
    }
}

/// The ledger's own time, which only has to go on.
fn now_s(now: DateTime<Utc>) -> Duration {
    Duration::from_secs(now.timestamp().unsigned_abs())
}

#[test]
fn b5_a_call_is_charged_to_the_window_of_its_admission_and_none_begins_twice() {
    let given = accounts(KeyHash::of("sk-windows"), SharedAccount::parse("role", "r"));
    for (seed, duration) in ["30s", "5m", "1h", "1d", "24h", "7d", "30d", "1mo"]
        .into_iter()
        .cycle()
        .take(800)
        .enumerate()
    {
        let mut random = Random((seed as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut now: DateTime<Utc> = MOMENTS[random.index(MOMENTS.len())].parse().expect("time");
        let mut life = Life::default();
        life.world.store.insert(given[0].clone(), Row::default());
        let definition = Row {
            limit: Some(LIMIT),
            period: Period::parse(duration),
            ..Row::default()
        };
        life.world.store.insert(given[1].clone(), definition);
        for _ in 0..40 {
            life.world.now = now_s(now);
            match random.below(10) {
                0..=4 => life.call(duration, &given, random.below(300), now),
                5..=7 if !life.open.is_empty() => {
                    let index = random.index(life.open.len());
                    let held = life.world.open[life.open[index].open].held;
                    life.settle(index, held - random.below(held + 1));
                }
                8 => now += TimeDelta::microseconds(random.below(2_000_000)),
                // To just before the end of the window, or the end itself.
                _ => {
                    let period = Period::parse(duration).expect("a period");
                    let end = period.window(now).expect("a window").end;
                    let before = TimeDelta::microseconds(random.below(2));
                    now = now.max(end - before);
                }
            }
            life.check(duration);
        }
        while !life.open.is_empty() {
            life.settle(0, 1);
        }
        life.check(duration);
    }
}
