//! A server that answers what a test says.
//!
//! Owns fixed answers; the role of the node can change while a test runs.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use async_trait::async_trait;

use crate::{
    ClusterInfo, Entity, Group, Map, PluginEnv, ReplicationState, ResponseWrapInfo, Sensitive,
    SystemError, SystemView, Value,
};

/// A server that answers what a test says.
#[derive(Debug)]
pub struct StaticSystemView {
    /// The mount's default TTL; 32 days at first, as on a fresh server.
    pub default_lease_ttl: Duration,
    /// The mount's maximum TTL; 32 days at first.
    pub max_lease_ttl: Duration,
    /// The known identities.
    pub entities: Vec<Entity>,
    replication: AtomicU32,
}

impl Default for StaticSystemView {
    fn default() -> Self {
        const MONTH: Duration = Duration::from_secs(768 * 3600);
        Self {
            default_lease_ttl: MONTH,
            max_lease_ttl: MONTH,
            entities: Vec::new(),
            replication: AtomicU32::new(0),
        }
    }
}

impl StaticSystemView {
    /// An active node with the defaults of a fresh server.
    pub fn new() -> Self {
        Self::default()
    }

    /// A standby, as OpenBao's are.
    pub fn standby() -> Self {
        let view = Self::default();
        view.set_replication_bits(ReplicationState::STANDBY | 8192);
        view
    }

    /// Changes the role of the node.
    pub fn set_replication_bits(&self, bits: u32) {
        self.replication.store(bits, Ordering::SeqCst);
    }
}

#[async_trait]
impl SystemView for StaticSystemView {
    async fn default_lease_ttl(&self) -> Result<Duration, SystemError> {
        Ok(self.default_lease_ttl)
    }

    async fn max_lease_ttl(&self) -> Result<Duration, SystemError> {
        Ok(self.max_lease_ttl)
    }

    async fn tainted(&self) -> Result<bool, SystemError> {
        Ok(false)
    }

    async fn caching_disabled(&self) -> Result<bool, SystemError> {
        Ok(false)
    }

    async fn replication_state(&self) -> Result<ReplicationState, SystemError> {
        Ok(ReplicationState::from_bits(
            self.replication.load(Ordering::SeqCst),
        ))
    }

    async fn mlock_enabled(&self) -> Result<bool, SystemError> {
        Ok(false)
    }

    async fn local_mount(&self) -> Result<bool, SystemError> {
        Ok(false)
    }

    async fn entity_info(&self, entity_id: &str) -> Result<Option<Entity>, SystemError> {
        Ok(self
            .entities
            .iter()
            .find(|entity| entity.id == entity_id)
            .cloned())
    }

    async fn groups_for_entity(&self, _: &str) -> Result<Vec<Group>, SystemError> {
        Ok(Vec::new())
    }

    async fn plugin_env(&self) -> Result<PluginEnv, SystemError> {
        Ok(PluginEnv {
            version: "0.0.0-test".to_owned(),
            ..PluginEnv::default()
        })
    }

    async fn generate_password_from_policy(&self, _: &str) -> Result<Sensitive, SystemError> {
        Err(SystemError::Unsupported)
    }

    async fn response_wrap_data(
        &self,
        _: Map<String, Value>,
        _: Duration,
    ) -> Result<ResponseWrapInfo, SystemError> {
        Err(SystemError::Unsupported)
    }

    async fn cluster_info(&self) -> Result<ClusterInfo, SystemError> {
        Ok(ClusterInfo::default())
    }
}
