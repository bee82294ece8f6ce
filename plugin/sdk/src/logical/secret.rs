//! A leased answer and the life it asks for.
//!
//! Owns the plain structs that travel with a lease. The server decides the
//! final TTL; these are proposals on the way out and facts on the way in.

use std::{fmt, time::Duration};

use chrono::{DateTime, Utc};

use crate::{Map, Value};

/// What a server stores with a lease and hands back on renew and revoke.
#[derive(Clone, Default)]
pub struct Secret {
    /// Stored by the server, never shown to the user. Holds `secret_type`.
    pub internal_data: Map<String, Value>,
    /// The life asked for, or the life so far.
    pub lease: LeaseOptions,
    /// Vault: always empty in what a plugin sees.
    pub lease_id: String,
}

impl Secret {
    /// The name that renew and revoke are dispatched by.
    pub fn secret_type(&self) -> Option<&str> {
        self.internal_data
            .get("secret_type")
            .and_then(Value::as_str)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret")
            .field("secret_type", &self.secret_type())
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// The life of a lease. A zero duration means "not set".
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseOptions {
    /// How long from now; zero leaves it to the mount's default.
    pub ttl: Duration,
    /// How long from the first issue; zero leaves it to the mount's maximum.
    pub max_ttl: Duration,
    /// Whether the lease can be renewed.
    pub renewable: bool,
    /// What the caller of a renew asked for.
    pub increment: Duration,
    /// When the lease was first issued. Set by the server.
    pub issue_time: Option<DateTime<Utc>>,
}
