//! The SDK's examples on real servers, by the harness that it gives to those
//! who write plugins.

use std::fs;
use std::io;
use std::path::Path;

use e2e::Kind;
use e2e::artefacts::{example, server};
use e2e::world::TestFolder;
use serde_json::json;
use vault_plugin_sdk::testing::TestServer;

fn start(kind: Kind) -> TestServer {
    TestServer::start(server(kind.name())).expect("a server")
}

fn files(folder: &Path) -> usize {
    fs::read_dir(folder).expect("the folder of keys").count()
}

macro_rules! on_each {
    ($($name:ident),+ $(,)?) => {
        mod vault {
            $(#[test] fn $name() { super::$name(e2e::Kind::Vault).expect("an answer"); })+
        }
        mod openbao {
            $(#[test] fn $name() { super::$name(e2e::Kind::OpenBao).expect("an answer"); })+
        }
    };
}

on_each!(
    a_secrets_engine,
    an_auth_method,
    a_panic_in_a_test_leaves_no_server,
);

fn a_secrets_engine(kind: Kind) -> io::Result<()> {
    let folder = TestFolder::new(kind.name());
    let server = start(kind);
    let keys = server.mount_secrets("keys", example("file_keys"))?;
    let lease = |path: &str, id: &str| {
        let body = json!({"lease_id": id, "sync": true, "increment": 10_000});
        server.root().write(&format!("sys/leases/{path}"), &body)
    };

    let role = json!({"ttl": "1m", "max_ttl": "2m"});
    keys.write("roles/app", &role)?.ok()?;
    let early = keys.read("creds/app")?;
    assert_eq!(early.status, 400, "{early:?}");
    assert!(early.complaints().contains("config"), "{early:?}");
    keys.write("config", &json!({"folder": folder.path}))?
        .ok()?;
    assert_eq!(keys.read("creds/nobody")?.status, 400);

    let issued = keys.read("creds/app")?.ok()?;
    assert_eq!(issued.body["lease_duration"], 60);
    let id = issued.data()["id"].as_str().expect("an id");
    let file = fs::read_to_string(folder.path.join(id))?;
    assert_eq!(issued.data()["key"], file.as_str());

    let renewed = lease("renew", issued.lease_id())?.ok()?;
    let ttl = renewed.body["lease_duration"].as_u64().unwrap_or_default();
    assert!((61..=120).contains(&ttl), "more than before, and capped");
    lease("revoke", issued.lease_id())?.ok()?;
    assert_eq!(files(&folder.path), 0);

    // Whatever is alive when the mount goes ends with it.
    keys.read("creds/app")?.ok()?;
    keys.read("creds/app")?.ok()?;
    assert_eq!(files(&folder.path), 2);
    server.root().delete("sys/mounts/keys")?.ok()?;
    assert_eq!(files(&folder.path), 0);
    Ok(())
}

fn an_auth_method(kind: Kind) -> io::Result<()> {
    let server = start(kind);
    let root = server.root();
    let desk = server.mount_auth("desk", example("shared_secret"))?;
    let policy = json!({"policy": "path \"sys/mounts\" { capabilities = [\"read\"] }"});
    root.write("sys/policies/acl/readers", &policy)?.ok()?;

    let short = desk.write("users/ann", &json!({"secret": "short"}))?;
    assert_eq!(short.status, 400, "{short:?}");
    let secret = json!({"secret": "correct horse battery"});
    let ann = json!({
        "secret": "correct horse battery", "token_policies": "readers",
        "token_ttl": "1m", "token_max_ttl": "10m",
    });
    desk.write("users/ann", &ann)?.ok()?;
    assert_eq!(desk.read("users/ann")?.ok()?.data()["token_ttl"], 60);

    for (path, body) in [
        ("login/ann", json!({"secret": "correct horse"})),
        ("login/ann", json!({"secret": ["correct horse battery"]})),
        ("login/ann", json!({})),
        ("login/bob", secret.clone()),
    ] {
        let refused = desk.login(path, &body)?;
        assert!([400, 403].contains(&refused.status), "{refused:?}");
        assert_eq!(refused.token(), "");
    }

    let login = desk.login("login/ann", &secret)?.ok()?;
    let auth = &login.body["auth"];
    assert_eq!(auth["token_policies"], json!(["default", "readers"]));
    assert_eq!(auth["metadata"]["user"], "ann");
    assert_eq!(auth["lease_duration"], 60);
    assert_ne!(auth["entity_id"], "", "the alias makes an entity");

    let ann = root.with_token(login.token());
    assert_eq!(ann.read("sys/mounts")?.status, 200);
    assert_eq!(ann.read("sys/auth")?.status, 403);
    let renew = || ann.write("auth/token/renew-self", &json!({"increment": "5m"}));
    let life = renew()?.ok()?.body["auth"]["lease_duration"].as_u64();
    assert_eq!(life, Some(300));
    desk.delete("users/ann")?.ok()?;
    let refused = renew()?;
    assert_eq!(refused.status, 400, "{refused:?}");
    ann.write("auth/token/revoke-self", &json!({}))?.ok()?;
    assert_eq!(ann.read("sys/mounts")?.status, 403);
    assert!(!server.log().contains("panicked"), "{}", server.log());
    Ok(())
}

fn a_panic_in_a_test_leaves_no_server(kind: Kind) -> io::Result<()> {
    let server = start(kind);
    let root = server.root().clone();
    server.mount_secrets("keys", example("file_keys"))?;
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(move || {
        let _server = server;
        panic!("as a test's assertion does");
    }));
    assert!(panicked.is_err());
    let error = root.read("sys/health").expect_err("nobody listens");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    Ok(())
}
