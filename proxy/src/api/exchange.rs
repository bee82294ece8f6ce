//! One call between sending and settling.
//!
//! It owns the hold from the moment the provider may count until it is settled,
//! on every way out. It runs in a task of its own, so that a caller who hangs up
//! does not end it. `chat` starts it and passes its answer on.

use std::pin::pin;
use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::budget::warn;
use super::failure;
use super::header;
use super::rates;
use super::revocation::revoked;
use super::settle::settlement;
use crate::app::AppState;
use crate::auth::{Caller, Peer};
use crate::config::{Deployment, ProviderKey};
use crate::error::ApiError;
use crate::failpoint;
use crate::key::{AccountId, Rates, SharedScope, own_key};
use crate::ledger::{Hold, Settlement};
use crate::money::NanoUsd;
use crate::secret::Secret;
use crate::stream::meter::Meter;
use crate::stream::pump::{CHUNKS_MAX, Cut, Ending, Pump};
use crate::turn;
use crate::upstream::{Answer, Outgoing, UpstreamError};

const RESPONSE_COST: HeaderName = HeaderName::from_static("x-litellm-response-cost");
const KEY_SPEND: HeaderName = HeaderName::from_static("x-litellm-key-spend");
const MODEL_ID: HeaderName = HeaderName::from_static("x-litellm-model-id");

/// More than any answer in text; an image in base64 fits.
const ANSWER_BYTES_MAX: usize = 32 * 1024 * 1024;
/// An error's explanation is short.
const ERROR_BYTES_MAX: usize = 64 * 1024;

/// A call that is held for.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) deployment: Arc<Deployment>,
    pub(super) hold: Hold,
    /// What the key's calls are counted by.
    pub(super) rates: Option<Rates>,
    pub(super) outgoing: Outgoing,
    pub(super) input_bound: u64,
    /// The caller did not ask for a stream's usage chunk.
    pub(super) hides_usage: bool,
    /// Whose key must stay good while a stream runs.
    pub(super) caller: Caller,
    pub(super) peer: Peer,
}

/// The part of an exchange that outlives its sending.
struct Sent {
    hold: Hold,
    soft_budget: Option<NanoUsd>,
    rates: Option<Rates>,
    input_bound: u64,
    hides_usage: bool,
    status: u16,
}

pub(super) async fn run(state: AppState, exchange: Exchange) -> Result<Response, ApiError> {
    let Exchange {
        deployment,
        mut hold,
        rates,
        outgoing,
        input_bound,
        hides_usage,
        caller,
        peer,
    } = exchange;
    if !hold.call().streamed {
        turn::end().await;
    }
    // Where another call of this turn has done so, nothing is left to write.
    if hold.mark_sent().await.is_err() {
        return Err(ApiError::store_unavailable());
    }
    failpoint::pass("chat.before_send").await;
    // Not after the answer, when other calls have taken the key's place in the caches.
    let soft_budget = match &caller {
        Caller::Key(key) => key.warns_from(),
        Caller::Master => None,
    };
    let mut answer = match state.upstream.send(&deployment, outgoing).await {
        Ok(answer) => answer,
        Err(error) => return Err(no_answer(hold, &error)),
    };
    let sent = Sent {
        hold,
        soft_budget,
        rates,
        input_bound,
        hides_usage,
        status: answer.status.as_u16(),
    };
    if !answer.status.is_success() {
        let api_key = deployment.api_key.as_ref().map(ProviderKey::secret);
        return Err(refused(sent, &mut answer, api_key).await);
    }
    let mut headers = std::mem::take(&mut answer.headers);
    if let Ok(id) = HeaderValue::try_from(&*deployment.id) {
        headers.insert(MODEL_ID, id);
    }
    if is_event_stream(&headers) {
        return Ok(stream(&state, sent, answer, headers, (caller, peer)));
    }
    whole(&state, sent, answer, headers).await
}

/// Nothing came back. What was never sent costs nothing; for anything else
/// nobody knows what the provider did, so dropping the hold charges its bound.
fn no_answer(hold: Hold, error: &UpstreamError) -> ApiError {
    tracing::warn!(
        error = error as &dyn std::error::Error,
        request_id = %hold.call().request_id,
        "the provider gave no answer"
    );
    if matches!(error, UpstreamError::Unreachable(_)) {
        hold.settle(Settlement::default());
    }
    failure::failed(error)
}

/// A refusal costs nothing: the provider had not begun.
async fn refused(sent: Sent, answer: &mut Answer, api_key: Option<&Secret>) -> ApiError {
    let body = answer.collect(ERROR_BYTES_MAX).await.unwrap_or_default();
    let retry_after = answer
        .headers
        .get(http::header::RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok());
    tracing::warn!(
        request_id = %sent.hold.call().request_id,
        status = sent.status,
        "the provider refused a call"
    );
    let error = failure::refused(answer.status, retry_after, &body, api_key);
    sent.hold.settle(Settlement {
        status: sent.status,
        ..Settlement::default()
    });
    error
}

async fn whole(
    state: &AppState,
    sent: Sent,
    mut answer: Answer,
    mut headers: HeaderMap,
) -> Result<Response, ApiError> {
    let status = answer.status;
    let body = match answer.collect(ANSWER_BYTES_MAX).await {
        Ok(body) => body,
        Err(error) => return Err(no_answer(sent.hold, &error)),
    };
    let mut meter = Meter::default();
    let is_usable = meter.whole(&body);
    let accounts = Arc::clone(&sent.hold.call().accounts);
    let (rates, soft_budget) = (sent.rates.clone(), sent.soft_budget);
    failpoint::pass("chat.before_settle").await;
    let cost = settle(sent, &meter, Ending::Ended);
    if !is_usable {
        return Err(failure::unusable());
    }
    insert_rates(state, &mut headers, rates.as_ref());
    header::put(&mut headers, RESPONSE_COST, header::value(cost));
    let spent = spend(state, &accounts);
    header::put(&mut headers, KEY_SPEND, spent.and_then(header::value));
    warn(state, &accounts, soft_budget, &mut headers);
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    Ok(response)
}

fn stream(
    state: &AppState,
    sent: Sent,
    answer: Answer,
    mut headers: HeaderMap,
    (caller, peer): (Caller, Peer),
) -> Response {
    let accounts = &sent.hold.call().accounts;
    let spent = spend(state, accounts);
    header::put(&mut headers, KEY_SPEND, spent.and_then(header::value));
    warn(state, accounts, sent.soft_budget, &mut headers);
    insert_rates(state, &mut headers, sent.rates.as_ref());
    headers.insert("cache-control", HeaderValue::from_static("no-cache"));
    let status = answer.status;
    let (sender, receiver) = mpsc::channel(CHUNKS_MAX);
    let cut = Cut::default();
    let pump = Pump::new(answer, sender, sent.hides_usage, cut.clone());
    let watching = state.clone();
    state.tasks.spawn(async move {
        // Owned here: a panic in the pump drops it, which charges the bound.
        let sent = sent;
        let mut pump = pin!(pump.run());
        let (meter, ending) = tokio::select! {
            ended = &mut pump => ended,
            () = revoked(&watching, caller, peer) => {
                let request_id = sent.hold.call().request_id;
                tracing::info!(%request_id, "a stream is cut because its key has ended");
                cut.make();
                pump.await
            }
        };
        failpoint::pass("chat.before_settle").await;
        settle(sent, &meter, ending);
    });
    let mut response = Response::new(Body::from_stream(ReceiverStream::new(receiver)));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn settle(sent: Sent, meter: &Meter, ending: Ending) -> NanoUsd {
    let settlement = settlement(&sent.hold, meter, ending, sent.input_bound, sent.status);
    let call = sent.hold.call();
    if settlement.estimated {
        tracing::info!(
            request_id = %call.request_id,
            cost_nanousd = settlement.cost.nanos(),
            "a call is charged an estimate, because the provider's count is not known"
        );
    }
    // Below what is usually shown: the usage row says the same, and a line for each
    // call costs all the more the cheaper a call becomes.
    tracing::debug!(
        request_id = %call.request_id,
        model = %call.model,
        status = sent.status,
        streamed = call.streamed,
        prompt_tokens = settlement.usage.prompt_tokens,
        completion_tokens = settlement.usage.completion_tokens,
        cost_nanousd = settlement.cost.nanos(),
        estimated = settlement.estimated,
        "chat call settled"
    );
    sent.hold.settle(settlement);
    settlement.cost
}

/// What the key has spent, since its budget last counted from zero where it does
/// so again and again.
pub(super) fn spend(state: &AppState, accounts: &[AccountId]) -> Option<NanoUsd> {
    let is_window = |account: &&AccountId| matches!(account, AccountId::Shared(shared) if shared.scope == SharedScope::KeyBudget);
    let own = own_key(accounts).map(AccountId::Key)?;
    let account = accounts.iter().find(is_window).unwrap_or(&own);
    state.ledger.known_spend(account)
}

fn insert_rates(state: &AppState, headers: &mut HeaderMap, rates: Option<&Rates>) {
    if let Some(rates) = rates {
        rates::insert(headers, rates, &state.ledger.left(rates));
    }
}

fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(http::header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|kind| kind.trim_start().starts_with("text/event-stream"))
}
