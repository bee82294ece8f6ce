mod login;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use crate::{
    Backend, BackendKind, Error, Field, FieldType, HandlerResult, LeaseOptions, Map, Operation,
    Path, ReplicationState, Request, Response, Secret, SecretType, Value, generic_name,
    testing::{Fault, FaultStorage, MemoryStorage, RequestBuilder, StaticSystemView},
};

/// Counts what ran.
#[derive(Default)]
struct State {
    calls: AtomicUsize,
}

fn backend() -> Backend<State> {
    Backend::new(BackendKind::Secrets, State::default())
        .help("A test.")
        .path(Path::new("first").operation(Operation::Read, echo))
        .path(
            Path::new(format!("item/{}", generic_name("name")))
                .field(Field::new("name", FieldType::LowerCaseString))
                .field(Field::new("size", FieldType::Int).default(5))
                .operation(Operation::Read, echo)
                .operation_forwarded(Operation::Update, echo)
                .exists(|_, request: Request| async move {
                    Ok(request.fields.string("name") == "there")
                }),
        )
        .path(
            Path::new("any/(?P<rest>.*)")
                .field(Field::new("rest", FieldType::String))
                .operation(Operation::Read, |_, _| async { Ok(None) }),
        )
        .secret(SecretType::new("key").renew(echo).revoke(echo))
        .secret(SecretType::new("fixed"))
}

async fn echo(state: Arc<State>, request: Request) -> HandlerResult {
    state.calls.fetch_add(1, Ordering::SeqCst);
    let mut data = Map::new();
    if request.path.starts_with("item") {
        data.insert("name".to_owned(), request.fields.string("name").into());
        data.insert("size".to_owned(), request.fields.int("size").into());
        data.insert("size_set".to_owned(), request.fields.is_set("size").into());
    }
    Ok(Some(Response::data(data)))
}

fn read(path: &str) -> RequestBuilder {
    RequestBuilder::new(Operation::Read, path)
}

#[tokio::test]
async fn fields_come_from_path_body_and_default() {
    let answer = backend()
        .handle(read("item/AB").build())
        .await
        .unwrap()
        .unwrap();
    let data = answer.data.unwrap();
    assert_eq!(
        (&data["name"], &data["size"], &data["size_set"]),
        (&"ab".into(), &5.into(), &false.into())
    );
    let request = read("item/ab").value("size", "0x10").build();
    let data = backend()
        .handle(request)
        .await
        .unwrap()
        .unwrap()
        .data
        .unwrap();
    assert_eq!(
        (&data["size"], &data["size_set"]),
        (&16.into(), &true.into())
    );
    let request = read("item/ab").value("size", Value::Null).build();
    let data = backend()
        .handle(request)
        .await
        .unwrap()
        .unwrap()
        .data
        .unwrap();
    assert_eq!(
        (&data["size"], &data["size_set"]),
        (&5.into(), &false.into())
    );
}

#[tokio::test]
async fn what_is_not_there_has_its_own_error() {
    let backend = backend();
    let missing = backend.handle(read("nowhere").build()).await;
    assert!(matches!(missing, Err(Error::UnsupportedPath)));
    let delete = RequestBuilder::new(Operation::Delete, "first").build();
    assert!(matches!(
        backend.handle(delete).await,
        Err(Error::UnsupportedOperation)
    ));
}

#[tokio::test]
async fn bad_input_never_reaches_the_handler_and_is_never_quoted() {
    let backend = backend();
    let request = read("item/ab").value("size", "canary").build();
    let error = backend.handle(request).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "Field validation failed: field \"size\" must be a whole number"
    );
    assert_eq!(backend.state.calls.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn warnings_name_what_was_ignored_and_replaced() {
    let silent = read("any/x").value("zed", 1).value("rest", Value::Null);
    assert!(
        backend().handle(silent.build()).await.unwrap().is_none(),
        "nothing stays nothing: its warnings are lost, as on Vault"
    );
    let request = read("item/ab")
        .value("zed", 1)
        .value("abe", 2)
        .value("name", "x")
        .build();
    let answer = backend().handle(request).await.unwrap().unwrap();
    assert_eq!(
        answer.warnings,
        [
            "Endpoint ignored these unrecognized parameters: [abe zed]",
            "Endpoint replaced the value of these parameters with the values captured from the \
             endpoint's path: [name]",
        ]
    );
}

#[tokio::test]
async fn a_standby_forwards_before_anything_else() {
    let backend = backend();
    let storage = Arc::new(FaultStorage::new(Arc::new(MemoryStorage::new())));
    storage.set(Some(Fault::From(1)));
    let on_standby = |request: RequestBuilder| {
        request
            .system(Arc::new(StaticSystemView::standby()))
            .storage(storage.clone())
            .build()
    };
    let update = on_standby(RequestBuilder::new(Operation::Update, "item/a").value("size", "bad"));
    assert!(matches!(backend.handle(update).await, Err(Error::ReadOnly)));
    for operation in [Operation::Renew, Operation::Revoke] {
        let request = on_standby(RequestBuilder::new(operation, "x").secret(secret("key")));
        assert!(matches!(
            backend.handle(request).await,
            Err(Error::ReadOnly)
        ));
    }
    assert_eq!(
        (backend.state.calls.load(Ordering::SeqCst), storage.calls()),
        (0, 0)
    );
    assert!(
        backend.handle(on_standby(read("item/a"))).await.is_ok(),
        "reads are answered here"
    );
}

#[tokio::test]
async fn a_secondary_forwards_what_belongs_to_the_primary() {
    let backend = Backend::new(BackendKind::Secrets, State::default()).path(
        Path::new("x")
            .operation_on_primary(Operation::Update, echo)
            .operation_forwarded(Operation::Delete, echo),
    );
    let on_secondary = |operation, local_mount| {
        let mut system = StaticSystemView::new();
        system.local_mount = local_mount;
        system.set_replication_bits(ReplicationState::PERFORMANCE_SECONDARY);
        RequestBuilder::new(operation, "x")
            .system(Arc::new(system))
            .build()
    };
    let forwarded = backend.handle(on_secondary(Operation::Update, false)).await;
    assert!(matches!(forwarded, Err(Error::ReadOnly)));
    let local = backend.handle(on_secondary(Operation::Update, true)).await;
    assert!(local.is_ok());
    let here = backend.handle(on_secondary(Operation::Delete, false)).await;
    assert!(here.is_ok());
    let standby = RequestBuilder::new(Operation::Update, "x")
        .system(Arc::new(StaticSystemView::standby()))
        .build();
    assert!(matches!(
        backend.handle(standby).await,
        Err(Error::ReadOnly)
    ));
}

fn secret(kind: &str) -> Secret {
    let internal = Map::from_iter([("secret_type".to_owned(), kind.into())]);
    let lease = LeaseOptions {
        ttl: Duration::from_secs(1),
        ..LeaseOptions::default()
    };
    Secret {
        internal_data: internal,
        lease,
        lease_id: String::new(),
    }
}

#[tokio::test]
async fn leases_are_dispatched_by_their_type_alone() {
    let backend = backend();
    let revoke = |kind| {
        RequestBuilder::new(Operation::Revoke, "no/such/path")
            .secret(secret(kind))
            .build()
    };
    assert!(backend.handle(revoke("key")).await.is_ok());
    assert!(matches!(
        backend.handle(revoke("fixed")).await,
        Err(Error::UnsupportedOperation)
    ));
    let unknown = backend.handle(revoke("other")).await.unwrap_err();
    assert_eq!(unknown.to_string(), "secret is unsupported by this backend");
}

#[tokio::test]
async fn a_lease_without_a_renew_handler_says_that_it_is_not_renewable() {
    for (kind, expected) in [("key", true), ("fixed", false), ("other", false)] {
        let path = Path::new("creds").operation(Operation::Read, move |_, _| async move {
            let lease = LeaseOptions {
                renewable: true,
                ..LeaseOptions::default()
            };
            Ok(Some(Response::leased(kind, Map::new(), Map::new(), lease)))
        });
        let answer = backend().path(path).handle(read("creds").build()).await;
        let secret = answer.unwrap().unwrap().secret.unwrap();
        assert_eq!(secret.lease.renewable, expected, "{kind}");
    }
}

#[tokio::test]
async fn existence_is_asked_only_where_a_path_tells() {
    let backend = backend();
    let ask = |path| backend.exists(RequestBuilder::new(Operation::Update, path).build());
    assert_eq!(ask("item/there").await.unwrap(), Some(true));
    assert_eq!(ask("item/gone").await.unwrap(), Some(false));
    assert_eq!(ask("first").await.unwrap(), None);
    assert!(matches!(ask("nowhere").await, Err(Error::UnsupportedPath)));
}

#[tokio::test]
async fn help_answers_everywhere() {
    let backend = backend();
    for path in ["", "/", "item/a", "first", "any/x"] {
        let request = RequestBuilder::new(Operation::Help, path).build();
        let data = backend
            .handle(request)
            .await
            .unwrap()
            .unwrap()
            .data
            .unwrap();
        assert!(
            data["help"].is_string() && data["openapi"]["paths"].is_object(),
            "{path:?}"
        );
        assert!(data["see_also"].is_null());
    }
}

#[tokio::test]
async fn a_defect_in_a_declaration_fails_every_call_with_its_text() {
    let backend = Backend::new(BackendKind::Secrets, ()).path(Path::new("("));
    let error = backend.handle(read("x").build()).await.unwrap_err();
    assert!(error.to_string().contains("does not compile"));
}

#[tokio::test]
async fn a_lease_that_nobody_waited_for_is_revoked_at_once() {
    let revoked = Arc::new(AtomicUsize::new(0));
    let backend = Backend::new(BackendKind::Secrets, revoked.clone())
        .path(Path::new("creds").operation(Operation::Read, |_, _| async {
            let lease = LeaseOptions::default();
            Ok(Some(Response::leased("k", Map::new(), Map::new(), lease)))
        }))
        .secret(
            SecretType::new("k").revoke(|state: Arc<Arc<AtomicUsize>>, _| async move {
                state.fetch_add(1, Ordering::SeqCst);
                Ok(None)
            }),
        );
    let request = RequestBuilder::new(Operation::Read, "creds").build();
    backend.handle(request.clone()).await.unwrap();
    assert_eq!(revoked.load(Ordering::SeqCst), 0);

    drop(request.caller.waiting());
    backend.handle(request).await.unwrap();
    assert_eq!(revoked.load(Ordering::SeqCst), 1);
}
