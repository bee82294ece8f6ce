//! One mount's engine: its paths, secrets and hooks over one state.
//!
//! Owns the builder. A mistake in a declaration is kept and reported by the
//! first call, so that building never fails half-way. `dispatch` runs it.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};

use super::{
    handler::{EndHook, Handler, HandlerResult, Hook, KeyHook, WalHandler, WalOutcome, boxed},
    path::Path,
    route::Route,
    secret::SecretType,
};
use crate::{Error, Request, Value};

/// What an engine is to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BackendKind {
    /// A secrets engine.
    Secrets,
    /// An auth engine.
    Auth,
}

impl BackendKind {
    /// Vault: the tag of its operations in the OpenAPI document.
    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Self::Secrets => "secrets",
            Self::Auth => "auth",
        }
    }
}

/// Paths that the server treats in a special way. A trailing `*` is a prefix.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SpecialPaths {
    /// Need `sudo`.
    pub root: Vec<String>,
    /// Need no token; `+` stands for one part of the path.
    pub unauthenticated: Vec<String>,
    /// Storage prefixes that are not replicated.
    pub local_storage: Vec<String>,
    /// Storage keys, or prefixes with a trailing slash, to seal-wrap.
    pub seal_wrap_storage: Vec<String>,
    /// Vault Enterprise: storage whose writes go to the primary.
    pub write_forwarded_storage: Vec<String>,
    /// Vault: bodies that are not JSON.
    pub binary: Vec<String>,
    /// Vault: under the special limiter.
    pub limited: Vec<String>,
    /// Vault: readable from a storage snapshot.
    pub allow_snapshot_read: Vec<String>,
}

pub(crate) struct WalRollback<S> {
    pub(crate) min_age: Duration,
    pub(crate) handler: WalHandler<S>,
}

/// An engine over one mount's state.
pub struct Backend<S> {
    pub(crate) kind: BackendKind,
    pub(crate) state: Arc<S>,
    pub(crate) help: String,
    pub(crate) version: String,
    pub(crate) special_paths: SpecialPaths,
    pub(crate) routes: Vec<Route<S>>,
    pub(crate) secrets: BTreeMap<String, Secrets<S>>,
    pub(crate) auth_renew: Option<Handler<S>>,
    pub(crate) rotate_credential: Option<Hook<S>>,
    pub(crate) initialize: Option<Hook<S>>,
    pub(crate) periodic: Option<Hook<S>>,
    pub(crate) invalidate: Option<KeyHook<S>>,
    pub(crate) clean: Option<EndHook<S>>,
    pub(crate) wal: Option<WalRollback<S>>,
    /// Held by the tick that is under way.
    pub(crate) walking: tokio::sync::Mutex<()>,
    defects: Vec<String>,
}

pub(crate) struct Secrets<S> {
    pub(crate) renew: Option<Handler<S>>,
    pub(crate) revoke: Option<Handler<S>>,
}

impl<S: Send + Sync + 'static> Backend<S> {
    /// An engine without paths.
    pub fn new(kind: BackendKind, state: S) -> Self {
        Self {
            kind,
            state: Arc::new(state),
            help: String::new(),
            version: String::new(),
            special_paths: SpecialPaths::default(),
            routes: Vec::new(),
            secrets: BTreeMap::new(),
            auth_renew: None,
            rotate_credential: None,
            initialize: None,
            periodic: None,
            invalidate: None,
            clean: None,
            wal: None,
            walking: tokio::sync::Mutex::new(()),
            defects: Vec::new(),
        }
    }

    /// The text of `path-help` for the whole mount.
    #[must_use]
    pub fn help(mut self, text: impl Into<String>) -> Self {
        self.help = text.into();
        self
    }

    /// The version reported to the catalog, with a leading `v`.
    #[must_use]
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = version.into();
        self
    }

    /// Adds a path. The first that matches a request answers it.
    #[must_use]
    pub fn path(mut self, path: Path<S>) -> Self {
        match Route::new(path) {
            Ok(route) => self.routes.push(route),
            Err(defect) => self.defects.push(defect),
        }
        self
    }

    /// Adds a type of leased answer.
    #[must_use]
    pub fn secret(mut self, secret: SecretType<S>) -> Self {
        let handlers = Secrets {
            renew: secret.renew,
            revoke: secret.revoke,
        };
        self.secrets.insert(secret.name, handlers);
        self
    }

    /// Extends a login. The request carries it in `auth`, with the path and the
    /// data of the login; the answer carries it on, with the life that the role
    /// grants now. Without this hook no login of the mount can be renewed.
    #[must_use]
    pub fn auth_renew<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Arc<S>, Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = HandlerResult> + Send + 'static,
    {
        self.auth_renew = Some(boxed(handler));
        self
    }

    /// Vault Enterprise: rotates the credential that belongs to the request's
    /// path, when the rotation manager says so. Community servers never call
    /// it; there an engine offers a path of its own.
    #[must_use]
    pub fn rotate_credential<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Arc<S>, Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Error>> + Send + 'static,
    {
        self.rotate_credential = Some(boxed(handler));
        self
    }

    /// Paths that the server treats in a special way.
    #[must_use]
    pub fn special_paths(mut self, paths: SpecialPaths) -> Self {
        self.special_paths = paths;
        self
    }

    /// Runs after each mount, unseal and reload, on standbys too (where storage
    /// is read-only). It runs often and must be idempotent.
    #[must_use]
    pub fn initialize<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Arc<S>, Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Error>> + Send + 'static,
    {
        self.initialize = Some(boxed(handler));
        self
    }

    /// Runs each minute on the active node, of each cluster: see
    /// [`SystemView::writes_here`](crate::SystemView::writes_here).
    #[must_use]
    pub fn periodic<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Arc<S>, Request) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Error>> + Send + 'static,
    {
        self.periodic = Some(boxed(handler));
        self
    }

    /// Drops what is cached of a storage key that changed on another node.
    #[must_use]
    pub fn invalidate<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Arc<S>, String) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.invalidate = Some(Arc::new(move |state, key| Box::pin(handler(state, key))));
        self
    }

    /// Runs when the mount goes: on unmount, reload and seal.
    #[must_use]
    pub fn clean<F, Fut>(mut self, handler: F) -> Self
    where
        F: Fn(Arc<S>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.clean = Some(Arc::new(move |state| Box::pin(handler(state))));
        self
    }

    /// Undoes a write-ahead entry older than `min_age`, on the active node.
    /// [`WalOutcome::Done`] deletes the entry; an error keeps it for the next minute.
    #[must_use]
    pub fn wal_rollback<F, Fut>(mut self, min_age: Duration, handler: F) -> Self
    where
        F: Fn(Arc<S>, Request, String, Value, DateTime<Utc>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<WalOutcome, Error>> + Send + 'static,
    {
        let handler: WalHandler<S> = Arc::new(move |state, request, kind, data, created_at| {
            Box::pin(handler(state, request, kind, data, created_at))
        });
        self.wal = Some(WalRollback { min_age, handler });
        self
    }

    /// Whether every declaration is sound.
    ///
    /// # Errors
    /// [`Error::Internal`] with all that is wrong: bad patterns, captures that
    /// are no field, create operations without an existence check.
    pub fn check(&self) -> Result<(), Error> {
        if self.defects.is_empty() {
            return Ok(());
        }
        Err(Error::internal(self.defects.join("; ")))
    }
}

impl<S> fmt::Debug for Backend<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Backend")
            .field("kind", &self.kind)
            .field("version", &self.version)
            .field("defects", &self.defects)
            .finish_non_exhaustive()
    }
}
