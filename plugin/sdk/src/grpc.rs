//! Between the wire and the plain words of `logical`.
//!
//! Owns the services that the plugin serves, the clients of those the server
//! serves, and the conversion both ways. Nothing else in the crate sees
//! protobuf, apart from go-plugin's own services.

pub(crate) mod backend;
pub(crate) mod convert;
pub(crate) mod engine;
mod event;
pub(crate) mod fault;
pub(crate) mod instances;
pub(crate) mod link;
pub(crate) mod multiplexing;
pub(crate) mod storage;
pub(crate) mod system;
mod time;
mod transaction;

/// Vault: both of its sides use the same limit; tonic's own is 4 MiB.
pub(crate) const MESSAGE_BYTES_MAX: usize = i32::MAX as usize;
