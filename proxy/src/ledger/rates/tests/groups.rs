//! Goal: what keys of a team or a user have together is never passed by any of
//! them, and a call that one limit refuses has taken nothing of the others.
//! Method: tables, and long random runs of three processes on the model of the
//! store, in which each call is counted by its key and by its team.

use super::*;
use crate::ledger::rates::model::Books;

/// A call of this key, which is of the team `t`.
fn member(name: &str, own: [Option<u64>; 5], shared: [Option<u64>; 5]) -> Rates {
    counted_by([quota(key(name), own), quota(team("t"), shared)])
}

#[test]
fn keys_of_a_team_take_its_limits_together() {
    for (at, rate) in [
        (REQUESTS, Rate::Requests),
        (TOKENS, Rate::Tokens),
        (SLOTS, Rate::Slots),
    ] {
        let limits = |limit| {
            let mut limits = [None; 5];
            limits[at] = Some(limit);
            limits
        };
        let first = member("sk-1", limits(50), limits(3));
        let second = counted_by([quota(team("t"), limits(3))]);
        let other = counted_by([quota(team("u"), limits(3))]);
        let mut gauges = Gauges::new(false);
        for rates in [&first, &second, &first] {
            assert!(gauges.take(rates, 1, when(7)).is_ok(), "{rate:?}");
        }
        assert_eq!(gauges.take(&second, 1, when(7)), full(rate, 0));
        assert_eq!(gauges.take(&first, 1, when(7)), full_of(1, rate, 0));
        assert!(gauges.take(&other, 1, when(7)).is_ok(), "of another team");
        let left = gauges.left(&first, 7);
        assert_eq!((left[0][at], left[1][at]), (48, 0), "{rate:?}");
    }
}

#[test]
fn a_call_takes_of_all_that_count_it_or_of_none() {
    let one = [Some(1), None, None, None, None];
    let (wide, slots) = (
        [Some(9), None, None, None, None],
        [None, None, Some(1), None, None],
    );
    for (own, shared, refusing) in [
        (one, wide, (0, Rate::Requests)),
        (wide, one, (1, Rate::Requests)),
        (wide, slots, (1, Rate::Slots)),
        (slots, wide, (0, Rate::Slots)),
    ] {
        let rates = member("sk-1", own, shared);
        let mut gauges = Gauges::new(false);
        let first = gauges.take(&rates, 1, when(7)).expect("room");
        let before = gauges.left(&rates, 7);
        let (place, rate) = refusing;
        assert_eq!(gauges.take(&rates, 1, when(7)), full_of(place, rate, 0));
        assert_eq!(gauges.left(&rates, 7), before, "{refusing:?}");
        gauges.release(&rates, first);
        assert!(gauges.take(&rates, 1, when(7)).is_ok(), "all came back");
    }
}

#[test]
fn a_limit_that_comes_while_a_call_runs_counts_from_the_next() {
    let slots = [None, None, Some(1), None, None];
    let before = counted_by([quota(key("sk-1"), slots)]);
    let after = member("sk-1", [None, None, Some(2), None, None], slots);
    let mut gauges = Gauges::new(false);
    let running = gauges.take(&before, 1, when(7)).expect("room");
    let next = gauges.take(&after, 1, when(7)).expect("the team's first");
    assert_eq!(gauges.take(&after, 1, when(7)), full(Rate::Slots, 0));
    gauges.settle(&before, running, 1);
    assert_eq!(gauges.take(&after, 1, when(7)), full_of(1, Rate::Slots, 0));
    gauges.settle(&after, next, 1);
    assert_eq!(gauges.slots(), 0);
}

/// Three processes, two keys of one team, and what each has admitted.
struct Fleet {
    seed: u64,
    books: Books,
    gauges: Vec<Gauges>,
    running: Vec<(usize, usize, Taken)>,
    /// In this minute, by key.
    admitted: [u64; 2],
    at: Moment,
}

const OF_KEY: u64 = 20;
const OF_TEAM: u64 = 30;
const SLOTS_OF_TEAM: u64 = 5;

impl Fleet {
    fn new(seed: u64) -> Self {
        let alive = || {
            let mut gauges = Gauges::new(true);
            gauges.lives_until(Duration::MAX);
            gauges
        };
        Self {
            seed: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15),
            books: Books::default(),
            gauges: (0..3).map(|_| alive()).collect(),
            running: Vec::new(),
            admitted: [0; 2],
            at: when(1),
        }
    }

    fn rates(key: usize) -> Rates {
        let shared = [Some(OF_TEAM), None, Some(SLOTS_OF_TEAM), None, None];
        let own = [Some(OF_KEY), None, None, None, None];
        member(["sk-1", "sk-2"][key], own, shared)
    }

    fn pick(&mut self, below: usize) -> usize {
        next(&mut self.seed) as usize % below
    }

    fn write(&mut self, process: usize, asks: &[Ask]) {
        for ask in asks {
            let answer = self.books.claim(process, ask);
            self.gauges[process].answered(ask, Some(answer));
        }
    }

    /// Whether it was admitted, after the store was asked where that was needed.
    fn call(&mut self, process: usize, key: usize) -> bool {
        let rates = Self::rates(key);
        for _ in 0..2 {
            match self.gauges[process].take(&rates, 1, self.at) {
                Ok(taken) => {
                    self.running.push((process, key, taken));
                    self.admitted[key] += 1;
                    return true;
                }
                Err(NoRoom::Full(_)) => return false,
                Err(NoRoom::Short) => {}
            }
            let asks = self.gauges[process].asks([(&rates, 1)].into_iter(), self.at);
            self.write(process, &asks);
        }
        false
    }

    fn end_one(&mut self) {
        if !self.running.is_empty() {
            let at = self.pick(self.running.len());
            let (process, key, taken) = self.running.swap_remove(at);
            self.gauges[process].settle(&Self::rates(key), taken, 1);
        }
    }

    fn give_all_back(&mut self) {
        for process in 0..self.gauges.len() {
            let asks = self.gauges[process].give_all_back(self.at.minute);
            self.write(process, &asks);
        }
    }

    fn check(&self) {
        let [first, second] = self.admitted;
        assert!(first <= OF_KEY && second <= OF_KEY, "{:?}", self.admitted);
        assert!(first + second <= OF_TEAM, "{:?}", self.admitted);
        assert!(self.running.len() as u64 <= SLOTS_OF_TEAM);
    }
}

#[test]
fn b1_two_keys_on_three_processes_never_pass_the_limits_of_their_team() {
    for seed in 1..=60 {
        let mut fleet = Fleet::new(seed);
        for _ in 0..500 {
            fleet.at.now += Duration::from_millis(50);
            let (process, key) = (fleet.pick(3), fleet.pick(2));
            match fleet.pick(20) {
                0..=9 => {
                    fleet.call(process, key);
                }
                10..=17 => fleet.end_one(),
                18 => fleet.give_all_back(),
                _ if fleet.pick(10) == 0 => {
                    (fleet.at.minute, fleet.admitted) = (fleet.at.minute + 1, [0; 2]);
                }
                _ => {}
            }
            fleet.check();
        }
    }
}

#[test]
fn b1_a_team_has_all_of_its_limit_whoever_of_it_calls() {
    for seed in 1..=20 {
        let mut fleet = Fleet::new(seed);
        for call in 0..400 {
            fleet.at.now += Duration::from_secs(1);
            if !fleet.call(call % 3, call % 2) {
                fleet.give_all_back();
            }
            fleet.end_one();
            fleet.check();
        }
        let admitted: u64 = fleet.admitted.iter().sum();
        assert_eq!(admitted, OF_TEAM, "seed {seed}");
    }
}
