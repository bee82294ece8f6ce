//! Owns who may call a route of the admin plane: the master key, and an admin
//! key that has the scope which the router's table names for that route. Called
//! by the router; handlers receive the caller that was let in.

use std::sync::Arc;

use axum::{
    extract::{Request, State},
    middleware::Next,
    response::Response,
};
use sqlx::AnyConnection;

use super::{Caller, Peer, authenticate, authenticate_again, authorize_route};
use crate::{
    app::AppState,
    error::ApiError,
    key::{Key, Scope, Scopes},
    store,
};

/// What a route of the admin plane asks of its caller.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Need {
    Scope(Scope),
    /// The scope, or an ordinary key that asks about itself.
    ScopeOrItself(Scope),
}

/// A caller that a route has let in.
#[derive(Clone, Debug)]
pub(crate) struct Admitted {
    pub(crate) caller: Caller,
    need: Need,
    peer: Peer,
    path: String,
}

/// Refuses who may not call the route; the handler finds [`Admitted`] among the
/// request's extensions.
pub(crate) async fn admit(
    State((state, need)): State<(AppState, Need)>,
    mut request: Request,
    next: Next,
) -> Result<Response, ApiError> {
    let peer = Peer::of(request.extensions());
    let caller = authenticate(&state, request.headers(), peer).await?;
    let path = request.uri().path().to_owned();
    may_call(&caller, need, &path)?;
    // No name holds a zero byte, and PostgreSQL takes no text with one.
    if request
        .uri()
        .query()
        .is_some_and(|query| query.contains("%00"))
    {
        let message = "the query holds a zero byte: leave it out";
        return Err(ApiError::bad_request("query", message));
    }
    request.extensions_mut().insert(Admitted {
        caller,
        need,
        peer,
        path,
    });
    Ok(next.run(request).await)
}

impl Admitted {
    /// Whom [`admit`] let in.
    ///
    /// # Errors
    /// 500 where the router's table forgot to ask: nobody passes then.
    pub(crate) fn of(request: &Request) -> Result<Self, ApiError> {
        let admitted = request.extensions().get::<Self>().cloned();
        admitted.ok_or_else(ApiError::internal)
    }

    /// The caller as it stands now, since a slow sender must not outlive what
    /// it was allowed.
    ///
    /// # Errors
    /// As [`admit`].
    pub(crate) async fn again(mut self, state: &AppState) -> Result<Self, ApiError> {
        self.caller = authenticate_again(state, self.caller, self.peer).await?;
        may_call(&self.caller, self.need, &self.path)?;
        Ok(self)
    }

    /// The caller as this transaction sees it. A change waits for the one
    /// writer, and what ended the caller meanwhile must not be undone by it.
    ///
    /// # Errors
    /// As [`admit`].
    pub(crate) async fn within(
        &self,
        state: &AppState,
        write: &mut AnyConnection,
    ) -> Result<Caller, ApiError> {
        let Caller::Key(known) = &self.caller else {
            return Ok(Caller::Master);
        };
        let key = store::keys::find(write, known.hash).await?;
        let key = key.filter(|key| super::is_sealed(state, known.hash, key));
        let key = key.ok_or_else(|| super::unknown(known.hash))?;
        super::check(state, &key, self.peer)?;
        let caller = Caller::Key(Arc::new(key));
        may_call(&caller, self.need, &self.path)?;
        Ok(caller)
    }
}

impl Caller {
    /// A key without scopes, which calls models.
    pub(crate) fn is_ordinary(&self) -> bool {
        matches!(self, Self::Key(key) if key.scopes.is_empty())
    }

    /// Whether the caller may give these scopes away, or change a key that has
    /// them: nobody comes by a power through a key that lacks it.
    ///
    /// # Errors
    /// 403 that names a scope which the caller lacks.
    pub(crate) fn must_have(&self, scopes: Scopes) -> Result<(), ApiError> {
        let Self::Key(key) = self else {
            return Ok(());
        };
        match key.scopes.lacking(scopes) {
            None => Ok(()),
            Some(lacking) => Err(lacks(lacking)),
        }
    }

    /// Whether the caller may leave behind a key of this kind: an admin key
    /// holds itself and every other that it writes to its own bounds.
    ///
    /// # Errors
    /// 403 that names the bound which `written` lacks.
    pub(crate) fn must_bind(&self, written: &Key) -> Result<(), ApiError> {
        let Self::Key(key) = self else {
            return Ok(());
        };
        if written.scopes.is_empty() {
            return Ok(());
        }
        if let Some(end) = key.expires_at
            && written.expires_at.is_none_or(|at| at > end)
        {
            return Err(wider("duration", "ends later than your own key"));
        }
        if !key.allowed_cidrs.is_empty() && written.allowed_cidrs != key.allowed_cidrs {
            let what = "has other allowed_cidrs than your own key";
            return Err(wider("allowed_cidrs", what));
        }
        if !key.allowed_routes.is_empty() && written.allowed_routes != key.allowed_routes {
            let what = "has other allowed_routes than your own key";
            return Err(wider("allowed_routes", what));
        }
        Ok(())
    }
}

fn may_call(caller: &Caller, need: Need, path: &str) -> Result<(), ApiError> {
    check(caller, need)?;
    if caller.is_ordinary() {
        return Ok(());
    }
    authorize_route(caller, path)
}

fn check(caller: &Caller, need: Need) -> Result<(), ApiError> {
    let Caller::Key(key) = caller else {
        return Ok(());
    };
    let (Need::Scope(scope) | Need::ScopeOrItself(scope)) = need;
    match (key.scopes.is_empty(), need) {
        (true, Need::ScopeOrItself(_)) => Ok(()),
        (true, Need::Scope(Scope::KeysRead)) => Err(ApiError::forbidden(
            "only the master key, or an admin key with the scope keys.read, may call this route",
        )),
        // LiteLLM: 401 for a key that is good and may not do this.
        (true, Need::Scope(_)) => Err(ApiError::unauthorized(
            "auth_error",
            "Authentication Error, Only proxy admin can manage keys: use the master key.",
        )),
        (false, _) if key.scopes.has(scope) => Ok(()),
        (false, _) => Err(lacks(scope)),
    }
}

fn wider(field: &'static str, what: &str) -> ApiError {
    ApiError::forbidden(format!(
        "this admin key {what}: give it the bounds that yours has, as GET /key/info shows them, or use the master key"
    ))
    .with_param(field)
}

fn lacks(scope: Scope) -> ApiError {
    ApiError::forbidden(format!(
        "this key lacks the scope {}: use the master key, or a key that has it",
        scope.as_str()
    ))
    .with_param("scopes")
}
