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
}
