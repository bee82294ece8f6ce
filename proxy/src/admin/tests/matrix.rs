//! Goal: who may call what, exactly. Method: every route of the router's own
//! tables, on both planes, against every kind of caller and every method; a
//! route that is not listed here fails the test.

use axum::body::Body;
use http::{Method, Request};
use serde_json::{Value, json};

use super::{Gateway, MASTER, on_both, text};
use crate::{key::Scope, router};

on_both![h3_every_route_admits_whom_it_lists_and_nobody_else];

/// Who may call a route.
#[derive(Clone, Copy)]
enum Allowed {
    Anyone,
    /// Keys that call models; what the master key is told.
    Callers {
        master: u16,
    },
    /// The master key and an admin key of this scope; what an ordinary key is told.
    Scope(Scope, u16),
    /// As `Scope`, and an ordinary key about itself.
    ScopeOrItself(Scope),
}

use Allowed::{Anyone, Callers, Scope as Needs, ScopeOrItself};
use Scope::{KeysRead, KeysWrite, UsageRead};

/// Path, method, a request that is granted where the caller is, and who that is.
/// `KEY` stands for the hash of a key of its own for each call, `GROUP` for the
/// id of a budget, a team and a user of its own.
type Row = (&'static str, &'static str, &'static str, Allowed);

const CHAT: &str = r#"{"model":"demo","messages":[{"role":"user","content":"x"}]}"#;
const NAMED: &str = r#"{"key":"KEY"}"#;

const DATA: [Row; 12] = [
    ("/health/liveliness", "GET", "", Anyone),
    ("/health/liveness", "GET", "", Anyone),
    ("/health/readiness", "GET", "", Anyone),
    (
        "/v1/chat/completions",
        "POST",
        CHAT,
        Callers { master: 200 },
    ),
    ("/chat/completions", "POST", CHAT, Callers { master: 200 }),
    ("/v1/models", "GET", "", Callers { master: 200 }),
    ("/models", "GET", "", Callers { master: 200 }),
    ("/v1/usage", "GET", "", Callers { master: 404 }),
    ("/usage", "GET", "", Callers { master: 404 }),
    ("/v1/budget", "GET", "", Callers { master: 404 }),
    ("/budget", "GET", "", Callers { master: 404 }),
    ("/key/info", "GET", "", Callers { master: 404 }),
];

const ADMIN: [Row; 39] = [
    ("/health/liveliness", "GET", "", Anyone),
    ("/health/liveness", "GET", "", Anyone),
    ("/health/readiness", "GET", "", Anyone),
    ("/key/generate", "POST", "{}", Needs(KeysWrite, 401)),
    ("/key/update", "POST", NAMED, Needs(KeysWrite, 401)),
    (
        "/key/delete",
        "POST",
        r#"{"keys":["KEY"]}"#,
        Needs(KeysWrite, 401),
    ),
    (
        "/key/delete_expired",
        "POST",
        r#"{"expired_for":"30d"}"#,
        Needs(KeysWrite, 401),
    ),
    ("/key/block", "POST", NAMED, Needs(KeysWrite, 401)),
    ("/key/unblock", "POST", NAMED, Needs(KeysWrite, 401)),
    ("/key/regenerate", "POST", NAMED, Needs(KeysWrite, 401)),
    ("/key/{key}/regenerate", "POST", "{}", Needs(KeysWrite, 401)),
    (
        "/key/bulk_update",
        "POST",
        r#"{"keys":[{"key":"KEY"}]}"#,
        Needs(KeysWrite, 401),
    ),
    (
        "/key/{key}/reset_spend",
        "POST",
        r#"{"reset_to":0}"#,
        Needs(KeysWrite, 401),
    ),
    ("/key/aliases", "GET", "", Needs(KeysRead, 403)),
    ("/key/count", "GET", "", Needs(KeysRead, 403)),
    (
        "/v2/key/info",
        "POST",
        r#"{"keys":["KEY"]}"#,
        Needs(KeysRead, 403),
    ),
    ("/key/info", "GET", "?key=KEY", ScopeOrItself(KeysRead)),
    ("/key/list", "GET", "", Needs(KeysRead, 403)),
    ("/budget/new", "POST", "{}", Needs(KeysWrite, 401)),
    (
        "/budget/update",
        "POST",
        r#"{"budget_id":"GROUP"}"#,
        Needs(KeysWrite, 401),
    ),
    (
        "/budget/delete",
        "POST",
        r#"{"id":"GROUP"}"#,
        Needs(KeysWrite, 401),
    ),
    (
        "/budget/info",
        "POST",
        r#"{"budgets":["GROUP"]}"#,
        Needs(KeysRead, 403),
    ),
    ("/budget/list", "GET", "", Needs(KeysRead, 403)),
    ("/team/new", "POST", "{}", Needs(KeysWrite, 401)),
    (
        "/team/update",
        "POST",
        r#"{"team_id":"GROUP"}"#,
        Needs(KeysWrite, 401),
    ),
    (
        "/team/delete",
        "POST",
        r#"{"team_ids":["GROUP"]}"#,
        Needs(KeysWrite, 401),
    ),
    (
        "/team/block",
        "POST",
        r#"{"team_id":"GROUP"}"#,
        Needs(KeysWrite, 401),
    ),
    (
        "/team/unblock",
        "POST",
        r#"{"team_id":"GROUP"}"#,
        Needs(KeysWrite, 401),
    ),
    ("/team/info", "GET", "?team_id=GROUP", Needs(KeysRead, 403)),
    ("/team/list", "GET", "", Needs(KeysRead, 403)),
    ("/user/new", "POST", "{}", Needs(KeysWrite, 401)),
    (
        "/user/update",
        "POST",
        r#"{"user_id":"GROUP"}"#,
        Needs(KeysWrite, 401),
    ),
    (
        "/user/delete",
        "POST",
        r#"{"user_ids":["GROUP"]}"#,
        Needs(KeysWrite, 401),
    ),
    ("/user/info", "GET", "?user_id=GROUP", Needs(KeysRead, 403)),
    ("/user/list", "GET", "", Needs(KeysRead, 403)),
    ("/spend/logs", "GET", "", Needs(UsageRead, 401)),
    ("/spend/logs/v2", "GET", "", Needs(UsageRead, 401)),
    ("/global/spend/report", "GET", "", Needs(UsageRead, 401)),
    ("/audit", "GET", "", Needs(KeysRead, 403)),
];

#[test]
fn a_scope_opens_a_route_or_is_told_of_as_reserved() {
    const TOLD: &str = include_str!("../../../../SECURITY.md");
    let opens = |scope: &Scope| {
        let needs = |row: &Row| matches!(row.3, Needs(needed, _) | ScopeOrItself(needed) if needed == *scope);
        ADMIN.iter().any(needs)
    };
    let named = |scopes: Vec<Scope>| {
        let names = scopes.iter().map(|scope| format!("`{}`", scope.as_str()));
        let names = names.collect::<Vec<_>>();
        let (last, others) = names.split_last().expect("some");
        format!("{} and {last}", others.join(", "))
    };
    let (open, reserved) = Scope::ALL.into_iter().partition(opens);
    let told = format!(
        "The scopes are {}; reserved, and without a route yet, are {}.",
        named(open),
        named(reserved)
    );
    assert!(TOLD.contains(&told), "{told}");
}

/// A caller, and its key.
struct Caller {
    kind: Kind,
    key: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Nobody,
    Stranger,
    Ordinary,
    Admin(Scope),
    Master,
}

async fn callers(gateway: &Gateway) -> Vec<Caller> {
    let known = |kind, key: String| Caller {
        kind,
        key: Some(key),
    };
    let mut all = vec![
        Caller {
            kind: Kind::Nobody,
            key: None,
        },
        known(Kind::Stranger, "sk-QJ7ZAaPj16abR07BqixA7A".to_owned()),
        known(Kind::Master, MASTER.to_owned()),
    ];
    let ordinary = gateway.post("/key/generate", &json!({})).await;
    all.push(known(Kind::Ordinary, text(&ordinary, "key")));
    for scope in Scope::ALL {
        let body = json!({"scopes": [scope.as_str()]});
        let made = gateway.post("/key/generate", &body).await;
        all.push(known(Kind::Admin(scope), text(&made, "key")));
    }
    all
}

fn expected(allowed: Allowed, kind: Kind) -> u16 {
    match (allowed, kind) {
        (Anyone, _) => 200,
        (_, Kind::Nobody | Kind::Stranger) => 401,
        (Callers { master }, Kind::Master) => master,
        (Callers { .. }, Kind::Ordinary) | (_, Kind::Master) => 200,
        (Callers { .. }, Kind::Admin(_)) => 403,
        (Needs(needed, _) | ScopeOrItself(needed), Kind::Admin(scope)) if scope == needed => 200,
        (Needs(..) | ScopeOrItself(_), Kind::Admin(_)) => 403,
        (Needs(_, to_ordinary), Kind::Ordinary) => to_ordinary,
        // About another's key.
        (ScopeOrItself(_), Kind::Ordinary) => 403,
    }
}

async fn ask(gateway: &Gateway, is_admin: bool, row: Row, caller: &Caller) -> u16 {
    let (path, method, sent, _) = row;
    let other = gateway.post("/key/generate", &json!({})).await;
    let other = text(&other, "token");
    let sent = sent.replace("KEY", &other);
    let sent = sent.replace("GROUP", &group(gateway, &sent).await);
    let mut path = path.replace("{key}", &other);
    let mut body = Body::empty();
    match method {
        "GET" => path.push_str(&sent),
        _ => body = Body::from(sent),
    }
    let mut request = Request::builder().method(method).uri(path);
    if let Some(key) = &caller.key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    let answer = gateway.request(is_admin, request.body(body).unwrap()).await;
    answer.status.as_u16()
}

/// Nothing where none is asked for.
async fn group(gateway: &Gateway, sent: &str) -> String {
    if !sent.contains("GROUP") {
        return String::new();
    }
    let id = text(&gateway.post("/team/new", &json!({})).await, "team_id");
    for (path, body) in [
        ("/budget/new", json!({"budget_id": id})),
        (
            "/user/new",
            json!({"user_id": id, "auto_create_key": false}),
        ),
    ] {
        assert_eq!(gateway.post(path, &body).await.status, 200);
    }
    id
}

async fn h3_every_route_admits_whom_it_lists_and_nobody_else() {
    let [data, admin] = router::paths();
    assert_eq!(
        data,
        DATA.map(|(path, ..)| path),
        "list it with who may call it"
    );
    assert_eq!(
        admin,
        ADMIN.map(|(path, ..)| path),
        "list it with who may call it"
    );
    let gateway = Gateway::start().await;
    let callers = callers(&gateway).await;
    for (is_admin, rows) in [(false, &DATA[..]), (true, &ADMIN[..])] {
        for row in rows {
            for caller in &callers {
                let found = ask(&gateway, is_admin, *row, caller).await;
                let (path, method, _, allowed) = *row;
                let expected = expected(allowed, caller.kind);
                assert_eq!(found, expected, "{method} {path} by {:?}", caller.kind);
            }
        }
    }
    other_methods_and_planes_answer_nothing(&gateway).await;
    let own = gateway
        .admin_get(callers[3].key.as_deref().unwrap(), "/key/info")
        .await;
    assert_eq!(own.status, 200, "an ordinary key about itself");
    let paths: Value = json!([data, admin]);
    assert!(!paths.to_string().contains('*'), "no route stands for many");
}

async fn other_methods_and_planes_answer_nothing(gateway: &Gateway) {
    let methods = [
        Method::GET,
        Method::POST,
        Method::PUT,
        Method::PATCH,
        Method::DELETE,
    ];
    for (is_admin, here, there) in [
        (false, &DATA[..], &ADMIN[..]),
        (true, &ADMIN[..], &DATA[..]),
    ] {
        for (path, listed, ..) in here.iter().chain(there) {
            let is_here = here.iter().any(|(known, ..)| known == path);
            for method in &methods {
                if is_here && method == listed {
                    continue;
                }
                let request = Request::builder().method(method).uri(*path);
                let request = request.header("authorization", format!("Bearer {MASTER}"));
                let request = request.body(Body::from("{}")).unwrap();
                let answer = gateway.request(is_admin, request).await;
                let expected = if is_here { 405 } else { 404 };
                assert_eq!(answer.status, expected, "{method} {path}");
            }
        }
    }
}
