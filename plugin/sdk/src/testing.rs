//! What it takes to test a plugin, without a server and on a real one.
//!
//! Owns an engine mounted in memory ([`Mount`]), storage in memory and storage
//! that fails on command, a server that answers what a test says, and a builder
//! of requests. Calls go through [`Backend::handle`](crate::Backend::handle), as
//! the real ones do. With the feature `testing-server` also `TestServer`: a real
//! Vault or OpenBao that runs the built plugin.

mod fault;
mod memory;
mod mount;
mod request;
#[cfg(any(test, feature = "testing-server"))]
mod server;
mod system;

pub use fault::{Fault, FaultStorage};
pub use memory::MemoryStorage;
pub use mount::Mount;
pub use request::RequestBuilder;
#[cfg(any(test, feature = "testing-server"))]
pub use server::{Answer, Client, TestServer};
pub use system::StaticSystemView;
