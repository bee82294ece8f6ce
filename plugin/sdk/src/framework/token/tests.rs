use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{TokenFields, is_cidr};
use crate::{
    Auth, Backend, BackendKind, HandlerResult, Operation, Path, Request, Response, TokenType,
    Value, testing::RequestBuilder,
};

async fn merge(state: std::sync::Arc<TokenFields>, request: Request) -> HandlerResult {
    Ok(Some(Response::data(
        state.merged(&request.fields)?.answer(),
    )))
}

/// The answer to a write on top of `stored`.
async fn write(stored: TokenFields, body: &[(&str, Value)]) -> Result<Value, String> {
    let path = TokenFields::declare(Path::new("role").operation(Operation::Update, merge));
    let backend = Backend::new(BackendKind::Auth, stored).path(path);
    let request = body.iter().fold(
        RequestBuilder::new(Operation::Update, "role"),
        |request, (name, value)| request.value(name, value.clone()),
    );
    let answer = backend.handle(request.build()).await;
    let answer = answer.map_err(|error| error.to_string())?.unwrap();
    assert!(answer.warnings.is_empty(), "{:?}", answer.warnings);
    Ok(Value::Object(answer.data.unwrap()))
}

#[tokio::test]
async fn a_write_changes_what_it_carries() {
    let stored = TokenFields {
        ttl: Duration::from_secs(60),
        policies: vec!["old".to_owned()],
        num_uses: 3,
        ..TokenFields::default()
    };
    let body = [
        ("token_max_ttl", "2h".into()),
        ("token_policies", "a,b".into()),
        ("token_bound_cidrs", "10.0.0.0/8, ::1".into()),
        ("token_type", "service".into()),
        ("token_no_default_policy", true.into()),
        ("token_explicit_max_ttl", 86_400.into()),
    ];
    let answer = write(stored, &body).await.unwrap();
    assert_eq!(
        answer,
        serde_json::json!({
            "token_ttl": 60,
            "token_max_ttl": 7200,
            "token_explicit_max_ttl": 86_400,
            "token_period": 0,
            "token_policies": ["a", "b"],
            "token_bound_cidrs": ["10.0.0.0/8", "::1"],
            "token_no_default_policy": true,
            "token_num_uses": 3,
            "token_type": "service",
        })
    );
}

#[tokio::test]
async fn nonsense_is_refused_by_name() {
    for (body, text) in [
        (vec![("token_num_uses", (-1).into())], "token_num_uses"),
        (vec![("token_type", "canary".into())], "default, service"),
        (
            vec![("token_ttl", "3h".into()), ("token_max_ttl", "2h".into())],
            "token_max_ttl",
        ),
        (
            vec![("token_type", "batch".into()), ("token_period", 1.into())],
            "token_period",
        ),
        (
            vec![("token_type", "batch".into()), ("token_num_uses", 1.into())],
            "token_num_uses",
        ),
        (
            vec![("token_bound_cidrs", "10.0.0.1,canary".into())],
            "item 2",
        ),
        (vec![("token_ttl", "-1s".into())], "token_ttl"),
    ] {
        let error = write(TokenFields::default(), &body).await.unwrap_err();
        assert!(
            error.contains(text) && !error.contains("canary"),
            "{body:?}: {error}"
        );
    }
}

#[test]
fn addresses_and_blocks() {
    for (text, good) in [
        ("127.0.0.1", true),
        ("10.0.0.0/8", true),
        ("10.0.0.0/33", false),
        ("fd00::/128", true),
        ("fd00::/129", false),
        ("10.0.0.0/", false),
        ("", false),
        ("localhost", false),
    ] {
        assert_eq!(is_cidr(text), good, "{text:?}");
    }
}

#[test]
fn a_login_gets_all_and_a_renewal_its_life_alone() {
    let fields = TokenFields {
        ttl: Duration::from_secs(60),
        max_ttl: Duration::from_secs(600),
        explicit_max_ttl: Duration::from_secs(900),
        period: Duration::from_secs(30),
        policies: vec!["p".to_owned()],
        bound_cidrs: vec!["::1".to_owned()],
        no_default_policy: true,
        num_uses: 7,
        token_type: TokenType::Service,
    };
    let mut login = Auth::new("ann");
    fields.populate(&mut login);
    assert_eq!(
        (login.lease.ttl, login.lease.max_ttl, login.period),
        (fields.ttl, fields.max_ttl, fields.period)
    );
    assert!(login.lease.renewable && login.no_default_policy);
    assert_eq!(login.explicit_max_ttl, fields.explicit_max_ttl);
    assert_eq!((&login.policies, login.num_uses), (&fields.policies, 7));
    assert_eq!(login.bound_cidrs, fields.bound_cidrs);
    assert_eq!(login.token_type, TokenType::Service);

    let mut renewed = Auth::new("ann");
    fields.extend(&mut renewed);
    assert_eq!(
        (renewed.lease.ttl, renewed.lease.max_ttl, renewed.period),
        (fields.ttl, fields.max_ttl, fields.period)
    );
    assert!(renewed.policies.is_empty() && renewed.num_uses == 0);
}

#[test]
fn a_role_stores_them_under_their_names() {
    #[derive(Serialize, Deserialize)]
    struct Role {
        secret: String,
        #[serde(flatten)]
        token: TokenFields,
    }
    let old: Role = serde_json::from_str(r#"{"secret":"x","token_ttl":60}"#).unwrap();
    assert_eq!(old.secret, "x");
    assert_eq!(old.token.ttl, Duration::from_secs(60));
    let stored = serde_json::to_value(&old).unwrap();
    assert_eq!(stored["token_ttl"], 60);
    assert_eq!(stored["token_type"], "default");
    let back: Role = serde_json::from_value(stored).unwrap();
    assert_eq!(back.token, old.token);
}
