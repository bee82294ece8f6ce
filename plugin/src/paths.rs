//! The engine's paths, one file each, all in the same order: help text, entry,
//! path definition, callbacks, storage.

use vault_plugin_sdk::Path;

use crate::backend::State;

pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod config_rotate;
pub(crate) mod creds;
pub(crate) mod roles;
mod rotate_role;
mod static_creds;
pub(crate) mod static_roles;
pub(crate) mod tidy;

pub(crate) fn all() -> Vec<Path<State>> {
    vec![
        config::path(),
        config_rotate::path(),
        config_rotate::short_path(),
        roles::list_path(),
        roles::path(),
        creds::path(),
        creds::nameless_path(),
        static_roles::list_path(),
        static_roles::path(),
        static_creds::path(),
        rotate_role::path(),
        check::path(),
        tidy::path(),
    ]
}
