//! Who asks about itself: an ordinary key, whatever its routes and its budget.

use std::sync::Arc;

use http::HeaderMap;

use crate::{
    app::AppState,
    auth::{Caller, Peer, authenticate, authorize_data_plane},
    error::ApiError,
    key::Key,
};

/// The calling key.
///
/// # Errors
/// 404 for the master key, which has no account.
pub(super) async fn itself(
    state: &AppState,
    headers: &HeaderMap,
    peer: Peer,
) -> Result<Arc<Key>, ApiError> {
    let caller = authenticate(state, headers, peer).await?;
    authorize_data_plane(&caller)?;
    match caller {
        Caller::Key(key) => Ok(key),
        Caller::Master => Err(ApiError::not_found(
            "key",
            "the master key has no account: ask with a virtual key, or for all of them with GET /global/spend/report",
        )),
    }
}
