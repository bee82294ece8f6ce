//! Where calls go, and the connections to there that are idle.
//!
//! It owns what is the same for each call of a deployment, made once, and which
//! connection a call gets. It never sends a request twice.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use foldhash::HashMap;
use http::{HeaderValue, Request, Response, Uri};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use tokio::time::Instant;
use url::Url;

use super::client::{ClientError, ConnectError, Connector};
use super::connection::{Connection, SendError};

/// Shorter than what providers' load balancers keep an idle connection for.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

/// All connections of the process to providers.
#[derive(Debug)]
pub(super) struct Pool {
    connector: Connector,
    /// By `api_base`: as many as the configuration has.
    targets: RwLock<HashMap<String, Arc<Target>>>,
}

/// Where the calls of an `api_base` go.
#[derive(Debug)]
pub(super) struct Target {
    /// Of the request line: the path, or all of it for a proxy.
    pub(super) uri: Uri,
    pub(super) host: HeaderValue,
    /// What the address itself says, where the deployment has no key.
    pub(super) credentials: Option<HeaderValue>,
    /// Of a proxy that sees the request.
    pub(super) proxy_credentials: Option<HeaderValue>,
    to: Uri,
    proxy: Option<Intercept>,
    /// The one used last is at the back.
    idle: Mutex<VecDeque<(Instant, Box<Connection>)>>,
}

/// An answer's body, with the connection it comes by.
#[derive(Debug)]
pub(super) struct Body {
    incoming: Incoming,
    connection: Option<Box<Connection>>,
    target: Arc<Target>,
}

/// Why there is no answer.
pub(super) enum Failure {
    /// Nothing of the request has been sent.
    Unreachable(ConnectError),
    Broken(hyper::Error),
    /// The answer did not come in time.
    Late,
}

impl From<hyper::Error> for Failure {
    fn from(error: hyper::Error) -> Self {
        Self::Broken(error)
    }
}

impl Pool {
    pub(super) fn new() -> Result<Self, ClientError> {
        Ok(Self {
            connector: Connector::new()?,
            targets: RwLock::default(),
        })
    }

    pub(super) fn target(&self, api_base: &Url) -> Result<Arc<Target>, ConnectError> {
        let known = self.targets.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(target) = known.get(api_base.as_str()) {
            return Ok(Arc::clone(target));
        }
        drop(known);
        let target = Arc::new(Target::new(api_base, &self.connector)?);
        let mut known = self.targets.write().unwrap_or_else(PoisonError::into_inner);
        let known = known.entry(api_base.as_str().to_owned()).or_insert(target);
        Ok(Arc::clone(known))
    }

    /// Sends a request and waits for the answer's head.
    pub(super) async fn send(
        &self,
        target: &Arc<Target>,
        mut request: Request<Full<Bytes>>,
        until: Instant,
    ) -> Result<Response<Body>, Failure> {
        while let Some(mut connection) = target.take_idle().await {
            match connection.send(request, until).await {
                Ok(answer) => return Ok(target.answered(answer, connection)),
                // It was closed at that very moment.
                Err(SendError::Unsent(unsent, _)) => request = *unsent,
                Err(SendError::Broken(error)) => return Err(Failure::Broken(error)),
                Err(SendError::Late) => return Err(Failure::Late),
            }
        }
        let proxy = target.proxy.as_ref();
        // Apart, because it is seldom needed, and large.
        let wire = Box::pin(self.connector.connect(&target.to, proxy, until)).await;
        let wire = wire.map_err(Failure::Unreachable)?;
        let unreachable = |error: hyper::Error| Failure::Unreachable(error.into());
        let mut connection = Connection::over(wire).await.map_err(unreachable)?;
        match connection.send(request, until).await {
            Ok(answer) => Ok(target.answered(answer, connection)),
            Err(SendError::Unsent(_, error)) => Err(unreachable(error)),
            Err(SendError::Broken(error)) => Err(Failure::Broken(error)),
            Err(SendError::Late) => Err(Failure::Late),
        }
    }

    /// Closes what has been idle for too long, now and again, for ever.
    pub(super) async fn close_idle(&self) {
        loop {
            tokio::time::sleep(IDLE_TIMEOUT).await;
            let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
            for target in targets.values() {
                forget_old(&mut target.idle());
            }
        }
    }
}

impl Target {
    fn new(api_base: &Url, connector: &Connector) -> Result<Self, ConnectError> {
        let mut url = api_base.clone();
        // Appended whether or not the base's path ends in a slash.
        let path = format!("{}/chat/completions", url.path().trim_end_matches('/'));
        url.set_path(&path);
        url.set_fragment(None);
        let credentials = credentials_of(&url);
        // Fails for addresses that cannot have any, and then there are none.
        let _none = (url.set_username(""), url.set_password(None));
        let to = url.as_str().parse::<Uri>()?;
        let authority = to.authority().ok_or("the address names no host")?;
        let host = HeaderValue::try_from(authority.as_str())?;
        let proxy = connector.proxy_of(&to);
        let is_seen = proxy.is_some() && to.scheme() == Some(&http::uri::Scheme::HTTP);
        let path = to.path_and_query().ok_or("the address has no path")?;
        let seen_by = proxy.as_ref().filter(|_| is_seen);
        Ok(Self {
            uri: match is_seen {
                true => to.clone(),
                false => path.clone().into(),
            },
            host,
            credentials,
            proxy_credentials: seen_by.and_then(Intercept::basic_auth).cloned(),
            to,
            proxy,
            idle: Mutex::default(),
        })
    }

    /// The youngest that is still open: the others get a chance to grow old.
    async fn take_idle(&self) -> Option<Box<Connection>> {
        loop {
            let (since, mut connection) = self.idle().pop_back()?;
            if since.elapsed() < IDLE_TIMEOUT && connection.is_free().await {
                return Some(connection);
            }
        }
    }

    fn answered(
        self: &Arc<Self>,
        answer: Response<Incoming>,
        connection: Box<Connection>,
    ) -> Response<Body> {
        answer.map(|incoming| Body {
            incoming,
            connection: Some(connection),
            target: Arc::clone(self),
        })
    }

    fn idle(&self) -> MutexGuard<'_, VecDeque<(Instant, Box<Connection>)>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Body {
    /// The next bytes; None at the end, from where on the connection is another
    /// call's.
    pub(super) async fn next(&mut self, until: Instant) -> Result<Option<Bytes>, Failure> {
        let Some(connection) = &mut self.connection else {
            return Ok(None);
        };
        let next = connection.next(&mut self.incoming, until).await;
        let next = next.ok_or(Failure::Late)??;
        if next.is_none()
            && let Some(mut connection) = self.connection.take()
            && connection.is_free().await
        {
            let now = Instant::now();
            let mut idle = self.target.idle();
            forget_old(&mut idle);
            idle.push_back((now, connection));
        }
        Ok(next)
    }
}

fn forget_old(idle: &mut VecDeque<(Instant, Box<Connection>)>) {
    while idle
        .front()
        .is_some_and(|(since, _)| since.elapsed() >= IDLE_TIMEOUT)
    {
        idle.pop_front();
    }
}

/// A name and a password in an address are basic credentials, there as in the
/// address of a proxy, which is what is read here.
fn credentials_of(url: &Url) -> Option<HeaderValue> {
    let read = Matcher::builder().all(url.as_str()).build();
    let read = read.intercept(&Uri::from_static("http://any/"))?;
    read.basic_auth().cloned()
}

#[cfg(test)]
mod tests;
