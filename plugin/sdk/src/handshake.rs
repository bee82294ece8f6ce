//! What the environment says, and the one line that answers it.
//!
//! Pure: the environment comes in as a function, the line goes out as text.
//! go-plugin: the cookie tells a host from a person, the versions are a comma
//! list in random order, the certificate of the host comes as PEM.

use std::path::PathBuf;

#[cfg(test)]
mod tests;

/// Vault: the same name and value in OpenBao.
const COOKIE: (&str, &str) = (
    "VAULT_BACKEND_PLUGIN",
    "6669da05-b1c8-4f49-97d9-c8e5bed98e20",
);
/// go-plugin's own protocol.
const CORE_PROTOCOL: u32 = 1;
/// Vault: gRPC with AutoMTLS and multiplexing, tried first since 1.12.
pub(crate) const PROTOCOL: u32 = 5;

/// How the process is to serve.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Plan {
    /// The host's certificate (PEM); without it nothing is encrypted, and the
    /// process refuses all that could carry a secret.
    pub(crate) host_certificate: Option<String>,
    pub(crate) metadata_mode: bool,
    pub(crate) socket_dir: Option<PathBuf>,
    pub(crate) socket_group: Option<String>,
    /// The host knows the seventh field of the line. An older one does not and
    /// would glue it to the certificate.
    pub(crate) host_knows_multiplexing: bool,
    pub(crate) mlock: bool,
}

/// Why the process does not serve.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Started by a person, or by something that is no Vault.
    ByHand,
    /// The host offers version 5 without AutoMTLS.
    NoAutoMtls,
}

/// Reads the environment through `var`, where empty and absent are the same
/// unless only the presence counts.
pub(crate) fn plan(var: impl Fn(&str) -> Option<String>) -> Result<Plan, Refusal> {
    if var(COOKIE.0).as_deref() != Some(COOKIE.1) {
        return Err(Refusal::ByHand);
    }
    let filled = |name: &str| var(name).filter(|value| !value.is_empty());
    let is_true = |name: &str| filled(name).is_some_and(|value| value == "true");
    let host_certificate = filled("PLUGIN_CLIENT_CERT");
    let metadata_mode = is_true("VAULT_PLUGIN_METADATA_MODE");
    let common = offers(&var("PLUGIN_PROTOCOL_VERSIONS").unwrap_or_default());
    if common && host_certificate.is_none() && !metadata_mode {
        return Err(Refusal::NoAutoMtls);
    }
    Ok(Plan {
        metadata_mode: metadata_mode || host_certificate.is_none(),
        host_certificate,
        socket_dir: filled("PLUGIN_UNIX_SOCKET_DIR").map(PathBuf::from),
        socket_group: filled("PLUGIN_UNIX_SOCKET_GROUP"),
        host_knows_multiplexing: var("PLUGIN_MULTIPLEX_GRPC").is_some(),
        mlock: is_true("VAULT_PLUGIN_MLOCK_ENABLED"),
    })
}

fn offers(versions: &str) -> bool {
    versions
        .split(',')
        .any(|version| version.trim().parse() == Ok(PROTOCOL))
}

/// The line, without its end. `certificate` is unpadded base64 of the DER.
///
/// It always carries version 5: a host without it then says "incompatible
/// version" and not "unrecognized message".
pub(crate) fn line(plan: &Plan, address: &str, certificate: &str) -> String {
    let multiplexing = if plan.host_knows_multiplexing {
        "|false"
    } else {
        ""
    };
    format!("{CORE_PROTOCOL}|{PROTOCOL}|unix|{address}|grpc|{certificate}{multiplexing}")
}
