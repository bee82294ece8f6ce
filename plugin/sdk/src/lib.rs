//! Write Vault and OpenBao plugins in Rust.
//!
//! Owns all that any plugin needs: the handshake with the server, mutual TLS,
//! the way back to the server's storage, and the rules that an engine's paths,
//! fields and leases follow. Knows nothing of any one engine.
#![warn(missing_docs)]

mod broker;
mod controller;
mod framework;
#[doc(hidden)]
#[cfg(feature = "fuzzing")]
pub mod fuzzing;
mod grpc;
mod handshake;
mod hardening;
mod listener;
mod logger;
mod logical;
mod mtls;
mod presence;
mod serve;
mod stop;
mod tasks;
pub mod testing;

pub use framework::{
    backend::{Backend, BackendKind, SpecialPaths},
    data::FieldData,
    field::{Field, FieldType},
    handler::{HandlerResult, WalOutcome},
    lease,
    path::{DisplayAttrs, Path},
    route::{generic_name, generic_name_with_at, match_all, optional_part},
    secret::SecretType,
    token::TokenFields,
    wal,
};
pub use logical::{
    auth::{Alias, Auth, TokenType},
    caller::Caller,
    error::{Error, READ_ONLY_TEXT},
    event::Event,
    operation::Operation,
    request::{Connection, Request, RequestWrapInfo},
    response::{Response, ResponseWrapInfo},
    rotation::{RotationInfo, RotationJob},
    secret::{LeaseOptions, Secret},
    sensitive::Sensitive,
    storage::{
        Storage, StorageEntry, StorageError, Transaction, TransactionMode, get_json, put_json,
    },
    system::{
        ClusterInfo, Entity, Group, IdentityToken, PluginEnv, ReplicationState, SystemError,
        SystemView,
    },
};
pub use serde_json::{Map, Value};
pub use serve::{ServeOptions, SetupConfig, serve};
