//! The engine on its server: registered, mounted, reloaded, found and killed.

use std::fs;

use serde_json::json;
use sha2::{Digest, Sha256};

use super::Server;
use crate::{artefacts, process};

impl Server {
    /// Puts the engine into the catalogue, pinned by its hash.
    pub async fn register_engine(&self) {
        let body = json!({"sha256": sha256_of_the_engine(), "command": artefacts::ENGINE});
        self.write(
            &format!("sys/plugins/catalog/secret/{}", artefacts::ENGINE),
            &body,
        )
        .await
        .expect_ok();
    }

    /// Puts the engine into the catalogue under a version that it reports itself.
    pub async fn register_engine_as(&self, version: &str) {
        let body = json!({
            "sha256": sha256_of_the_engine(),
            "command": artefacts::ENGINE,
            "version": version,
            "env": [format!("LITELLM_REPORTED_VERSION={version}")],
        });
        self.write(
            &format!("sys/plugins/catalog/secret/{}", artefacts::ENGINE),
            &body,
        )
        .await
        .expect_ok();
    }

    pub async fn mount_engine(&self, path: &str) {
        let body = json!({"type": artefacts::ENGINE});
        self.write(&format!("sys/mounts/{path}"), &body)
            .await
            .expect_ok();
    }

    /// OpenBao: in a namespace, which stands before `sys`.
    pub async fn mount_engine_in(&self, namespace: &str, path: &str) {
        let body = json!({"type": artefacts::ENGINE});
        self.write(&format!("{namespace}/sys/mounts/{path}"), &body)
            .await
            .expect_ok();
    }

    pub async fn unmount_in(&self, namespace: &str, path: &str) {
        self.delete(&format!("{namespace}/sys/mounts/{path}"))
            .await
            .expect_ok();
    }

    pub async fn unmount(&self, path: &str) {
        self.delete(&format!("sys/mounts/{path}")).await.expect_ok();
    }

    pub async fn reload_engine(&self) {
        let body = json!({"plugin": artefacts::ENGINE});

        self.write("sys/plugins/reload/backend", &body)
            .await
            .expect_ok();
    }

    /// How many rollbacks of mounts the server has begun, as its metrics tell.
    pub async fn rollbacks(&self) -> u64 {
        let metrics = self.text("sys/metrics?format=prometheus").await;
        metrics
            .lines()
            .filter(|line| line.starts_with("vault_rollback_attempt"))
            .filter_map(|line| line.split_once("_count ")?.1.parse::<u64>().ok())
            .sum()
    }

    /// The running processes of the engine.
    pub fn engine_pids(&self) -> Vec<u32> {
        process::children_named(self.pid(), artefacts::ENGINE)
    }

    /// SIGKILL to the engine alone.
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill_engine(&self) {
        let pids = self.engine_pids();
        assert!(!pids.is_empty(), "the engine does not run");
        pids.into_iter().for_each(process::kill_hard);
    }

    /// Arms failpoints in the engine, `name=action`; none disarms.
    pub fn arm(&self, failpoints: &str) {
        fs::write(self.failpoints(), failpoints).expect("arming a failpoint");
    }

    /// How often the engine of this server has come by a failpoint that was armed.
    pub fn failpoint_hits(&self, name: &str) -> usize {
        self.logged(&format!("failpoint={name}"))
    }

    /// How many rollbacks have reached the engine of this server, which come
    /// without a path.
    pub fn rollbacks_at_the_engine(&self) -> usize {
        self.logged("handle request: transport=gRPC path=\"\" status=started")
    }

    fn logged(&self, text: &str) -> usize {
        let log = fs::read(self.settings.folder.join("server.log")).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        log.lines().filter(|line| line.contains(text)).count()
    }
}

fn sha256_of_the_engine() -> String {
    let bytes = fs::read(artefacts::plugin_folder().join(artefacts::ENGINE)).expect("the engine");
    Sha256::digest(&bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
