//! From a request to the handler that answers it.
//!
//! Owns the order of things: standby check, field validation, handler,
//! warnings. Called by `grpc` and by tests, never by an engine.

use std::collections::BTreeMap;

use tracing::warn;

use super::{
    backend::Backend,
    data::FieldData,
    help, openapi, rollback,
    route::{Route, normal},
};
use crate::{Error, Operation, Request, Response, Value};

impl<S: Send + Sync + 'static> Backend<S> {
    /// Answers one request.
    ///
    /// # Errors
    /// What the handler fails with, and the framework's own refusals.
    pub async fn handle(&self, mut request: Request) -> Result<Option<Response>, Error> {
        self.check()?;
        match request.operation {
            Operation::Renew if request.auth.is_some() => return self.renew_login(request).await,
            Operation::Renew | Operation::Revoke => return self.handle_lease(request).await,
            Operation::Rotate => return self.rotate(request).await,
            Operation::Rollback => return rollback::run(self, request).await,
            Operation::Help if normal(&request.path).is_empty() => {
                return Ok(Some(self.root_help(&request).await));
            }
            _ => {}
        }
        let (route, captures) = self.route(&request.path).ok_or(Error::UnsupportedPath)?;
        if request.operation == Operation::Help {
            return Ok(Some(help::path(self, route, &request)));
        }
        let operation = &request.operation;
        let handler = route
            .path
            .operations
            .get(operation)
            .ok_or(Error::UnsupportedOperation)?;
        if route.path.forwarded.contains(operation) {
            refuse_elsewhere(&request, route.path.on_primary.contains(operation)).await?;
        }
        let warnings = input_warnings(route, &request, &captures);
        let fields = fields(route, &request, captures)?;
        // Without the fields: a revoke is dispatched by its lease, not its path.
        let undo = request.clone();
        request.fields = fields;
        let mut response = handler(self.state.clone(), request).await?;
        if let Some(response) = &mut response {
            response.warnings.extend(warnings);
            self.forbid_renewal_without_handler(response);
        }
        if undo.caller.is_gone() {
            self.revoke_unclaimed(undo, response.as_ref()).await;
        }
        Ok(response)
    }

    /// Vault: a lease that cannot be renewed says so, whatever its maker asked.
    fn forbid_renewal_without_handler(&self, response: &mut Response) {
        let Some(secret) = &mut response.secret else {
            return;
        };
        let kind = secret.secret_type().and_then(|kind| self.secrets.get(kind));
        if kind.is_none_or(|kind| kind.renew.is_none()) {
            secret.lease.renewable = false;
        }
    }

    /// Ends a lease that the server will never register, because the call that
    /// asked for it is over: nobody else would.
    async fn revoke_unclaimed(&self, mut request: Request, response: Option<&Response>) {
        let Some(secret) = response.and_then(|response| response.secret.clone()) else {
            return;
        };
        request.operation = Operation::Revoke;
        request.secret = Some(secret);
        if let Err(error) = self.handle_lease(request).await {
            warn!(%error, "a lease that nobody waited for could not be revoked");
        }
    }

    /// Whether a write's target exists; `None` where the path does not tell.
    ///
    /// # Errors
    /// [`Error::UnsupportedPath`] where nothing matches, and the handler's own.
    pub async fn exists(&self, mut request: Request) -> Result<Option<bool>, Error> {
        self.check()?;
        let (route, captures) = self.route(&request.path).ok_or(Error::UnsupportedPath)?;
        let Some(handler) = &route.path.exists else {
            return Ok(None);
        };
        request.fields = fields(route, &request, captures)?;
        handler(self.state.clone(), request).await.map(Some)
    }

    /// Runs the initialize hook.
    ///
    /// # Errors
    /// What the hook fails with.
    pub async fn start(&self, request: Request) -> Result<(), Error> {
        self.check()?;
        match &self.initialize {
            Some(hook) => hook(self.state.clone(), request).await,
            None => Ok(()),
        }
    }

    /// Runs the invalidate hook.
    pub async fn invalidated(&self, key: String) {
        if let Some(hook) = &self.invalidate {
            hook(self.state.clone(), key).await;
        }
    }

    /// Runs the clean hook.
    pub async fn stop(&self) {
        if let Some(hook) = &self.clean {
            hook(self.state.clone()).await;
        }
    }

    fn route(&self, path: &str) -> Option<(&Route<S>, BTreeMap<String, String>)> {
        let path = normal(path);
        self.routes
            .iter()
            .find_map(|route| Some((route, route.captures(path)?)))
    }

    async fn handle_lease(&self, request: Request) -> Result<Option<Response>, Error> {
        let kind = request
            .secret
            .as_ref()
            .and_then(|secret| secret.secret_type());
        let Some(secret) = kind.and_then(|kind| self.secrets.get(kind)) else {
            return Err(Error::internal("secret is unsupported by this backend"));
        };
        let renews = request.operation == Operation::Renew;
        let handler = if renews {
            &secret.renew
        } else {
            &secret.revoke
        };
        let handler = handler.as_ref().ok_or(Error::UnsupportedOperation)?;
        refuse_on_standby(&request).await?;
        handler(self.state.clone(), request).await
    }

    /// Vault: a mount without the hook says so to the user, in these words.
    async fn renew_login(&self, request: Request) -> Result<Option<Response>, Error> {
        let Some(handler) = &self.auth_renew else {
            return Err(Error::user("this auth type doesn't support renew"));
        };
        refuse_on_standby(&request).await?;
        handler(self.state.clone(), request).await
    }

    async fn rotate(&self, request: Request) -> Result<Option<Response>, Error> {
        let hook = self
            .rotate_credential
            .as_ref()
            .ok_or(Error::UnsupportedOperation)?;
        refuse_on_standby(&request).await?;
        hook(self.state.clone(), request).await?;
        Ok(Some(Response::default()))
    }

    /// A failure to learn the server's version must not fail the help: the
    /// server builds its whole OpenAPI document from every mount's answer.
    async fn root_help(&self, request: &Request) -> Response {
        let version = request
            .system
            .plugin_env()
            .await
            .unwrap_or_default()
            .version;
        let prefix = request
            .data
            .get("requestResponsePrefix")
            .and_then(Value::as_str);
        let document = openapi::document(self, &version, prefix.unwrap_or_default());
        help::root(self, document)
    }
}

/// Vault: a lease or a token lives where it was made, so that its renewal and its
/// end stay in their cluster.
async fn refuse_on_standby(request: &Request) -> Result<(), Error> {
    refuse_elsewhere(request, false).await
}

/// Vault: the text of this error makes the server forward the request. A mount
/// that is local to a secondary is as good there as on a primary.
async fn refuse_elsewhere(request: &Request, on_primary: bool) -> Result<(), Error> {
    let system = request.system.as_ref();
    let state = system.replication_state().await?;
    let secondary = on_primary && state.is_performance_secondary();
    if state.is_standby() || (secondary && !system.local_mount().await?) {
        return Err(Error::ReadOnly);
    }
    Ok(())
}

fn fields<S>(
    route: &Route<S>,
    request: &Request,
    captures: BTreeMap<String, String>,
) -> Result<FieldData, Error> {
    FieldData::new(route.schema.clone(), request.data.clone(), captures)
}

/// Vault: the texts of its framework.
fn input_warnings<S>(
    route: &Route<S>,
    request: &Request,
    captures: &BTreeMap<String, String>,
) -> Vec<String> {
    let mut warnings = Vec::new();
    let names = |keep: &dyn Fn(&str, &Value) -> bool| {
        let mut names: Vec<_> = request
            .data
            .iter()
            .filter(|(name, value)| keep(name, value))
            .map(|(name, _)| name.as_str())
            .collect();
        names.sort_unstable();
        names.join(" ")
    };
    let unknown = names(&|name, _| !route.schema.contains_key(name));
    if !unknown.is_empty() && !route.path.takes_arbitrary_input {
        warnings.push(format!(
            "Endpoint ignored these unrecognized parameters: [{unknown}]"
        ));
    }
    let replaced = names(&|name, value| captures.contains_key(name) && !value.is_null());
    if !replaced.is_empty() {
        warnings.push(format!(
            "Endpoint replaced the value of these parameters with the values captured from the \
             endpoint's path: [{replaced}]"
        ));
    }
    warnings
}

#[cfg(test)]
mod tests;
