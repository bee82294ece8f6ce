//! Goal: an auth engine's calls end where they should.

use std::sync::Arc;

use crate::{
    Auth, Backend, BackendKind, Error, HandlerResult, Operation, Path, Request, Response, Secret,
    testing::{RequestBuilder, StaticSystemView},
};

async fn login(_: Arc<()>, request: Request) -> HandlerResult {
    Ok(Some(match request.operation {
        Operation::AliasLookahead => Response::alias(crate::Alias::new("ann")),
        Operation::ResolveRole => Response::role("ops"),
        _ => Response::login(Auth::new("ann")),
    }))
}

async fn renew(_: Arc<()>, request: Request) -> HandlerResult {
    assert_eq!(request.path, "login");
    Ok(request.auth.map(Response::login))
}

fn backend() -> Backend<()> {
    Backend::new(BackendKind::Auth, ()).path(
        Path::new("login")
            .operation(Operation::Update, login)
            .operation(Operation::AliasLookahead, login)
            .operation(Operation::ResolveRole, login),
    )
}

fn renewal() -> RequestBuilder {
    RequestBuilder::new(Operation::Renew, "login")
}

fn with_login(builder: RequestBuilder) -> Request {
    let mut request = builder.build();
    request.auth = Some(Auth::new("ann"));
    request
}

#[tokio::test]
async fn a_login_and_the_questions_before_it() {
    let backend = backend();
    let ask = async |operation| {
        let request = RequestBuilder::new(operation, "login").build();
        backend.handle(request).await.unwrap().unwrap()
    };
    let login = ask(Operation::Update).await.auth.unwrap();
    assert_eq!(login.display_name, "ann");
    assert_eq!(login.alias.unwrap().name, "ann");
    let lookahead = ask(Operation::AliasLookahead).await.auth.unwrap();
    assert_eq!(lookahead.alias.unwrap().name, "ann");
    assert!(lookahead.display_name.is_empty());
    let role = ask(Operation::ResolveRole).await.data.unwrap();
    assert_eq!(role["role"], "ops");
}

#[tokio::test]
async fn a_login_is_renewed_by_its_own_hook() {
    let without = backend().handle(with_login(renewal())).await.unwrap_err();
    assert!(matches!(without, Error::User(_)));
    assert_eq!(without.to_string(), "this auth type doesn't support renew");

    let backend = backend().auth_renew(renew);
    let answer = backend.handle(with_login(renewal())).await.unwrap();
    assert_eq!(answer.unwrap().auth.unwrap().display_name, "ann");

    let on_standby = renewal().system(Arc::new(StaticSystemView::standby()));
    let refused = backend.handle(with_login(on_standby)).await.unwrap_err();
    assert!(matches!(refused, Error::ReadOnly));

    let lease = renewal().secret(Secret::default()).build();
    let other = backend.handle(lease).await.unwrap_err();
    assert_eq!(other.to_string(), "secret is unsupported by this backend");
}

#[tokio::test]
async fn a_due_rotation_reaches_its_hook() {
    let due = |system| {
        RequestBuilder::new(Operation::from("rotate"), "config")
            .system(Arc::new(system))
            .build()
    };
    let without = backend().handle(due(StaticSystemView::new())).await;
    assert!(matches!(without, Err(Error::UnsupportedOperation)));
    let backend = backend().rotate_credential(|_, request: Request| async move {
        if request.path == "config" {
            Ok(())
        } else {
            Err(Error::user("no such credential"))
        }
    });
    let done = backend.handle(due(StaticSystemView::new())).await.unwrap();
    assert!(done.is_some());
    let refused = backend.handle(due(StaticSystemView::standby())).await;
    assert!(matches!(refused, Err(Error::ReadOnly)));
}
