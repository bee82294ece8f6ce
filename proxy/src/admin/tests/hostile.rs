//! Goal: what a caller sends is data: it never becomes part of a statement, and
//! only a whole key is a key. Method: texts that would do harm inside of SQL in
//! every field, and every likely near miss of a key.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use axum::body::Body;
use http::Request;
use serde_json::{Value, json};

use super::{Gateway, MASTER, on_both, text};

on_both![
    h1_no_input_reaches_sql_text,
    h2_identity_is_the_whole_key,
    h4_a_stored_hash_is_never_a_credential,
];

const HARMFUL: [&str; 9] = [
    "' OR '1'='1",
    "'); DELETE FROM keys; --",
    "\"; DROP TABLE keys; --",
    "x' UNION SELECT hash FROM keys --",
    "1; SELECT pg_sleep(10); --",
    "\\'; COMMIT; --",
    "$1",
    "%",
    "_",
];

const HEADERS: [&str; 5] = [
    "authorization",
    "x-litellm-api-key",
    "api-key",
    "x-api-key",
    "x-goog-api-key",
];

/// Bodies of `/key/generate` that are taken, with what must come back as it was.
fn taken(harm: &str, name: &str) -> Vec<(Value, &'static str)> {
    vec![
        (json!({"key_alias": name}), "key_alias"),
        (json!({"user_id": harm}), "user_id"),
        (json!({"team_id": harm}), "team_id"),
        (json!({"models": [harm]}), "models"),
        (json!({"allowed_routes": [harm]}), "allowed_routes"),
        (
            json!({"metadata": {harm: {"b": harm}, "vault_request_id": harm}}),
            "metadata",
        ),
        (
            json!({"metadata": {"vault_request_id": format!("{harm}\u{0}")}}),
            "metadata",
        ),
        (
            json!({"model_max_budget": {harm: {"budget_limit": 1.0, "time_period": "1d"}}}),
            "model_max_budget",
        ),
    ]
}

/// Bodies that are refused.
fn refused(harm: &str) -> Vec<Value> {
    vec![
        json!({"key": format!("sk-{harm}")}),
        json!({"duration": harm}),
        json!({"budget_duration": harm}),
        json!({"max_budget": harm}),
        json!({"rpm_limit": harm}),
        json!({"key_type": harm}),
        json!({"scopes": [harm]}),
        json!({"budget_id": harm}),
        json!({"allowed_cidrs": [harm]}),
        json!({"shared_budgets": [{"scope": harm, "id": harm, "max_budget": 1}]}),
        json!({"key_alias": format!("{harm}\u{0}")}),
        json!({ harm: 1 }),
    ]
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

async fn count(gateway: &Gateway) -> i64 {
    let listed = gateway.admin_get(MASTER, "/key/list").await;
    listed.body["total_count"].as_i64().unwrap()
}

async fn h1_no_input_reaches_sql_text() {
    let gateway = Gateway::start().await;
    let marker = text(&gateway.post("/key/generate", &json!({})).await, "key");
    let mut keys = 1;
    for harm in HARMFUL {
        for (body, field) in taken(harm, harm) {
            let made = gateway.post("/key/generate", &body).await;
            assert_eq!(made.status, 200, "{body}: {}", made.body);
            keys += 1;
            let update = json!({"key": made.body["token"], field: body[field]});
            let updated = gateway.post("/key/update", &update).await;
            assert_eq!(updated.status, 200, "{update}: {}", updated.body);
            let asked = format!("/key/info?key={}", text(&made, "token"));
            let found = gateway.admin_get(MASTER, &asked).await;
            assert_eq!(found.body["info"][field], body[field], "as it was sent");
        }
        for body in refused(harm) {
            let answer = gateway.post("/key/generate", &body).await;
            let status = answer.status.as_u16();
            assert!(matches!(status, 400 | 422), "{body}: {status}");
        }
        let shared = json!({"scope": "team", "id": harm, "max_budget": 1});
        let body = json!({"shared_budgets": [shared]});
        assert_eq!(gateway.post("/key/generate", &body).await.status, 200);
        keys += 1;
        changes_name_no_key(&gateway, harm).await;
        groups_may_be_called_so(&gateway, harm).await;
        queries_find_what_they_name(&gateway, harm).await;
        data_plane_takes_it_for_a_name(&gateway, &marker, harm).await;
        assert_eq!(count(&gateway).await, keys, "after {harm}");
    }
    assert_eq!(gateway.try_key(&marker).await.status, 200);
}

/// Nothing has such a name but the alias that was made, which stays.
async fn changes_name_no_key(gateway: &Gateway, harm: &str) {
    let path = encoded(harm).replace('+', "%20");
    for (path, body) in [
        ("/key/update".to_owned(), json!({"key": harm})),
        ("/key/delete".to_owned(), json!({"keys": [harm]})),
        (
            "/key/delete".to_owned(),
            json!({"key_aliases": [format!("{harm}x"), format!("{harm}\u{0}")]}),
        ),
        ("/key/block".to_owned(), json!({"key": harm})),
        ("/key/unblock".to_owned(), json!({"key": harm})),
        ("/key/regenerate".to_owned(), json!({"key": harm})),
        (format!("/key/{path}/regenerate"), json!({})),
        (format!("/key/{path}/reset_spend"), json!({"reset_to": 0})),
        (
            format!("/key/{path}%00/reset_spend"),
            json!({"reset_to": 0}),
        ),
    ] {
        let answer = gateway.post(&path, &body).await;
        let status = answer.status.as_u16();
        assert!(
            matches!(status, 400 | 404),
            "{path} {body}: {status} {}",
            answer.body
        );
    }
    let many = gateway.post("/v2/key/info", &json!({"keys": [harm]})).await;
    assert_eq!(many.body["info"], json!([]));
    let body = json!({"keys": [{"key": harm, "max_budget": 1}]});
    let updated = gateway.post("/key/bulk_update", &body).await;
    assert_eq!(updated.body["successful_updates"], json!([]));
}

/// Budgets, teams and users of such a name are those of this name alone.
async fn groups_may_be_called_so(gateway: &Gateway, harm: &str) {
    for (kind, delete) in [
        ("team", json!({"team_ids": [format!("{harm}x")]})),
        ("user", json!({"user_ids": [format!("{harm}x")]})),
        ("budget", json!({"id": format!("{harm}x")})),
    ] {
        let id = format!("{kind}_id");
        let mut body = json!({&id: format!("{harm}x")});
        let path = |verb: &str| format!("/{kind}/{verb}");
        for (verb, body) in [("update", &body), ("delete", &delete)] {
            assert_eq!(gateway.post(&path(verb), body).await.status, 404, "{kind}");
        }
        if kind == "user" {
            body["auto_create_key"] = json!(false);
        }
        let made = gateway.post(&path("new"), &body).await;
        assert_eq!(made.body[&id], format!("{harm}x"), "{}", made.body);
        let gone = gateway.post(&path("delete"), &delete).await;
        assert_eq!(gone.status, 200, "{}", gone.body);
    }
    let asked = json!({"budgets": [harm, format!("{harm}\u{0}")]});
    let told = gateway.post("/budget/info", &asked).await;
    assert_eq!(told.body, json!([]));
}

async fn queries_find_what_they_name(gateway: &Gateway, harm: &str) {
    let text = encoded(harm);
    for (path, total) in [
        (format!("/key/list?key_alias={text}"), 1),
        (format!("/key/list?user_id={text}"), 1),
        (format!("/key/list?team_id={text}"), 1),
        (format!("/key/list?organization_id={text}"), 0),
    ] {
        let listed = gateway.admin_get(MASTER, &path).await;
        assert_eq!(listed.body["total_count"], total, "{path}: {}", listed.body);
    }
    let found = gateway
        .admin_get(MASTER, &format!("/key/aliases?search={text}"))
        .await;
    let aliases = found.body["aliases"].as_array().unwrap();
    assert!(aliases.iter().any(|alias| alias == harm), "{}", found.body);
    assert!(
        aliases
            .iter()
            .all(|alias| alias.as_str().unwrap().contains(harm))
    );
    for path in [
        "/key/list?key_hash=",
        "/key/list?status=",
        "/key/list?sort_by=",
        "/key/list?sort_order=",
        "/key/list?page=",
        "/key/list?size=",
        "/key/list?search=",
        "/key/list?substring_matching=true&key_alias=",
        "/key/aliases?team_id=",
        "/key/info?key=",
        "/key/count?x=",
        "/spend/logs?user_id=",
        "/spend/logs?team_id=",
        "/spend/logs?model=",
        "/spend/logs?request_id=",
        "/spend/logs?api_key=",
        "/spend/logs?start_date=",
        "/spend/logs/v2?page=",
        "/global/spend/report?group_by=",
        "/audit?subject=",
        "/team/info?team_id=",
        "/user/info?user_id=",
        "/team/list?page=",
        "/user/list?page_size=",
        "/audit?actor=",
        "/audit?action=",
    ] {
        for text in [text.clone(), format!("{text}%00")] {
            let asked = format!("{path}{text}");
            let answer = gateway.admin_get(MASTER, &asked).await;
            let status = answer.status.as_u16();
            assert!(status < 500, "{asked}: {status} {}", answer.body);
        }
    }
}

async fn data_plane_takes_it_for_a_name(gateway: &Gateway, key: &str, harm: &str) {
    let message = json!([{"role": "user", "content": harm}]);
    let chat = json!({"model": harm, "messages": message});
    let unknown = gateway.data_post(key, "/v1/chat/completions", &chat).await;
    assert!(matches!(unknown.status.as_u16(), 400 | 403 | 404));
    let chat = json!({"model": "demo", "messages": message, "user": harm});
    let answered = gateway.data_post(key, "/v1/chat/completions", &chat).await;
    assert_eq!(answered.status, 200, "{}", answered.body);
    for header in HEADERS {
        let value = format!("Bearer sk-{harm}");
        let request = Request::get("/v1/models").header(header, value);
        let request = request.body(Body::empty()).unwrap();
        assert_eq!(
            gateway.request(false, request).await.status,
            401,
            "{header}"
        );
    }
}

/// The driver takes constant texts alone, unless it is told to trust one.
#[test]
fn h1_no_statement_is_put_together_at_run_time() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut sources = Vec::new();
    read_sources(&folder, &mut sources);
    // Modules that only tests have, wherever they stand.
    let tests: BTreeSet<String> = sources
        .iter()
        .flat_map(|(_, text)| of_tests(text))
        .collect();
    let mut product = 0;
    for (path, source) in &sources {
        let mut parts = path.strip_prefix(&folder).unwrap().iter();
        if parts.any(|part| tests.contains(part.to_str().unwrap().trim_end_matches(".rs"))) {
            continue;
        }
        let source = source.split("#[cfg(test)]\nmod tests {").next().unwrap();
        for trusted in ["AssertSqlSafe", "QueryBuilder", "SqlStr", "raw_sql"] {
            assert!(!source.contains(trusted), "{trusted} in {}", path.display());
        }
        product += 1;
    }
    assert!(product > 50, "only {product} were read");
}

fn read_sources(folder: &Path, sources: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read_sources(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            sources.push((path, text));
        }
    }
}

/// The modules that a source declares for tests alone.
fn of_tests(source: &str) -> Vec<String> {
    let declared = source.split("#[cfg(test)]\n").skip(1);
    let names = declared.filter_map(|after| {
        let line = after
            .lines()
            .next()?
            .trim()
            .trim_start_matches("pub(crate) ");
        line.strip_prefix("mod ")?.strip_suffix(';')
    });
    names.map(str::to_owned).collect()
}

async fn h2_identity_is_the_whole_key() {
    let gateway = Gateway::start().await;
    let start = "sk-QJ7ZAaPj16abR07BqixA7AZm4tVw9cXu";
    let (first, second) = (format!("{start}1"), format!("{start}2"));
    for (key, alias) in [(&first, "first"), (&second, "second")] {
        let body = json!({"key": key, "key_alias": alias});
        assert_eq!(gateway.post("/key/generate", &body).await.status, 200);
    }
    for (key, alias) in [(&first, "first"), (&second, "second"), (&first, "first")] {
        let own = gateway.try_key(key).await;
        assert_eq!(own.body["info"]["key_alias"], alias);
    }
    let generated = text(&gateway.post("/key/generate", &json!({})).await, "key");
    for key in [&first, &generated] {
        let (cut, last) = key.split_at(key.len() - 1);
        let other = if last == "3" { '4' } else { '3' };
        for near in [
            cut.to_owned(),
            format!("{cut}{other}"),
            format!("{key}1"),
            format!("{key}{key}"),
            key.to_lowercase(),
            key.to_uppercase(),
            key[1..].to_owned(),
            key[..20].to_owned(),
        ] {
            let status = gateway.try_key(&near).await.status;
            assert_eq!(status, 401, "{near}");
        }
    }
    let body = json!({"keys": [first]});
    assert_eq!(gateway.post("/key/delete", &body).await.status, 200);
    assert_eq!(gateway.try_key(&first).await.status, 401);
    assert_eq!(gateway.try_key(&second).await.status, 200);
}

async fn h4_a_stored_hash_is_never_a_credential() {
    let gateway = Gateway::start().await;
    let made = gateway.post("/key/generate", &json!({})).await;
    let body = json!({"scopes": ["keys.read", "keys.write"]});
    let admin = gateway.post("/key/generate", &body).await;
    let body = json!({"key": made.body["token"], "grace_period": "1h"});
    let replaced = gateway.post("/key/regenerate", &body).await;
    let master = crate::key::KeyHash::of(MASTER).to_string();
    for hash in [
        text(&made, "token"),
        text(&replaced, "token"),
        text(&admin, "token"),
        master,
    ] {
        for value in [
            hash.clone(),
            hash.to_uppercase(),
            format!("sk-{hash}"),
            format!("sk-llp_{hash}"),
        ] {
            for (header, is_admin, path) in HEADERS.into_iter().flat_map(|header| {
                let routes = [
                    (false, "/key/info"),
                    (true, "/key/info"),
                    (true, "/key/list"),
                ];
                routes.map(|(is_admin, path)| (header, is_admin, path))
            }) {
                let shown = match header {
                    "authorization" => format!("Bearer {value}"),
                    _ => value.clone(),
                };
                let request = Request::get(path).header(header, shown);
                let request = request.body(Body::empty()).unwrap();
                let refused = gateway.request(is_admin, request).await;
                assert_eq!(refused.status, 401, "{header} {path} {value}");
                assert!(!refused.body.to_string().contains(&hash));
            }
        }
    }
    assert_eq!(gateway.try_key(&text(&made, "key")).await.status, 200);
}
