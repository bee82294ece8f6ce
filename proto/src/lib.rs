//! The messages and services spoken between Vault or OpenBao and a plugin.
//!
//! Owns nothing but generated code: one union of both servers' fields, so that
//! one build speaks to either. Holds no behaviour; `vault-plugin-sdk` calls it.
//! Unknown fields are ignored by protobuf, and no number has two meanings.

#![expect(
    clippy::allow_attributes,
    clippy::doc_markdown,
    clippy::too_many_lines,
    reason = "the generated code is not ours to style"
)]

/// go-plugin's own services: broker, controller, stdio.
pub mod plugin {
    tonic::include_proto!("plugin");
}

/// Whether one process serves several mounts.
pub mod pluginutil {
    /// The one service of this package.
    pub mod multiplexing {
        tonic::include_proto!("pluginutil.multiplexing");
    }
}

/// Identities, events, versions.
pub mod logical {
    tonic::include_proto!("logical");
}

/// The engine, and what the server offers to it.
pub mod pb {
    tonic::include_proto!("pb");
}
