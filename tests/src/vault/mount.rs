//! Mounts over time: tuned to another version, moved, wrapped, in namespaces.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};

use super::{Answer, Server};
use crate::eventually;

impl Server {
    /// Moves a mount and waits until it is done.
    pub async fn move_mount(&self, from: &str, to: &str) {
        let body = json!({"from": from, "to": to});
        let begun = self.write("sys/remount", &body).await.expect_ok();
        let migration = begun["data"]["migration_id"]
            .as_str()
            .expect("a migration id")
            .to_owned();
        eventually("the mount is moved", Duration::from_secs(30), async || {
            let path = format!("sys/remount/status/{migration}");
            let status = self.read(&path).await.expect_ok();
            let status = &status["data"]["migration_info"]["status"];
            assert_ne!(status, "failure", "the mount could not be moved");
            status == "success"
        })
        .await;
    }

    /// Pins a mount to a version of the engine, which serves after a reload.
    pub async fn pin_version(&self, mount: &str, version: &str) {
        let body = json!({"plugin_version": version});
        self.write(&format!("sys/mounts/{mount}/tune"), &body)
            .await
            .expect_ok();
    }

    /// The version that serves a mount now.
    pub async fn running_version(&self, mount: &str) -> String {
        self.of_mount(mount, "running_plugin_version").await
    }

    /// The hash of the binary that serves a mount now.
    pub async fn running_sha256(&self, mount: &str) -> String {
        self.of_mount(mount, "running_sha256").await
    }

    async fn of_mount(&self, mount: &str, field: &str) -> String {
        let mounts = self.read("sys/mounts").await.expect_ok();
        mounts["data"][format!("{mount}/")][field]
            .as_str()
            .expect("a text")
            .to_owned()
    }

    /// Reads a path into a wrapping token.
    pub async fn read_wrapped(&self, path: &str, ttl: &str) -> String {
        let headers = [
            ("X-Vault-Token", self.token.as_str()),
            ("X-Vault-Wrap-TTL", ttl),
        ];
        let answer = self
            .call_with(Method::GET, path, &headers, &Value::Null)
            .await;
        let body = answer.expect_ok();
        assert!(
            body["data"].is_null(),
            "a wrapped answer shows no data: {body}"
        );
        body["wrap_info"]["token"]
            .as_str()
            .expect("a wrapping token")
            .to_owned()
    }

    pub async fn unwrap(&self, wrapping_token: &str) -> Answer {
        let headers = [("X-Vault-Token", wrapping_token)];
        self.call_with(Method::POST, "sys/wrapping/unwrap", &headers, &json!({}))
            .await
    }
}
