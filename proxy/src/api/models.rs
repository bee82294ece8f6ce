//! `GET /v1/models`: the public names that the calling key may use.
//!
//! It reads configuration and the key, nothing else. A spent budget does not
//! hide the list.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::State;
use http::{HeaderMap, Uri};
use serde::Serialize;

use crate::app::AppState;
use crate::auth::{Caller, Peer, authenticate, authorize_data_plane, authorize_route};
use crate::error::ApiError;

/// LiteLLM: a constant, because a configured model has no date of its own.
const CREATED: u64 = 1_677_610_602;

/// OpenAI: a list of models.
#[derive(Debug, Serialize)]
pub(crate) struct ModelList {
    object: &'static str,
    data: Vec<Model>,
}

#[derive(Debug, Serialize)]
struct Model {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

pub(crate) async fn list(
    State(state): State<AppState>,
    uri: Uri,
    peer: Peer,
    headers: HeaderMap,
) -> Result<Json<ModelList>, ApiError> {
    let caller = authenticate(&state, &headers, peer).await?;
    authorize_data_plane(&caller)?;
    authorize_route(&caller, uri.path())?;
    let is_allowed = |name: &str| match &caller {
        Caller::Master => true,
        Caller::Key(key) => key.denied(name).is_none(),
    };
    let names = state
        .config
        .models
        .iter()
        .map(|deployment| &*deployment.public_name)
        .filter(|name| is_allowed(name))
        .collect::<BTreeSet<_>>();
    let model = |name: &str| Model {
        id: name.to_owned(),
        object: "model",
        created: CREATED,
        owned_by: "openai",
    };
    Ok(Json(ModelList {
        object: "list",
        data: names.into_iter().map(model).collect(),
    }))
}
