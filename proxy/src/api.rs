//! The data plane's operations, one a file: what a caller may ask of a model
//! and how the answer is paid for.
//!
//! It authenticates, bounds and holds, sends, and settles. It writes no SQL and
//! builds no HTTP client. Only the router calls it.

pub(crate) mod chat;
mod envelope;
mod exchange;
mod failure;
pub(crate) mod models;
mod settle;
