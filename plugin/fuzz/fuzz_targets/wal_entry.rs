#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| vault_plugin_secrets_litellm::fuzzing::wal_entry(input));
