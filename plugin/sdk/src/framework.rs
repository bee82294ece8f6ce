//! The routing, typing and life-cycle rules that a Vault engine expects.
//!
//! Owns what sits between a request and a handler: routes, fields, existence
//! checks, help, leases, the write-ahead log. Knows nothing of gRPC; `grpc`
//! calls it, and so do tests, through the same door.

pub(crate) mod backend;
pub(crate) mod coerce;
pub(crate) mod data;
pub(crate) mod dispatch;
pub(crate) mod docs;
pub(crate) mod field;
pub(crate) mod handler;
pub(crate) mod help;
pub mod lease;
pub(crate) mod openapi;
mod patch;
pub(crate) mod path;
pub(crate) mod rollback;
pub(crate) mod route;
pub(crate) mod secret;
pub(crate) mod token;
pub mod wal;
