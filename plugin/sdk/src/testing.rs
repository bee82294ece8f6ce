//! What it takes to run an engine without a server.
//!
//! Owns storage in memory, storage that fails on command, a server that answers
//! what a test says, and a builder of requests. Calls go through
//! [`Backend::handle`](crate::Backend::handle), as the real ones do.

mod fault;
mod memory;
mod request;
mod system;

pub use fault::{Fault, FaultStorage};
pub use memory::MemoryStorage;
pub use request::RequestBuilder;
pub use system::StaticSystemView;
