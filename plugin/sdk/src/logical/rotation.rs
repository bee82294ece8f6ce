//! What Vault Enterprise's rotation manager knows of a credential.
//!
//! Owns plain structs. Community servers have no such manager: they answer
//! [`SystemError::EnterpriseOnly`](crate::SystemError).

use std::time::Duration;

use chrono::{DateTime, Utc};

/// A credential to rotate, by a schedule or by a period.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RotationJob {
    /// A name for logs.
    pub name: String,
    /// The mount, as a request names it.
    pub mount_point: String,
    /// The path within the mount that
    /// [`Backend::rotate_credential`](crate::Backend::rotate_credential) gets.
    pub path: String,
    /// When, as in a crontab; empty where a period says it.
    pub schedule: String,
    /// How long after the scheduled time it may still happen; zero means at any
    /// later time.
    pub window: Duration,
    /// How often; zero where a schedule says it.
    pub period: Duration,
}

impl RotationJob {
    /// A job without a time yet.
    pub fn new(
        name: impl Into<String>,
        mount_point: impl Into<String>,
        path: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            mount_point: mount_point.into(),
            path: path.into(),
            schedule: String::new(),
            window: Duration::ZERO,
            period: Duration::ZERO,
        }
    }
}

/// When a credential was rotated and will be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RotationInfo {
    /// The last rotation, if there was one.
    pub last: Option<DateTime<Utc>>,
    /// The next one.
    pub next: Option<DateTime<Utc>>,
    /// From now to the next one.
    pub ttl: Duration,
}
