//! Goal: keys of a LiteLLM that are taken over by `keys import` work at once at every
//! gateway of a PostgreSQL, with their limits, their spend and their names.
//! Method: an export as PostgreSQL writes it, taken over while two gateways run that
//! have just refused these keys.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use e2e::proxy::{Gateway, prompt};
use e2e::world::random_key;
use e2e::{Fleet, eventually};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A row of LiteLLM's table, with the columns that tell nothing here.
fn row(key: &str, alias: &str, columns: &Value) -> Value {
    let hash = Sha256::digest(key.as_bytes());
    let token: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut row = json!({
        "token": token, "key_name": "sk-...rted", "key_alias": alias, "spend": 0.0,
        "expires": null, "models": [], "aliases": {}, "config": {}, "permissions": {},
        "metadata": {}, "blocked": null, "rotation_count": 0, "auto_rotate": false,
        "created_at": "2026-01-02T03:04:05.678", "created_by": "default_user_id",
    });
    for (name, value) in columns.as_object().expect("columns") {
        row[name] = value.clone();
    }
    row
}

/// Whether all rows of the file are in the store now, and what it says of them.
fn import(gateway: &Gateway, rows: &[Value]) -> (bool, String) {
    let lines: Vec<String> = rows.iter().map(Value::to_string).collect();
    let file: PathBuf = gateway.settings.folder.join("keys.jsonl");
    fs::write(&file, lines.join("\n")).expect("writing the export");
    let file = file.to_str().expect("a path");
    let output = gateway
        .subcommand(&["keys", "import", file])
        .output()
        .expect("running the import");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output.status.success(), text)
}

async fn call(gateway: &Gateway, key: &str, model: &str) -> u16 {
    let mut body = prompt(model);
    body["max_tokens"] = json!(4);
    let answer = gateway.send(key, &body).await.expect("an answer");
    let status = answer.status().as_u16();
    answer.bytes().await.expect("a whole answer");
    status
}

/// What the file says of the key is what the gateway says.
async fn expect_rules(gateway: &Gateway, key: &str) {
    let list = "/key/list?key_alias=moved";
    let (_, list) = gateway.admin(Method::GET, list, &Value::Null).await;
    assert_eq!(list["total_count"], 1, "{list}");
    let path = format!("/key/info?key={key}");
    let (_, told) = gateway.admin(Method::GET, &path, &Value::Null).await;
    for (field, expected) in [
        ("key_alias", json!("moved")),
        ("spend", json!(0.06)),
        ("max_budget", json!(0.1)),
        ("models", json!(["exact"])),
        ("aliases", json!({"gpt": "exact"})),
        ("rpm_limit", json!(700)),
        ("metadata", json!({"team": "red"})),
    ] {
        assert_eq!(told["info"][field], expected, "{field}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn imported_keys_work_at_once_at_two_gateways_with_their_limits_and_spend() {
    let mut fleet = Fleet::start(2, json!({})).await;
    let [first, second] = &fleet.gateways[..] else {
        panic!("not two gateways");
    };
    let both = [first, second];
    let [moved, blocked, expired, damaged] =
        ["moved", "blocked", "expired", "damaged"].map(random_key);
    for key in [&moved, &blocked, &expired, &damaged] {
        for gateway in both {
            assert_eq!(gateway.try_key(key).await, 401, "not there yet");
        }
    }
    // Of 0.1 dollars ten calls are left, of four tokens at 0.001.
    let limits = json!({
        "spend": 0.06, "max_budget": 0.1, "models": ["exact"], "aliases": {"gpt": "exact"},
        "rpm_limit": 700, "metadata": {"team": "red"},
    });
    let rows = [
        row(&moved, "moved", &limits),
        row(&blocked, "blocked", &json!({"blocked": true})),
        row(
            &expired,
            "expired",
            &json!({"expires": "2026-01-03T00:00:00"}),
        ),
    ];
    let (is_done, said) = import(first, &rows);
    assert!(
        is_done && said.contains("rows 3 imported 3 "),
        "{is_done}: {said}"
    );
    for gateway in both {
        for (key, status) in [(&moved, 200), (&blocked, 401), (&expired, 401)] {
            assert_eq!(gateway.try_key(key).await, status);
        }
        assert_eq!(call(gateway, &moved, "other").await, 403, "not its model");
        expect_rules(gateway, &moved).await;
    }
    let mut admitted = 0;
    for gateway in both.iter().cycle().take(14) {
        let status = call(gateway, &moved, "gpt").await;
        assert!([200, 422].contains(&status), "{status}");
        admitted += usize::from(status == 200);
    }
    assert_eq!(
        admitted, 10,
        "what was left of its budget, at both together"
    );

    // Once more, with a key whose limit nobody can read.
    let unreadable = json!({"max_budget": "much"});
    let rows = [&rows[..], &[row(&damaged, "damaged", &unreadable)]].concat();
    let (is_done, said) = import(second, &rows);
    assert!(!is_done, "{said}");
    assert!(
        said.contains(" left_alone 3 ") && said.contains(" refused 1 "),
        "{said}"
    );
    for gateway in both {
        assert_eq!(gateway.try_key(&damaged).await, 401);
        assert_eq!(call(gateway, &moved, "gpt").await, 422);
        let is_posted = async || (gateway.spend(&moved).await - 0.1).abs() < 1e-9;
        eventually("its spend", Duration::from_secs(5), is_posted).await;
    }
    for gateway in &mut fleet.gateways {
        gateway.stop().await;
    }
    fleet.gateways[0].verify_ledger();
}
