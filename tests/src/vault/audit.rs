//! Other callers than the operator, and the server's own record of who asked
//! for what.

use std::path::Path;

use serde_json::json;

use super::Server;

impl Server {
    /// A token that may do what these rules say, and nothing else.
    pub async fn token(&self, policy: &str, rules: &str) -> String {
        let path = format!("sys/policies/acl/{policy}");
        self.write(&path, &json!({"policy": rules}))
            .await
            .expect_ok();
        let body = json!({"policies": [policy], "no_parent": true, "no_default_policy": true});
        let made = self.write("auth/token/create", &body).await.expect_ok();
        made["auth"]["client_token"]
            .as_str()
            .expect("a token")
            .to_owned()
    }

    /// Writes every request and answer from now on to a file, as the audit
    /// device `file`.
    pub async fn audit_to(&self, file: &Path) {
        let options = json!({"file_path": file.display().to_string()});
        let body = json!({"type": "file", "options": options});
        self.write("sys/audit/file", &body).await.expect_ok();
    }
}
