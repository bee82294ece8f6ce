//! Owns the route table: every route of both planes on one screen, and which
//! plane each belongs to, and what a caller of the admin plane needs for it.
//! Handlers of the data plane authenticate by themselves; a route that is not
//! listed here does not exist. Called by `app`.

use axum::{
    Router,
    middleware::from_fn_with_state,
    routing::{MethodRouter, get, post},
};

use crate::{
    admin, api,
    app::AppState,
    auth::{
        Need::{self, Scope, ScopeOrItself},
        admit,
    },
    error::ApiError,
    health,
    key::Scope::{KeysRead, KeysWrite, UsageRead},
};

/// Calls that spend money, and what a key may ask about itself.
pub(crate) fn data_plane(state: AppState) -> Router {
    finish(health_routes().merge(data_routes()), state)
}

/// The key API.
pub(crate) fn admin_plane(state: AppState) -> Router {
    finish(health_routes().merge(admin_routes(&state)), state)
}

/// Everything on one address. `/key/info` answers both kinds of caller alike.
pub(crate) fn both_planes(state: AppState) -> Router {
    let routes = health_routes().merge(llm_routes());
    finish(routes.merge(admin_routes(&state)), state)
}

fn health_routes() -> Router<AppState> {
    Router::new()
        .route("/health/liveliness", get(health::liveliness))
        .route("/health/liveness", get(health::liveliness))
        .route("/health/readiness", get(health::readiness))
}

fn data_routes() -> Router<AppState> {
    llm_routes().route("/key/info", get(admin::key_info::own))
}

fn llm_routes() -> Router<AppState> {
    Router::new()
        .route("/v1/chat/completions", post(api::chat::completions))
        .route("/chat/completions", post(api::chat::completions))
        .route("/v1/models", get(api::models::list))
        .route("/models", get(api::models::list))
        .route("/v1/usage", get(api::usage::handle))
        .route("/usage", get(api::usage::handle))
        .route("/v1/budget", get(api::budget::handle))
        .route("/budget", get(api::budget::handle))
}

/// A path of the admin plane, what answers it, and what it asks of its caller.
type AdminRoute = (&'static str, MethodRouter<AppState>, Need);

fn admin_routes(state: &AppState) -> Router<AppState> {
    [key_changes(), key_reads(), reports()]
        .into_iter()
        .flatten()
        .fold(Router::new(), |routes, (path, handler, need)| {
            let gate = from_fn_with_state((state.clone(), need), admit);
            routes.route(path, handler.route_layer(gate))
        })
}

/// What changes keys.
fn key_changes() -> Vec<AdminRoute> {
    vec![
        (
            "/key/generate",
            post(admin::key_generate::handle),
            Scope(KeysWrite),
        ),
        (
            "/key/update",
            post(admin::key_update::handle),
            Scope(KeysWrite),
        ),
        (
            "/key/delete",
            post(admin::key_delete::handle),
            Scope(KeysWrite),
        ),
        (
            "/key/block",
            post(admin::key_block::block),
            Scope(KeysWrite),
        ),
        (
            "/key/unblock",
            post(admin::key_block::unblock),
            Scope(KeysWrite),
        ),
        (
            "/key/regenerate",
            post(admin::key_regenerate::named_in_body),
            Scope(KeysWrite),
        ),
        (
            "/key/{key}/regenerate",
            post(admin::key_regenerate::named_in_path),
            Scope(KeysWrite),
        ),
        (
            "/key/bulk_update",
            post(admin::key_bulk_update::handle),
            Scope(KeysWrite),
        ),
        (
            "/key/{key}/reset_spend",
            post(admin::key_reset_spend::handle),
            Scope(KeysWrite),
        ),
    ]
}

/// What tells of keys.
fn key_reads() -> Vec<AdminRoute> {
    vec![
        (
            "/key/aliases",
            get(admin::key_aliases::handle),
            Scope(KeysRead),
        ),
        ("/key/count", get(admin::key_count::handle), Scope(KeysRead)),
        ("/v2/key/info", post(admin::key_info::many), Scope(KeysRead)),
        (
            "/key/info",
            get(admin::key_info::any),
            ScopeOrItself(KeysRead),
        ),
        ("/key/list", get(admin::key_list::handle), Scope(KeysRead)),
    ]
}

/// What tells of calls and of changes.
fn reports() -> Vec<AdminRoute> {
    vec![
        (
            "/spend/logs",
            get(admin::spend_logs::rows),
            Scope(UsageRead),
        ),
        (
            "/spend/logs/v2",
            get(admin::spend_logs::counted),
            Scope(UsageRead),
        ),
        (
            "/global/spend/report",
            get(admin::spend_report::handle),
            Scope(UsageRead),
        ),
        ("/audit", get(admin::audit::handle), Scope(KeysRead)),
    ]
}

fn finish(routes: Router<AppState>, state: AppState) -> Router {
    routes
        .fallback(|| async { ApiError::no_route() })
        .method_not_allowed_fallback(|| async { ApiError::wrong_method() })
        .with_state(state)
}
