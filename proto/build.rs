//! Compiles the wire definitions with the pure-Rust `protox`, so that building
//! needs no `protoc` on the machine.

use std::error::Error;

const FILES: [&str; 5] = [
    "plugin.proto",
    "multiplexing.proto",
    "logical.proto",
    "backend.proto",
    "server.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
