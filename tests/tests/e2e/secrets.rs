//! Secrets stay where they belong. Every other test looks for its own canaries
//! too; these look everywhere.

use std::fs;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use e2e::chaos::Fault;
use e2e::proxy::prompt;
use e2e::vault::Storage;
use e2e::world::{Lease, MOUNT};
use e2e::{Kind, World};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

on_both!(
    g1_no_secret_in_any_output_file_or_process,
    g2_only_config_holds_a_secret
);

async fn g1_no_secret_in_any_output_file_or_process(kind: Kind) {
    let mut world = World::start_on(kind, Storage::Raft).await;
    world
        .role(
            "app",
            json!({"models": "demo,scripted", "max_budget": 1, "ttl": "1h"}),
        )
        .await;
    let lease = world.issue("app").await;
    let operators = world.gateway.generate(json!({"models": ["demo"]})).await;
    world.canaries.add(&operators);
    let guessed = e2e::world::random_key("guess");
    world.canaries.add(&guessed);

    let mut answers = tempt_the_gateway(&world, &lease, &operators, &guessed).await;
    answers.push(tempt_the_engine(&world, &guessed).await);
    world
        .server
        .renew(&lease.id, Duration::from_secs(7200))
        .await
        .expect_ok();
    world.server.revoke(&lease.id).await.expect_ok();

    for (number, answer) in answers.iter().enumerate() {
        let found = world
            .canaries
            .found_in(&format!("answer {number}"), answer.as_bytes());
        assert!(found.is_empty(), "{found:?} in {answer}");
    }
    expect_none_in_processes(&world);
    // The provider got its own key, and nobody else's.
    let seen = world.upstream.seen();
    assert!(!seen.is_empty());
    for request in seen {
        let text = format!("{:?}", request.headers);
        assert!(
            !text.contains(&lease.key),
            "the caller's key went to the provider"
        );
    }
    // The database with its write-ahead log while it runs, and after its end.
    world.expect_no_leaks();
    world.gateway.stop().await;
    world.expect_no_leaks();
}

/// Whatever could tempt the gateway into printing what it was given.
async fn tempt_the_gateway(
    world: &World,
    lease: &Lease,
    operators: &str,
    guessed: &str,
) -> Vec<String> {
    let mut answers = Vec::new();
    for (key, model) in [
        (lease.key.as_str(), "demo"),
        (&lease.key, "other"),
        (guessed, "demo"),
        (operators, "nothing"),
    ] {
        answers.push(world.gateway.chat(key, model).await.1.to_string());
    }
    let mut streamed = prompt("scripted");
    streamed["stream"] = json!(true);
    let answer = world
        .gateway
        .send(&lease.key, &streamed)
        .await
        .expect("an answer");
    answers.push(answer.text().await.expect("a stream"));
    for key in [lease.key.as_str(), &lease.hash, guessed] {
        let path = format!("/key/info?key={key}");
        let (_, mut info) = world.gateway.admin(Method::GET, &path, &Value::Null).await;
        // LiteLLM repeats the parameter as it was sent.
        info["key"] = Value::Null;
        answers.push(info.to_string());
    }
    answers.push(
        world
            .gateway
            .admin(
                Method::GET,
                "/key/list?return_full_object=true",
                &Value::Null,
            )
            .await
            .1
            .to_string(),
    );
    answers
}

/// The engine's answers when its gateway misbehaves or its caller errs.
async fn tempt_the_engine(world: &World, guessed: &str) -> String {
    let mut texts = Vec::new();
    let master_key = &world.gateway.settings.master_key;
    let echo = format!(r#"{{"error":{{"message":"no such key {guessed}, caller {master_key}"}}}}"#);
    world.chaos.break_calls(
        "/key/generate",
        Fault::Answer(StatusCode::BAD_REQUEST, "application/json", echo),
    );
    texts.push(
        world
            .server
            .read(&format!("{MOUNT}/creds/app"))
            .await
            .body
            .to_string(),
    );
    world.chaos.break_calls("/key/generate", Fault::AnswerLost);
    texts.push(
        world
            .server
            .read(&format!("{MOUNT}/creds/app"))
            .await
            .body
            .to_string(),
    );
    world.chaos.heal();
    let wrong = json!({"base_url": world.chaos.url(), "master_key": guessed});
    texts.push(
        world
            .server
            .write(&format!("{MOUNT}/config"), &wrong)
            .await
            .body
            .to_string(),
    );
    texts.push(
        world
            .server
            .read(&format!("{MOUNT}/config"))
            .await
            .body
            .to_string(),
    );
    texts.concat()
}

fn expect_none_in_processes(world: &World) {
    let engines = world.server.engine_pids();
    assert!(!engines.is_empty());
    for pid in engines.into_iter().chain([world.gateway.pid()]) {
        for file in ["cmdline", "environ"] {
            let path = format!("/proc/{pid}/{file}");
            let found = world
                .canaries
                .found_in(&path, &fs::read(&path).expect("a process's file"));
            assert!(found.is_empty(), "{found:?}");
        }
        let limits = fs::read_to_string(format!("/proc/{pid}/limits")).expect("a process's limits");
        let core = limits
            .lines()
            .find(|line| line.starts_with("Max core file size"))
            .expect("a limit");
        assert_eq!(
            core.split_whitespace().nth(4),
            Some("0"),
            "process {pid} could leave a core file: {core}"
        );
    }
}

async fn g2_only_config_holds_a_secret(kind: Kind) {
    let world = World::start(kind).await;
    world
        .role(
            "app",
            json!({"models": "demo", "max_budget": 1, "ttl": "1h", "max_ttl": "4h"}),
        )
        .await;
    let lease = world.issue("app").await;
    // An attempt that leaves a write-ahead entry behind.
    world.chaos.break_calls("/key/generate", Fault::AnswerLost);
    assert!(
        !world
            .server
            .read(&format!("{MOUNT}/creds/app"))
            .await
            .is_ok()
    );
    world.chaos.heal();
    world
        .chaos
        .issued_keys()
        .iter()
        .for_each(|key| world.canaries.add(key));

    let config = world
        .server
        .read(&format!("{MOUNT}/config"))
        .await
        .expect_ok()
        .to_string();
    assert!(
        world
            .canaries
            .found_in("config", config.as_bytes())
            .is_empty(),
        "{config}"
    );

    let storage = world.server.storage_of(MOUNT).await;
    let dump = world.server.raw_dump(&storage).await;
    let names: Vec<&str> = dump
        .iter()
        .filter_map(|(path, _)| path.strip_prefix(&storage))
        .collect();
    assert!(names.contains(&"config"), "{names:?}");
    assert!(
        names.iter().any(|name| name.starts_with("wal/")),
        "{names:?}"
    );
    for (path, value) in &dump {
        let found = found_in(&world, path, value);
        // The admin key is in the one place where it must be, or this looks wrongly.
        assert_eq!(
            path.ends_with("/config"),
            !found.is_empty(),
            "{path}: {found:?}"
        );
    }

    expect_leases_hold_no_secret(&world, &lease).await;
    world.expect_no_leaks();
}

/// The server's own copy of the answer is there until the first renewal; what
/// the engine adds to it holds no secret.
async fn expect_leases_hold_no_secret(world: &World, lease: &Lease) {
    let mut internals = Vec::new();
    for (path, value) in world.server.raw_dump("sys/expire/").await {
        let entry: Value = serde_json::from_str(&value).unwrap_or_default();
        let internal = entry["secret"]["internal_data"].to_string();
        assert!(found_in(world, &path, &internal).is_empty(), "{internal}");
        internals.push(internal);
    }
    let ours = internals
        .iter()
        .filter(|internal| internal.contains(&lease.hash))
        .count();
    assert_eq!(ours, 1, "the lease's internal data: {internals:?}");

    world
        .server
        .renew(&lease.id, Duration::from_secs(7200))
        .await
        .expect_ok();
    for (path, value) in world.server.raw_dump("sys/expire/").await {
        let found = found_in(world, &path, &value);
        assert!(found.is_empty(), "after a renewal: {found:?}");
    }
}

fn found_in(world: &World, path: &str, value: &str) -> Vec<String> {
    let mut found = world.canaries.found_in(path, value.as_bytes());
    if let Ok(decoded) = STANDARD.decode(value) {
        found.extend(world.canaries.found_in(path, &decoded));
    }
    found
}
