//! `POST /v1/chat/completions`: from an authenticated request to a call that is
//! held for and under way.
//!
//! It owns the order of checks: key, route, body, model, price, budget. What
//! happens between sending and settling is `exchange`'s.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::HeaderName;
use uuid::{Builder, Uuid};

use super::envelope::Envelope;
use super::exchange::{self, Exchange};
use super::header;
use super::rates;
use crate::app::AppState;
use crate::auth::{
    Caller, Peer, authenticate, authenticate_again, authorize_data_plane, authorize_route,
};
use crate::body;
use crate::config::{Deployment, OUTPUT_TOKENS_DEFAULT, Provider};
use crate::error::ApiError;
use crate::failpoint;
use crate::key::{AccountId, Rates, SharedScope, Window};
use crate::ledger::{Call, Hold, HoldError, Place, PlaceError};
use crate::money::NanoUsd;
use crate::price::Price;
use crate::upstream::Outgoing;
use crate::upstream::choose::choose;
use crate::upstream::headers::forwarded;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// LiteLLM: the same again.
const CALL_ID: HeaderName = HeaderName::from_static("x-litellm-call-id");

pub(crate) async fn completions(State(state): State<AppState>, request: Request) -> Response {
    answered(&state, request).await
}

pub(crate) async fn answered(state: &AppState, request: Request) -> Response {
    let request_id = new_id(state);
    let answered = answer(state, request, request_id).await;
    let mut response = answered.unwrap_or_else(|error| {
        tracing::info!(%request_id, status = error.status().as_u16(), "chat call refused");
        error.into_response()
    });
    if let Some(value) = header::id(request_id) {
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID, value.clone());
        headers.insert(CALL_ID, value);
    }
    response
}

/// In the order of time, because the store keeps calls in the order of their ids.
/// The rest is not from the operating system, which is asked once for the whole
/// thread: the id must be no other call's, and nobody gains by guessing it.
fn new_id(state: &AppState) -> Uuid {
    let now = u64::try_from(state.clock.now().timestamp_millis()).unwrap_or_default();
    Builder::from_unix_timestamp_millis(now, &rand::random()).into_uuid()
}

async fn answer(
    state: &AppState,
    request: Request,
    request_id: Uuid,
) -> Result<Response, ApiError> {
    let peer = Peer::of(request.extensions());
    let caller = authenticate(state, request.headers(), peer).await?;
    let path = request.uri().path().to_owned();
    authorize_data_plane(&caller)?;
    authorize_route(&caller, &path)?;
    if state.tasks.is_stopping() {
        return Err(ApiError::shutting_down());
    }
    let headers = forwarded(request.headers());
    let body = body::read(request, state.config.server.body_bytes_max).await?;
    let caller = authenticate_again(state, caller, peer).await?;
    authorize_data_plane(&caller)?;
    authorize_route(&caller, &path)?;
    let envelope = Envelope::parse(&body)?;
    let deployment = deployment(state, &caller, &envelope.model)?;
    let call = call(state, &caller, deployment, &envelope, request_id);
    let outgoing = Outgoing {
        body: envelope.rewritten(&body, &deployment.upstream_model),
        streamed: envelope.stream,
        headers,
    };
    let output_bound = output_bound(deployment, &envelope);
    let tokens = envelope.input_bound.saturating_add(output_bound);
    let rates = rates(&caller, deployment);
    // Before the budget, so that a flood of calls over a rate claims no money.
    let place = match &rates {
        Some(rates) => Some(place(state, &caller, deployment, rates, tokens).await?),
        None => None,
    };
    let upper = upper_bound(deployment, &envelope, output_bound);
    let mut hold = hold(state, &caller, call, upper).await?;
    hold.keep(place);
    let exchange = Exchange {
        deployment: Arc::clone(deployment),
        hold,
        rates,
        outgoing,
        input_bound: envelope.input_bound,
        hides_usage: envelope.stream && !envelope.wants_usage,
        caller,
        peer,
    };
    // The call goes on to its settlement also when the caller hangs up here.
    let work = exchange::run(state.clone(), exchange);
    let answered = state.tasks.run(work).await;
    answered.map_err(|_lost| ApiError::internal())?
}

/// The model's deployment, if the caller may use the model.
fn deployment<'a>(
    state: &'a AppState,
    caller: &'a Caller,
    model: &'a str,
) -> Result<&'a Arc<Deployment>, ApiError> {
    let mut model = model;
    if let Caller::Key(key) = caller {
        model = key.resolve(model);
        if let Some(denies) = key.denied(model) {
            return Err(ApiError::model_denied(denies));
        }
    }
    let deployment = choose(&state.config.models, model).ok_or_else(ApiError::unknown_model)?;
    let is_capped = matches!(caller, Caller::Key(key) if key.is_capped(&deployment.public_name));
    if is_capped && deployment.price.is_none() && !deployment.free {
        return Err(ApiError::model_not_priced());
    }
    Ok(deployment)
}

fn call(
    state: &AppState,
    caller: &Caller,
    deployment: &Deployment,
    envelope: &Envelope<'_>,
    request_id: Uuid,
) -> Call {
    Call {
        request_id,
        accounts: match caller {
            Caller::Master => Arc::default(),
            Caller::Key(key) => key.accounts_of(&deployment.public_name),
        },
        model: deployment.public_name.clone(),
        deployment_id: deployment.id.clone(),
        price: deployment.price,
        streamed: envelope.stream,
        started_at: state.clock.now(),
    }
}

fn rates(caller: &Caller, deployment: &Deployment) -> Option<Rates> {
    match caller {
        Caller::Master => None,
        Caller::Key(key) => key.rates_of(&deployment.public_name),
    }
}

async fn place(
    state: &AppState,
    caller: &Caller,
    deployment: &Deployment,
    rates: &Rates,
    tokens: u64,
) -> Result<Place, ApiError> {
    let Caller::Key(key) = caller else {
        return Err(ApiError::internal());
    };
    let placed = state.ledger.admit(rates, tokens).await;
    placed.map_err(|error| {
        let full = match error {
            PlaceError::Exceeded(full) => full,
            PlaceError::StoreUnavailable => return ApiError::store_unavailable(),
        };
        // That of a window is not known before the call is charged to one.
        let is_lifetime = key.budget_period().is_none();
        let spend = is_lifetime.then(|| exchange::spend(state, &key.accounts()));
        let now_s = state.clock.now().timestamp();
        rates::refused(key, &deployment.public_name, full, now_s, spend.flatten())
    })
}

/// How many tokens the answers can have at most.
fn output_bound(deployment: &Deployment, envelope: &Envelope<'_>) -> u64 {
    let asked = envelope
        .max_output_tokens
        .or(deployment.max_output_tokens)
        .unwrap_or(OUTPUT_TOKENS_DEFAULT);
    let a_choice = match deployment.provider {
        // The answer is the prompt, so it is no longer than that.
        Provider::Echo => asked.min(envelope.input_bound),
        Provider::OpenAiCompatible => asked,
    };
    a_choice.saturating_mul(envelope.choices)
}

/// What the call can cost at most.
fn upper_bound(deployment: &Deployment, envelope: &Envelope<'_>, output_bound: u64) -> NanoUsd {
    let cost = |price: Price| price.upper_bound(envelope.input_bound, output_bound);
    deployment.price.map_or(NanoUsd::ZERO, cost)
}

async fn hold(
    state: &AppState,
    caller: &Caller,
    call: Call,
    upper: NanoUsd,
) -> Result<Hold, ApiError> {
    let held = state.ledger.hold(call, upper).await;
    failpoint::pass("chat.after_hold").await;
    held.map_err(|error| match error {
        HoldError::StoreUnavailable => ApiError::store_unavailable(),
        HoldError::Exceeded {
            account,
            spent,
            limit,
            needed,
        } => {
            let whose = whose(caller, &account);
            let resets = resets(&account);
            ApiError::budget_exceeded(
                state.config.budget_exceeded_status,
                format!(
                    "Budget has been exceeded! {whose} Current cost: {spent}, Max budget: {limit}; this call may cost up to {needed}{resets}"
                ),
            )
        }
    })
}

/// When calls are admitted again, where time alone brings that about.
fn resets(account: &AccountId) -> String {
    let window = match account {
        AccountId::Shared(shared) => shared.window,
        AccountId::Key(_) => None,
    };
    let at = |window: Window| window.end.format("%Y-%m-%dT%H:%M:%SZ");
    window.map_or_else(String::new, |window| {
        format!("; the budget counts from zero again at {}", at(window))
    })
}

/// LiteLLM: the scope and its id, a key by its masked form.
fn whose(caller: &Caller, account: &AccountId) -> String {
    let name = match caller {
        Caller::Key(key) => &*key.key_name,
        Caller::Master => "master",
    };
    let AccountId::Shared(shared) = account else {
        return format!("Key={name}");
    };
    match shared.scope {
        SharedScope::Role => format!("Role={}", shared.id),
        SharedScope::Entity => format!("Entity={}", shared.id),
        SharedScope::Team => format!("Team={}", shared.id),
        SharedScope::User => format!("User={}", shared.id),
        SharedScope::KeyBudget => format!("Key={name}"),
        SharedScope::KeyLimit => format!("Key={name} over {} budget", shared.of_what()),
        SharedScope::KeyModel => format!("Key={name} Model={}", shared.of_what()),
    }
}

#[cfg(test)]
mod tests;
