//! What the end-to-end tests share: real servers, real binaries, free ports,
//! and guards that end every process they start.
//!
//! Nothing here imports the product: processes, sockets and files only. A
//! harness that cannot do its work panics, because that is how a test fails.
#![expect(
    clippy::expect_used,
    clippy::panic,
    reason = "a test's harness fails by panicking, with the reason in the message"
)]

pub mod artefacts;
pub mod chaos;
pub mod cluster;
pub mod eventually;
pub mod fleet;
pub mod leaks;
pub mod litellm;
pub mod ports;
pub mod postgres;
pub mod process;
pub mod proxy;
pub mod upstream;
pub mod vault;
pub mod vectors;
pub mod wire;
pub mod world;

pub use cluster::Cluster;
pub use eventually::eventually;
pub use fleet::Fleet;
pub use vault::Kind;
pub use world::World;
