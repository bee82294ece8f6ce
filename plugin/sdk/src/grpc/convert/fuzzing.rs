//! Any bytes as a request off the wire.

use std::sync::Arc;

use prost::Message;
use vault_plugin_proto::pb;

use super::{request, response};
use crate::{
    Response,
    testing::{MemoryStorage, StaticSystemView},
};

/// A request converts or is refused. What an answer carries of it (lease,
/// login, data, headers) comes back the same when it is sent and read again.
#[doc(hidden)]
pub fn pb_convert(input: &[u8]) {
    let Ok(message) = pb::Request::decode(input) else {
        return;
    };
    let Some(first) = echoed(message) else { return };
    // Over the wire's bytes, as in a plugin's life.
    let bytes = first.encode_to_vec();
    let sent = pb::Response::decode(bytes.as_slice());
    assert_eq!(sent.as_ref(), Ok(&first));
    let back = pb::Request {
        secret: first.secret.clone(),
        auth: first.auth.clone(),
        data: first.data.clone(),
        headers: first.headers.clone(),
        ..pb::Request::default()
    };
    assert_eq!(echoed(back).as_ref(), Some(&first));
}

fn echoed(message: pb::Request) -> Option<pb::Response> {
    let storage = Arc::new(MemoryStorage::new());
    let system = Arc::new(StaticSystemView::new());
    let request = request(Some(message), storage, system).ok()?;
    Some(response(Response {
        data: Some(request.data),
        secret: request.secret,
        auth: request.auth,
        headers: request.headers,
        ..Response::default()
    }))
}
