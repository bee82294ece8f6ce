//! Opens connections to providers.
//!
//! It owns what is true of each: a bound on connecting, TLS by the platform's
//! roots, HTTP/1.1, and the way through a proxy that the environment names. Only
//! `upstream::pool` calls it.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, Write};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use rustls::ClientConfig;
use rustls_platform_verifier::Verifier;
use tokio::time::{Instant, timeout_at};
use tower::ServiceExt as _;

/// Name resolution, connection and TLS together.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A peer that vanished without a word is found out after four of these.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_RETRIES: u32 = 3;
/// How long what was sent may stay without an acknowledgement.
#[cfg(target_os = "linux")]
const UNACKNOWLEDGED_TIMEOUT: Duration = Duration::from_secs(30);

/// Why no client can be built.
#[derive(Debug, thiserror::Error)]
#[error("setting up TLS: {0}")]
pub(crate) struct ClientError(#[from] rustls::Error);

/// Why there is no connection.
pub(super) type ConnectError = Box<dyn Error + Send + Sync>;

/// A connection, with TLS or without.
pub(super) trait Wire: Read + Write + Send + Unpin {}

impl<T: Read + Write + Send + Unpin> Wire for T {}

#[derive(Debug)]
pub(super) struct Connector {
    https: HttpsConnector<HttpConnector>,
    tls: Arc<ClientConfig>,
    /// As the environment had it at the start.
    proxies: Matcher,
}

impl Connector {
    pub(super) fn new() -> Result<Self, ClientError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = Verifier::new(Arc::clone(&provider))?;
        let mut tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth();
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let tls = Arc::new(tls);
        Ok(Self {
            https: HttpsConnector::from((tcp(), Arc::clone(&tls))),
            tls,
            proxies: Matcher::from_system(),
        })
    }

    /// The proxy that calls to `to` go through.
    pub(super) fn proxy_of(&self, to: &Uri) -> Option<Intercept> {
        self.proxies.intercept(to)
    }

    pub(super) async fn connect(
        &self,
        to: &Uri,
        proxy: Option<&Intercept>,
        until: Instant,
    ) -> Result<Box<dyn Wire>, ConnectError> {
        let until = until.min(Instant::now() + CONNECT_TIMEOUT);
        let connecting = timeout_at(until, self.open(to, proxy)).await;
        connecting.map_err(|_| "connecting took too long")?
    }

    async fn open(
        &self,
        to: &Uri,
        proxy: Option<&Intercept>,
    ) -> Result<Box<dyn Wire>, ConnectError> {
        let https = self.https.clone();
        let Some(proxy) = proxy else {
            return Ok(Box::new(https.oneshot(to.clone()).await?));
        };
        // The proxy is asked for what needs no secret between us and the provider.
        if to.scheme() == Some(&http::uri::Scheme::HTTP) {
            return Ok(Box::new(https.oneshot(proxy.uri().clone()).await?));
        }
        let mut tunnel = Tunnel::new(proxy.uri().clone(), https);
        if let Some(credentials) = proxy.basic_auth() {
            tunnel = tunnel.with_auth(credentials.clone());
        }
        let within = HttpsConnector::from((tunnel, Arc::clone(&self.tls)));
        Ok(Box::new(within.oneshot(to.clone()).await?))
    }
}

fn tcp() -> HttpConnector {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // Of several addresses each gets its share.
    tcp.set_connect_timeout(Some(CONNECT_TIMEOUT));
    tcp.set_keepalive(Some(KEEPALIVE_INTERVAL));
    tcp.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    tcp.set_keepalive_retries(Some(KEEPALIVE_RETRIES));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(UNACKNOWLEDGED_TIMEOUT));
    tcp
}
