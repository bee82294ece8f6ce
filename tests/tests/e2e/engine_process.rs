//! The engine as a process: run by hand, panicking, mounted twice.

use std::process::{Command, Output};

use e2e::world::{Lease, MOUNT};
use e2e::{Kind, World, artefacts};
use serde_json::json;

on_both!(
    i2_panic_in_one_request_fails_that_request_only,
    i5_two_mounts_do_not_see_each_other,
);

fn engine(environment: &[(&str, &str)], arguments: &[&str]) -> Output {
    Command::new(artefacts::engine())
        .args(arguments)
        .env_clear()
        .envs(environment.iter().copied())
        .output()
        .expect("running the engine")
}

#[test]
fn i1_run_by_hand_it_says_what_it_is_and_fails() {
    let cookie = ("VAULT_BACKEND_PLUGIN", "wrong");
    for environment in [&[][..], &[cookie][..]] {
        let output = engine(environment, &[]);
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert!(
            output.stdout.is_empty(),
            "stdout carries the handshake line alone"
        );
        assert!(text.contains("plugin register"), "{text}");
        assert!(text.contains(&sha256_of_the_engine()), "{text}");
    }
}

#[test]
fn i1_without_a_common_version_it_answers_one_line_with_its_own() {
    let cookie = (
        "VAULT_BACKEND_PLUGIN",
        "6669da05-b1c8-4f49-97d9-c8e5bed98e20",
    );
    let mut child = Command::new(artefacts::engine())
        .env_clear()
        .envs([cookie, ("PLUGIN_PROTOCOL_VERSIONS", "3,4,99")])
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::null())
        .spawn()
        .expect("running the engine");
    let mut line = String::new();
    let stdout = child.stdout.take().expect("its stdout");
    std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line).expect("a line");
    let _ = child.kill();
    let _ = child.wait();
    let parts: Vec<&str> = line.trim_end().split('|').collect();
    assert!(parts.len() >= 5, "{line}");
    assert_eq!(parts[..2], ["1", "5"], "{line}");
    assert_eq!(parts[4], "grpc", "{line}");
}

#[test]
fn i1_asked_for_its_version_it_succeeds() {
    let output = engine(&[], &["--version"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stdout).contains(artefacts::ENGINE));
}

fn sha256_of_the_engine() -> String {
    let output = Command::new("sha256sum")
        .arg(artefacts::engine())
        .output()
        .expect("sha256sum");
    String::from_utf8_lossy(&output.stdout)
        .split(' ')
        .next()
        .expect("a hash")
        .to_owned()
}

async fn i2_panic_in_one_request_fails_that_request_only(kind: Kind) {
    let mut world = World::start(kind).await;
    world
        .role(
            "app",
            json!({"models": "demo,scripted", "max_budget": 1, "ttl": "1h"}),
        )
        .await;
    let lease = world.issue("app").await;

    // In the engine, with a write-ahead entry written.
    let before = world.server.engine_pids();
    world.server.arm("creds.after_wal=panic");
    world
        .server
        .read(&format!("{MOUNT}/creds/app"))
        .await
        .expect_refused(500);
    world.server.arm("");
    world.issue("app").await;
    assert_eq!(
        world.server.engine_pids(),
        before,
        "the same process serves on"
    );

    // In the gateway: the call fails, the process and every other call go on,
    // and what was held is resolved one way or the other.
    for point in [
        "chat.after_hold=panic",
        "chat.before_send=panic",
        "chat.before_settle=panic",
    ] {
        world.gateway.stop().await;
        world.gateway.failpoints = Some(point);
        world.gateway.start_again().await;
        let (status, body) = world.gateway.chat(&lease.key, "demo").await;
        assert_eq!(status, 500, "{point}: {body}");
        assert_eq!(body["error"]["code"], "500", "{point}: {body}");
        assert_eq!(world.gateway.try_key(&lease.key).await, 200, "{point}");
        world.gateway.stop().await;
        world.gateway.verify_ledger();
        world.gateway.failpoints = None;
        world.gateway.start_again().await;
        let (status, body) = world.gateway.chat(&lease.key, "demo").await;
        assert_eq!(status, 200, "{point}: {body}");
    }
    let spend = world.gateway.spend(&lease.key).await;
    assert!(spend < 0.01, "panics must not eat the budget: {spend}");
    world.expect_no_leaks();
}

async fn i5_two_mounts_do_not_see_each_other(kind: Kind) {
    let world = World::start(kind).await;
    world.server.mount_engine("second").await;
    world
        .role(
            "app",
            json!({"models": "demo", "max_budget": 1, "ttl": "1h"}),
        )
        .await;
    let first = world.issue("app").await;

    // The second has neither the first's configuration nor its roles.
    world.server.read("second/config").await.expect_refused(404);
    assert!(world.server.list("second/roles").await.is_empty());
    world
        .server
        .read("second/creds/app")
        .await
        .expect_refused(400);
    world.configure("second").await;
    let refusal = world
        .server
        .read("second/creds/app")
        .await
        .expect_refused(400);
    assert!(refusal.contains("unknown role"), "{refusal}");

    // Roles of the same name are two roles.
    world
        .server
        .write(
            "second/roles/app",
            &json!({"models": "scripted", "max_budget": 2, "ttl": "5m"}),
        )
        .await
        .expect_ok();
    let role = world
        .server
        .read(&format!("{MOUNT}/roles/app"))
        .await
        .expect_ok();
    assert_eq!(role["data"]["ttl"], 3600, "{role}");
    let second = Lease::of(&world.server.read("second/creds/app").await.expect_ok());
    world.canaries.add(&second.key);
    assert_eq!(world.gateway.chat(&second.key, "scripted").await.0, 200);
    assert_eq!(world.gateway.chat(&second.key, "demo").await.0, 403);
    assert_eq!(world.gateway.chat(&first.key, "scripted").await.0, 403);

    // The end of one, with all its leases, is not the other's.
    world.server.unmount("second").await;
    assert_eq!(world.gateway.try_key(&second.key).await, 401);
    assert_eq!(world.gateway.try_key(&first.key).await, 200);
    world.issue("app").await;
    world.server.revoke(&first.id).await.expect_ok();
    assert_eq!(world.gateway.try_key(&first.key).await, 401);
    world.expect_no_leaks();
}
