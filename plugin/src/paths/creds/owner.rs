//! To whom at the gateway a key belongs: the role's templates, answered from
//! the caller's identity. The server is asked only where a template asks.

use vault_plugin_sdk::{Error, Request};

use crate::paths::roles::RoleEntry;
use crate::template::{Identity, Template};

#[derive(Debug, Default)]
pub(super) struct Owner {
    pub(super) user_id: Option<String>,
    pub(super) team_id: Option<String>,
}

pub(super) async fn resolved(req: &Request, role: &RoleEntry) -> Result<Owner, Error> {
    let user = parsed("user_id_template", &role.user_id_template)?;
    let team = parsed("team_id_template", &role.team_id_template)?;
    let identity = identity(req, [&user, &team].into_iter().flatten()).await?;
    let resolve = |name: &str, template: Option<Template>| {
        template
            .map(|template| template.resolve(identity.as_ref()))
            .transpose()
            .map_err(|why| Error::user(format!("no key is issued, because {name}: {why}")))
    };
    Ok(Owner {
        user_id: resolve("user_id_template", user)?,
        team_id: resolve("team_id_template", team)?,
    })
}

fn parsed(name: &str, text: &str) -> Result<Option<Template>, Error> {
    if text.is_empty() {
        return Ok(None);
    }
    Template::parse(text)
        .map(Some)
        .map_err(|why| Error::user(format!("{name} of the stored role {why}")))
}

async fn identity(
    req: &Request,
    templates: impl Iterator<Item = &Template> + Clone,
) -> Result<Option<Identity>, Error> {
    if req.entity_id.is_empty() || !templates.clone().any(Template::asks) {
        return Ok(None);
    }
    let groups = async {
        if templates.clone().any(Template::asks_about_groups) {
            req.system.groups_for_entity(&req.entity_id).await
        } else {
            Ok(Vec::new())
        }
    };
    let (entity, groups) = tokio::try_join!(req.system.entity_info(&req.entity_id), groups)?;
    Ok(entity.map(|entity| Identity { entity, groups }))
}
