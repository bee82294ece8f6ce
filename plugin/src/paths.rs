//! The engine's paths, one file each, all in the same order: help text, entry,
//! path definition, callbacks, storage.

use vault_plugin_sdk::Path;

use crate::backend::State;

pub(crate) mod check;
pub(crate) mod config;
pub(crate) mod config_rotate;
pub(crate) mod creds;
mod display;
pub(crate) mod roles;
mod rotate_role;
mod static_creds;
pub(crate) mod static_roles;
pub(crate) mod tidy;

pub(crate) fn all() -> Vec<Path<State>> {
    vec![
        display::config(config::path()),
        display::rotate_root(config_rotate::path(), "root-credentials"),
        display::rotate_root(config_rotate::short_path(), "root"),
        display::role_list(roles::list_path()),
        display::role(roles::path()),
        display::creds(creds::path()),
        display::nameless_creds(creds::nameless_path()),
        display::static_role_list(static_roles::list_path()),
        display::static_role(static_roles::path()),
        display::static_creds(static_creds::path()),
        display::rotate_role(rotate_role::path()),
        display::check(check::path()),
        display::tidy(tidy::path()),
    ]
}
