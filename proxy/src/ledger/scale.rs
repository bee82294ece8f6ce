//! What many gateways cost one store. The real books run in a thousand simulated
//! replicas, on a simulated network and clock, against the rules of the real
//! store; each batch is checked for the caps, and its statements are counted.
//!
//! `scripts/scale.sh` runs the large scenarios, prints the tables of
//! `docs/scale.md` and measures the constants on both stores.

mod measured;
mod replica;
mod store;
mod world;

use std::io::Write as _;

use self::world::{SECOND, WARM_UP, World};

/// Set to run what takes minutes.
const LARGE: &str = "LLM_PROXY_SCALE";

#[derive(Debug, Clone)]
struct Scenario {
    replicas: usize,
    keys: usize,
    /// Keys that take `hot_percent` of all requests between them.
    hot_keys: usize,
    hot_percent: u64,
    requests_a_second: u64,
    seconds: u64,
    /// Each key is served by one replica.
    sticky: bool,
    /// One replica dies with each so many requests.
    deaths: u64,
}

#[derive(Debug, Clone, Default)]
struct Report {
    requests: u64,
    admitted: u64,
    refused: u64,
    /// Told 503, because the store took too long to answer a claim.
    unavailable: u64,
    deaths: u64,
    claims: usize,
    claim_p99_us: u64,
    statements: u64,
    statements_before: u64,
    batches: u64,
    batches_before: u64,
    spent: i64,
    posted_too_much: i64,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            replicas: 10,
            keys: 10_000,
            hot_keys: 0,
            hot_percent: 0,
            requests_a_second: 1_000,
            seconds: 6,
            sticky: false,
            deaths: 0,
        }
    }
}

impl Scenario {
    fn run(&self) -> Report {
        World::new(self).run()
    }

    /// Statements a second once it is warm.
    fn statements_a_second(&self, report: &Report) -> u64 {
        report.statements / (self.seconds - WARM_UP / SECOND)
    }

    fn hot(replicas: usize, hot_keys: usize, requests_a_second: u64) -> Self {
        Self {
            replicas,
            keys: 1,
            hot_keys,
            hot_percent: 100,
            requests_a_second,
            ..Self::default()
        }
    }
}

#[test]
fn caps_hold_in_a_small_network_where_replicas_die() {
    let scenario = Scenario {
        requests_a_second: 2_000,
        deaths: 500,
        ..Scenario::default()
    };
    let report = scenario.run();
    assert!(report.deaths > 5, "{report:?}");
    assert!(report.refused > 0, "{report:?}");
    assert!(report.admitted > 6_000, "{report:?}");
}

/// Ten times the requests of keys that are busy in each replica.
#[test]
fn the_stores_load_stays_flat_as_requests_grow() {
    let few = Scenario::hot(3, 4, 400);
    let many = Scenario::hot(3, 4, 4_000);
    let [few, many] = [few, many].map(|one| one.statements_a_second(&one.run()));
    assert!(many < few * 2, "{few} and then {many} statements a second");
}

fn say(line: &str) {
    writeln!(std::io::stdout(), "{line}").expect("standard output");
}

fn row(scenario: &Scenario) {
    let report = scenario.run();
    let statements = scenario.statements_a_second(&report);
    let per_request = statements as f64 / scenario.requests_a_second as f64;
    let too_much = report.posted_too_much as f64 / report.spent.max(1) as f64 * 100.0;
    say(&format!(
        "| {} | {} | {} | {} | {statements} | {per_request:.2} | {:.0} | {} | {} | {} | {too_much:.2} |",
        scenario.replicas,
        scenario.hot_keys.max(scenario.keys),
        if scenario.sticky { "one" } else { "any" },
        scenario.requests_a_second,
        report.claim_p99_us as f64 / 1_000.0,
        report.refused,
        report.unavailable,
        report.deaths,
    ));
}

#[test]
fn the_tables_of_the_large_scenarios() {
    if std::env::var_os(LARGE).is_none() {
        return;
    }
    say(
        "| replicas | keys | a key's replica | requests/s | statements/s | a request | claim p99 ms | 422 | 503 | deaths | posted too much % |",
    );
    say("|---|---|---|---|---|---|---|---|---|---|---|");
    for (replicas, hot_keys) in [(1, 10), (3, 10), (3, 100), (10, 10)] {
        for requests in [1_000, 10_000] {
            row(&Scenario::hot(replicas, hot_keys, requests));
        }
    }
    let million = Scenario {
        keys: 1_000_000,
        ..Scenario::default()
    };
    for (replicas, requests_a_second) in [(3, 300), (3, 3_000), (1_000, 3_000)] {
        for sticky in [false, true] {
            row(&Scenario {
                replicas,
                requests_a_second,
                sticky,
                ..million.clone()
            });
        }
    }
    row(&Scenario {
        replicas: 1_000,
        requests_a_second: 3_000,
        deaths: 500,
        ..million
    });
}
