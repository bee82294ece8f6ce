//! `rotate-role/<name>`: replaces the key of a static role now.

use std::sync::Arc;

use chrono::Utc;
use vault_plugin_sdk::{Error, Field, FieldType, Operation, Path, Request, Response, generic_name};

use crate::backend::State;
use crate::paths::static_roles;
use crate::{static_rotation, static_tick};

const SYNOPSIS: &str = "Replace the key of a static role now.";
const DESCRIPTION: &str = "Works at any time, also outside the rotation window. The former key \
works until the role's grace_period is over, and the next rotation is counted from now. With an \
error the key stays in use, and the rotation is tried again by itself.";

pub(crate) fn path() -> Path<State> {
    Path::new(format!("rotate-role/{}", generic_name("name")))
        .field(
            Field::new("name", FieldType::LowerCaseString).description("Name of the static role."),
        )
        .operation_on_primary(Operation::Update, rotate)
        .help(SYNOPSIS, DESCRIPTION)
}

async fn rotate(state: Arc<State>, req: Request) -> Result<Option<Response>, Error> {
    let name = req.fields.string("name");
    let unknown = || {
        Error::user(format!(
            "unknown static role {name:?}: write static-roles/{name} first"
        ))
    };
    let seen = static_roles::load(&req, &name).await?.ok_or_else(unknown)?;
    let _working = state.statics.lock(&name).await;
    let role = static_roles::load(&req, &name).await?.ok_or_else(unknown)?;
    if alias_of(&seen) != alias_of(&role) {
        // While this request waited, another one did what it asks for.
        return Ok(None);
    }
    match static_rotation::rotate(&state, &req, &name, role).await {
        Ok(rotated) if rotated.warnings.is_empty() => Ok(None),
        Ok(rotated) => Ok(Some(Response {
            warnings: rotated.warnings,
            ..Response::default()
        })),
        Err(error) => {
            make_due(&state, &req, &name, alias_of(&seen)).await;
            Err(error)
        }
    }
}

fn alias_of(role: &static_roles::StaticRole) -> Option<&str> {
    Some(role.current.as_ref()?.key_alias.as_str())
}

/// Lets the minute's work try again what was asked for, also after a restart.
async fn make_due(state: &State, req: &Request, name: &str, alias: Option<&str>) {
    let saved = async {
        if let Some(mut role) = static_roles::load(req, name).await?
            && alias_of(&role) == alias
        {
            role.next_rotation = Utc::now();
            static_roles::save(req, name, &role).await?;
        }
        Ok::<_, Error>(())
    };
    if let Err(error) = saved.await {
        tracing::warn!(role = name, %error, "a rotation that was asked for could not be put off");
    }
    static_tick::retry(state, req, name).await;
}
