//! What LiteLLM answered, asked of our gateway. Where it answers otherwise,
//! `differs.json` beside the recordings says what and why; the table in
//! docs/litellm-compatibility.md is that list, and neither may say more or less
//! than what is seen here.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use e2e::proxy::{Gateway, Settings};
use e2e::upstream::{Script, Upstream};
use e2e::vectors::{self, Difference, Player, Vector, glob};
use e2e::world::{TestFolder, random_key};
use serde_json::{Value, json};

const DOCUMENT: &str = "docs/litellm-compatibility.md";
const MODELS: [&str; 3] = ["fake-1", "fake-2", "fake-unpriced"];

/// The gateway as LiteLLM was configured for the recordings.
async fn gateway(folder: &TestFolder, upstream: &Upstream, strict: bool) -> Gateway {
    let models: Vec<Value> = MODELS
        .iter()
        .map(|name| {
            let script = Script {
                prompt_tokens: 10,
                completion_tokens: 5,
                ..Script::default()
            };
            upstream.script(name, script);
            let price = match *name {
                "fake-unpriced" => json!({}),
                _ => json!({"input_cost_per_token": 0.001, "output_cost_per_token": 0.002}),
            };
            json!({
                "model_name": name,
                "litellm_params": {"model": format!("openai/{name}"),
                    "api_base": upstream.url(), "api_key": random_key("provider")},
                "model_info": price,
            })
        })
        .collect();
    let mut config = json!({"model_list": models});
    if strict {
        config["litellm_settings"] = json!({"budget_exceeded_status_code": 429});
    }
    Gateway::start(Settings {
        folder: folder.sub(if strict { "strict" } else { "default" }),
        master_key: random_key("master"),
        config,
    })
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_gateway_answers_as_litellm_does_but_for_what_is_listed() {
    let folder = TestFolder::new("vectors");
    let upstream = Upstream::start().await;
    let usual = gateway(&folder, &upstream, false).await;
    let strict = gateway(&folder, &upstream, true).await;
    let player = |gateway: &Gateway| {
        Player::new(&gateway.data, &gateway.admin, &gateway.settings.master_key)
    };
    let mut usual = player(&usual);
    let mut strict = player(&strict);
    let mut listed = Listed::read();
    let mut unlisted = String::new();
    for group in vectors::groups() {
        let player = match group.configuration.as_str() {
            "default" => &mut usual,
            "strict" => &mut strict,
            // The rest needs a store that is gone.
            _ => continue,
        };
        for vector in &group.vectors {
            if listed.is_left_out(vector) {
                continue;
            }
            let found = Box::pin(player.play(vector)).await;
            for difference in listed.not_among(vector, found) {
                let name = &vector.name;
                writeln!(unlisted, "{}: {name}: {difference}", group.name).expect("a text");
            }
        }
    }
    assert!(unlisted.is_empty(), "not in differs.json:\n{unlisted}");
    let unused = listed.unused();
    assert!(unused.is_empty(), "differs no more:\n{}", unused.join("\n"));
}

/// `differs.json`, and which of its lines were needed.
struct Listed {
    /// Fields that LiteLLM does not know.
    beyond: Vec<String>,
    not_served: Vec<String>,
    /// Vectors that would change here what later ones ask about.
    not_played: Vec<String>,
    lines: Vec<Line>,
    used: BTreeSet<usize>,
    used_names: BTreeSet<String>,
}

/// One field of some vectors, and what our gateway answers there.
struct Line {
    vectors: Vec<String>,
    path: String,
    ours: Value,
}

impl Listed {
    fn read() -> Self {
        let file = vectors::read(&vectors::folder().join("differs.json"));
        let mut lines = Vec::new();
        for case in rows(&file).iter().flat_map(|row| list(&row["cases"])) {
            for (path, ours) in case["fields"].as_object().expect("fields by path") {
                for vector in list(&case["vectors"]) {
                    lines.push(Line {
                        vectors: vec![text(&vector).to_owned()],
                        path: path.clone(),
                        ours: ours.clone(),
                    });
                }
            }
        }
        Self {
            beyond: list(&file["beyond"])
                .iter()
                .map(|name| text(name).to_owned())
                .collect(),
            not_served: list(&file["not_served"])
                .iter()
                .map(|row| text(&row["route"]).to_owned())
                .collect(),
            not_played: rows(&file)
                .iter()
                .filter_map(|row| row["not_played"].as_array())
                .flatten()
                .map(|name| text(name).to_owned())
                .collect(),
            lines,
            used: BTreeSet::new(),
            used_names: BTreeSet::new(),
        }
    }

    fn is_left_out(&mut self, vector: &Vector) -> bool {
        let is_listed = self.not_played.contains(&vector.name);
        if is_listed {
            self.used_names.insert(vector.name.clone());
        }
        is_listed
    }

    /// What is left after everything that is listed.
    fn not_among(&mut self, vector: &Vector, found: Vec<Difference>) -> Vec<Difference> {
        let (method, path) = (&vector.request["method"], &vector.request["path"]);
        let path = text(path).split('?').next().unwrap_or_default();
        let route = format!("{} {path}", text(method));
        if let Some(listed) = self.not_served.iter().find(|listed| glob(listed, &route)) {
            self.used_names.insert(listed.clone());
            let refused = found.iter().any(|difference| {
                difference.path == "status" && difference.ours == Some(json!(404))
            });
            assert!(refused, "{route} is listed as not served: {found:?}");
            return Vec::new();
        }
        found
            .into_iter()
            .filter(|difference| {
                let name = difference.path.rsplit('.').next().unwrap_or_default();
                difference.recorded.is_some() || !self.beyond.iter().any(|beyond| beyond == name)
            })
            .filter(|difference| {
                let lines = self.lines.iter().enumerate();
                let explaining: Vec<usize> = lines
                    .filter(|(_, line)| line.explains(&vector.name, difference))
                    .map(|(index, _)| index)
                    .collect();
                self.used.extend(&explaining);
                explaining.is_empty()
            })
            .collect()
    }

    fn unused(&self) -> Vec<String> {
        let lines = self.lines.iter().enumerate();
        lines
            .filter(|(index, _)| !self.used.contains(index))
            .map(|(_, line)| format!("{:?} {}", line.vectors, line.path))
            .chain(
                self.not_served
                    .iter()
                    .chain(&self.not_played)
                    .filter(|name| !self.used_names.contains(*name))
                    .cloned(),
            )
            .collect()
    }
}

impl Line {
    /// `body` explains every field of it; a text may hold `*`.
    fn explains(&self, vector: &str, difference: &Difference) -> bool {
        let here = match self.path.as_str() {
            "body" => difference.path != "status" && !difference.path.starts_with("header "),
            path => glob(path, &difference.path),
        };
        let ours = difference.ours.clone().unwrap_or_else(|| json!("absent"));
        let as_listed = match (&self.ours, &ours) {
            (Value::String(pattern), Value::String(text)) => glob(pattern, text),
            (Value::String(pattern), _) => pattern == "*",
            (listed, ours) => listed == ours,
        };
        here && as_listed && self.vectors.iter().any(|pattern| glob(pattern, vector))
    }
}

#[test]
fn the_document_lists_what_the_vectors_show() {
    let file = vectors::read(&vectors::folder().join("differs.json"));
    let mut table = "| Where | LiteLLM | llm-proxy | Why |\n|---|---|---|---|\n".to_owned();
    for row in rows(&file) {
        let cell = |name: &str| text(&row[name]).to_owned();
        let (place, litellm, here, why) =
            (cell("where"), cell("litellm"), cell("here"), cell("why"));
        writeln!(table, "| {place} | {litellm} | {here} | {why} |").expect("a text");
    }
    let mut routes = String::new();
    for row in list(&file["not_served"]) {
        writeln!(
            routes,
            "- `{}`: {}",
            text(&row["route"]),
            text(&row["instead"])
        )
        .expect("a text");
    }
    let path = e2e::artefacts::repository().join(DOCUMENT);
    let document = fs::read_to_string(path).expect("the document");
    for expected in [table, routes] {
        assert!(
            document.contains(&expected),
            "{DOCUMENT} must hold, word for word, what differs.json says:\n{expected}"
        );
    }
}

fn rows(file: &Value) -> Vec<Value> {
    list(&file["differs"])
}

fn list(value: &Value) -> Vec<Value> {
    value.as_array().expect("a list in differs.json").clone()
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text in differs.json")
}
