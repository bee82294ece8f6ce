//! Goal: no limit is ever passed, and what a call took comes back whatever
//! becomes of it. Method: tables, and long random runs beside a naive list of
//! calls that is counted anew each time.

mod groups;
mod parts;

use super::*;
use crate::key::KeyHash;

const REQUESTS: usize = Rate::Requests as usize;
const TOKENS: usize = Rate::Tokens as usize;
const SLOTS: usize = Rate::Slots as usize;

fn key(name: &str) -> AccountId {
    AccountId::Key(KeyHash::of(name))
}

fn team(id: &str) -> AccountId {
    AccountId::parse("team", id).expect("a team")
}

fn quota(account: AccountId, limits: [Option<u64>; 5]) -> (AccountId, Quota) {
    let quota = Quota {
        group: None,
        model: None,
        limits,
    };
    (account, quota)
}

fn rates(model: Option<&str>, limits: [Option<u64>; 5]) -> Rates {
    let mut quota = quota(key("sk-rates"), limits);
    quota.1.model = model.map(Arc::from);
    counted_by([quota])
}

fn counted_by<const N: usize>(quotas: [(AccountId, Quota); N]) -> Rates {
    Rates::from(quotas)
}

fn full(rate: Rate, left: u64) -> Result<Taken, NoRoom> {
    full_of(0, rate, left)
}

fn full_of(quota: usize, rate: Rate, left: u64) -> Result<Taken, NoRoom> {
    Err(NoRoom::Full(Full { quota, rate, left }))
}

fn when(minute: i64) -> Moment {
    Moment {
        minute,
        now: Duration::ZERO,
    }
}

#[test]
fn each_limit_refuses_what_does_not_fit_and_takes_nothing_then() {
    let of = |at: usize, limit: u64| {
        let mut limits = [None; 5];
        limits[at] = Some(limit);
        limits
    };
    for (at, rate) in Rate::ALL.into_iter().enumerate() {
        let rates = rates(rate.is_of_model().then_some("m"), of(at, 20));
        let mut gauges = Gauges::new(false);
        // Two calls of ten tokens, or twenty of one request.
        let fits = 20 / needed(rate, 10);
        for _ in 0..fits {
            assert!(gauges.take(&rates, 10, when(7)).is_ok(), "{rate:?}");
        }
        assert_eq!(gauges.take(&rates, 10, when(7)), full(rate, 0));
        assert_eq!(gauges.left(&rates, 7)[0][at], 0);
    }
    // A later limit without room leaves the earlier ones as they were.
    let rates = rates(None, [Some(5), Some(9), None, None, None]);
    let mut gauges = Gauges::new(false);
    assert_eq!(gauges.take(&rates, 10, when(7)), full(Rate::Tokens, 9));
    assert_eq!(gauges.left(&rates, 7)[0][REQUESTS], 5);
    let zero = self::rates(None, [Some(0), None, None, None, None]);
    assert_eq!(gauges.take(&zero, 0, when(7)), full(Rate::Requests, 0));
}

#[test]
fn a_minute_counts_from_zero_and_a_running_call_keeps_its_slot() {
    let rates = rates(None, [Some(1), Some(100), Some(2), None, None]);
    let mut gauges = Gauges::new(false);
    let first = gauges.take(&rates, 60, when(7)).expect("room");
    assert_eq!(gauges.take(&rates, 60, when(7)), full(Rate::Requests, 0));
    let second = gauges.take(&rates, 60, when(8)).expect("another minute");
    assert_eq!(gauges.take(&rates, 1, when(9)), full(Rate::Slots, 0));
    // It is counted in the minute of its admission, which is over.
    gauges.settle(&rates, first, 1_000);
    assert_eq!(gauges.left(&rates, 9), [[1, 100, 1, 0, 0]]);
    gauges.release(&rates, second);
    assert_eq!(gauges.left(&rates, 9), [[1, 100, 2, 0, 0]]);
}

#[test]
fn tokens_settle_to_what_was_used_and_more_than_the_bound_counts() {
    let rates = rates(None, [Some(9), Some(100), None, None, None]);
    let mut gauges = Gauges::new(false);
    let call = gauges.take(&rates, 60, when(7)).expect("room");
    assert_eq!(gauges.take(&rates, 41, when(7)), full(Rate::Tokens, 40));
    gauges.settle(&rates, call, 10);
    assert_eq!(gauges.left(&rates, 7)[0][TOKENS], 90);
    let call = gauges.take(&rates, 30, when(7)).expect("room");
    gauges.settle(&rates, call, 95);
    assert_eq!(gauges.left(&rates, 7)[0][TOKENS], 0);
    assert_eq!(gauges.take(&rates, 1, when(7)), full(Rate::Tokens, 0));
    assert_eq!(gauges.left(&rates, 7)[0][REQUESTS], 7);
    assert_eq!(gauges.take(&rates, 0, when(7)), full(Rate::Tokens, 0));
}

#[test]
fn a_model_and_the_key_are_counted_apart_and_together() {
    let limits = |requests| [Some(3), None, None, Some(requests), None];
    let (one, other) = (
        rates(Some("one"), limits(1)),
        rates(Some("other"), limits(2)),
    );
    let usual = rates(None, [Some(3), None, None, None, None]);
    let mut gauges = Gauges::new(false);
    assert!(gauges.take(&one, 1, when(7)).is_ok());
    assert_eq!(gauges.take(&one, 1, when(7)), full(Rate::ModelRequests, 0));
    assert!(gauges.take(&other, 1, when(7)).is_ok());
    assert!(gauges.take(&usual, 1, when(7)).is_ok());
    assert_eq!(gauges.take(&other, 1, when(7)), full(Rate::Requests, 0));
    assert_eq!(gauges.left(&other, 7)[0][Rate::ModelRequests as usize], 1);
}

#[test]
fn what_is_not_limited_is_not_counted_when_a_limit_changes_meanwhile() {
    let free = rates(None, [Some(9), None, None, None, None]);
    let slots = rates(None, [Some(9), None, Some(1), None, None]);
    let mut gauges = Gauges::new(false);
    let before = gauges.take(&free, 1, when(7)).expect("room");
    let after = gauges.take(&slots, 1, when(7)).expect("room");
    gauges.settle(&free, before, 1);
    assert_eq!(gauges.take(&slots, 1, when(7)), full(Rate::Slots, 0));
    gauges.settle(&slots, after, 1);
    assert_eq!(gauges.slots(), 0);
}

#[test]
fn keys_without_use_are_forgotten() {
    let mut gauges = Gauges::new(false);
    let mut running = None;
    for at in 0..GAUGES_MIN + 1 {
        let limits = [Some(1), None, Some(1), None, None];
        let rates = counted_by([quota(key(&format!("sk-{at}")), limits)]);
        let taken = gauges.take(&rates, 1, when(7)).expect("room");
        match at {
            0 => running = Some(rates),
            _ => gauges.settle(&rates, taken, 1),
        }
    }
    let running = running.expect("the first key");
    assert_eq!(gauges.gauges.len(), GAUGES_MIN + 1);
    assert_eq!(gauges.take(&running, 1, when(8)), full(Rate::Slots, 0));
    gauges.forget_at = GAUGES_MIN;
    assert_eq!(gauges.take(&running, 1, when(8)), full(Rate::Slots, 0));
    assert_eq!(gauges.gauges.len(), 1);
}

/// One call as the naive list knows it.
struct Naive {
    minute: i64,
    tokens: u64,
    runs: bool,
    bound: Option<Taken>,
}

/// The next number of a sequence that its seed repeats.
fn next(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed >> 11
}

fn counted(calls: &[Naive], minute: i64) -> [u64; 3] {
    let now = || calls.iter().filter(|call| call.minute == minute);
    let running = calls.iter().filter(|call| call.runs);
    [
        now().count() as u64,
        now().map(|call| call.tokens).sum(),
        running.count() as u64,
    ]
}

#[test]
fn b8_ten_thousand_mixed_endings_leave_no_slot_in_use() {
    for start in 1..=20_u64 {
        let mut seed = start.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let rates = rates(None, [Some(30), Some(500), Some(7), None, None]);
        let (mut gauges, mut calls) = (Gauges::new(false), Vec::<Naive>::new());
        let mut minute = 0;
        for _ in 0..1_000 {
            let running: Vec<usize> = (0..calls.len()).filter(|at| calls[*at].runs).collect();
            let pick = next(&mut seed) as usize;
            match next(&mut seed) % 20 {
                0 => minute += 1,
                1..=11 => {
                    let tokens = next(&mut seed) % 60;
                    let [requests, used, slots] = counted(&calls, minute);
                    let fits = requests < 30 && used + tokens.max(1) <= 500 && slots < 7;
                    let taken = gauges.take(&rates, tokens, when(minute));
                    assert_eq!(taken.is_ok(), fits, "seed {start}");
                    calls.extend(taken.ok().map(|taken| Naive {
                        minute,
                        tokens,
                        runs: true,
                        bound: Some(taken),
                    }));
                }
                ending if !running.is_empty() => {
                    let at = running[pick % running.len()];
                    let taken = calls[at].bound.take().expect("it runs");
                    if ending < 14 {
                        gauges.release(&rates, taken);
                        calls.remove(at);
                    } else {
                        // Up to three times the bound.
                        let tokens = next(&mut seed) % (3 * taken.tokens + 1);
                        gauges.settle(&rates, taken, tokens);
                        (calls[at].tokens, calls[at].runs) = (tokens, false);
                    }
                }
                _ => {}
            }
            let [requests, tokens, slots] = counted(&calls, minute);
            let left = gauges.left(&rates, minute)[0];
            assert_eq!(left[REQUESTS], 30 - requests, "seed {start}");
            assert_eq!(left[TOKENS], 500_u64.saturating_sub(tokens), "seed {start}");
            assert_eq!(left[SLOTS], 7 - slots, "seed {start}");
        }
        for call in &mut calls {
            if let Some(taken) = call.bound.take() {
                gauges.settle(&rates, taken, 0);
            }
        }
        assert_eq!(gauges.slots(), 0, "seed {start}");
    }
}
