//! A small auth method: users who prove who they are with a secret.
//!
//! `vault write auth/desk/users/ann secret=… token_policies=readers`, then,
//! without any token, `vault write auth/desk/login/ann secret=…`.

use std::{process::ExitCode, sync::Arc};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use vault_plugin_sdk::{
    Alias, Auth, Backend, BackendKind, Error, Field, FieldType, HandlerResult, Operation, Path,
    Request, Response, ServeOptions, SpecialPaths, TokenFields, generic_name, get_json, put_json,
    serve,
};

/// Below this a secret could be guessed from a stolen digest.
const SECRET_BYTES_MIN: usize = 20;

#[derive(Default, Serialize, Deserialize)]
struct User {
    salt: [u8; 16],
    digest: Vec<u8>,
    /// What every auth method of Vault lets an operator say about its tokens.
    #[serde(flatten)]
    token: TokenFields,
}

fn main() -> ExitCode {
    let options = ServeOptions {
        name: "shared_secret",
        version: env!("CARGO_PKG_VERSION"),
        description: "users who log in with a secret",
    };
    serve(&options, |_setup| Ok(backend()))
}

/// One mount. What its requests share would stand in place of `()`.
pub(crate) fn backend() -> Backend<()> {
    let name = || Field::new("name", FieldType::LowerCaseString).description("Name of the user.");
    let secret = |text| {
        Field::new("secret", FieldType::String)
            .sensitive()
            .description(text)
    };
    let user = Path::new(format!("users/{}", generic_name("name")))
        .field(name())
        .field(secret("What the user has to know."))
        .operation(Operation::Read, read)
        .operation_forwarded(Operation::Create, write)
        .operation_forwarded(Operation::Update, write)
        .operation_forwarded(Operation::Delete, delete)
        .exists(exists)
        .help(
            "A user.",
            "Who can log in, and what the token is then good for.",
        );
    let login = Path::new(format!("login/{}", generic_name("name")))
        .field(name())
        .field(secret("The user's secret."))
        .operation(Operation::Update, login)
        .operation(Operation::AliasLookahead, look_ahead)
        .help("Logs in.", "Answers a token for the user's secret.");
    Backend::new(BackendKind::Auth, ())
        .help("Logs users in by a secret.")
        .special_paths(SpecialPaths {
            unauthenticated: vec!["login/*".to_owned()],
            ..SpecialPaths::default()
        })
        .path(TokenFields::declare(user))
        .path(login)
        .auth_renew(renew)
}

async fn load(request: &Request, name: &str) -> Result<Option<User>, Error> {
    get_json(request.storage.as_ref(), &format!("users/{name}")).await
}

async fn exists(_: Arc<()>, request: Request) -> Result<bool, Error> {
    Ok(load(&request, &request.fields.string("name"))
        .await?
        .is_some())
}

async fn read(_: Arc<()>, request: Request) -> HandlerResult {
    let user = load(&request, &request.fields.string("name")).await?;
    Ok(user.map(|user| Response::data(user.token.answer())))
}

async fn write(_: Arc<()>, request: Request) -> HandlerResult {
    let name = request.fields.string("name");
    let mut user = load(&request, &name).await?.unwrap_or_default();
    user.token = user.token.merged(&request.fields)?;
    if let Some(secret) = request.fields.string_opt("secret") {
        if secret.len() < SECRET_BYTES_MIN {
            return Err(Error::user("secret needs at least 20 characters"));
        }
        user.salt = rand::random();
        user.digest = digest(user.salt, &secret);
    } else if user.digest.is_empty() {
        return Err(Error::user("secret is missing"));
    }
    put_json(request.storage.as_ref(), &format!("users/{name}"), &user).await?;
    Ok(None)
}

async fn delete(_: Arc<()>, request: Request) -> HandlerResult {
    let key = format!("users/{}", request.fields.string("name"));
    request.storage.delete(&key).await?;
    Ok(None)
}

fn digest(salt: [u8; 16], secret: &str) -> Vec<u8> {
    Sha256::new()
        .chain_update(salt)
        .chain_update(secret)
        .finalize()
        .to_vec()
}

async fn login(_: Arc<()>, request: Request) -> HandlerResult {
    let name = request.fields.string("name");
    // One answer for a wrong secret and for nobody, so that names stay private.
    let user = load(&request, &name).await?.unwrap_or_default();
    if digest(user.salt, &request.fields.string("secret")) != user.digest {
        return Err(Error::PermissionDenied);
    }
    let mut auth = Auth::new(&name);
    auth.metadata.insert("user".to_owned(), name);
    user.token.populate(&mut auth);
    Ok(Some(Response::login(auth)))
}

/// Tells the server whose login this would be, before anything is checked.
async fn look_ahead(_: Arc<()>, request: Request) -> HandlerResult {
    let alias = Alias::new(request.fields.string("name"));
    Ok(Some(Response::alias(alias)))
}

async fn renew(_: Arc<()>, request: Request) -> HandlerResult {
    let mut auth = request.auth.clone().ok_or(Error::InvalidRequest)?;
    let name = auth.metadata.get("user").cloned().unwrap_or_default();
    let user = load(&request, &name).await?;
    let user = user.ok_or_else(|| Error::user("the user is gone: the token is not renewed"))?;
    user.token.extend(&mut auth);
    Ok(Some(Response::login(auth)))
}
