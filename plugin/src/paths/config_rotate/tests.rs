//! Rotation, cut at every point at which it can be cut: the stored admin key
//! always works, and after the rollback no other one that it touched is left.

use std::sync::Arc;

use serde_json::json;
use vault_plugin_sdk::testing::{Fault, FaultStorage};
use vault_plugin_sdk::{Error, Operation, Response, Storage, WalOutcome, get_json, put_json};

use super::*;
use crate::testing::Mount;
use crate::testing::admin::{Cut, FakeAdmin, STATIC_KEY, Style};

const STYLES: [Style; 2] = [Style::LlmProxy, Style::LiteLlm];

/// A mount at a gateway whose admin key is a static master key.
async fn configured(gateway: &FakeAdmin) -> Mount {
    let mount = Mount::new();
    let config = json!({"base_url": gateway.url, "master_key": STATIC_KEY, "verify_connection": false, "request_timeout": "2s"});
    mount.write("config", config).await.unwrap();
    mount
}

/// A mount whose admin key is one that a rotation made, so that it can be deleted.
async fn rotated_once(gateway: &FakeAdmin) -> Mount {
    let mount = configured(gateway).await;
    rotate(&mount).await.unwrap();
    mount
}

async fn rotate(mount: &Mount) -> Result<Response, Error> {
    let request = mount
        .request(Operation::Update, "rotate-root")
        .mount("litellm/", "litellm_1a2b");
    let answer = mount.backend.handle(request.build()).await?;
    Ok(answer.expect("an answer"))
}

async fn rotate_on(mount: &Mount, storage: Arc<dyn Storage>) -> Result<Response, Error> {
    let request = mount
        .request(Operation::Update, "config/rotate-root")
        .mount("litellm/", "litellm_1a2b")
        .storage(storage);
    let answer = mount.backend.handle(request.build()).await?;
    Ok(answer.expect("an answer"))
}

/// As on the day that the write-ahead entries are old enough.
async fn roll_back(mount: &Mount) -> Option<String> {
    let request = mount
        .request(Operation::Rollback, "")
        .value("immediate", true);
    let answer = mount.backend.handle(request.build()).await.unwrap();
    answer.and_then(|answer| Some(answer.data?["error"].as_str()?.to_owned()))
}

async fn stored(mount: &Mount) -> ConfigEntry {
    get_json(mount.storage.as_ref(), config::STORAGE_KEY)
        .await
        .unwrap()
        .unwrap()
}

/// The stored key works, no write-ahead entry is left, and of all keys that a
/// rotation made the stored one alone is alive.
async fn expect_one_key(mount: &Mount, gateway: &FakeAdmin, what: &str) {
    let config = stored(mount).await;
    assert!(gateway.admits(config.master_key.expose()), "{what}");
    assert_eq!(mount.wal_entries().await, 0, "{what}");
    let alive = gateway.aliases();
    if config.master_key_alias.is_empty() {
        assert!(alive.is_empty(), "{what}: {alive:?}");
    } else {
        assert_eq!(alive, [config.master_key_alias], "{what}");
    }
}

#[tokio::test]
async fn the_first_rotation_replaces_a_static_key_and_warns_that_it_still_works() {
    for style in STYLES {
        let gateway = FakeAdmin::start(style).await;
        let mount = configured(&gateway).await;
        let answer = rotate(&mount).await.unwrap();
        assert!(answer.warnings[0].contains("still works"), "{style:?}");
        let text = format!("{:?} {:?}", answer.data, answer.warnings);
        assert!(!text.contains("canary"), "{text}");
        expect_one_key(&mount, &gateway, "first").await;
        let config = stored(&mount).await;
        assert_eq!(
            answer.data.unwrap()["master_key_alias"],
            config.master_key_alias
        );
        assert_ne!(config.master_key.expose(), STATIC_KEY);
    }
}

#[tokio::test]
async fn a_later_rotation_deletes_the_key_before_it_without_a_warning() {
    for style in STYLES {
        let gateway = FakeAdmin::start(style).await;
        let mount = rotated_once(&gateway).await;
        let before = stored(&mount).await;
        let answer = rotate(&mount).await.unwrap();
        assert!(answer.warnings.is_empty(), "{:?}", answer.warnings);
        assert!(!gateway.admits(before.master_key.expose()));
        expect_one_key(&mount, &gateway, "second").await;
        // The engine goes on with the new key, not with a client of the old one.
        let check = mount.read("check").await.unwrap().unwrap().data.unwrap();
        assert_eq!(check["admin_key_works"], true, "{check:?}");
    }
}

#[tokio::test]
async fn what_is_asked_of_each_gateway() {
    let gateway = FakeAdmin::start(Style::LlmProxy).await;
    rotated_once(&gateway).await;
    let row = gateway.inner().keys.values().next().unwrap().row.clone();
    assert_eq!(row["key_type"], "management");
    assert_eq!(row["scopes"], json!(["keys.read", "keys.write"]));
    assert!(row.get("duration").is_none() && row.get("user_id").is_none());

    let gateway = FakeAdmin::start(Style::LiteLlm).await;
    let mount = rotated_once(&gateway).await;
    rotate(&mount).await.unwrap();
    let row = gateway.inner().keys.values().next().unwrap().row.clone();
    assert_eq!(row["user_id"], "vault-litellm_1a2b");
    assert!(row.get("duration").is_none() && row.get("scopes").is_none());
    // The second rotation reuses the user of the first.
    let made = gateway
        .calls()
        .iter()
        .filter(|call| *call == "/user/new")
        .count();
    assert_eq!(made, 1);
}

#[tokio::test]
async fn a_user_that_is_there_is_reused_only_if_it_is_an_admin() {
    for (role, works) in [("proxy_admin", true), ("internal_user", false)] {
        let gateway = FakeAdmin::start(Style::LiteLlm).await;
        let mount = configured(&gateway).await;
        let user = ("vault-litellm_1a2b".to_owned(), role.to_owned());
        gateway.inner().users.extend([user]);
        assert_eq!(rotate(&mount).await.is_ok(), works, "{role}");
        assert_eq!(
            stored(&mount).await.master_key.expose() != STATIC_KEY,
            works
        );
    }
}

#[tokio::test]
async fn a_failing_gateway_leaves_a_working_key_at_each_call() {
    for style in STYLES {
        let whole = FakeAdmin::start(style).await;
        let mount = rotated_once(&whole).await;
        whole.cut(usize::MAX, Cut::Before);
        rotate(&mount).await.unwrap();
        let calls = whole.calls().len();
        assert!(calls >= 5, "{calls}");
        for cut in [Cut::Before, Cut::After, Cut::Garbled] {
            for call in 1..=calls {
                let gateway = FakeAdmin::start(style).await;
                let mount = rotated_once(&gateway).await;
                gateway.cut(call, cut);
                let answer = rotate(&mount).await;
                gateway.works_again();
                let what = format!("{style:?} {cut:?} {call}: {answer:?}");
                assert!(!what.contains("canary"), "{what}");
                // Whatever happened, the stored key works before any rollback.
                let config = stored(&mount).await;
                assert!(gateway.admits(config.master_key.expose()), "{what}");
                assert_eq!(roll_back(&mount).await, None, "{what}");
                expect_one_key(&mount, &gateway, &what).await;
            }
        }
    }
}

#[tokio::test]
async fn a_crash_at_each_storage_call_leaves_a_working_key() {
    for style in STYLES {
        for call in 1..=8 {
            for fault in [Fault::At(call), Fault::From(call)] {
                let gateway = FakeAdmin::start(style).await;
                let mut mount = rotated_once(&gateway).await;
                let storage = Arc::new(FaultStorage::new(mount.storage.clone()));
                storage.set(Some(fault.clone()));
                let answer = rotate_on(&mount, storage.clone()).await;
                let what = format!("{style:?} {fault:?}: {answer:?}");
                let config = stored(&mount).await;
                assert!(gateway.admits(config.master_key.expose()), "{what}");
                // The process is gone: what it remembered is too.
                let kept = mount.storage.clone();
                mount = Mount::new();
                mount.storage = kept;
                assert_eq!(roll_back(&mount).await, None, "{what}");
                expect_one_key(&mount, &gateway, &what).await;
            }
        }
    }
}

#[tokio::test]
async fn a_rotation_uses_few_storage_calls() {
    let gateway = FakeAdmin::start(Style::LlmProxy).await;
    let mount = rotated_once(&gateway).await;
    let storage = Arc::new(FaultStorage::new(mount.storage.clone()));
    storage.set(None);
    rotate_on(&mount, storage.clone()).await.unwrap();
    // Fewer than the cuts above, so that each of them is one.
    assert!(storage.calls() < 8, "{}", storage.calls());
}

/// A rotation that was cut after the successor was made and before it was saved.
async fn cut_before_save(gateway: &FakeAdmin) -> Mount {
    let mount = rotated_once(gateway).await;
    let storage = Arc::new(FaultStorage::new(mount.storage.clone()));
    // Config read for the client and for the change, two write-ahead entries,
    // then the changed config.
    storage.set(Some(Fault::From(5)));
    rotate_on(&mount, storage.clone()).await.unwrap_err();
    assert_eq!((mount.wal_entries().await, gateway.aliases().len()), (2, 2));
    mount
}

#[tokio::test]
async fn a_config_written_after_a_crash_is_kept_and_both_others_go() {
    let gateway = FakeAdmin::start(Style::LlmProxy).await;
    let mount = cut_before_save(&gateway).await;
    let warnings = mount
        .write("config", json!({"master_key": STATIC_KEY}))
        .await
        .unwrap()
        .unwrap()
        .warnings;
    assert!(warnings[0].contains("no longer used"), "{warnings:?}");
    assert_eq!(roll_back(&mount).await, None);
    expect_one_key(&mount, &gateway, "operator's key").await;
    assert_eq!(stored(&mount).await.master_key.expose(), STATIC_KEY);
}

#[tokio::test]
async fn a_save_that_fails_replaces_nothing_whatever_is_written_next() {
    let gateway = FakeAdmin::start(Style::LlmProxy).await;
    let mount = rotated_once(&gateway).await;
    let old = stored(&mount).await;
    let storage = Arc::new(FaultStorage::new(mount.storage.clone()));
    storage.set(Some(Fault::At(5)));
    rotate_on(&mount, storage).await.unwrap_err();
    mount
        .write("config", json!({"master_key": STATIC_KEY}))
        .await
        .unwrap();
    assert_eq!(roll_back(&mount).await, None);
    assert_eq!(gateway.aliases(), [old.master_key_alias]);
    assert_eq!(mount.wal_entries().await, 0);
}

#[tokio::test]
async fn a_young_entry_and_a_config_being_written_are_left_alone() {
    let gateway = FakeAdmin::start(Style::LlmProxy).await;
    let mount = cut_before_save(&gateway).await;
    let tick = mount.request(Operation::Rollback, "").build();
    mount.backend.handle(tick).await.unwrap();
    assert_eq!(gateway.aliases().len(), 2, "the entry is too young");

    let state = Arc::new(State::default());
    let writing = state.writing.lock().await;
    let immediate = mount
        .request(Operation::Rollback, "")
        .value("immediate", true);
    let outcome = root_wal::rollback(
        state.clone(),
        immediate.build(),
        root_wal::SUCCESSOR_KIND,
        json!({"key_alias": "vault-root-x", "base_url": gateway.url}),
        chrono::Utc::now(),
    );
    assert_eq!(outcome.await.unwrap(), WalOutcome::Keep);
    drop(writing);
    assert_eq!(roll_back(&mount).await, None);
    expect_one_key(&mount, &gateway, "at last").await;
}

#[tokio::test]
async fn at_a_renamed_gateway_the_left_over_keys_are_found_and_at_another_kept_for_later() {
    let gateway = FakeAdmin::start(Style::LlmProxy).await;
    let mount = cut_before_save(&gateway).await;
    let renamed = gateway.url.replace("127.0.0.1", "localhost");
    let elsewhere = FakeAdmin::start(Style::LlmProxy).await;
    let point_to = async |url: &str| {
        mount
            .write("config", json!({"base_url": url, "master_key": STATIC_KEY}))
            .await
            .unwrap();
    };
    point_to(&elsewhere.url).await;
    assert!(roll_back(&mount).await.is_some(), "nothing is proved there");
    assert_eq!(mount.wal_entries().await, 2);
    point_to(&renamed).await;
    assert_eq!(roll_back(&mount).await, None);
    expect_one_key(&mount, &gateway, "renamed").await;
}

#[tokio::test]
async fn entries_wait_while_the_stored_key_is_refused() {
    let gateway = FakeAdmin::start(Style::LlmProxy).await;
    let mount = cut_before_save(&gateway).await;
    let mut broken = stored(&mount).await;
    let good = broken.clone();
    broken.master_key = crate::client::MasterKey::parse("sk-canary-wrong").unwrap();
    for (config, left) in [(&broken, 2), (&good, 0)] {
        put_json(mount.storage.as_ref(), config::STORAGE_KEY, config)
            .await
            .unwrap();
        assert_eq!(roll_back(&mount).await.is_some(), left > 0);
        assert_eq!(mount.wal_entries().await, left);
    }
    expect_one_key(&mount, &gateway, "good again").await;
}

#[tokio::test]
async fn a_mount_without_configuration_says_so() {
    let mount = Mount::new();
    let text = mount.refused("rotate-root", json!({})).await;
    assert!(text.contains("not configured"), "{text}");
}
