//! LiteLLM still answers as it was recorded: what our gateway and the engine are
//! tested against is not made up.

use std::time::Duration;

use e2e::litellm::LiteLlm;
use e2e::upstream::Upstream;
use e2e::vectors::{self, Difference, Player, glob};
use e2e::world::TestFolder;
use serde_json::{Value, json};

/// Vectors and fields that a second recording would have otherwise.
const NEVER_THE_SAME: [(&str, &str); 17] = [
    // Spend is written some seconds late, and not always as late.
    ("*", "*spend"),
    ("*", "*last_active"),
    ("*", "*updated_at"),
    ("chat budget *", "error.message"),
    ("chat window budget 2", "error.message"),
    ("chat second call over budget", "error.message"),
    // Messages with times, and with parts of a hash.
    ("chat expired*", "error.message"),
    ("chat expired u", "error.param"),
    ("* as expired key", "error.message"),
    ("chat rpm call *", "error.message"),
    ("chat tpm call *", "error.message"),
    ("chat max_parallel_requests 0", "error.message"),
    ("chat hash as bearer", "error.message"),
    // The provider's own words.
    ("chat *", "choices.*.message.content"),
    ("chat *", "*id"),
    ("chat *", "created"),
    ("chat stream*", ""),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn litellm_answers_as_it_was_recorded() {
    let folder = TestFolder::new("recorded");
    let upstream = Upstream::start().await;
    let usual = LiteLlm::start(&folder.sub("default"), &upstream).await;
    let bounds = json!({
        "budget_exceeded_status_code": 429,
        "upperbound_key_generate_params": {"max_budget": 10, "duration": "1d"},
    });
    let closed = json!({"fail_closed_budget_enforcement": true});
    let strict = LiteLlm::start_with(&folder.sub("strict"), &upstream, bounds, closed).await;
    let player = |gateway: &LiteLlm| Player::new(&gateway.url, &gateway.url, &gateway.master_key);
    let (mut usual, mut strict) = (player(&usual), player(&strict));
    let mut differs = Vec::new();
    for group in vectors::groups() {
        let player = match group.configuration.as_str() {
            "default" => &mut usual,
            "strict" => &mut strict,
            _ => continue,
        };
        for vector in &group.vectors {
            // Its body names the master key of the recording.
            if vector.name == "regenerate master key" {
                continue;
            }
            let mut differences = player.play(vector).await;
            // It counts a call some moments after the answer.
            for _ in 0..20 {
                if !differences.iter().any(is_not_refused_yet) {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
                differences = player.play(vector).await;
            }
            for difference in differences {
                let again = NEVER_THE_SAME
                    .iter()
                    .any(|(name, path)| glob(name, &vector.name) && glob(path, &difference.path));
                if again || is_whole_second(&difference) {
                    continue;
                }
                differs.push(format!("{}: {}: {difference}", group.name, vector.name));
            }
        }
    }
    assert!(differs.is_empty(), "{}", differs.join("\n"));
}

/// Whether a call was admitted that was refused for lack of budget.
fn is_not_refused_yet(difference: &Difference) -> bool {
    let status = |value: &Option<Value>| value.as_ref().and_then(Value::as_u64);
    difference.path == "status"
        && matches!(status(&difference.recorded), Some(400 | 422 | 429))
        && status(&difference.ours) == Some(200)
}

/// Of a time at a whole second, which comes now and then, it leaves the fraction out.
fn is_whole_second(difference: &Difference) -> bool {
    let text = |value: &Option<Value>| Some(value.as_ref()?.as_str()?.to_owned());
    let (Some(recorded), Some(ours)) = (text(&difference.recorded), text(&difference.ours)) else {
        return false;
    };
    let is_time = glob("*-*-*T*:*:*.*", &recorded) && glob("*-*-*T*:*:*", &ours);
    let zone = |text: &str| {
        text.trim_start_matches(|char| "0123456789-T:.".contains(char))
            .to_owned()
    };
    is_time && !ours.contains('.') && zone(&recorded) == zone(&ours)
}
