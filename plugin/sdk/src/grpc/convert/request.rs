//! A request off the wire.
//!
//! Owns the one direction that the plugin needs.

use std::sync::Arc;

use vault_plugin_proto::pb;

use super::{ConvertError, from_nanos, headers_in, identity::auth_in, object, secret_in};
use crate::{
    Connection, FieldData, Operation, Request, RequestWrapInfo, Sensitive, Storage, SystemView,
};

pub(crate) fn request(
    message: Option<pb::Request>,
    storage: Arc<dyn Storage>,
    system: Arc<dyn SystemView>,
) -> Result<Request, ConvertError> {
    let message = message.ok_or(ConvertError::NoRequest)?;
    Ok(Request {
        data: object(&message.data, "data")?,
        secret: message.secret.map(secret_in).transpose()?,
        auth: message.auth.map(auth_in).transpose()?,
        id: message.id,
        operation: Operation::from(message.operation.as_str()),
        path: message.path,
        headers: headers_in(message.headers),
        client_token: Sensitive::new(message.client_token),
        client_token_accessor: message.client_token_accessor,
        client_token_remaining_uses: message.client_token_remaining_uses,
        display_name: message.display_name,
        mount_point: message.mount_point,
        mount_type: message.mount_type,
        mount_accessor: message.mount_accessor,
        entity_id: message.entity_id,
        wrap_info: message.wrap_info.map(|wrap| RequestWrapInfo {
            ttl: from_nanos(wrap.ttl),
            format: wrap.format,
            seal_wrap: wrap.seal_wrap,
        }),
        connection: message.connection.map(connection),
        replication_cluster: message.replication_cluster,
        policy_override: message.policy_override,
        unauthenticated: message.unauthenticated,
        requires_snapshot_id: message.requires_snapshot_id,
        recover_source_path: message.recover_source_path,
        caller: crate::Caller::default(),
        fields: FieldData::default(),
        storage,
        system,
    })
}

/// OpenBao 2.6 sends the certificates raw, older ones and Vault in the state.
fn connection(message: pb::Connection) -> Connection {
    let state = message.connection_state.unwrap_or_default();
    let mut certificates = message.peer_certificates_raw;
    if certificates.is_empty() {
        let chain = state.peer_certificates.unwrap_or_default().certificates;
        certificates = chain
            .into_iter()
            .map(|certificate| certificate.asn1_data)
            .collect();
    }
    Connection {
        remote_addr: message.remote_addr,
        remote_port: message.remote_port,
        server_name: state.server_name,
        peer_certificates: certificates,
    }
}
