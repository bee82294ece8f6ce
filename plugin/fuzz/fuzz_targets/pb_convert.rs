#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| vault_plugin_sdk::fuzzing::pb_convert(input));
