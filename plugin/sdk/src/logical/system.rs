//! What a server tells about itself and about the mount.
//!
//! Owns the trait and its plain answers. Nothing is cached here: a mount can be
//! tuned, and a node can change its role, between two requests.

use std::{collections::BTreeMap, fmt::Debug, time::Duration};

use async_trait::async_trait;

use crate::{Alias, Event, Map, ResponseWrapInfo, RotationInfo, RotationJob, Sensitive, Value};

/// Why a question to the server failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SystemError {
    /// The mount's connection to the server is closed or broken.
    #[error("cannot reach the server: {0}")]
    Unavailable(String),
    /// The server refused.
    #[error("{0}")]
    Refused(String),
    /// The server does not know the question (older, or the other product).
    #[error("the server does not offer this")]
    Unsupported,
    /// Vault answers this in its Enterprise edition only.
    #[error("the server offers this in its Enterprise edition only")]
    EnterpriseOnly,
}

/// The role of this node, as a bit set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReplicationState(u32);

impl ReplicationState {
    /// Vault: a performance standby. OpenBao: any standby.
    pub const STANDBY: u32 = 16384;
    /// Performance secondary.
    pub const PERFORMANCE_SECONDARY: u32 = 64;
    /// Disaster recovery secondary.
    pub const DR_SECONDARY: u32 = 512;

    /// From the wire's bits.
    pub const fn from_bits(bits: u32) -> Self {
        Self(bits)
    }

    /// The wire's bits.
    pub const fn bits(self) -> u32 {
        self.0
    }

    /// Whether this node is a standby: it must neither write nor act outside.
    pub const fn is_standby(self) -> bool {
        self.0 & Self::STANDBY != 0
    }

    /// Whether this node serves writes: neither a standby nor a secondary.
    pub const fn is_primary_active(self) -> bool {
        self.0 & (Self::STANDBY | Self::PERFORMANCE_SECONDARY | Self::DR_SECONDARY) == 0
    }

    /// Whether this cluster is a performance secondary.
    pub const fn is_performance_secondary(self) -> bool {
        self.0 & Self::PERFORMANCE_SECONDARY != 0
    }

    /// Whether this cluster is a disaster recovery secondary.
    pub const fn is_dr_secondary(self) -> bool {
        self.0 & Self::DR_SECONDARY != 0
    }
}

/// An identity.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entity {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its aliases.
    pub aliases: Vec<Alias>,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
    /// Whether an operator disabled it.
    pub disabled: bool,
    /// The namespace it lives in.
    pub namespace_id: String,
}

/// A group of identities.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// Its metadata.
    pub metadata: BTreeMap<String, String>,
    /// The namespace it lives in.
    pub namespace_id: String,
}

/// The server's version.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PluginEnv {
    /// For example `1.21.0`.
    pub version: String,
    /// For example `beta1`.
    pub prerelease: String,
    /// For example `ent`.
    pub metadata: String,
}

/// The cluster a server belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClusterInfo {
    /// Its name; often empty.
    pub name: String,
    /// Its id.
    pub id: String,
}

/// A signed token that says who this mount is, for services that trust the server.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct IdentityToken {
    /// The token, a JWT.
    pub token: Sensitive,
    /// How long it is good.
    pub ttl: Duration,
}

/// What a server tells about itself and this mount.
///
/// What not every server offers answers [`SystemError::Unsupported`] or
/// [`SystemError::EnterpriseOnly`] there, and so it does by default, so that a
/// server played by a test need not know of it.
#[async_trait]
pub trait SystemView: Send + Sync + Debug {
    /// The mount's default lease TTL.
    async fn default_lease_ttl(&self) -> Result<Duration, SystemError>;
    /// The mount's maximum lease TTL.
    async fn max_lease_ttl(&self) -> Result<Duration, SystemError>;
    /// Whether the mount is being removed.
    async fn tainted(&self) -> Result<bool, SystemError>;
    /// Whether the server asks plugins not to cache.
    async fn caching_disabled(&self) -> Result<bool, SystemError>;
    /// The role of this node.
    async fn replication_state(&self) -> Result<ReplicationState, SystemError>;
    /// Whether the server locks its memory.
    async fn mlock_enabled(&self) -> Result<bool, SystemError>;
    /// Whether the mount is local to this cluster.
    async fn local_mount(&self) -> Result<bool, SystemError>;
    /// The identity, or `None` where there is none.
    async fn entity_info(&self, entity_id: &str) -> Result<Option<Entity>, SystemError>;
    /// The identity's groups.
    async fn groups_for_entity(&self, entity_id: &str) -> Result<Vec<Group>, SystemError>;
    /// The server's version.
    async fn plugin_env(&self) -> Result<PluginEnv, SystemError>;
    /// A password made by the server under one of its password policies.
    async fn generate_password_from_policy(&self, policy: &str) -> Result<Sensitive, SystemError>;
    /// Wraps data in a one-time token. Vault 1.21 and OpenBao 2.7 refuse it to
    /// external plugins ("no namespace"); a caller can ask for wrapping instead.
    async fn response_wrap_data(
        &self,
        data: Map<String, Value>,
        ttl: Duration,
    ) -> Result<ResponseWrapInfo, SystemError>;
    /// The cluster this server belongs to.
    async fn cluster_info(&self) -> Result<ClusterInfo, SystemError>;

    /// Whether this node is the one that writes the mount's storage. Periodic
    /// work on what exists once, outside or in replicated storage, asks this
    /// first: a performance secondary runs it too, beside the primary.
    async fn writes_here(&self) -> Result<bool, SystemError> {
        let state = self.replication_state().await?;
        if state.is_standby() || state.is_dr_secondary() {
            return Ok(false);
        }
        Ok(!state.is_performance_secondary() || self.local_mount().await?)
    }

    /// Vault Enterprise: a token for `audience` that says who this mount is.
    async fn generate_identity_token(
        &self,
        _audience: &str,
        _ttl: Duration,
    ) -> Result<IdentityToken, SystemError> {
        Err(SystemError::Unsupported)
    }

    /// Vault Enterprise: has a credential rotated from now on, and gives the
    /// job's id. It is registered anew, never changed.
    async fn register_rotation_job(&self, _job: RotationJob) -> Result<String, SystemError> {
        Err(SystemError::Unsupported)
    }

    /// Vault Enterprise: has a credential rotated no longer. Vault's community
    /// edition agrees, because there is nothing to end.
    async fn deregister_rotation_job(
        &self,
        _mount_point: &str,
        _path: &str,
    ) -> Result<(), SystemError> {
        Err(SystemError::Unsupported)
    }

    /// Vault Enterprise: when the credential that belongs to a path of this mount
    /// was rotated, and when it will be.
    async fn rotation_info(&self, _path: &str) -> Result<RotationInfo, SystemError> {
        Err(SystemError::Unsupported)
    }

    /// Vault: tells subscribers. That it succeeds does not mean that anyone
    /// listens, so nothing may depend on it.
    async fn send_event(&self, _event: Event) -> Result<(), SystemError> {
        Err(SystemError::Unsupported)
    }
}
