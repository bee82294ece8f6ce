//! The plain words that handlers speak: requests, answers, storage, the server.
//!
//! Owns structs and traits without protobuf in them, so that an engine and its
//! tests never see the wire. `grpc` converts; `framework` dispatches.

pub(crate) mod auth;
pub(crate) mod caller;
pub(crate) mod error;
pub(crate) mod event;
pub(crate) mod operation;
pub(crate) mod request;
pub(crate) mod response;
pub(crate) mod rotation;
pub(crate) mod secret;
pub(crate) mod sensitive;
pub(crate) mod storage;
pub(crate) mod system;
