//! An answer onto the wire, and a wrapped one off it.
//!
//! Owns what makes the difference between "nothing" and "an empty answer": the
//! first is an absent message, the second one whose data is an object.

use vault_plugin_proto::pb;

use super::{
    from_nanos, from_timestamp, headers_out, identity::auth_out, json, secret_out, to_nanos,
    to_timestamp,
};
use crate::{Response, ResponseWrapInfo, Sensitive};

pub(crate) fn response(response: Response) -> pb::Response {
    pb::Response {
        secret: response.secret.map(secret_out),
        auth: response.auth.map(auth_out),
        data: response
            .data
            .as_ref()
            .map_or_else(|| "null".to_owned(), json),
        redirect: response.redirect,
        warnings: response.warnings,
        wrap_info: response.wrap_info.map(wrap_info_out),
        headers: headers_out(response.headers),
        mount_type: response.mount_type,
    }
}

fn wrap_info_out(wrap: ResponseWrapInfo) -> pb::ResponseWrapInfo {
    pb::ResponseWrapInfo {
        ttl: to_nanos(wrap.ttl),
        token: wrap.token.expose().to_owned(),
        accessor: wrap.accessor,
        creation_time: to_timestamp(wrap.creation_time),
        wrapped_accessor: wrap.wrapped_accessor,
        wrapped_entity_id: wrap.wrapped_entity_id,
        format: wrap.format,
        creation_path: wrap.creation_path,
        seal_wrap: wrap.seal_wrap,
    }
}

pub(crate) fn wrap_info(wrap: pb::ResponseWrapInfo) -> ResponseWrapInfo {
    ResponseWrapInfo {
        ttl: from_nanos(wrap.ttl),
        token: Sensitive::new(wrap.token),
        accessor: wrap.accessor,
        creation_time: from_timestamp(wrap.creation_time),
        wrapped_accessor: wrap.wrapped_accessor,
        wrapped_entity_id: wrap.wrapped_entity_id,
        format: wrap.format,
        creation_path: wrap.creation_path,
        seal_wrap: wrap.seal_wrap,
    }
}
