//! Who somebody is: what an auth engine answers and what renewals carry.
//!
//! Owns plain structs only; a secrets engine rarely looks at them.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{LeaseOptions, Map, Sensitive, Value};

/// A login, as answered by an auth engine.
///
/// Start from [`Auth::new`] and fill in what is known; the server makes the
/// token itself, its accessor, and the policies that come from the identity.
#[derive(Clone, Default)]
#[non_exhaustive]
pub struct Auth {
    /// The token's life.
    pub lease: LeaseOptions,
    /// Stored by the server and handed back on renew.
    pub internal_data: Map<String, Value>,
    /// Shown in audit logs.
    pub display_name: String,
    /// Policies of the token.
    pub policies: Vec<String>,
    /// Metadata of the token.
    pub metadata: BTreeMap<String, String>,
    /// The token itself; set by the server.
    pub client_token: Sensitive,
    /// The token's accessor.
    pub accessor: String,
    /// Period of a periodic token; zero means not periodic.
    pub period: Duration,
    /// How often the token can be used; zero means without limit.
    pub num_uses: i64,
    /// The identity entity.
    pub entity_id: String,
    /// The alias that this login maps to.
    pub alias: Option<Alias>,
    /// Group aliases that this login brings.
    pub group_aliases: Vec<Alias>,
    /// Networks that the token can be used from.
    pub bound_cidrs: Vec<String>,
    /// Policies that come from the role.
    pub token_policies: Vec<String>,
    /// Policies that come from the identity.
    pub identity_policies: Vec<String>,
    /// A maximum life that nothing extends; zero means not set.
    pub explicit_max_ttl: Duration,
    /// The kind of token.
    pub token_type: TokenType,
    /// Leaves the policy `default` out.
    pub no_default_policy: bool,
}

impl Auth {
    /// The login of whoever `name` names within the mount. Vault: without an
    /// alias there is no identity entity.
    pub fn new(name: impl Into<String>) -> Self {
        let alias = Alias::new(name);
        Self {
            display_name: alias.name.clone(),
            alias: Some(alias),
            ..Self::default()
        }
    }
}

impl fmt::Debug for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Auth")
            .field("display_name", &self.display_name)
            .field("entity_id", &self.entity_id)
            .finish_non_exhaustive()
    }
}

/// The kind of token that a login gives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum TokenType {
    /// What the mount is tuned to.
    #[default]
    Default,
    /// Stored by the server: renewable, revocable, with an accessor.
    Service,
    /// Not stored: light, but it can be neither renewed nor revoked.
    Batch,
    /// In a mount's tuning: service, unless the login asks for another.
    DefaultService,
    /// In a mount's tuning: batch, unless the login asks for another.
    DefaultBatch,
}

impl TokenType {
    /// Vault: the word that its API uses.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Service => "service",
            Self::Batch => "batch",
            Self::DefaultService => "default-service",
            Self::DefaultBatch => "default-batch",
        }
    }
}

/// One name of an identity in one mount.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Alias {
    /// Type of the auth mount.
    pub mount_type: String,
    /// Accessor of the auth mount.
    pub mount_accessor: String,
    /// The name within the mount.
    pub name: String,
    /// Metadata set by the mount.
    pub metadata: BTreeMap<String, String>,
    /// The alias's own id.
    pub id: String,
    /// The namespace it lives in.
    pub namespace_id: String,
    /// Metadata set by an operator.
    pub custom_metadata: BTreeMap<String, String>,
    /// Whether it is local to one cluster.
    pub local: bool,
}

impl Alias {
    /// An alias of the mount that answers it.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            ..Self::default()
        }
    }
}
