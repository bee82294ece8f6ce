//! How a handler fails, and what the user sees of it.
//!
//! Owns the one error type of the SDK's surface. Each variant is something the
//! wire can carry; `grpc/fault` turns it into the wire's numbers.

use crate::{StorageError, SystemError};

/// Vault: the text that makes a server forward a request to the active node.
pub const READ_ONLY_TEXT: &str = "cannot write to readonly storage";

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The caller can cure it: status 400 with this text.
    #[error("{0}")]
    User(String),
    /// Answered with `status`.
    #[error("{message}")]
    Coded {
        /// HTTP status.
        status: u16,
        /// Shown to the caller.
        message: String,
    },
    /// This node cannot write; the server forwards the request.
    #[error("{READ_ONLY_TEXT}")]
    ReadOnly,
    /// Status 405.
    #[error("unsupported operation")]
    UnsupportedOperation,
    /// Status 404.
    #[error("unsupported path")]
    UnsupportedPath,
    /// Status 400, with a fixed text.
    #[error("invalid request")]
    InvalidRequest,
    /// Status 403.
    #[error("permission denied")]
    PermissionDenied,
    /// Status 500; the server stops retrying a revocation.
    #[error("unrecoverable error")]
    Unrecoverable,
    /// The server's storage failed: status 500, or forwarded when read-only.
    #[error("storage: {0}")]
    Storage(#[source] StorageError),
    /// The server did not answer a question about itself: status 500.
    #[error("system view: {0}")]
    System(#[from] SystemError),
    /// A fault of the plugin: status 500.
    #[error("{0}")]
    Internal(String),
}

impl Error {
    /// The caller can cure it: status 400.
    pub fn user(text: impl Into<String>) -> Self {
        Self::User(text.into())
    }

    /// Answered with `status`.
    pub fn coded(status: u16, message: impl Into<String>) -> Self {
        Self::Coded {
            status,
            message: message.into(),
        }
    }

    /// A fault of the plugin: status 500.
    pub fn internal(text: impl Into<String>) -> Self {
        Self::Internal(text.into())
    }
}

impl From<StorageError> for Error {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::ReadOnly => Self::ReadOnly,
            other => Self::Storage(other),
        }
    }
}
