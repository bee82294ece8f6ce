//! Failures onto the wire.
//!
//! Pure. Owns the table of error types. Vault: a user error is an ordinary
//! answer, types 5 and up lose their text, and the read-only text makes the
//! server forward the request.

use vault_plugin_proto::pb;

use super::convert;
use crate::{Error, READ_ONLY_TEXT, Response, StorageError};

const UNKNOWN: u32 = 0;
const USER: u32 = 1;
const INTERNAL: u32 = 2;
const CODED: u32 = 3;
const UNSUPPORTED_OPERATION: u32 = 5;
const UNSUPPORTED_PATH: u32 = 6;
const INVALID_REQUEST: u32 = 7;
const PERMISSION_DENIED: u32 = 8;
const UNRECOVERABLE: u32 = 10;

/// The whole reply to a request.
pub(super) fn reply(result: Result<Option<Response>, Error>) -> pb::HandleRequestReply {
    match result {
        Ok(response) => pb::HandleRequestReply {
            response: response.map(convert::response),
            err: None,
        },
        Err(Error::User(text)) => pb::HandleRequestReply {
            response: Some(convert::response(Response::error(text))),
            err: None,
        },
        Err(error) => pb::HandleRequestReply {
            response: None,
            err: Some(message(&error)),
        },
    }
}

/// An error where no answer can stand in for it.
pub(super) fn message(error: &Error) -> pb::ProtoError {
    let (err_type, code) = match error {
        Error::User(_) => (USER, 0),
        Error::Coded { status, .. } => (CODED, i64::from(*status)),
        Error::ReadOnly | Error::Storage(StorageError::ReadOnly) => {
            return pb::ProtoError {
                err_type: UNKNOWN,
                err_msg: READ_ONLY_TEXT.to_owned(),
                err_code: 0,
            };
        }
        Error::UnsupportedOperation => (UNSUPPORTED_OPERATION, 0),
        Error::UnsupportedPath => (UNSUPPORTED_PATH, 0),
        Error::InvalidRequest => (INVALID_REQUEST, 0),
        Error::PermissionDenied => (PERMISSION_DENIED, 0),
        Error::Unrecoverable => (UNRECOVERABLE, 0),
        Error::Storage(_) | Error::System(_) | Error::Internal(_) => (INTERNAL, 0),
    };
    pb::ProtoError {
        err_type,
        err_msg: error.to_string(),
        err_code: code,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SystemError;

    #[test]
    fn every_error_has_its_type_and_code() {
        for (error, expected) in [
            (Error::user("fix it"), (1, "fix it", 0)),
            (Error::coded(404, "no such role"), (3, "no such role", 404)),
            (Error::ReadOnly, (0, "cannot write to readonly storage", 0)),
            (
                Error::Storage(StorageError::ReadOnly),
                (0, "cannot write to readonly storage", 0),
            ),
            (Error::UnsupportedOperation, (5, "unsupported operation", 0)),
            (Error::UnsupportedPath, (6, "unsupported path", 0)),
            (Error::InvalidRequest, (7, "invalid request", 0)),
            (Error::PermissionDenied, (8, "permission denied", 0)),
            (Error::Unrecoverable, (10, "unrecoverable error", 0)),
            (Error::internal("broken"), (2, "broken", 0)),
            (
                Error::System(SystemError::Unsupported),
                (2, "system view: the server does not offer this", 0),
            ),
        ] {
            let message = message(&error);
            let found = (message.err_type, message.err_msg.as_str(), message.err_code);
            assert_eq!(found, expected, "{error:?}");
        }
    }

    #[test]
    fn a_user_error_is_an_ordinary_answer() {
        let reply = reply(Err(Error::user("fix it")));
        assert_eq!(reply.err, None);
        assert_eq!(
            reply.response.map(|response| response.data).as_deref(),
            Some(r#"{"error":"fix it"}"#)
        );
    }
}
