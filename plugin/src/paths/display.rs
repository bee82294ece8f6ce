//! How clients name the engine's operations and how a user interface shows its
//! paths, all in one table. Vault: an operation's id is prefix, verb and
//! suffix, as in `litellm-read-role`; where no verb is given it is the operation.

use vault_plugin_sdk::{DisplayAttrs, Field, FieldType, Operation, Path};

use crate::backend::State;

const PREFIX: &str = "litellm";

/// The ids of a path's operations end so.
fn called(suffix: &str) -> DisplayAttrs {
    DisplayAttrs {
        operation_prefix: PREFIX.to_owned(),
        operation_suffix: suffix.to_owned(),
        ..DisplayAttrs::default()
    }
}

/// The same with a verb in place of the operation's.
fn verb(verb: &str, suffix: &str) -> DisplayAttrs {
    DisplayAttrs {
        operation_verb: verb.to_owned(),
        ..called(suffix)
    }
}

/// A path that a person writes to make something happen.
fn action(label: &str, attrs: DisplayAttrs) -> DisplayAttrs {
    DisplayAttrs {
        action: label.to_owned(),
        ..attrs
    }
}

/// A list that stands in the navigation, of things of this kind.
fn navigation(item_type: &str, attrs: DisplayAttrs) -> DisplayAttrs {
    DisplayAttrs {
        item_type: item_type.to_owned(),
        navigation: true,
        ..attrs
    }
}

pub(super) fn config(path: Path<State>) -> Path<State> {
    path.display_attrs(DisplayAttrs {
        name: "Configuration".to_owned(),
        action: "Configure".to_owned(),
        ..called("configuration")
    })
    .operation_display_attrs(Operation::Create, verb("configure", "gateway"))
    .operation_display_attrs(Operation::Update, verb("configure", "gateway"))
}

pub(super) fn rotate_root(path: Path<State>, suffix: &str) -> Path<State> {
    path.display_attrs(action("Rotate", verb("rotate", suffix)))
        .response(
            Operation::Update,
            200,
            "The new admin key is saved.",
            [Field::new("master_key_alias", FieldType::String)
                .description("Alias of the new admin key at the gateway.")],
        )
}

pub(super) fn role_list(path: Path<State>) -> Path<State> {
    path.display_attrs(navigation("Role", called("roles")))
        .unpublished(Operation::Update)
}

pub(super) fn role(path: Path<State>) -> Path<State> {
    path.display_attrs(item("Role", called("role")))
}

pub(super) fn creds(path: Path<State>) -> Path<State> {
    let issued = || {
        [
            text("key", "The key, shown this once.").sensitive(),
            text("key_alias", "The key's name at the gateway."),
            text(
                "key_hash",
                "SHA-256 of the key, by which the gateway files it.",
            ),
            text(
                "base_url",
                "Where to call the gateway; only when config has a public_url.",
            ),
            Field::new("models", FieldType::StringSlice)
                .description("Models that the key may call; empty means every model."),
            Field::new("max_budget", FieldType::Float)
                .description("US dollars that the key may spend; null means no cap."),
            Field::new("expires_at", FieldType::Time).description("End of the lease as granted."),
        ]
    };
    path.display_attrs(action("Generate", called("credentials")))
        .operation_display_attrs(Operation::Read, verb("generate", "credentials"))
        .operation_display_attrs(
            Operation::Update,
            verb("generate", "credentials-with-parameters"),
        )
        .response(Operation::Read, 200, "A leased key.", issued())
        .response(Operation::Update, 200, "A leased key.", issued())
}

pub(super) fn nameless_creds(path: Path<State>) -> Path<State> {
    path.unpublished(Operation::Read)
}

pub(super) fn static_role_list(path: Path<State>) -> Path<State> {
    path.display_attrs(navigation("Static Role", called("static-roles")))
        .unpublished(Operation::Update)
}

pub(super) fn static_role(path: Path<State>) -> Path<State> {
    path.display_attrs(item("Static Role", called("static-role")))
}

pub(super) fn static_creds(path: Path<State>) -> Path<State> {
    path.display_attrs(called("static-credentials"))
}

pub(super) fn rotate_role(path: Path<State>) -> Path<State> {
    path.display_attrs(action("Rotate", verb("rotate", "static-role")))
}

pub(super) fn check(path: Path<State>) -> Path<State> {
    path.display_attrs(verb("check", "gateway"))
}

pub(super) fn tidy(path: Path<State>) -> Path<State> {
    path.display_attrs(action("Tidy", verb("tidy", "keys")))
}

fn item(item_type: &str, attrs: DisplayAttrs) -> DisplayAttrs {
    DisplayAttrs {
        item_type: item_type.to_owned(),
        ..attrs
    }
}

fn text(name: &str, description: &str) -> Field {
    Field::new(name, FieldType::String).description(description)
}
