//! What a role says, on real servers: who owns a key, what keys spend together,
//! and how a caller asks for less.

use std::time::Duration;

use e2e::upstream::Script;
use e2e::world::{Lease, MOUNT};
use e2e::{Kind, World};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

on_both!(
    templates_name_the_owner_of_a_key_or_nobody_gets_one,
    ten_leases_of_a_role_spend_no_more_than_its_budget,
    an_entity_has_one_budget_over_all_roles,
    a_caller_can_ask_for_less_and_for_nothing_more,
    a_key_is_good_only_from_where_its_role_allows,
    a_role_is_patched_and_a_short_renewal_stays_the_only_one,
);

const RULES: &str = r#"path "litellm/creds/*" { capabilities = ["read", "update"] }"#;
/// The price of one output token of the model `exact`, whose input is free.
const TOKEN_USD: f64 = 0.001;

async fn issue_as(world: &World, token: &str, role: &str) -> e2e::vault::Answer {
    let path = format!("{MOUNT}/creds/{role}");
    let answer = world
        .server
        .call_as(token, Method::GET, &path, &Value::Null);
    answer.await
}

async fn info(world: &World, hash: &str) -> Value {
    let path = format!("/key/info?key={hash}");
    let (status, answer) = world.gateway.admin(Method::GET, &path, &Value::Null).await;
    assert_eq!(status, 200, "{answer}");
    answer["info"].clone()
}

/// The status of a call of ten output tokens.
async fn spend_ten(world: &World, key: &str) -> u16 {
    let mut body = e2e::proxy::prompt("exact");
    body["max_tokens"] = json!(10);
    let answer = world.gateway.send(key, &body).await.expect("an answer");
    let status = answer.status().as_u16();
    answer.bytes().await.expect("a whole answer");
    status
}

async fn world_with_prices(kind: Kind) -> World {
    let world = World::start(kind).await;
    let script = Script {
        completion_tokens: 10,
        ..Script::default()
    };
    world.upstream.script("upstream-exact", script);
    world
}

async fn templates_name_the_owner_of_a_key_or_nobody_gets_one(kind: Kind) {
    let world = World::start(kind).await;
    let accessor = world.server.enable_logins(RULES).await;
    let ada = world
        .server
        .person("ada", &accessor, json!({"team": "red"}))
        .await;
    let bob = world.server.person("bob", &accessor, json!({})).await;
    let group = json!({"name": "night.shift", "member_entity_ids": [ada.entity_id], "metadata": {"cost": "c42"}});
    world
        .server
        .write("identity/group", &group)
        .await
        .expect_ok();

    let role = |user: String, team: &str| json!({"models": "demo", "max_budget": 1, "ttl": "1h", "user_id_template": user, "team_id_template": team});
    for (role_name, user, team, expected_user, expected_team) in [
        (
            "metadata",
            "u-{{identity.entity.metadata.team}}-{{identity.entity.name}}".to_owned(),
            "{{identity.groups.names.night.shift.metadata.cost}}",
            "u-red-ada".to_owned(),
            "c42",
        ),
        (
            "alias",
            format!("{{{{identity.entity.aliases.{accessor}.name}}}}"),
            "fixed",
            "ada".to_owned(),
            "fixed",
        ),
        (
            "id",
            "{{identity.entity.id}}".to_owned(),
            "",
            ada.entity_id.clone(),
            "",
        ),
    ] {
        world.role(role_name, role(user, team)).await;
        let lease = Lease::of(&issue_as(&world, &ada.token, role_name).await.expect_ok());
        world.canaries.add(&lease.key);
        let info = info(&world, &lease.hash).await;
        assert_eq!(info["user_id"], expected_user.as_str(), "{role_name}");
        assert_eq!(
            info["team_id"].as_str().unwrap_or_default(),
            expected_team,
            "{role_name}"
        );
        assert_eq!(info["metadata"]["vault_entity_id"], ada.entity_id.as_str());
    }

    let issued = world.chaos.issued_keys().len();
    for (role_name, expected) in [
        ("metadata", "identity.entity.metadata.team"),
        ("id", ""),
        ("alias", ""),
    ] {
        let answer = issue_as(&world, &bob.token, role_name).await;
        if expected.is_empty() {
            answer.expect_ok();
            continue;
        }
        let refusal = answer.expect_refused(400);
        assert!(refusal.contains(expected), "{role_name}: {refusal}");
    }
    // The root token comes from no login.
    let path = format!("{MOUNT}/creds/id");
    let refusal = world.server.read(&path).await.expect_refused(400);
    assert!(refusal.contains("no identity entity"), "{refusal}");
    assert_eq!(world.chaos.issued_keys().len(), issued + 2);
    world.expect_no_leaks();
}

async fn ten_leases_of_a_role_spend_no_more_than_its_budget(kind: Kind) {
    let world = world_with_prices(kind).await;
    world
        .role(
            "app",
            json!({"models": "exact", "max_budget": 1, "role_budget": 50.0 * TOKEN_USD, "ttl": "1h"}),
        )
        .await;
    let mut leases = Vec::new();
    for _ in 0..10 {
        leases.push(world.issue("app").await);
    }
    let world = std::sync::Arc::new(world);
    let mut calls = JoinSet::new();
    for lease in leases.iter().cycle().take(40) {
        let (world, key) = (std::sync::Arc::clone(&world), lease.key.clone());
        calls.spawn(async move { spend_ten(&world, &key).await });
    }
    let statuses = calls.join_all().await;
    let admitted = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(admitted, 5, "{statuses:?}");

    // Neither a new lease nor a revoked one makes room.
    world.server.revoke(&leases[0].id).await.expect_ok();
    let again = world.issue("app").await;
    assert_eq!(spend_ten(&world, &again.key).await, 422);
    world
        .server
        .renew(&again.id, Duration::from_secs(60))
        .await
        .expect_ok();
    assert_eq!(spend_ten(&world, &again.key).await, 422);
    let budget = info(&world, &again.hash).await["shared_budgets"][0].clone();
    assert_eq!(budget["scope"], "role", "{budget}");
    let id = budget["id"].as_str().expect("an id");
    assert!(id.ends_with("/app"), "{id}");
    world.expect_no_leaks();
}

async fn an_entity_has_one_budget_over_all_roles(kind: Kind) {
    let world = world_with_prices(kind).await;
    let accessor = world.server.enable_logins(RULES).await;
    let ada = world.server.person("ada", &accessor, json!({})).await;
    let bob = world.server.person("bob", &accessor, json!({})).await;
    let role =
        json!({"models": "exact", "max_budget": 1, "entity_budget": 30.0 * TOKEN_USD, "ttl": "1h"});
    world.role("one", role.clone()).await;
    world.role("two", role).await;

    let mut statuses = Vec::new();
    for role in ["one", "two", "one", "two"] {
        let lease = Lease::of(&issue_as(&world, &ada.token, role).await.expect_ok());
        world.canaries.add(&lease.key);
        statuses.push(spend_ten(&world, &lease.key).await);
    }
    assert_eq!(statuses, [200, 200, 200, 422]);
    let lease = Lease::of(&issue_as(&world, &bob.token, "one").await.expect_ok());
    world.canaries.add(&lease.key);
    assert_eq!(spend_ten(&world, &lease.key).await, 200, "another entity");

    let path = format!("{MOUNT}/creds/one");
    let refusal = world.server.read(&path).await.expect_refused(400);
    assert!(
        refusal.contains("entity_budget") && refusal.contains("no identity entity"),
        "{refusal}"
    );
    world.expect_no_leaks();
}

async fn a_caller_can_ask_for_less_and_for_nothing_more(kind: Kind) {
    let world = World::start(kind).await;
    world
        .role(
            "app",
            json!({"models": "demo,exact", "max_budget": 2, "ttl": "1h", "max_ttl": "2h", "metadata": {"team": "red"}}),
        )
        .await;
    let path = format!("{MOUNT}/creds/app");
    let less = json!({"models": "demo", "max_budget": 0.5, "ttl": "5m", "metadata": {"job": "7"}});
    let lease = Lease::of(&world.server.write(&path, &less).await.expect_ok());
    world.canaries.add(&lease.key);
    assert_eq!(lease.ttl, Duration::from_secs(300));
    let key = info(&world, &lease.hash).await;
    assert_eq!(
        (&key["models"], &key["max_budget"]),
        (&json!(["demo"]), &json!(0.5))
    );
    assert_eq!(
        (&key["metadata"]["team"], &key["metadata"]["job"]),
        (&json!("red"), &json!("7"))
    );
    assert_eq!(world.gateway.chat(&lease.key, "demo").await.0, 200);
    assert_eq!(world.gateway.chat(&lease.key, "exact").await.0, 403);

    let issued = world.chaos.issued_keys().len();
    for (more, word) in [
        (json!({"max_budget": 3}), "at most the role's 2"),
        (json!({"max_budget": 0}), "above 0"),
        (json!({"models": "other"}), "among the role's"),
        (json!({"models": ""}), "at least one"),
        (json!({"ttl": "3h"}), "at most 7200s"),
        (json!({"metadata": {"team": "blue"}}), "that the role sets"),
        (json!({"metadata": {"vault_role": "x"}}), "vault_"),
        (json!({"rpm_limit": -1}), "rpm_limit"),
        (json!({"max_budget": "NaN"}), "max_budget"),
    ] {
        let refusal = world.server.write(&path, &more).await.expect_refused(400);
        assert!(refusal.contains(word), "{more}: {refusal}");
    }
    assert_eq!(world.chaos.issued_keys().len(), issued);
    world.expect_no_leaks();
}

async fn a_key_is_good_only_from_where_its_role_allows(kind: Kind) {
    let world = World::start(kind).await;
    for (role, cidrs, status) in [
        ("here", "127.0.0.1/8", 200),
        ("elsewhere", "192.0.2.0/24,2001:db8::1", 403),
    ] {
        let fields =
            json!({"models": "demo", "max_budget": 1, "ttl": "1h", "allowed_cidrs": cidrs});
        world.role(role, fields).await;
        let lease = world.issue(role).await;
        assert_eq!(world.gateway.chat(&lease.key, "demo").await.0, status);
    }
    let path = format!("{MOUNT}/roles/here");
    let role = world.server.read(&path).await.expect_ok();
    assert_eq!(role["data"]["allowed_cidrs"], json!(["127.0.0.0/8"]));
    world.expect_no_leaks();
}

async fn a_role_is_patched_and_a_short_renewal_stays_the_only_one(kind: Kind) {
    let world = World::start(kind).await;
    world
        .role(
            "app",
            json!({"models": "demo", "max_budget": 1, "ttl": "1h", "metadata": {"a": "1", "b": "2"}}),
        )
        .await;
    let path = format!("{MOUNT}/roles/app");
    let patch = json!({"max_budget": 2, "metadata": {"a": null, "c": "3"}});
    world.server.patch(&path, &patch).await.expect_ok();
    let role = world.server.read(&path).await.expect_ok();
    assert_eq!(role["data"]["max_budget"].as_f64(), Some(2.0));
    assert_eq!(role["data"]["ttl"], json!(3600));
    assert_eq!(role["data"]["metadata"], json!({"b": "2", "c": "3"}));

    let lease = world.issue("app").await;
    assert_eq!(
        info(&world, &lease.hash).await["metadata"]["c"],
        "3",
        "the patched role issues"
    );
    world
        .server
        .renew(&lease.id, Duration::from_secs(60))
        .await
        .expect_ok();
    let body = json!({"lease_id": lease.id});
    let renewed = world.server.write("sys/leases/renew", &body).await;
    assert_eq!(renewed.expect_ok()["lease_duration"], json!(3600));
    world.expect_no_leaks();
}
