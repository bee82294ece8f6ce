//! The engine on Vault in front of a real LiteLLM, without a licence: the same
//! promises as in front of our own gateway, by its key API alone.

use std::time::Duration;

use e2e::leaks::Canaries;
use e2e::litellm::LiteLlm;
use e2e::upstream::Upstream;
use e2e::vault::{self, Server, Storage};
use e2e::world::{Lease, MOUNT, TestFolder};
use e2e::{Kind, eventually};
use reqwest::Method;
use serde_json::{Value, json};

/// A rollback comes every minute, and takes entries of five seconds and more.
const TWO_ROLLBACKS: Duration = Duration::from_secs(135);
/// LiteLLM keeps a key in memory for a while after others have changed it.
const CACHED: Duration = Duration::from_secs(70);

struct Front {
    server: Server,
    litellm: LiteLlm,
    canaries: Canaries,
    _upstream: Upstream,
    folder: TestFolder,
}

impl Front {
    async fn start() -> Self {
        let folder = TestFolder::new("litellm");
        let upstream = Upstream::start().await;
        let litellm = LiteLlm::start(&folder.sub("gateway"), &upstream).await;
        let canaries = Canaries::default();
        canaries.add(&litellm.master_key);
        let server = Server::start(vault::Settings {
            kind: Kind::Vault,
            storage: Storage::Memory,
            wal_min_age: Some(Duration::from_secs(5)),
            folder: folder.sub("server"),
        })
        .await;
        server.register_engine().await;
        server.mount_engine(MOUNT).await;
        // Proves address and admin key, because nothing says not to.
        let config = json!({"base_url": litellm.url, "master_key": litellm.master_key});
        let front = Self {
            server,
            litellm,
            canaries,
            _upstream: upstream,
            folder,
        };
        front.write("config", &config).await;
        front
    }

    async fn write(&self, path: &str, body: &Value) -> Value {
        let path = format!("{MOUNT}/{path}");
        self.server.write(&path, body).await.expect_ok()
    }

    async fn read(&self, path: &str) -> Value {
        let path = format!("{MOUNT}/{path}");
        self.server.read(&path).await.expect_ok()
    }

    async fn refused(&self, path: &str, body: &Value) -> String {
        let path = format!("{MOUNT}/{path}");
        self.server.write(&path, body).await.expect_refused(400)
    }

    async fn issue(&self, role: &str) -> Lease {
        let lease = Lease::of(&self.read(&format!("creds/{role}")).await);
        self.canaries.add(&lease.key);
        lease
    }

    async fn expect_refused_key(&self, what: &str, key: &str) {
        eventually(what, CACHED, async || {
            self.litellm.try_key(key).await == 401
        })
        .await;
    }

    async fn expires(&self, hash: &str) -> String {
        let row = self.litellm.info(hash).await;
        row["expires"].as_str().expect("an expiry").to_owned()
    }

    /// How many keys there are.
    async fn keys(&self) -> u64 {
        let path = "/key/list?size=1";
        let (_, answer) = self.litellm.admin(Method::GET, path, &Value::Null).await;
        answer["total_count"].as_u64().expect("a count")
    }

    /// What the server has written holds no secret. LiteLLM's own files are its
    /// own business.
    fn expect_no_leaks(&self) {
        let found = self
            .canaries
            .found_under(&self.folder.path.join("server"), &[]);
        assert!(found.is_empty(), "secrets leaked:\n{}", found.join("\n"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_whole_life_of_a_key() {
    let front = Front::start().await;
    let role = json!({"models": "fake-1", "max_budget": 0.03, "ttl": "1h", "max_ttl": "3h",
        "metadata": {"team": "search"}});
    front.write("roles/app", &role).await;

    // Issued as asked for.
    let lease = front.issue("app").await;
    let row = front.litellm.info(&lease.hash).await;
    assert_eq!(row["key_alias"], lease.alias);
    assert_eq!(row["models"], json!(["fake-1"]));
    assert_eq!(row["max_budget"], json!(0.03));
    assert_eq!(row["key_type"], "llm_api");
    assert_eq!(row["metadata"]["vault_role"], "app");
    assert_eq!(row["metadata"]["vault_mount"], format!("{MOUNT}/"));
    assert_eq!(row["metadata"]["team"], "search");

    // Used, and bound to its models and its budget.
    assert_eq!(front.litellm.chat(&lease.key, "fake-1").await.0, 200);
    assert_eq!(front.litellm.chat(&lease.key, "fake-2").await.0, 403);
    eventually("the budget is spent", CACHED, async || {
        front.litellm.chat(&lease.key, "fake-1").await.0 == 422
    })
    .await;

    // Renewed: the gateway's expiry moves.
    let before = front.expires(&lease.hash).await;
    front
        .server
        .renew(&lease.id, Duration::from_secs(7200))
        .await
        .expect_ok();
    let after = front.expires(&lease.hash).await;
    assert!(after > before, "{before} {after}");

    // Revoked, twice, and when somebody else was faster.
    front.server.revoke(&lease.id).await.expect_ok();
    front
        .expect_refused_key("a revoked key is refused", &lease.key)
        .await;
    front.server.revoke(&lease.id).await.expect_ok();
    let lease = front.issue("app").await;
    let gone = json!({"keys": [lease.hash]});
    let (status, answer) = front
        .litellm
        .admin(Method::POST, "/key/delete", &gone)
        .await;
    assert_eq!(status, 200, "{answer}");
    front.server.revoke(&lease.id).await.expect_ok();
    assert!(front.server.lease_ttl(&lease.id).await.is_none());

    // Narrowed, and never widened.
    let narrow = json!({"ttl": "10m", "max_budget": 0.01});
    let answer = front.write("creds/app", &narrow).await;
    let lease = Lease::of(&answer);
    front.canaries.add(&lease.key);
    assert_eq!(lease.ttl, Duration::from_secs(600));
    let row = front.litellm.info(&lease.hash).await;
    assert_eq!(row["max_budget"], json!(0.01));
    for wider in [
        json!({"max_budget": 1}),
        json!({"max_budget": 0}),
        json!({"models": "fake-2"}),
        json!({"ttl": "4h"}),
    ] {
        front.refused("creds/app", &wider).await;
    }
    front.expect_no_leaks();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn roles_promise_only_what_litellm_keeps() {
    let front = Front::start().await;
    let check = front.read("check").await;
    let said = check["data"].to_string();
    assert!(said.contains("LiteLLM"), "{said}");

    // Enforced without a licence.
    front
        .write(
            "roles/slow",
            &json!({"models": "fake-1", "max_budget": 1, "rpm_limit": 1}),
        )
        .await;
    let lease = front.issue("slow").await;
    assert_eq!(front.litellm.chat(&lease.key, "fake-1").await.0, 200);
    assert_eq!(front.litellm.chat(&lease.key, "fake-1").await.0, 429);

    // LiteLLM would drop this in silence.
    let refusal = front
        .refused(
            "roles/near",
            &json!({"models": "fake-1", "max_budget": 1, "allowed_cidrs": "10.0.0.0/8"}),
        )
        .await;
    assert!(
        refusal.contains("allowed_cidrs") && refusal.contains("LiteLLM"),
        "{refusal}"
    );

    // LiteLLM itself refuses this where it has no licence.
    let licensed = json!({"models": "fake-1", "max_budget": 1,
        "model_max_budget": {"fake-1": {"budget_limit": 1, "time_period": "1d"}}});
    front.write("roles/licensed", &licensed).await;
    let refused = front.server.read(&format!("{MOUNT}/creds/licensed")).await;
    let told = refused.body.to_string();
    assert!(!refused.is_ok() && told.contains("license"), "{told}");
    front.expect_no_leaks();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a2_a_crash_while_issuing_leaves_no_key() {
    let front = Front::start().await;
    front
        .write(
            "roles/app",
            &json!({"models": "fake-1", "max_budget": 1, "ttl": "2h"}),
        )
        .await;
    let before = front.keys().await;
    for point in ["creds.request_sent", "creds.before_wal_delete"] {
        front.server.arm(&format!("{point}=abort"));
        let answer = front.server.read(&format!("{MOUNT}/creds/app")).await;
        front.server.arm("");
        assert!(!answer.is_ok(), "{point}: {}", answer.body);
        eventually("the engine is back", Duration::from_secs(5), async || {
            front
                .server
                .read(&format!("{MOUNT}/roles/app"))
                .await
                .is_ok()
        })
        .await;
    }
    assert_eq!(front.keys().await, before + 2, "the keys that nobody holds");
    eventually("no key is left", TWO_ROLLBACKS, async || {
        front.keys().await == before
    })
    .await;
    front.expect_no_leaks();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn static_roles_rotate() {
    let front = Front::start().await;
    let role = json!({"models": "fake-1", "max_budget": 1, "rotation_period": "1h"});
    front.write("static-roles/service", &role).await;
    let key = async || {
        let answer = front.read("static-creds/service").await;
        let key = answer["data"]["key"].as_str().expect("a key").to_owned();
        front.canaries.add(&key);
        key
    };
    let first = key().await;
    assert_eq!(front.litellm.chat(&first, "fake-1").await.0, 200);

    front.write("rotate-role/service", &json!({})).await;
    let second = key().await;
    assert_ne!(first, second);
    assert_eq!(front.litellm.chat(&second, "fake-1").await.0, 200);
    front
        .expect_refused_key("the former key is refused", &first)
        .await;

    // With a time of grace both work.
    front
        .write("static-roles/service", &json!({"grace_period": "5m"}))
        .await;
    front.write("rotate-role/service", &json!({})).await;
    let third = key().await;
    assert_eq!(front.litellm.chat(&second, "fake-1").await.0, 200);
    assert_eq!(front.litellm.chat(&third, "fake-1").await.0, 200);

    front
        .server
        .delete(&format!("{MOUNT}/static-roles/service"))
        .await
        .expect_ok();
    front
        .expect_refused_key("a deleted role's key is refused", &third)
        .await;
    front.expect_no_leaks();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_admin_key_is_replaced_by_one_that_only_vault_knows() {
    let front = Front::start().await;
    front
        .write("roles/app", &json!({"models": "fake-1", "max_budget": 1}))
        .await;
    let held = front.issue("app").await;
    let before = front.keys().await;

    // The master key is no row of LiteLLM's: it stays, and the answer says so.
    let answer = front.write("config/rotate-root", &json!({})).await;
    assert!(
        answer["warnings"].to_string().contains("master"),
        "{answer}"
    );
    assert_eq!(front.keys().await, before + 1);
    let lease = front.issue("app").await;
    assert_eq!(front.litellm.chat(&lease.key, "fake-1").await.0, 200);

    // The next one replaces a key that can be deleted.
    front.write("config/rotate-root", &json!({})).await;
    assert_eq!(
        front.keys().await,
        before + 2,
        "one admin key and the lease"
    );
    for lease in [held, lease] {
        front.server.revoke(&lease.id).await.expect_ok();
        front
            .expect_refused_key("a key of before is revoked", &lease.key)
            .await;
    }
    front.issue("app").await;
    front.expect_no_leaks();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tidy_deletes_what_has_expired_and_nothing_else() {
    let front = Front::start().await;
    front
        .write("roles/app", &json!({"models": "fake-1", "max_budget": 1}))
        .await;
    let live = front.issue("app").await;
    let over = front.issue("app").await;
    let stranger = json!({"key_alias": "stranger", "duration": "1s"});
    let short = json!({"key": over.hash, "duration": "1s"});
    for (path, body) in [("/key/generate", &stranger), ("/key/update", &short)] {
        let (status, answer) = front.litellm.admin(Method::POST, path, body).await;
        assert_eq!(status, 200, "{answer}");
    }
    let before = front.keys().await;
    eventually("a key has expired", CACHED, async || {
        let told = front.write("tidy", &json!({"dry_run": true})).await;
        told["data"].to_string().contains(&over.alias)
    })
    .await;
    assert_eq!(front.keys().await, before, "a dry run deletes nothing");

    front.write("tidy", &json!({})).await;
    assert_eq!(front.keys().await, before - 1);
    assert_eq!(front.litellm.keys_called(&over.alias).await, 0);
    assert_eq!(front.litellm.keys_called("stranger").await, 1);
    assert_eq!(front.litellm.try_key(&live.key).await, 200);
    front.server.revoke(&over.id).await.expect_ok();
    front.expect_no_leaks();
}
