//! Canaries: secrets that must not turn up where they do not belong, in any
//! of the forms that a log or a file would write them in.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use memchr::memmem;

/// The beginning alone of a secret is a leak too.
const TELLTALE_CHARS: usize = 16;

/// The secrets of one test.
#[derive(Debug, Default)]
pub struct Canaries(Mutex<BTreeSet<String>>);

impl Canaries {
    pub fn add(&self, secret: &str) {
        assert!(
            secret.len() >= TELLTALE_CHARS,
            "a canary must be long enough to be told apart"
        );
        self.0
            .lock()
            .expect("the canaries")
            .insert(secret.to_owned());
    }

    /// Where one of them stands in `bytes`, each as `place: form of which secret`.
    pub fn found_in(&self, place: &str, bytes: &[u8]) -> Vec<String> {
        let canaries = self.0.lock().expect("the canaries");
        let mut found = Vec::new();
        for (number, secret) in canaries.iter().enumerate() {
            for (form, needle) in forms(secret) {
                if memmem::find(bytes, needle.as_bytes()).is_some() {
                    found.push(format!("{place}: secret {number} {form} ({needle:.12}…)"));
                }
            }
        }
        found
    }

    /// The same for every file under `folder`, except those that `skip` names.
    pub fn found_under(&self, folder: &Path, skip: &[&Path]) -> Vec<String> {
        files_under(folder)
            .iter()
            .filter(|file| !skip.iter().any(|skipped| file.starts_with(skipped)))
            .flat_map(|file| {
                let bytes = fs::read(file).unwrap_or_default();
                self.found_in(&file.display().to_string(), &bytes)
            })
            .collect()
    }

    /// No secret in any output or file of a test whose gateway lives in the
    /// folder `gateway`.
    ///
    /// # Panics
    /// When there is one, saying where.
    pub fn expect_none_under(&self, folder: &Path) {
        // The harness itself wrote these two, for the gateway to read.
        let config = folder.join("gateway/config.yaml");
        let master_key = folder.join("gateway/master_key");
        let found = self.found_under(folder, &[&config, &master_key]);
        assert!(found.is_empty(), "secrets leaked:\n{}", found.join("\n"));
    }
}

fn forms(secret: &str) -> Vec<(&'static str, String)> {
    let telltale: String = secret.chars().take(TELLTALE_CHARS).collect();
    let escaped: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
    let mut forms = vec![
        ("its beginning", telltale),
        ("URL-escaped", escaped),
        ("in hex", hex),
    ];
    // Base64 of a longer text holds the secret at one of three alignments.
    for lead in 0..3 {
        let padded = format!("{}{secret}", &"~~~"[..lead]);
        for encoded in [
            STANDARD_NO_PAD.encode(&padded),
            URL_SAFE_NO_PAD.encode(&padded),
        ] {
            let stable = encoded[4..encoded.len() - 4].to_owned();
            forms.push(("in base64", stable));
        }
    }
    forms
}

fn files_under(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    entries
        .flatten()
        .flat_map(|entry| match entry.file_type() {
            Ok(kind) if kind.is_dir() => files_under(&entry.path()),
            Ok(kind) if kind.is_file() => vec![entry.path()],
            _ => Vec::new(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_found_in_each_form() {
        let secret = "sk-canary-0123456789abcdef";
        let canaries = Canaries::default();
        canaries.add(secret);
        for text in [
            format!("Authorization: Bearer {secret}"),
            format!("{{\"key\":\"{}\"}}", &secret[..20]),
            STANDARD_NO_PAD.encode(format!("user:{secret}!")),
            STANDARD_NO_PAD.encode(format!("a{secret}")),
            secret.bytes().map(|byte| format!("%{byte:02X}")).collect(),
            secret.bytes().map(|byte| format!("{byte:02x}")).collect(),
        ] {
            assert!(
                !canaries.found_in("text", text.as_bytes()).is_empty(),
                "{text}"
            );
        }
        assert!(
            canaries
                .found_in("text", b"sk-...cdef sk-canary")
                .is_empty()
        );
    }
}
