//! Owns where a request came from: the address at the other end of its
//! connection. No header is believed, because any caller can write one; behind
//! a proxy it is the proxy's address. Put into each request by the server.

use std::{convert::Infallible, net::IpAddr};

use axum::extract::FromRequestParts;
use http::{Extensions, request::Parts};

use crate::key::Cidr;

#[derive(Clone, Copy, Debug)]
pub(crate) struct Peer(Option<IpAddr>);

impl Peer {
    /// None where the system did not say, which no block of addresses holds.
    pub(crate) fn new(address: Option<IpAddr>) -> Self {
        Self(address)
    }

    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or(Self(None))
    }

    /// Whether one of the blocks holds it; where there are none, any address
    /// will do.
    pub(crate) fn is_within(self, blocks: &[Cidr]) -> bool {
        let is_inside = |address| blocks.iter().any(|block| block.contains(address));
        blocks.is_empty() || self.0.is_some_and(is_inside)
    }
}

impl<S: Sync> FromRequestParts<S> for Peer {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}
