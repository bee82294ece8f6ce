//! One request to a mount.
//!
//! Owns the plain struct that handlers get. It never holds protobuf. `Debug`
//! leaves out everything that can hold a secret: data, headers, tokens.

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use crate::{
    Auth, Caller, FieldData, Map, Operation, Secret, Sensitive, Storage, SystemView, Value,
};

/// A request, with the storage and the system view of the mount it is for.
#[derive(Clone)]
#[non_exhaustive]
pub struct Request {
    /// The server's id of this request; joins to its audit log.
    pub id: String,
    /// What is asked.
    pub operation: Operation,
    /// The path within the mount, without a leading slash.
    pub path: String,
    /// The body and query as they came.
    pub data: Map<String, Value>,
    /// The lease, on renew and revoke.
    pub secret: Option<Secret>,
    /// The login, on an auth engine's renew.
    pub auth: Option<Auth>,
    /// Headers that the mount lets through.
    pub headers: BTreeMap<String, Vec<String>>,
    /// Vault: salted, of no use against the server.
    pub client_token: Sensitive,
    /// The token's accessor.
    pub client_token_accessor: String,
    /// How often the token can still be used; zero means without limit.
    pub client_token_remaining_uses: i64,
    /// The caller's display name.
    pub display_name: String,
    /// Where the mount lives, with the trailing slash and any namespace.
    pub mount_point: String,
    /// The mount's type.
    pub mount_type: String,
    /// The mount's accessor.
    pub mount_accessor: String,
    /// The caller's identity entity; empty when there is none.
    pub entity_id: String,
    /// How the caller wants the answer wrapped.
    pub wrap_info: Option<RequestWrapInfo>,
    /// Where the caller comes from.
    pub connection: Option<Connection>,
    /// The replication cluster that the request came from.
    pub replication_cluster: String,
    /// Vault: an override of soft-mandatory policies was asked.
    pub policy_override: bool,
    /// The request needed no token.
    pub unauthenticated: bool,
    /// Vault: the storage snapshot that the request reads from.
    pub requires_snapshot_id: String,
    /// Vault: the path that a recovery copies from.
    pub recover_source_path: String,
    /// Whether anyone still waits for the answer.
    pub caller: Caller,
    /// Coerced fields; filled by the framework before a handler runs.
    pub fields: FieldData,
    /// This mount's storage.
    pub storage: Arc<dyn Storage>,
    /// What the server tells about itself and this mount.
    pub system: Arc<dyn SystemView>,
}

impl Request {
    /// A request that holds nothing but what is given.
    pub fn new(
        operation: Operation,
        path: impl Into<String>,
        storage: Arc<dyn Storage>,
        system: Arc<dyn SystemView>,
    ) -> Self {
        Self {
            id: String::new(),
            operation,
            path: path.into(),
            data: Map::new(),
            secret: None,
            auth: None,
            headers: BTreeMap::new(),
            client_token: Sensitive::default(),
            client_token_accessor: String::new(),
            client_token_remaining_uses: 0,
            display_name: String::new(),
            mount_point: String::new(),
            mount_type: String::new(),
            mount_accessor: String::new(),
            entity_id: String::new(),
            wrap_info: None,
            connection: None,
            replication_cluster: String::new(),
            policy_override: false,
            unauthenticated: false,
            requires_snapshot_id: String::new(),
            recover_source_path: String::new(),
            caller: Caller::default(),
            fields: FieldData::default(),
            storage,
            system,
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("id", &self.id)
            .field("operation", &self.operation)
            .field("path", &self.path)
            .field("mount_point", &self.mount_point)
            .finish_non_exhaustive()
    }
}

/// How the caller wants the answer wrapped.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RequestWrapInfo {
    /// Life of the wrapping token.
    pub ttl: Duration,
    /// Empty, or `jwt`.
    pub format: String,
    /// Whether the wrapped answer is to be seal-wrapped.
    pub seal_wrap: bool,
}

/// Where the caller comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Connection {
    /// The caller's address.
    pub remote_addr: String,
    /// OpenBao only; zero on Vault.
    pub remote_port: i32,
    /// The TLS server name that the caller asked for.
    pub server_name: String,
    /// The caller's certificates (DER), leaf first.
    pub peer_certificates: Vec<Vec<u8>>,
}
