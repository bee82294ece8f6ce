//! A server that answers what a test says.
//!
//! Owns fixed answers; the role of the node can change while a test runs.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
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
    /// The groups of each identity, by its id.
    pub groups: BTreeMap<String, Vec<Group>>,
    /// What each password policy generates.
    pub passwords: BTreeMap<String, String>,
    /// Whether the mount is local to this cluster.
    pub local_mount: bool,
    /// What the server says of itself.
    pub plugin_env: PluginEnv,
    tainted: AtomicBool,
    replication: AtomicU32,
}

impl Default for StaticSystemView {
    fn default() -> Self {
        const MONTH: Duration = Duration::from_secs(768 * 3600);
        Self {
            default_lease_ttl: MONTH,
            max_lease_ttl: MONTH,
            entities: Vec::new(),
            groups: BTreeMap::new(),
            passwords: BTreeMap::new(),
            local_mount: false,
            plugin_env: PluginEnv {
                version: "0.0.0-test".to_owned(),
                ..PluginEnv::default()
            },
            tainted: AtomicBool::new(false),
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

    /// Says whether the mount is being removed.
    pub fn set_tainted(&self, tainted: bool) {
        self.tainted.store(tainted, Ordering::SeqCst);
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
        Ok(self.tainted.load(Ordering::SeqCst))
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
        Ok(self.local_mount)
    }

    async fn entity_info(&self, entity_id: &str) -> Result<Option<Entity>, SystemError> {
        Ok(self
            .entities
            .iter()
            .find(|entity| entity.id == entity_id)
            .cloned())
    }

    async fn groups_for_entity(&self, entity_id: &str) -> Result<Vec<Group>, SystemError> {
        Ok(self.groups.get(entity_id).cloned().unwrap_or_default())
    }

    async fn plugin_env(&self) -> Result<PluginEnv, SystemError> {
        Ok(self.plugin_env.clone())
    }

    async fn generate_password_from_policy(&self, policy: &str) -> Result<Sensitive, SystemError> {
        let password = self.passwords.get(policy).ok_or_else(|| {
            SystemError::Refused(format!("the test knows no password policy {policy:?}"))
        })?;
        Ok(Sensitive::new(password))
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
