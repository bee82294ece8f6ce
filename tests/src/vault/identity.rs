//! People who log in, as an operator sets them up.

use reqwest::Method;
use serde_json::{Value, json};

use super::Server;

/// Someone who has logged in.
#[derive(Debug, Clone)]
pub struct Person {
    pub token: String,
    pub entity_id: String,
}

impl Server {
    /// Lets people log in with a password and do what `rules` say; answers the
    /// auth mount's accessor.
    pub async fn enable_logins(&self, rules: &str) -> String {
        let body = json!({"type": "userpass"});
        self.write("sys/auth/userpass", &body).await.expect_ok();
        let policy = json!({"policy": rules});
        self.write("sys/policies/acl/people", &policy)
            .await
            .expect_ok();
        let mounts = self.read("sys/auth").await.expect_ok();
        text(&mounts["data"]["userpass/"]["accessor"])
    }

    /// A person with an entity and an alias of this name, logged in.
    pub async fn person(&self, name: &str, accessor: &str, metadata: Value) -> Person {
        let user = json!({"password": name, "token_policies": "people"});
        let path = format!("auth/userpass/users/{name}");
        self.write(&path, &user).await.expect_ok();
        let entity = json!({"name": name, "metadata": metadata});
        let entity = self.write("identity/entity", &entity).await.expect_ok();
        let entity_id = text(&entity["data"]["id"]);
        let alias = json!({"name": name, "canonical_id": entity_id, "mount_accessor": accessor});
        self.write("identity/entity-alias", &alias)
            .await
            .expect_ok();
        let path = format!("auth/userpass/login/{name}");
        let login = json!({"password": name});
        let login = self.call(Method::POST, &path, &login).await.expect_ok();
        Person {
            token: text(&login["auth"]["client_token"]),
            entity_id,
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text in the answer").to_owned()
}
