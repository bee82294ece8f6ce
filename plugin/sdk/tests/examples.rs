//! The examples without a server: what a plugin's own unit tests look like.

use std::sync::Arc;

use serde_json::json;
use vault_plugin_sdk::{
    Error, Operation,
    testing::{Fault, FaultStorage, MemoryStorage, Mount},
};

#[path = "../examples/file_keys.rs"]
#[expect(dead_code, reason = "its main is for the server to start")]
mod file_keys;
#[path = "../examples/shared_secret.rs"]
#[expect(dead_code, reason = "its main is for the server to start")]
mod shared_secret;

/// Wherever the storage fails, no key is left that nobody holds.
#[tokio::test]
async fn a_key_that_nobody_got_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let files = || std::fs::read_dir(folder.path()).unwrap().count();
    let storage = Arc::new(FaultStorage::new(Arc::new(MemoryStorage::new())));
    let mount = Mount::new(file_keys::backend()).storage(storage.clone());
    let config = json!({"folder": folder.path()});
    mount.write("config", config).await.unwrap();
    let role = json!({"ttl": "1h"});
    mount.write("roles/app", role).await.unwrap();

    let mut failures = 0;
    let issued = loop {
        storage.set(Some(Fault::At(failures + 1)));
        let answer = mount.read("creds/app").await;
        storage.set(None);
        match answer {
            Ok(issued) => break issued.unwrap(),
            Err(_) => failures += 1,
        }
        mount.roll_back().await.unwrap();
        assert_eq!(files(), 0, "the call {failures} failed");
    };
    assert_eq!(failures, 4, "role, config, the entry and its end");
    assert_eq!(files(), 1);
    mount.renew(&issued).await.unwrap();
    mount.revoke(&issued).await.unwrap();
    mount.revoke(&issued).await.unwrap();
    assert_eq!(files(), 0);
}

#[tokio::test]
async fn a_login_is_for_who_knows_the_secret() {
    let mount = Mount::new(shared_secret::backend());
    let ann = json!({"secret": "correct horse battery", "token_ttl": "1h"});
    mount.write("users/ann", ann).await.unwrap();

    let login = json!({"secret": "correct horse battery"});
    let token = mount.write("login/Ann", login).await.unwrap().unwrap();
    assert_eq!(token.auth.clone().unwrap().display_name, "ann");
    for (name, secret) in [("ann", "wrong"), ("ann", ""), ("bob", ""), ("bob", "x")] {
        let path = format!("login/{name}");
        let login = mount.write(&path, json!({"secret": secret}));
        let refused = login.await.unwrap_err();
        assert!(matches!(refused, Error::PermissionDenied), "{refused}");
    }

    let asked = mount.request(Operation::AliasLookahead, "login/ann");
    let asked = mount.handle(asked.build()).await.unwrap().unwrap();
    assert_eq!(asked.auth.unwrap().alias.unwrap().name, "ann");

    mount.renew(&token).await.unwrap();
    mount.delete("users/ann").await.unwrap();
    let refused = mount.renew(&token).await.unwrap_err();
    assert!(matches!(refused, Error::User(_)), "{refused}");
}
