//! What fuzzing has found and seen, replayed on each run.

use std::fs;
use std::path::Path;

use vault_plugin_sdk::fuzzing as sdk;

/// Each of the target's inputs, and that there are any.
fn replay(target: &str, entry_point: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let mut inputs = 0;
    for input in fs::read_dir(folder.join(target)).unwrap() {
        entry_point(&fs::read(input.unwrap().path()).unwrap());
        inputs += 1;
    }
    assert!(inputs > 0, "no inputs for {target}");
}

#[test]
fn field_coercion() {
    replay("field_coercion", sdk::field_coercion);
}

#[test]
fn framework_route() {
    replay("framework_route", sdk::framework_route);
}

#[test]
fn handshake_env() {
    replay("handshake_env", sdk::handshake_env);
}

#[test]
fn pb_convert() {
    replay("pb_convert", sdk::pb_convert);
}

#[test]
fn role_entry() {
    replay("role_entry", super::role_entry);
}

#[test]
fn wal_entry() {
    replay("wal_entry", super::wal_entry);
}
