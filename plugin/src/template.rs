//! Texts that hold questions about the caller's identity, in the words of
//! Vault's own identity templates: `team-{{identity.entity.metadata.team}}`.
//! Parsed when a role is written; answered strictly when a key is issued.

use vault_plugin_sdk::{Alias, Entity, Group};

const MAX_TEMPLATE: usize = 1_024;
/// LiteLLM and llm-proxy take ids of this many bytes.
const MAX_RESOLVED: usize = 255;
const WORDS: &str = "use identity.entity.id, identity.entity.name, identity.entity.metadata.<key>, \
identity.entity.aliases.<accessor>.{id,name,metadata.<key>,custom_metadata.<key>}, \
identity.groups.names.<name>.{id,metadata.<key>} or identity.groups.ids.<id>.{name,metadata.<key>}";

/// Who asks for a key, as far as a template needs it.
#[derive(Debug)]
pub(crate) struct Identity {
    pub(crate) entity: Entity,
    /// Empty unless a template asks about groups.
    pub(crate) groups: Vec<Group>,
}

#[derive(Debug, PartialEq)]
pub(crate) struct Template(Vec<Part>);

#[derive(Debug, PartialEq)]
enum Part {
    Text(String),
    /// The question, as it is told when it can't be answered.
    Asked(String, Question),
}

#[derive(Debug, PartialEq)]
enum Question {
    Entity(Want),
    Alias { accessor: String, want: Want },
    Group { by: By, key: String, want: Want },
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum By {
    Id,
    Name,
}

#[derive(Debug, PartialEq)]
enum Want {
    Id,
    Name,
    Metadata(String),
    CustomMetadata(String),
}

impl Template {
    /// # Errors
    /// Says what is wrong with the text.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_TEMPLATE {
            return Err(format!("must be at most {MAX_TEMPLATE} bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err("must not hold control characters such as line breaks".into());
        }
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{{") {
            let (question, after) = after.split_once("}}").ok_or("holds {{ without its }}")?;
            parts.push(plain(before)?);
            let question = question.trim();
            let asked = parse_question(question)
                .ok_or_else(|| format!("asks what no identity answers: {WORDS}"))?;
            parts.push(Part::Asked(question.to_owned(), asked));
            rest = after;
        }
        parts.push(plain(rest)?);
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        Ok(Self(parts))
    }

    /// Whether the text depends on who asks.
    pub(crate) fn asks(&self) -> bool {
        self.0.iter().any(|part| matches!(part, Part::Asked(..)))
    }

    pub(crate) fn asks_about_groups(&self) -> bool {
        self.0
            .iter()
            .any(|part| matches!(part, Part::Asked(_, Question::Group { .. })))
    }

    /// The text for this caller.
    ///
    /// # Errors
    /// Says which question has no answer, or what is wrong with the result.
    pub(crate) fn resolve(&self, identity: Option<&Identity>) -> Result<String, String> {
        let mut text = String::new();
        for part in &self.0 {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Asked(words, question) => {
                    let answer = question
                        .answer(identity)
                        .map_err(|why| format!("{{{{{words}}}}} can't be resolved: {why}"))?;
                    text.push_str(&answer);
                }
            }
        }
        if text.len() > MAX_RESOLVED {
            return Err(format!("the result is longer than {MAX_RESOLVED} bytes"));
        }
        if text.chars().any(char::is_control) {
            return Err("the result holds control characters".into());
        }
        Ok(text)
    }
}

fn plain(text: &str) -> Result<Part, String> {
    if text.contains("}}") {
        return Err("holds }} without its {{".into());
    }
    Ok(Part::Text(text.to_owned()))
}

fn parse_question(text: &str) -> Option<Question> {
    let text = text.strip_prefix("identity.")?;
    if let Some(rest) = text.strip_prefix("entity.aliases.") {
        let (accessor, want) = rest.split_once('.')?;
        let want = match want.strip_prefix("custom_metadata.") {
            Some(key) => Want::CustomMetadata(filled(key)?),
            None => parse_want(want)?,
        };
        let accessor = filled(accessor)?;
        return Some(Question::Alias { accessor, want });
    }
    if let Some(want) = text.strip_prefix("entity.") {
        return Some(Question::Entity(parse_want(want)?));
    }
    let rest = text.strip_prefix("groups.")?;
    let (by, rest) = match rest.strip_prefix("ids.") {
        Some(rest) => (By::Id, rest),
        None => (By::Name, rest.strip_prefix("names.")?),
    };
    // A group's name may hold dots, so what is asked is looked for at the end.
    let (key, want) = match rest.split_once(".metadata.") {
        Some((key, metadata)) => (key, Want::Metadata(filled(metadata)?)),
        None => match (by, rest.rsplit_once('.')?) {
            (By::Name, (key, "id")) => (key, Want::Id),
            (By::Id, (key, "name")) => (key, Want::Name),
            _ => return None,
        },
    };
    let key = filled(key)?;
    Some(Question::Group { by, key, want })
}

fn parse_want(text: &str) -> Option<Want> {
    match text {
        "id" => Some(Want::Id),
        "name" => Some(Want::Name),
        _ => Some(Want::Metadata(filled(text.strip_prefix("metadata.")?)?)),
    }
}

fn filled(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

impl Question {
    fn answer(&self, identity: Option<&Identity>) -> Result<String, String> {
        let Some(Identity { entity, groups }) = identity else {
            return Err("the token has no identity entity: use one that comes from a login".into());
        };
        let (answer, missing) = match self {
            Self::Entity(want) => match want {
                Want::Id => (Some(&entity.id), "the entity has no id".to_owned()),
                Want::Name => (Some(&entity.name), "the entity has no name".to_owned()),
                Want::Metadata(key) | Want::CustomMetadata(key) => (
                    entity.metadata.get(key),
                    "the entity has no such metadata".to_owned(),
                ),
            },
            Self::Alias { accessor, want } => {
                let alias = entity
                    .aliases
                    .iter()
                    .find(|alias| alias.mount_accessor == *accessor)
                    .ok_or("the entity has no alias at that auth mount")?;
                (of_alias(alias, want), "the alias has none".to_owned())
            }
            Self::Group { by, key, want } => {
                let group = groups
                    .iter()
                    .find(|group| match by {
                        By::Id => group.id == *key,
                        By::Name => group.name == *key,
                    })
                    .ok_or("the entity is not in that group")?;
                (of_group(group, want), "the group has none".to_owned())
            }
        };
        answer
            .filter(|answer| !answer.is_empty())
            .cloned()
            .ok_or(missing)
    }
}

fn of_alias<'a>(alias: &'a Alias, want: &Want) -> Option<&'a String> {
    match want {
        Want::Id => Some(&alias.id),
        Want::Name => Some(&alias.name),
        Want::Metadata(key) => alias.metadata.get(key),
        Want::CustomMetadata(key) => alias.custom_metadata.get(key),
    }
}

fn of_group<'a>(group: &'a Group, want: &Want) -> Option<&'a String> {
    match want {
        Want::Id => Some(&group.id),
        Want::Name => Some(&group.name),
        Want::Metadata(key) | Want::CustomMetadata(key) => group.metadata.get(key),
    }
}

#[cfg(test)]
mod tests;
