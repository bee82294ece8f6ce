//! One mount of the engine: its paths, its secret type, its rollback, and the
//! state that its requests share. A process serves many mounts; each gets its
//! own `State`, so nothing here is global.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Mutex as AsyncMutex, RwLock};
use vault_plugin_sdk::{Backend, BackendKind, Error, Request, SpecialPaths};

use crate::client::Client;
use crate::paths::roles::{self, RoleCache};
use crate::paths::{self, config, static_roles};
use crate::static_state::Statics;
use crate::{secret_key, static_tick, wal};

pub(crate) const VERSION: &str = concat!("v", env!("CARGO_PKG_VERSION"));

const HELP: &str = "Issues short-lived keys for an LLM gateway.

Write the gateway's address and admin key to config, describe who may call what
in roles/<name>, then read creds/<name>: the answer is a key that lives as long
as its lease. Renewing, revoking or losing the lease renews or ends the key.";

/// What the requests of one mount share.
#[derive(Debug, Default)]
pub(crate) struct State {
    /// The client for the stored configuration, built at first use. Empty after
    /// each change of the configuration, here or on another node.
    client: RwLock<Option<Arc<Client>>>,
    pub(crate) roles: RoleCache,
    /// Held from the reading of an entry to the writing of its change, so that
    /// two writers at once lose nothing.
    pub(crate) writing: AsyncMutex<()>,
    /// Aliases of the keys that are being issued at this moment.
    issuing: Mutex<HashSet<String>>,
    pub(crate) statics: Statics,
}

impl State {
    /// The client for the configuration in storage.
    ///
    /// # Errors
    /// A user error that says what to write when there is no configuration.
    pub(crate) async fn client(&self, req: &Request) -> Result<Arc<Client>, Error> {
        if let Some(client) = self.client.read().await.as_ref() {
            return Ok(Arc::clone(client));
        }
        // The lock is held while the entry is read, so that a write that comes
        // in between cannot be overwritten by what was read before it.
        let mut slot = self.client.write().await;
        if let Some(client) = slot.as_ref() {
            return Ok(Arc::clone(client));
        }
        let entry = config::load(req).await?.ok_or_else(config::missing)?;
        let client = Arc::new(Client::new(&entry)?);
        *slot = Some(Arc::clone(&client));
        Ok(client)
    }

    /// Runs `change` on the stored configuration while no request can read it,
    /// then forgets the client that was built from the old one.
    pub(crate) async fn change_config<T>(
        &self,
        change: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let mut slot = self.client.write().await;
        let changed = change.await;
        *slot = None;
        changed
    }

    pub(crate) fn issuing(&self) -> MutexGuard<'_, HashSet<String>> {
        // A panic cannot leave a set of names half changed.
        self.issuing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn invalidate(&self, key: &str) {
        if key == config::STORAGE_KEY {
            *self.client.write().await = None;
        }
        if key.starts_with(static_roles::STORAGE_PREFIX) {
            self.statics.queue().forget();
        }
        if let Some(role) = key.strip_prefix(roles::STORAGE_PREFIX) {
            self.roles.forget(role);
        }
    }
}

pub(crate) fn backend() -> Backend<State> {
    let backend = Backend::new(BackendKind::Secrets, State::default())
        .help(HELP)
        .version(VERSION)
        .special_paths(SpecialPaths {
            seal_wrap_storage: vec![
                config::STORAGE_KEY.into(),
                static_roles::STORAGE_PREFIX.into(),
            ],
            local_storage: vec!["wal/".into()],
            ..SpecialPaths::default()
        })
        .secret(secret_key::secret_type())
        .periodic(static_tick::run)
        .invalidate(|state: Arc<State>, key: String| async move {
            state.invalidate(&key).await;
        })
        .wal_rollback(Duration::ZERO, wal::rollback);
    paths::all()
        .into_iter()
        .fold(backend, |backend, path| backend.path(path))
}
