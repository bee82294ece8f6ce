//! Owns the route table: every route of both planes on one screen, and which
//! plane each belongs to. Handlers authenticate by themselves; a route that is
//! not listed here does not exist. Called by `app`.

use axum::{
    Router,
    routing::{get, post},
};

use crate::{admin, api, app::AppState, error::ApiError, health};

/// Calls that spend money, and what a key may ask about itself.
pub(crate) fn data_plane(state: AppState) -> Router {
    finish(health_routes().merge(data_routes()), state)
}

/// The key API.
pub(crate) fn admin_plane(state: AppState) -> Router {
    finish(health_routes().merge(admin_routes()), state)
}

/// Everything on one address. `/key/info` answers both kinds of caller alike.
pub(crate) fn both_planes(state: AppState) -> Router {
    finish(
        health_routes().merge(llm_routes()).merge(admin_routes()),
        state,
    )
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
}

fn admin_routes() -> Router<AppState> {
    Router::new()
        .route("/key/generate", post(admin::key_generate::handle))
        .route("/key/update", post(admin::key_update::handle))
        .route("/key/delete", post(admin::key_delete::handle))
        .route("/key/block", post(admin::key_block::block))
        .route("/key/unblock", post(admin::key_block::unblock))
        .route("/key/info", get(admin::key_info::any))
        .route("/key/list", get(admin::key_list::handle))
}

fn finish(routes: Router<AppState>, state: AppState) -> Router {
    routes
        .fallback(|| async { ApiError::no_route() })
        .method_not_allowed_fallback(|| async { ApiError::wrong_method() })
        .with_state(state)
}
