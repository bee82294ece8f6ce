//! Rebuilds the crate when a migration is added: the migrations are embedded
//! in the binary, and cargo would not notice a new file by itself.

fn main() {
    use std::io::Write as _;
    // A build script that cannot write to cargo has nobody to tell.
    let _ = writeln!(std::io::stdout(), "cargo:rerun-if-changed=migrations");
}
