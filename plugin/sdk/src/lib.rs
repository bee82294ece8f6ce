//! Write plugins for Vault and OpenBao in Rust: secrets engines and auth engines.
//!
//! A plugin is a program that the server starts and speaks to. [`serve()`] does the
//! speaking and makes a [`Backend`] for each mount: a list of [`Path`]s over a
//! state of your own. A path has a pattern, typed [`Field`]s, and a handler for
//! each [`Operation`]: an `async fn` that takes the state and a [`Request`] and
//! answers a [`Response`], nothing (`None`), or an [`Error`].
//!
//! ```no_run
//! use std::{process::ExitCode, sync::Arc};
//! use vault_plugin_sdk::{
//!     Backend, BackendKind, Error, Field, FieldType, HandlerResult, Map, Operation, Path,
//!     Request, Response, ServeOptions, generic_name, get_json, put_json, serve,
//! };
//!
//! struct Greeter;
//!
//! fn main() -> ExitCode {
//!     let options = ServeOptions { name: "greeter", version: "0.1.0", description: "greets" };
//!     serve(&options, |_setup| Ok(backend()))
//! }
//!
//! fn backend() -> Backend<Greeter> {
//!     Backend::new(BackendKind::Secrets, Greeter).help("Greets.").path(
//!         Path::new(format!("hello/{}", generic_name("name")))
//!             .field(Field::new("name", FieldType::NameString).description("Whom to greet."))
//!             .field(Field::new("word", FieldType::String).default("hello"))
//!             .operation(Operation::Read, read)
//!             .operation_forwarded(Operation::Update, write)
//!             .help("Greets someone.", "Keeps a word for a name, and greets with it."),
//!     )
//! }
//!
//! async fn read(_: Arc<Greeter>, request: Request) -> HandlerResult {
//!     let name = request.fields.string("name");
//!     let word: Option<String> = get_json(request.storage.as_ref(), &name).await?;
//!     let word = word.ok_or_else(|| Error::coded(404, "nobody greets that name yet"))?;
//!     let greeting = format!("{word} {name}");
//!     Ok(Some(Response::data(Map::from_iter([("greeting".to_owned(), greeting.into())]))))
//! }
//!
//! async fn write(_: Arc<Greeter>, request: Request) -> HandlerResult {
//!     let (name, word) = (request.fields.string("name"), request.fields.string("word"));
//!     put_json(request.storage.as_ref(), &name, &word).await?;
//!     Ok(None)
//! }
//! ```
//!
//! # What to reach for
//!
//! | For | There is |
//! |---|---|
//! | answers with a lease | [`Response::leased`] and a [`SecretType`] that renews and revokes |
//! | logins | [`BackendKind::Auth`], [`Response::login`], [`Backend::auth_renew`], [`TokenFields`] |
//! | work outside that a crash must not leave half done | [`wal`] and [`Backend::wal_rollback`] |
//! | how long a lease may live | [`lease::calculate_ttl`] |
//! | what must run on the active node, or on the primary cluster | [`Path::operation_forwarded`], [`Path::operation_on_primary`] |
//! | writes that create or update, and patches | [`Path::exists`], [`FieldData::merge_patch`], [`FieldData::patched`] |
//! | long lists, and several writes as one | [`Storage::list_page`], [`Storage::begin`] |
//! | the server and its identities | [`SystemView`], by `request.system` |
//! | help, OpenAPI, and Vault's forms | [`Path::help`], [`Path::response`], [`Path::display_attrs`], [`Field::group`] |
//! | other bodies than JSON | [`Response::raw`] |
//! | tests | [`testing`] |
//!
//! # What holds
//!
//! - A handler runs to its end, also when its caller has gone ([`Caller`]). A
//!   lease that nobody waited for is revoked at once.
//! - A panic fails its own request. The process, its other mounts and the same
//!   mount's next request go on.
//! - One process serves many mounts. Each has its own [`Backend`], state, storage
//!   and connection, and nothing of one is reachable from another.
//! - What one of the two servers lacks has an error or a value of its own:
//!   [`SystemError::Unsupported`], [`SystemError::EnterpriseOnly`], `None` from
//!   [`Storage::begin`].
//! - No `Debug` text and no error of the SDK holds a token, a body or an entry.
//!
//! Structs that handlers only read are `#[non_exhaustive]`; those that they fill
//! in have a `Default`, so write `..Response::default()` and expect new fields.
#![deny(missing_docs)]

// The README's code is compiled with the other doc tests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

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
