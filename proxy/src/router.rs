//! Owns the route table: every route of both planes on one screen, and which
//! plane each belongs to, and what a caller of the admin plane needs for it.
//! Handlers of the data plane authenticate by themselves; a route that is not
//! listed here does not exist. Called by `app`.

use axum::{
    Router,
    body::Body,
    middleware::{from_fn, from_fn_with_state, map_response},
    response::Response,
    routing::{MethodRouter, get, post},
};
use http::{HeaderValue, Method, Request, header};
use tower::Service as _;

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

/// What answers on one address.
#[derive(Clone, Debug)]
pub(crate) struct Routes {
    /// Where models are called: looking a route up in the table costs more than
    /// all that the gateway does for such a call.
    calls: Option<AppState>,
    table: Router,
}

impl Routes {
    /// `table` has these routes too, and says so to other methods.
    pub(crate) fn with_calls(state: AppState, table: Router) -> Self {
        Self {
            calls: Some(state),
            table,
        }
    }

    pub(crate) async fn answer(&self, request: Request<Body>) -> Response {
        if let Some(state) = &self.calls
            && request.method() == Method::POST
            && CALLS.contains(&request.uri().path())
        {
            return api::chat::answered(state, request).await;
        }
        let Ok(answer) = self.table.clone().call(request).await;
        answer
    }
}

impl From<Router> for Routes {
    fn from(table: Router) -> Self {
        Self { calls: None, table }
    }
}

const CALLS: [&str; 2] = ["/v1/chat/completions", "/chat/completions"];

/// Calls that spend money, and what a key may ask about itself.
pub(crate) fn data_plane(state: AppState) -> Router {
    let own = vec![("/key/info", in_turn(get(admin::key_info::own)))];
    let routes = [health_routes(), llm_routes(), own].concat();
    finish(open(routes), state)
}

/// The key API.
pub(crate) fn admin_plane(state: AppState) -> Router {
    let routes = open(health_routes()).merge(gated(&state));
    finish(routes, state)
}

/// Everything on one address. `/key/info` answers both kinds of caller alike.
pub(crate) fn both_planes(state: AppState) -> Router {
    let routes = open([health_routes(), llm_routes()].concat());
    finish(routes.merge(gated(&state)), state)
}

/// What is said while the store cannot be reached for the first time. Each answer
/// ends its connection: one that is kept would be closed when the store is there,
/// and a request on its way at that moment would get no answer.
pub(crate) fn without_store() -> Router {
    Router::new()
        .route("/health/liveliness", get(health::alive))
        .route("/health/liveness", get(health::alive))
        .route("/health/readiness", get(health::disconnected))
        .fallback(|| async { ApiError::store_unavailable() })
        .layer(map_response(async |mut answer: Response| {
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(header::CONNECTION, close);
            answer
        }))
}

/// A path, and what answers it.
type Route = (&'static str, MethodRouter<AppState>);

fn health_routes() -> Vec<Route> {
    vec![
        ("/health/liveliness", get(health::liveliness)),
        ("/health/liveness", get(health::liveliness)),
        ("/health/readiness", get(health::readiness)),
    ]
}

fn llm_routes() -> Vec<Route> {
    vec![
        (CALLS[0], post(api::chat::completions)),
        (CALLS[1], post(api::chat::completions)),
        ("/v1/models", get(api::models::list)),
        ("/models", get(api::models::list)),
        ("/v1/usage", in_turn(get(api::usage::handle))),
        ("/usage", in_turn(get(api::usage::handle))),
        ("/v1/budget", in_turn(get(api::budget::handle))),
        ("/budget", in_turn(get(api::budget::handle))),
    ]
}

/// For what reads the store and is counted by no limit.
fn in_turn(route: MethodRouter<AppState>) -> MethodRouter<AppState> {
    route.layer(from_fn(api::turn::wait))
}

/// A path of the admin plane, what answers it, and what it asks of its caller.
type AdminRoute = (&'static str, MethodRouter<AppState>, Need);

fn admin_routes() -> Vec<AdminRoute> {
    [key_changes(), key_reads(), group_routes(), reports()].concat()
}

fn open(routes: Vec<Route>) -> Router<AppState> {
    let add = |table: Router<_>, (path, handler)| table.route(path, handler);
    routes.into_iter().fold(Router::new(), add)
}

fn gated(state: &AppState) -> Router<AppState> {
    let add = |table: Router<_>, (path, handler, need): AdminRoute| {
        let gate = from_fn_with_state((state.clone(), need), admit);
        table.route(path, handler.route_layer(gate))
    };
    admin_routes().into_iter().fold(Router::new(), add)
}

/// The paths of the data plane and of the admin plane, in the order of the tables.
#[cfg(test)]
pub(crate) fn paths() -> [Vec<&'static str>; 2] {
    let open = |routes: Vec<Route>| routes.into_iter().map(|(path, _)| path);
    let gated = admin_routes().into_iter().map(|(path, ..)| path);
    let data = open(health_routes()).chain(open(llm_routes()));
    [
        data.chain(["/key/info"]).collect(),
        open(health_routes()).chain(gated).collect(),
    ]
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
            "/key/delete_expired",
            post(admin::key_delete_expired::handle),
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

/// Named budgets, teams and users.
fn group_routes() -> Vec<AdminRoute> {
    use admin::groups::{block, delete, info, list, new, update, user_new};
    let (write, read) = (Scope(KeysWrite), Scope(KeysRead));
    vec![
        ("/budget/new", post(new::budget), write),
        ("/budget/update", post(update::budget), write),
        ("/budget/delete", post(delete::budget), write),
        ("/budget/info", post(info::budget), read),
        ("/budget/list", get(list::budget), read),
        ("/team/new", post(new::team), write),
        ("/team/update", post(update::team), write),
        ("/team/delete", post(delete::team), write),
        ("/team/block", post(block::block), write),
        ("/team/unblock", post(block::unblock), write),
        ("/team/info", get(info::team), read),
        ("/team/list", get(list::team), read),
        ("/user/new", post(user_new::handle), write),
        ("/user/update", post(update::user), write),
        ("/user/delete", post(delete::user), write),
        ("/user/info", get(info::user), read),
        ("/user/list", get(list::user), read),
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
