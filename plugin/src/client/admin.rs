//! Admin keys: the successor that replaces the configured one. Our own gateway
//! makes one that may manage keys and nothing else; LiteLLM knows no such
//! scopes, so there it is a key of a `proxy_admin` user. Neither needs a licence.

use reqwest::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use vault_plugin_sdk as sdk;

use super::transport::Answer;
use super::wire::{Told, told};
use super::{Client, Deleted, MasterKey};
use crate::error::GatewayError;

/// What the engine calls, and nothing more.
const SCOPES: [&str; 2] = [READ, WRITE];
const READ: &str = "keys.read";
const WRITE: &str = "keys.write";
/// LiteLLM: the role whose keys may manage the keys of others.
const ADMIN_ROLE: &str = "proxy_admin";

/// What makes a key an admin key at this gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum AdminGrant {
    Scopes,
    User(String),
}

/// What the gateway knows of the configured admin key.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct OwnKey {
    #[serde(rename = "key_alias")]
    pub(crate) alias: Option<String>,
    user_id: Option<String>,
    /// As the gateway writes it.
    pub(crate) expires: Option<String>,
    /// Named only by a gateway that has scopes.
    pub(crate) scopes: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct KeyInfo {
    info: OwnKey,
}

#[derive(Deserialize)]
struct UserInfo {
    user_info: Option<UserRole>,
}

#[derive(Deserialize)]
struct UserRole {
    user_role: Option<String>,
}

/// Not `Debug`: it holds the key.
#[derive(Deserialize)]
struct AdminKeyAnswer {
    key: String,
    #[serde(default, deserialize_with = "told")]
    expires: Told<Value>,
    scopes: Option<Vec<String>>,
}

impl Client {
    /// Finds or makes what a successor of the configured admin key needs. Where
    /// LiteLLM names no user of the present key, `user_id` becomes one.
    pub(crate) async fn admin_grant(&self, user_id: &str) -> Result<AdminGrant, sdk::Error> {
        let gateway = self.gateway().await?;
        if !gateway.lacks("scopes") {
            return Ok(AdminGrant::Scopes);
        }
        if gateway.is_llm_proxy {
            return Err(sdk::Error::user(format!(
                "{gateway} makes no admin keys: upgrade the gateway to a version that names the feature scopes in /health/readiness"
            )));
        }
        let user = self.own_key().await?.and_then(|key| key.user_id);
        if let Some(user_id) = user.filter(|id| !id.is_empty()) {
            return Ok(AdminGrant::User(user_id));
        }
        self.ensure_admin_user(user_id).await?;
        Ok(AdminGrant::User(user_id.to_owned()))
    }

    /// The configured admin key; `None` for the static master key, which no
    /// table of the gateway holds.
    pub(crate) async fn own_key(&self) -> Result<Option<OwnKey>, GatewayError> {
        let path = format!("/key/info?key={}", self.own_key_hash());
        let answer: Result<Answer<KeyInfo>, _> =
            self.transport.call(Method::GET, &path, &Value::Null).await;
        match answer {
            Ok(answer) => Ok(Some(answer.body.info)),
            // LiteLLM: its words. Any other 404 is an address that serves no such
            // call, where nothing is proved.
            Err(GatewayError::Refused {
                status: 404,
                message,
                ..
            }) if message.contains("Key not found") => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// LiteLLM refuses a second user of one id, so a refusal counts as success
    /// where the user is there and may do what is needed.
    async fn ensure_admin_user(&self, user_id: &str) -> Result<(), GatewayError> {
        let body = json!({"user_id": user_id, "user_role": ADMIN_ROLE, "auto_create_key": false});
        let made: Result<Answer<Value>, _> =
            self.transport.call(Method::POST, "/user/new", &body).await;
        let refusal = match made {
            Ok(_) => return Ok(()),
            Err(refusal @ GatewayError::Refused { .. }) => refusal,
            Err(error) => return Err(error),
        };
        let path = format!("/user/info?user_id={user_id}");
        let known: Answer<UserInfo> = self
            .transport
            .call(Method::GET, &path, &Value::Null)
            .await?;
        let role = known.body.user_info.and_then(|user| user.user_role);
        if role.as_deref() == Some(ADMIN_ROLE) {
            Ok(())
        } else {
            Err(refusal)
        }
    }

    /// A new admin key. It has no expiry: a mount that nobody touches for a
    /// year must still be able to revoke.
    pub(crate) async fn generate_admin_key(
        &self,
        grant: &AdminGrant,
        alias: &str,
    ) -> Result<MasterKey, GatewayError> {
        let body = match grant {
            AdminGrant::Scopes => {
                json!({"key_alias": alias, "key_type": "management", "scopes": SCOPES})
            }
            AdminGrant::User(user_id) => json!({"key_alias": alias, "user_id": user_id}),
        };
        let answer: Answer<AdminKeyAnswer> = self
            .transport
            .call(Method::POST, "/key/generate", &body)
            .await?;
        let answer = answer.body;
        if !answer.key.starts_with("sk-") {
            return Err(self.transport.unexpected("the key does not begin with sk-"));
        }
        if !matches!(answer.expires, None | Some(None)) {
            return Err(self.transport.unexpected(
                "it gave an expiry to an admin key, which would end this mount's access: lift its default or upper bound for durations",
            ));
        }
        let has_scopes = |scopes: &Vec<String>| {
            scopes.len() == SCOPES.len()
                && SCOPES.iter().all(|scope| scopes.iter().any(|s| s == scope))
        };
        if *grant == AdminGrant::Scopes && !answer.scopes.as_ref().is_some_and(has_scopes) {
            return Err(self
                .transport
                .unexpected("the key has other scopes than were asked for"));
        }
        MasterKey::parse(&answer.key).map_err(|_| {
            self.transport
                .unexpected("the key can't be sent as a header")
        })
    }

    /// Proves that the configured key may read and write keys, by calls that
    /// change nothing.
    pub(crate) async fn prove_admin(&self) -> Result<(), GatewayError> {
        self.verify()
            .await
            .map_err(|error| lacking(error, "read", READ))?;
        // No key has this hash: nobody finds the text whose digest is all zeros.
        let deleted = self.delete_hash(&"0".repeat(64)).await;
        match deleted.map_err(|error| lacking(error, "write", WRITE))? {
            Deleted::Absent => Ok(()),
            Deleted::Now => Err(self
                .transport
                .unexpected("it says that it deleted a key which cannot exist")),
        }
    }

    pub(crate) fn own_key_hash(&self) -> String {
        self.transport.master_key().hash()
    }
}

/// A key that is known and may not do this. LiteLLM: 401 where it may not write,
/// which after a good reading says the same as 403.
fn lacking(error: GatewayError, verb: &'static str, scope: &'static str) -> GatewayError {
    match error {
        GatewayError::AdminKeyRefused {
            base_url,
            status,
            message,
        } if status == 403 || scope == WRITE => GatewayError::LacksScope {
            base_url,
            verb,
            scope,
            message,
        },
        error => error,
    }
}
