//! Identities and logins.
//!
//! Owns the conversion of what the server knows about callers.

use vault_plugin_proto::{logical, pb};

use super::{ConvertError, from_nanos, json, lease_in, lease_out, object, to_nanos};
use crate::{Alias, Auth, Entity, Group, Sensitive, TokenType};

pub(super) fn auth_in(auth: pb::Auth) -> Result<Auth, ConvertError> {
    Ok(Auth {
        lease: lease_in(auth.lease_options),
        internal_data: object(&auth.internal_data, "login's internal data")?,
        display_name: auth.display_name,
        policies: auth.policies,
        metadata: auth.metadata.into_iter().collect(),
        client_token: Sensitive::new(auth.client_token),
        accessor: auth.accessor,
        period: from_nanos(auth.period),
        num_uses: auth.num_uses,
        entity_id: auth.entity_id,
        alias: auth.alias.map(alias_in),
        group_aliases: auth.group_aliases.into_iter().map(alias_in).collect(),
        bound_cidrs: auth.bound_cidrs,
        token_policies: auth.token_policies,
        identity_policies: auth.identity_policies,
        explicit_max_ttl: from_nanos(auth.explicit_max_ttl),
        token_type: token_type_in(auth.token_type),
        no_default_policy: auth.no_default_policy,
    })
}

pub(super) fn auth_out(auth: Auth) -> pb::Auth {
    pb::Auth {
        lease_options: Some(lease_out(&auth.lease)),
        internal_data: json(&auth.internal_data),
        display_name: auth.display_name,
        policies: auth.policies,
        metadata: auth.metadata.into_iter().collect(),
        client_token: auth.client_token.expose().to_owned(),
        accessor: auth.accessor,
        period: to_nanos(auth.period),
        num_uses: auth.num_uses,
        entity_id: auth.entity_id,
        alias: auth.alias.map(alias_out),
        group_aliases: auth.group_aliases.into_iter().map(alias_out).collect(),
        bound_cidrs: auth.bound_cidrs,
        token_policies: auth.token_policies,
        identity_policies: auth.identity_policies,
        explicit_max_ttl: to_nanos(auth.explicit_max_ttl),
        token_type: token_type_out(auth.token_type),
        no_default_policy: auth.no_default_policy,
    }
}

/// A number that this version does not know leaves the choice to the server.
const fn token_type_in(number: u32) -> TokenType {
    match number {
        1 => TokenType::Service,
        2 => TokenType::Batch,
        3 => TokenType::DefaultService,
        4 => TokenType::DefaultBatch,
        _ => TokenType::Default,
    }
}

const fn token_type_out(token_type: TokenType) -> u32 {
    match token_type {
        TokenType::Default => 0,
        TokenType::Service => 1,
        TokenType::Batch => 2,
        TokenType::DefaultService => 3,
        TokenType::DefaultBatch => 4,
    }
}

fn alias_in(alias: logical::Alias) -> Alias {
    Alias {
        mount_type: alias.mount_type,
        mount_accessor: alias.mount_accessor,
        name: alias.name,
        metadata: alias.metadata.into_iter().collect(),
        id: alias.id,
        namespace_id: alias.namespace_id,
        custom_metadata: alias.custom_metadata.into_iter().collect(),
        local: alias.local,
    }
}

fn alias_out(alias: Alias) -> logical::Alias {
    logical::Alias {
        mount_type: alias.mount_type,
        mount_accessor: alias.mount_accessor,
        name: alias.name,
        metadata: alias.metadata.into_iter().collect(),
        id: alias.id,
        namespace_id: alias.namespace_id,
        custom_metadata: alias.custom_metadata.into_iter().collect(),
        local: alias.local,
    }
}

pub(crate) fn entity(entity: logical::Entity) -> Entity {
    Entity {
        id: entity.id,
        name: entity.name,
        aliases: entity.aliases.into_iter().map(alias_in).collect(),
        metadata: entity.metadata.into_iter().collect(),
        disabled: entity.disabled,
        namespace_id: entity.namespace_id,
    }
}

pub(crate) fn group(group: logical::Group) -> Group {
    Group {
        id: group.id,
        name: group.name,
        metadata: group.metadata.into_iter().collect(),
        namespace_id: group.namespace_id,
    }
}
