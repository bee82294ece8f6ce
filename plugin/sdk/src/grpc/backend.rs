//! The engine's service: every call of the server ends here.
//!
//! Owns the life of instances and the running of handlers in tasks of their
//! own. A panic in one is answered as an internal error; the process lives on.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use tokio::time::timeout;
use tonic::{Request, Response, Status};
use tracing::{info, warn};
use vault_plugin_proto::pb::{self, backend_server::Backend as Service};

use super::{
    convert,
    engine::Factory,
    fault,
    instances::{Instance, Instances, multiplex_id},
    link::Link,
    system::RemoteSystem,
};
use crate::{BackendKind, Error, Operation, SetupConfig, SystemView, broker::Broker};

/// At registration the server has no system view; it says so at once.
const ENV_TIMEOUT: Duration = Duration::from_secs(2);

#[derive(Clone)]
pub(crate) struct BackendService {
    pub(crate) factory: Arc<Factory>,
    pub(crate) broker: Broker,
    pub(crate) instances: Instances,
    pub(crate) metadata_mode: bool,
}

impl BackendService {
    /// Vault: metadata mode is for questions about the engine, not for its work.
    fn refuse_in_metadata_mode(&self) -> Result<(), Status> {
        if self.metadata_mode {
            return Err(Status::failed_precondition("refused in metadata mode"));
        }
        Ok(())
    }

    async fn build(&self, id: String, args: pb::SetupArgs) -> Result<(), Error> {
        let channel = self.broker.dial(args.broker_id).await.map_err(|error| {
            warn!(%error, "cannot reach the server's side of the mount");
            Error::internal(error.to_string())
        })?;
        let link = Link::new(channel);
        let system = RemoteSystem::new(link.clone());
        let env = timeout(ENV_TIMEOUT, system.plugin_env()).await;
        let config = SetupConfig {
            config: args.config.into_iter().collect::<BTreeMap<_, _>>(),
            backend_uuid: args.backend_uuid,
            plugin_env: env.ok().and_then(Result::ok),
        };
        let engine = (self.factory)(config)?;
        if let Some(old) = self.instances.insert(id, Instance::new(engine, link)) {
            old.close().await;
        }
        Ok(())
    }
}

/// The request as handlers see it, with the storage and system view of its mount.
fn converted(instance: &Instance, message: Option<pb::Request>) -> Result<crate::Request, Status> {
    // What a tick does first may be outside, before any write would be refused:
    // it asks anew whether this node is the active one.
    let is_tick = message
        .as_ref()
        .is_some_and(|message| message.operation == Operation::Rollback.as_str());
    let system = if is_tick {
        instance.fresh_system()
    } else {
        instance.system.clone()
    };
    convert::request(message, instance.storage.clone(), system)
        .map_err(|error| Status::invalid_argument(error.to_string()))
}

#[tonic::async_trait]
impl Service for BackendService {
    async fn setup(
        &self,
        request: Request<pb::SetupArgs>,
    ) -> Result<Response<pb::SetupReply>, Status> {
        let id = multiplex_id(request.metadata())?.to_owned();
        let service = self.clone();
        let tasks = crate::tasks::Tasks::new();
        let built = tasks
            .run(async move { service.build(id, request.into_inner()).await })
            .await;
        let err = match built.map_err(Error::from).flatten() {
            Ok(()) => String::new(),
            Err(error) => error.to_string(),
        };
        Ok(Response::new(pb::SetupReply { err }))
    }

    async fn r#type(&self, request: Request<pb::Empty>) -> Result<Response<pb::TypeReply>, Status> {
        let instance = self.instances.find(request.metadata())?;
        let r#type = match instance.engine.kind() {
            BackendKind::Secrets => 1,
            BackendKind::Auth => 2,
        };
        Ok(Response::new(pb::TypeReply { r#type }))
    }

    async fn special_paths(
        &self,
        request: Request<pb::Empty>,
    ) -> Result<Response<pb::SpecialPathsReply>, Status> {
        let instance = self.instances.find(request.metadata())?;
        let paths = instance.engine.special_paths().clone();
        let paths = pb::Paths {
            root: paths.root,
            unauthenticated: paths.unauthenticated,
            local_storage: paths.local_storage,
            seal_wrap_storage: paths.seal_wrap_storage,
            write_forwarded_storage: paths.write_forwarded_storage,
            binary: paths.binary,
            limited: paths.limited,
            allow_snapshot_read: paths.allow_snapshot_read,
        };
        Ok(Response::new(pb::SpecialPathsReply { paths: Some(paths) }))
    }

    async fn initialize(
        &self,
        request: Request<pb::InitializeArgs>,
    ) -> Result<Response<pb::InitializeReply>, Status> {
        self.refuse_in_metadata_mode()?;
        let instance = self.instances.find(request.metadata())?;
        let running = instance.clone();
        let started = instance.tasks.run(async move {
            let (storage, system) = (running.storage.clone(), running.system.clone());
            let operation = Operation::Other("initialize".to_owned());
            let request = crate::Request::new(operation, "", storage, system);
            running.engine.start(request).await
        });
        let err = started.await.map_err(Error::from).flatten().err();
        Ok(Response::new(pb::InitializeReply {
            err: err.as_ref().map(fault::message),
        }))
    }

    async fn handle_request(
        &self,
        request: Request<pb::HandleRequestArgs>,
    ) -> Result<Response<pb::HandleRequestReply>, Status> {
        self.refuse_in_metadata_mode()?;
        let instance = self.instances.find(request.metadata())?;
        let converted = converted(&instance, request.into_inner().request)?;
        let running = instance.clone();
        let waiting = converted.caller.waiting();
        let handled = instance
            .tasks
            .run(async move { running.engine.handle(converted).await })
            .await;
        waiting.answered();
        Ok(Response::new(fault::reply(
            handled.map_err(Error::from).flatten(),
        )))
    }

    async fn handle_existence_check(
        &self,
        request: Request<pb::HandleExistenceCheckArgs>,
    ) -> Result<Response<pb::HandleExistenceCheckReply>, Status> {
        self.refuse_in_metadata_mode()?;
        let instance = self.instances.find(request.metadata())?;
        let converted = converted(&instance, request.into_inner().request)?;
        let running = instance.clone();
        let checked = instance
            .tasks
            .run(async move { running.engine.exists(converted).await });
        Ok(Response::new(
            match checked.await.map_err(Error::from).flatten() {
                Ok(found) => pb::HandleExistenceCheckReply {
                    check_found: found.is_some(),
                    exists: found.unwrap_or_default(),
                    err: None,
                },
                Err(error) => pb::HandleExistenceCheckReply {
                    check_found: false,
                    exists: false,
                    err: Some(fault::message(&error)),
                },
            },
        ))
    }

    async fn invalidate_key(
        &self,
        request: Request<pb::InvalidateKeyArgs>,
    ) -> Result<Response<pb::Empty>, Status> {
        self.refuse_in_metadata_mode()?;
        let instance = self.instances.find(request.metadata())?;
        let running = instance.clone();
        let key = request.into_inner().key;
        // A panic is in the log already, and the server ignores the answer.
        instance
            .tasks
            .run(async move { running.engine.invalidated(key).await })
            .await
            .ok();
        Ok(Response::new(pb::Empty {}))
    }

    async fn cleanup(&self, request: Request<pb::Empty>) -> Result<Response<pb::Empty>, Status> {
        if let Some(instance) = self.instances.remove(request.metadata())? {
            instance.close().await;
            info!("a mount is closed");
        }
        Ok(Response::new(pb::Empty {}))
    }
}

#[cfg(test)]
mod tests;
