//! What the ledger costs: processor time a call (hold and settle in four accounts,
//! 64 at a time, of many keys), and memory a cached key. It asserts nothing about
//! time; `scripts/bench.sh ledger` asks it for more calls and shows what it found.

use std::collections::VecDeque;
use std::fs;

use chrono::{DateTime, TimeDelta};
use serde_json::json;
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::key::{Cache, Key, Metadata, SharedAccount, fixture};
use crate::ledger::account::Standing;

const PARALLEL: usize = 64;
const NEED: NanoUsd = NanoUsd::MAX;

/// Processor time of the threads with this name, in ns; of all for none.
fn cpu_ns(name: &str) -> u64 {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten();
    let of_task = |task: fs::DirEntry| {
        let read = |file: &str| fs::read_to_string(task.path().join(file)).ok();
        let first = read("schedstat")?.split(' ').next()?.parse::<u64>().ok();
        first.filter(|_| read("comm").is_some_and(|comm| comm.starts_with(name)))
    };
    tasks.flatten().filter_map(of_task).sum()
}

fn resident_bytes() -> u64 {
    let pages = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = pages.split(' ').nth(1).and_then(|text| text.parse().ok());
    pages.unwrap_or(0_u64) * 4_096
}

fn shared() -> [SharedAccount; 3] {
    ["role", "team", "user"].map(|scope| SharedAccount::parse(scope, "a").expect("scope"))
}

fn keys(count: usize) -> Vec<Arc<[AccountId]>> {
    let key = |at| accounts(KeyHash::of(&format!("sk-{at}")), shared());
    (0..count).map(key).collect()
}

fn runtime(name: &str, threads: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(threads).thread_name(name);
    builder.enable_all().build().expect("runtime")
}

/// The accounts alone, as if the store granted at once: ns a call.
fn in_memory(keys: &[Arc<[AccountId]>], calls: usize) -> u64 {
    let need = NanoUsd::from_nanos(1_000);
    let books = Mutex::new(Books::default());
    let started = Instant::now();
    let mut open = VecDeque::with_capacity(PARALLEL);
    let (mut before, mut counted) = (cpu_ns(""), 0);
    for at in 0..calls * 2 {
        if at == calls {
            (before, counted) = (cpu_ns(""), 0);
        }
        counted += 1;
        let ids = &keys[at * 7_919 % keys.len()];
        loop {
            let mut books = books.lock().expect("lock");
            match books.take(ids, need, started.elapsed()) {
                TakeAll::Held => break,
                TakeAll::Unknown(at) => {
                    let account = Account::new(Standing::default(), Duration::ZERO);
                    books.insert(ids[at].clone(), account);
                }
                TakeAll::Short(short) => {
                    for (at, id) in ids.iter().enumerate() {
                        let account = books.get_mut(id).expect("loaded");
                        account.claim_ended(short.held[at]);
                        let (least, ahead) = (short.missing[at], short.ahead[at]);
                        let amount = least.saturating_add(ahead);
                        account.granted(amount, least, Standing::default());
                    }
                    break;
                }
                TakeAll::Refused(_) => panic!("there is no limit"),
            }
        }
        open.push_back(ids);
        if open.len() == PARALLEL {
            let ids = open.pop_front().expect("open");
            let mut held = entry::NOTHING;
            held[..ids.len()].fill(need);
            let mut books = books.lock().expect("lock");
            books.settle(ids, &held, NanoUsd::from_nanos(600), started.elapsed());
        }
    }
    // Beside other tests a thread of theirs may have ended, with its time.
    cpu_ns("").saturating_sub(before) / counted
}

/// Calls to come. Their ids are of the kind that the gateway makes, whose making
/// is not the ledger's.
fn ids(count: usize) -> Arc<Vec<Uuid>> {
    Arc::new((0..count).map(|_| Uuid::now_v7()).collect())
}

/// These calls through the ledger, one after the other in each of 64 tasks.
fn run(
    callers: &Runtime,
    ledger: &Ledger,
    keys: &Arc<Vec<Arc<[AccountId]>>>,
    ids: &Arc<Vec<Uuid>>,
) {
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..PARALLEL {
        let (ledger, keys, ids) = (ledger.clone(), Arc::clone(keys), Arc::clone(ids));
        let work = async move {
            for at in (task..ids.len()).step_by(PARALLEL) {
                let key = &keys[at * 7_919 % keys.len()];
                let hold = loop {
                    let need = NanoUsd::from_nanos(1_000);
                    let call = Call {
                        request_id: ids[at],
                        accounts: Arc::clone(key),
                        model: "demo".into(),
                        deployment_id: "test".into(),
                        price: Some(Price::default()),
                        streamed: false,
                        started_at: DateTime::UNIX_EPOCH,
                    };
                    match ledger.hold(call, need).await {
                        Ok(hold) => break hold,
                        // Faster than the disk: what a caller is told with a 503.
                        Err(HoldError::StoreUnavailable) => ledger.flush().await,
                        Err(error) => panic!("{error}"),
                    }
                };
                hold.settle(cost(600));
            }
        };
        tasks.spawn_on(work, callers.handle());
    }
    callers.block_on(tasks.join_all());
}

/// With nothing of its own but what it is charged to.
fn plain_key(at: usize) -> Key {
    let mut key: Key = fixture(&format!("sk-{at}"));
    key.charge_to(shared().to_vec());
    key
}

/// As an engine makes them for the callers of a role.
fn issued_key(at: usize) -> Key {
    let mut key = plain_key(at);
    key.alias = Some(format!("vault-{at:027}"));
    key.metadata = Metadata::parse(r#"{"vault_request_id":"0123"}"#).expect("an object");
    key.expires_at = Some(key.created_at + TimeDelta::hours(1));
    key.models = ["a", "b"].map(str::to_owned).to_vec();
    key.max_budget = Some(NEED);
    (key.limits.rpm, key.limits.tpm) = (Some(60), Some(100_000));
    key.charge_to(shared().to_vec());
    key
}

/// Bytes a key in the cache takes, but for its strings; and the cache, so that
/// what it takes is not taken again.
fn cached_key_bytes(count: usize, key: fn(usize) -> Key) -> (u64, Cache) {
    let cache = Cache::new();
    let before = resident_bytes();
    let runtime = runtime("cache", 1);
    let mut strings = 0;
    for at in 0..count {
        let key = key(at);
        let texts = [&*key.key_name, key.alias.as_deref().unwrap_or_default()];
        strings += texts.map(str::len).iter().sum::<usize>() as u64;
        if !key.metadata.is_empty() {
            strings += key.metadata.as_str().len() as u64;
        }
        let load = async { Ok::<_, StoreError>(Some(key)) };
        let found = runtime.block_on(cache.find(KeyHash::of(&format!("sk-{at}")), load));
        assert!(found.expect("loaded").is_some());
    }
    let bytes = resident_bytes().saturating_sub(before + strings);
    (bytes / count as u64, cache)
}

#[test]
fn what_the_ledger_costs() {
    let asked = std::env::var("LEDGER_BENCH_CALLS").ok();
    let calls = asked
        .as_deref()
        .map_or(640, |text| text.parse().expect("a number"));
    let keys = Arc::new(keys(if asked.is_some() { 10_000 } else { 50 }));
    // What is needed for it is in memory then.
    cached_key_bytes(10, plain_key);
    let (plain_key_bytes, _plain) = cached_key_bytes(keys.len() * 5, plain_key);
    let (issued_key_bytes, _issued) = cached_key_bytes(keys.len() * 5, issued_key);
    let in_memory_ns = in_memory(&keys, calls * 10);

    let (writer, callers) = (runtime("ledger-writer", 1), runtime("ledger-callers", 2));
    let bench = writer.block_on(async {
        let bench = Bench::new().await;
        let mut write = bench.store.begin_write().await.expect("begin");
        let all = keys.iter().flat_map(|key| key.iter());
        for account in all.collect::<std::collections::BTreeSet<_>>() {
            let set = store::ledger::set_limit(&mut write, account, Some(NEED));
            set.await.expect("account");
        }
        write.commit().await.expect("commit");
        bench
    });
    run(&callers, &bench.ledger, &keys, &ids(keys.len()));
    let ids = ids(calls);
    let read = || [cpu_ns("ledger-callers"), cpu_ns("")];
    let before = read();
    run(&callers, &bench.ledger, &keys, &ids);
    writer.block_on(bench.ledger.drain());
    let [of_callers, of_all] = read();
    let a_call = |ns: u64| ns / calls as u64;
    // Of so many calls a fold takes longer than a reader is made to wait for.
    while let Err(StoreError::Slow) = writer.block_on(bench.store.settled()) {}
    writer.block_on(bench.check());
    if let Ok(path) = std::env::var("LEDGER_BENCH_OUT") {
        let found = json!({
            "in_memory_ns": in_memory_ns,
            "callers_ns": a_call(of_callers.saturating_sub(before[0])),
            "with_store_ns": a_call(of_all.saturating_sub(before[1])),
            "cached_key_bytes": plain_key_bytes,
            "issued_key_bytes": issued_key_bytes,
            "key_bytes": size_of::<Key>(),
            "account_bytes": size_of::<(AccountId, Account)>(),
        });
        fs::write(path, found.to_string()).expect("written");
    }
}
