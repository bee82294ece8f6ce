//! The client of the server's system view.
//!
//! Owns the mapping of its answers; caches nothing.

use std::time::Duration;

use async_trait::async_trait;
use tonic::{Code, Status, transport::Channel};
use vault_plugin_proto::pb::{self, system_view_client::SystemViewClient};

use super::{
    MESSAGE_BYTES_MAX, convert,
    link::{CLOSED, Link, is_unreachable},
    time::{from_nanos, to_nanos},
};
use crate::{
    ClusterInfo, Entity, Group, Map, PluginEnv, ReplicationState, ResponseWrapInfo, Sensitive,
    SystemError, SystemView, Value,
};

#[derive(Clone, Debug)]
pub(crate) struct RemoteSystem {
    link: Link,
}

impl RemoteSystem {
    pub(crate) const fn new(link: Link) -> Self {
        Self { link }
    }

    fn client(&self) -> Result<SystemViewClient<Channel>, SystemError> {
        let channel = self
            .link
            .channel()
            .ok_or_else(|| SystemError::Unavailable(CLOSED.to_owned()))?;
        Ok(SystemViewClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }
}

fn fault(status: &Status) -> SystemError {
    if status.code() == Code::Unimplemented {
        SystemError::Unsupported
    } else if is_unreachable(status) {
        SystemError::Unavailable(status.message().to_owned())
    } else {
        SystemError::Refused(status.message().to_owned())
    }
}

fn refusal(text: String) -> Result<(), SystemError> {
    if text.is_empty() {
        Ok(())
    } else {
        Err(SystemError::Refused(text))
    }
}

/// Calls one method and gives its reply's message.
macro_rules! ask {
    ($system:ident, $method:ident, $args:expr) => {
        $system
            .client()?
            .$method($args)
            .await
            .map_err(|status| fault(&status))?
            .into_inner()
    };
}

#[async_trait]
impl SystemView for RemoteSystem {
    async fn default_lease_ttl(&self) -> Result<Duration, SystemError> {
        Ok(from_nanos(ask!(self, default_lease_ttl, pb::Empty {}).ttl))
    }

    async fn max_lease_ttl(&self) -> Result<Duration, SystemError> {
        Ok(from_nanos(ask!(self, max_lease_ttl, pb::Empty {}).ttl))
    }

    async fn tainted(&self) -> Result<bool, SystemError> {
        Ok(ask!(self, tainted, pb::Empty {}).tainted)
    }

    async fn caching_disabled(&self) -> Result<bool, SystemError> {
        Ok(ask!(self, caching_disabled, pb::Empty {}).disabled)
    }

    async fn replication_state(&self) -> Result<ReplicationState, SystemError> {
        let state = ask!(self, replication_state, pb::Empty {}).state;
        Ok(ReplicationState::from_bits(state.cast_unsigned()))
    }

    async fn mlock_enabled(&self) -> Result<bool, SystemError> {
        Ok(ask!(self, mlock_enabled, pb::Empty {}).enabled)
    }

    async fn local_mount(&self) -> Result<bool, SystemError> {
        Ok(ask!(self, local_mount, pb::Empty {}).local)
    }

    async fn entity_info(&self, entity_id: &str) -> Result<Option<Entity>, SystemError> {
        let args = pb::EntityInfoArgs {
            entity_id: entity_id.to_owned(),
        };
        let reply = ask!(self, entity_info, args);
        refusal(reply.err)?;
        Ok(reply.entity.map(convert::entity))
    }

    async fn groups_for_entity(&self, entity_id: &str) -> Result<Vec<Group>, SystemError> {
        let args = pb::EntityInfoArgs {
            entity_id: entity_id.to_owned(),
        };
        let reply = ask!(self, groups_for_entity, args);
        refusal(reply.err)?;
        Ok(reply.groups.into_iter().map(convert::group).collect())
    }

    async fn plugin_env(&self) -> Result<PluginEnv, SystemError> {
        let reply = ask!(self, plugin_env, pb::Empty {});
        refusal(reply.err)?;
        let env = reply.plugin_environment.unwrap_or_default();
        Ok(PluginEnv {
            version: env.vault_version,
            prerelease: env.vault_version_prerelease,
            metadata: env.vault_version_metadata,
        })
    }

    async fn generate_password_from_policy(&self, policy: &str) -> Result<Sensitive, SystemError> {
        let args = pb::GeneratePasswordFromPolicyRequest {
            policy_name: policy.to_owned(),
        };
        Ok(Sensitive::new(
            ask!(self, generate_password_from_policy, args).password,
        ))
    }

    async fn response_wrap_data(
        &self,
        data: Map<String, Value>,
        ttl: Duration,
    ) -> Result<ResponseWrapInfo, SystemError> {
        let data = Value::Object(data).to_string();
        let args = pb::ResponseWrapDataArgs {
            data,
            ttl: to_nanos(ttl),
            jwt: false,
        };
        let reply = ask!(self, response_wrap_data, args);
        refusal(reply.err)?;
        Ok(convert::wrap_info(reply.wrap_info.unwrap_or_default()))
    }

    async fn cluster_info(&self) -> Result<ClusterInfo, SystemError> {
        let reply = ask!(self, cluster_info, pb::Empty {});
        refusal(reply.err)?;
        Ok(ClusterInfo {
            name: reply.cluster_name,
            id: reply.cluster_id,
        })
    }
}
