//! The data plane's operations, one a file: what a caller may ask of a model
//! and how the answer is paid for.
//!
//! It authenticates, bounds and holds, sends, and settles. It writes no SQL and
//! builds no HTTP client. Only the router calls it.

pub(crate) mod budget;
pub(crate) mod chat;
mod envelope;
mod exchange;
mod failure;
mod header;
mod itself;
pub(crate) mod models;
mod rates;
mod revocation;
mod settle;
pub(crate) mod turn;
pub(crate) mod usage;
