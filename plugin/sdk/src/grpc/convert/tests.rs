use std::{collections::BTreeMap, sync::Arc, time::Duration};

use chrono::DateTime;
use vault_plugin_proto::pb;

use super::{ConvertError, request, response};
use crate::{
    Alias, Auth, Error, LeaseOptions, Map, Operation, Request, Response, TokenType, Value,
    testing::{MemoryStorage, StaticSystemView},
};

fn convert(message: pb::Request) -> Result<Request, ConvertError> {
    request(
        Some(message),
        Arc::new(MemoryStorage::new()),
        Arc::new(StaticSystemView::new()),
    )
}

fn with_data(data: &str) -> pb::Request {
    pb::Request {
        data: data.to_owned(),
        operation: "update".to_owned(),
        ..pb::Request::default()
    }
}

#[test]
fn data_may_be_absent_but_never_a_list() {
    for data in ["", "null", "{}"] {
        assert!(
            convert(with_data(data)).unwrap().data.is_empty(),
            "{data:?}"
        );
    }
    for data in ["[]", "1", "{", "\"a\""] {
        assert_eq!(
            convert(with_data(data)).err(),
            Some(ConvertError::NotAnObject("data"))
        );
    }
    let big = convert(with_data(r#"{"n":9007199254740993}"#)).unwrap();
    assert_eq!(big.data["n"], 9_007_199_254_740_993_i64);
}

#[test]
fn a_lease_goes_round() {
    let lease = LeaseOptions {
        ttl: Duration::from_secs(60),
        max_ttl: Duration::from_secs(600),
        renewable: true,
        increment: Duration::from_nanos(1),
        issue_time: DateTime::from_timestamp(1_700_000_000, 123_456_789),
    };
    let internal = Map::from_iter([("hash".to_owned(), Value::from("abc"))]);
    let answer = response(Response::leased("key", Map::new(), internal, lease.clone()));
    let message = pb::Request {
        secret: answer.secret,
        ..with_data("{}")
    };
    let back = convert(message).unwrap().secret.unwrap();
    assert_eq!(back.lease, lease);
    assert_eq!(back.secret_type(), Some("key"));
    assert_eq!(back.internal_data["hash"], "abc");
}

#[test]
fn json_is_never_empty_and_a_lease_always_has_a_time() {
    let plain = response(Response::default());
    assert_eq!(plain.data, "null");
    let empty = response(Response::data(Map::new()));
    assert_eq!(empty.data, "{}");
    let leased = Response::leased("key", Map::new(), Map::new(), LeaseOptions::default());
    let secret = response(leased).secret.unwrap();
    assert_eq!(secret.internal_data, r#"{"secret_type":"key"}"#);
    let time = secret.lease_options.unwrap().issue_time.unwrap();
    assert_eq!(
        time.seconds, -62_135_596_800,
        "unset is the year 1, never absent"
    );
    let auth = Response {
        auth: Some(crate::Auth::default()),
        ..Response::default()
    };
    let auth = response(auth).auth.unwrap();
    assert_eq!(auth.internal_data, "{}");
    assert!(auth.lease_options.unwrap().issue_time.is_some());
}

#[test]
fn unset_and_negative_times_are_not_set() {
    let lease = pb::LeaseOptions {
        ttl: -1,
        issue_time: Some(prost_types::Timestamp {
            seconds: -62_135_596_800,
            nanos: 0,
        }),
        ..pb::LeaseOptions::default()
    };
    let secret = pb::Secret {
        lease_options: Some(lease),
        ..pb::Secret::default()
    };
    let back = convert(pb::Request {
        secret: Some(secret),
        ..with_data("")
    })
    .unwrap();
    assert_eq!(back.secret.unwrap().lease, LeaseOptions::default());
}

#[test]
fn a_login_goes_round() {
    let mut login = Auth::new("ann");
    login.internal_data = Map::from_iter([("role".to_owned(), Value::from("ops"))]);
    login.lease.ttl = Duration::from_secs(60);
    login.policies = vec!["p".to_owned()];
    login.metadata = BTreeMap::from([("k".to_owned(), "v".to_owned())]);
    login.period = Duration::from_secs(30);
    login.explicit_max_ttl = Duration::from_secs(90);
    login.num_uses = 5;
    login.bound_cidrs = vec!["10.0.0.0/8".to_owned()];
    login.group_aliases = vec![Alias::new("team")];
    login.no_default_policy = true;
    for token_type in [
        TokenType::Default,
        TokenType::Service,
        TokenType::Batch,
        TokenType::DefaultService,
        TokenType::DefaultBatch,
    ] {
        login.token_type = token_type;
        let answer = response(Response::login(login.clone()));
        let message = pb::Request {
            auth: answer.auth,
            ..with_data("{}")
        };
        let back = convert(message).unwrap().auth.unwrap();
        assert_eq!(back.token_type, token_type);
        assert_eq!(back.internal_data["role"], "ops");
        assert_eq!(
            (back.alias, back.display_name.as_str()),
            (login.alias.clone(), "ann")
        );
        assert_eq!(
            (back.lease, back.period),
            (login.lease.clone(), login.period)
        );
        assert_eq!(
            (back.policies, back.metadata),
            (login.policies.clone(), login.metadata.clone())
        );
        assert_eq!(
            (back.bound_cidrs, back.num_uses),
            (login.bound_cidrs.clone(), 5)
        );
        assert_eq!(back.explicit_max_ttl, login.explicit_max_ttl);
        assert_eq!(back.group_aliases, login.group_aliases);
        assert!(back.no_default_policy);
    }
}

#[test]
fn an_unknown_operation_is_kept() {
    let message = pb::Request {
        operation: "newer".to_owned(),
        ..pb::Request::default()
    };
    assert_eq!(
        convert(message).unwrap().operation,
        Operation::Other("newer".to_owned())
    );
}

#[test]
fn debug_texts_hold_no_secret() {
    let mut message = with_data(r#"{"master_key":"canary"}"#);
    message.client_token = "canary".to_owned();
    let internal = Map::from_iter([("token".to_owned(), Value::from("canary"))]);
    let leased = Response::leased("key", internal.clone(), internal, LeaseOptions::default());
    let texts = [
        format!("{:?}", convert(message).unwrap()),
        format!("{leased:?}"),
        format!("{:?}", leased.secret),
        format!("{:?}", crate::StorageEntry::new("k", b"canary".to_vec())),
        format!("{:?}", Error::internal("x")),
    ];
    for text in texts {
        assert!(
            !text.contains("canary") && !text.contains("99, 97, 110"),
            "{text}"
        );
    }
}
