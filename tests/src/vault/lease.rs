//! Leases, as their holder and an operator handle them.

use std::time::Duration;

use serde_json::json;

use super::{Answer, Server};

impl Server {
    /// Revokes and waits for it.
    pub async fn revoke(&self, lease_id: &str) -> Answer {
        self.write(
            "sys/leases/revoke",
            &json!({"lease_id": lease_id, "sync": true}),
        )
        .await
    }

    /// Revokes without waiting: the server tries, and tries again.
    pub async fn revoke_later(&self, lease_id: &str) {
        self.write(
            "sys/leases/revoke",
            &json!({"lease_id": lease_id, "sync": false}),
        )
        .await
        .expect_ok();
    }

    pub async fn renew(&self, lease_id: &str, increment: Duration) -> Answer {
        let body = json!({"lease_id": lease_id, "increment": increment.as_secs()});
        self.write("sys/leases/renew", &body).await
    }

    /// How long the server says that a lease lives on; none when there is none.
    pub async fn lease_ttl(&self, lease_id: &str) -> Option<Duration> {
        let answer = self
            .write("sys/leases/lookup", &json!({"lease_id": lease_id}))
            .await;
        if !answer.is_ok() {
            return None;
        }
        answer.body["data"]["ttl"].as_u64().map(Duration::from_secs)
    }

    /// The ids of the leases of a role, below `<mount>/creds/<role>/`.
    pub async fn leases(&self, path: &str) -> Vec<String> {
        self.list(&format!("sys/leases/lookup/{path}/")).await
    }

    /// How many leases the server has given up revoking.
    pub async fn irrevocable_leases(&self) -> u64 {
        let counts = self.read("sys/leases/count?type=irrevocable").await;
        let counts = counts.expect_ok();
        counts["data"]["lease_count"].as_u64().expect("a count")
    }

    /// Revokes every lease below a prefix and waits for it.
    pub async fn revoke_prefix(&self, prefix: &str) -> Answer {
        let path = format!("sys/leases/revoke-prefix/{prefix}");
        self.write(&path, &json!({"sync": true})).await
    }

    /// Forgets every lease below a prefix, whether its revocation works or not.
    pub async fn revoke_force(&self, prefix: &str) -> Answer {
        let path = format!("sys/leases/revoke-force/{prefix}");
        self.write(&path, &json!({})).await
    }
}
