//! The client of the server's system view.
//!
//! Owns the mapping of its answers. Remembers that this node is the active one,
//! and the mount's maximum TTL for a moment.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;
use tonic::{Code, Status, transport::Channel};
use vault_plugin_proto::pb::{
    self, events_client::EventsClient, system_view_client::SystemViewClient,
};

use super::{
    MESSAGE_BYTES_MAX, convert, event,
    link::{CLOSED, Link, is_unreachable},
    time::{from_epoch, from_nanos, from_seconds, to_nanos, to_seconds},
};
use crate::{
    ClusterInfo, Entity, Event, Group, IdentityToken, Map, PluginEnv, ReplicationState,
    ResponseWrapInfo, RotationInfo, RotationJob, Sensitive, SystemError, SystemView, Value,
};

#[derive(Clone, Debug)]
pub(crate) struct RemoteSystem {
    link: Link,
    /// The state of a node that is active and no secondary.
    ///
    /// Vault and OpenBao set every mount up anew when a node steps down, so the
    /// answer stays true as long as this connection; were it ever stale, the
    /// first write would still be refused and forwarded. A standby is asked
    /// each time, because it must notice at once that it has become active.
    active: Arc<OnceLock<ReplicationState>>,
    /// The mount's maximum TTL, and when it was asked for.
    max_lease_ttl: Arc<Mutex<Option<(Instant, Duration)>>>,
}

/// A burst of requests asks for the mount's maximum TTL once. No longer than a
/// request takes anyway between the question and the server's own use of the
/// value, so that nobody meets an answer that could not have been older.
const MAX_LEASE_TTL_HOLDS: Duration = Duration::from_millis(100);

impl RemoteSystem {
    pub(crate) fn new(link: Link) -> Self {
        Self {
            link,
            active: Arc::default(),
            max_lease_ttl: Arc::default(),
        }
    }

    fn channel(&self) -> Result<Channel, SystemError> {
        self.link
            .channel()
            .ok_or_else(|| SystemError::Unavailable(CLOSED.to_owned()))
    }

    fn client(&self) -> Result<SystemViewClient<Channel>, SystemError> {
        Ok(SystemViewClient::new(self.channel()?).max_decoding_message_size(MESSAGE_BYTES_MAX))
    }
}

/// Vault: the words that its community edition refuses with.
const COMMUNITY_TEXT: &str = "not supported in Vault community edition";

fn fault(status: &Status) -> SystemError {
    if status.code() == Code::Unimplemented {
        SystemError::Unsupported
    } else if is_unreachable(status) {
        SystemError::Unavailable(status.message().to_owned())
    } else if status.message().contains(COMMUNITY_TEXT) {
        SystemError::EnterpriseOnly
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
        let asked = Instant::now();
        let known = *self
            .max_lease_ttl
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some((at, ttl)) = known
            && asked.duration_since(at) < MAX_LEASE_TTL_HOLDS
        {
            return Ok(ttl);
        }
        let ttl = from_nanos(ask!(self, max_lease_ttl, pb::Empty {}).ttl);
        *self
            .max_lease_ttl
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = Some((asked, ttl));
        Ok(ttl)
    }

    async fn tainted(&self) -> Result<bool, SystemError> {
        Ok(ask!(self, tainted, pb::Empty {}).tainted)
    }

    async fn caching_disabled(&self) -> Result<bool, SystemError> {
        Ok(ask!(self, caching_disabled, pb::Empty {}).disabled)
    }

    async fn replication_state(&self) -> Result<ReplicationState, SystemError> {
        if let Some(active) = self.active.get() {
            return Ok(*active);
        }
        let bits = ask!(self, replication_state, pb::Empty {}).state;
        let state = ReplicationState::from_bits(bits.cast_unsigned());
        if state.is_primary_active() {
            // Another request may have been faster, with the same answer.
            self.active.set(state).ok();
        }
        Ok(state)
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

    async fn generate_identity_token(
        &self,
        audience: &str,
        ttl: Duration,
    ) -> Result<IdentityToken, SystemError> {
        let args = pb::GenerateIdentityTokenRequest {
            audience: audience.to_owned(),
            ttl: to_seconds(ttl),
        };
        let reply = ask!(self, generate_identity_token, args);
        Ok(IdentityToken {
            token: Sensitive::new(reply.token),
            ttl: from_seconds(reply.ttl),
        })
    }

    async fn register_rotation_job(&self, job: RotationJob) -> Result<String, SystemError> {
        let job = pb::RotationJobInput {
            name: job.name,
            mount_point: job.mount_point,
            path: job.path,
            rotation_schedule: job.schedule,
            rotation_window: to_seconds(job.window),
            rotation_period: to_seconds(job.period),
        };
        let args = pb::RegisterRotationJobRequest { job: Some(job) };
        let reply = ask!(self, register_rotation_job, args);
        refusal(reply.err)?;
        Ok(reply.rotation_id)
    }

    async fn deregister_rotation_job(
        &self,
        mount_point: &str,
        path: &str,
    ) -> Result<(), SystemError> {
        let req = pb::DeregisterRotationRequestInput {
            mount_point: mount_point.to_owned(),
            req_path: path.to_owned(),
        };
        let args = pb::DeregisterRotationJobRequest { req: Some(req) };
        ask!(self, deregister_rotation_job, args);
        Ok(())
    }

    async fn rotation_info(&self, path: &str) -> Result<RotationInfo, SystemError> {
        let args = pb::RotationInfoRequest {
            mount_path: path.to_owned(),
        };
        let reply = ask!(self, get_rotation_information, args);
        Ok(RotationInfo {
            last: from_epoch(reply.issue_time),
            next: from_epoch(reply.expire_time),
            ttl: from_seconds(reply.ttl),
        })
    }

    async fn send_event(&self, event: Event) -> Result<(), SystemError> {
        let mut client = EventsClient::new(self.channel()?);
        let sent = client.send_event(event::request(event)).await;
        sent.map_err(|status| fault(&status))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
