//! What a server asks a plugin to do with a path.
//!
//! Owns the mapping between an operation and its wire word. An unknown word is
//! kept as it came, so that a newer server meets "unsupported operation", not a
//! decoding fault.

use std::fmt;

/// An operation on a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Operation {
    /// A write to something that does not exist yet.
    Create,
    /// A read.
    Read,
    /// A write to something that exists, or where existence is not known.
    Update,
    /// A JSON merge patch.
    Patch,
    /// A deletion.
    Delete,
    /// A listing; its path ends with a slash.
    List,
    /// A question for the generated help.
    Help,
    /// Auth engines: which alias would this login use.
    AliasLookahead,
    /// Auth engines: which role would this login use.
    ResolveRole,
    /// A request for headers alone.
    Header,
    /// The end of a lease.
    Revoke,
    /// The extension of a lease.
    Renew,
    /// The tick that a server sends every minute.
    Rollback,
    /// Vault Enterprise: its rotation manager says that a credential is due.
    Rotate,
    /// Vault Enterprise: a copy out of a storage snapshot.
    Recover,
    /// OpenBao's recursive listing.
    Scan,
    /// A word this version does not know.
    Other(String),
}

impl Operation {
    /// The word used on the wire.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Create => "create",
            Self::Read => "read",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::Delete => "delete",
            Self::List => "list",
            Self::Help => "help",
            Self::AliasLookahead => "alias-lookahead",
            Self::ResolveRole => "resolve-role",
            Self::Header => "header",
            Self::Revoke => "revoke",
            Self::Renew => "renew",
            Self::Rollback => "rollback",
            Self::Rotate => "rotate",
            Self::Recover => "recover",
            Self::Scan => "scan",
            Self::Other(word) => word,
        }
    }
}

impl From<&str> for Operation {
    fn from(word: &str) -> Self {
        match word {
            "create" => Self::Create,
            "read" => Self::Read,
            "update" => Self::Update,
            "patch" => Self::Patch,
            "delete" => Self::Delete,
            "list" => Self::List,
            "help" => Self::Help,
            "alias-lookahead" => Self::AliasLookahead,
            "resolve-role" => Self::ResolveRole,
            "header" => Self::Header,
            "revoke" => Self::Revoke,
            "renew" => Self::Renew,
            "rollback" => Self::Rollback,
            "rotate" => Self::Rotate,
            "recover" => Self::Recover,
            "scan" => Self::Scan,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
