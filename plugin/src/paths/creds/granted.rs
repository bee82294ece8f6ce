//! What the gateway granted, beside what it was asked for: less is a warning,
//! more is a key that nobody must hold.

use crate::client::IssuedKey;
use crate::client::wire::GenerateRequest;

pub(crate) fn warnings(
    issued: &IssuedKey,
    wanted: &GenerateRequest,
) -> Result<Vec<String>, String> {
    let mut warnings = Vec::new();
    warnings.extend(models(issued, wanted)?);
    warnings.extend(budget(issued, wanted)?);
    for (name, granted) in &issued.limits {
        let asked = wanted.more.get(*name).and_then(serde_json::Value::as_u64);
        let is_ignored = issued.ignored.iter().any(|ignored| ignored == name);
        match (asked, granted) {
            _ if is_ignored => {}
            (Some(asked), None) => {
                warnings.push(format!("the gateway did not confirm {name}={asked}"));
            }
            (Some(asked), Some(granted)) if *granted > asked => {
                return Err(format!(
                    "the gateway granted a larger {name} than was asked"
                ));
            }
            (asked, Some(granted)) if asked != Some(*granted) => {
                warnings.push(format!("the gateway set {name}={granted}"));
            }
            _ => {}
        }
    }
    if !issued.ignored.is_empty() {
        warnings.push(format!(
            "this gateway does not enforce {}",
            issued.ignored.join(", ")
        ));
    }
    Ok(warnings)
}

fn models(issued: &IssuedKey, wanted: &GenerateRequest) -> Result<Option<String>, String> {
    let Some(models) = &issued.models else {
        return Ok(None);
    };
    let is_bounded = !wanted.models.is_empty();
    let is_wider = models.is_empty() || models.iter().any(|model| !wanted.models.contains(model));
    if is_bounded && is_wider {
        return Err("the gateway granted models that the role does not name".into());
    }
    Ok((models.len() != wanted.models.len()).then(|| {
        "the gateway granted fewer models than were asked for: see models in the answer".into()
    }))
}

fn budget(issued: &IssuedKey, wanted: &GenerateRequest) -> Result<Option<String>, String> {
    match (issued.max_budget, wanted.max_budget) {
        (Some(None), Some(_)) => Err("the gateway did not cap the key's spend".into()),
        (Some(Some(granted)), Some(asked)) if granted > asked => {
            Err("the gateway granted a larger budget than was asked for".into())
        }
        (Some(Some(granted)), asked) if asked != Some(granted) => Ok(Some(format!(
            "the gateway granted a budget of {granted} USD instead of what was asked for"
        ))),
        _ => Ok(None),
    }
}
