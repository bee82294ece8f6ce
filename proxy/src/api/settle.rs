//! What a call is charged once it has ended: the provider's count where there
//! is one, else a bound that is never below it as far as can be known.
//!
//! It owns that decision and nothing else; the ledger carries it out.

use crate::ledger::{Hold, Settlement};
use crate::price::Usage;
use crate::stream::meter::Meter;
use crate::stream::pump::Ending;

/// The settlement of a call that a provider accepted. `input_bound` is the
/// bound of its prompt's tokens.
pub(super) fn settlement(
    hold: &Hold,
    meter: &Meter,
    ending: Ending,
    input_bound: u64,
    status: u16,
) -> Settlement {
    let counted = meter.usage();
    let usage = counted.unwrap_or_else(|| Usage {
        prompt_tokens: input_bound,
        completion_tokens: meter.seen_tokens(),
        cached_tokens: 0,
    });
    let cost = hold.cost_of(usage);
    let (cost, estimated) = match (ending, counted) {
        // A cut stream may have cost anything up to its bound, and a count that
        // came before the cut was not the last.
        (Ending::Cut, _) => (cost.max(hold.upper()), true),
        (Ending::Ended, Some(_)) => (cost, false),
        (Ending::Ended, None) => (cost.min(hold.upper()), true),
    };
    Settlement {
        usage,
        cost,
        estimated,
        status,
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use uuid::Uuid;

    use super::*;
    use crate::app::Tasks;
    use crate::clock::Clock;
    use crate::ledger::{Call, Ledger};
    use crate::money::{NanoUsd, PicoUsd};
    use crate::price::Price;
    use crate::store::testing::Database;

    #[tokio::test]
    async fn a_call_is_charged_what_is_known_of_it() {
        let database = Database::new().await;
        let store = database.open().await;
        let opened = Ledger::open(&store, Clock::system(), &Tasks::new()).await;
        let ledger = opened.expect("ledger");
        let call = Call {
            request_id: Uuid::new_v4(),
            accounts: Default::default(),
            model: "m".into(),
            deployment_id: "test".into(),
            price: Some(Price {
                input: PicoUsd::from_decimal("1e-9").expect("price"),
                output: PicoUsd::from_decimal("2e-9").expect("price"),
                cache_read: None,
            }),
            streamed: true,
            started_at: DateTime::UNIX_EPOCH,
        };
        let upper = NanoUsd::from_nanos(100);
        let hold = ledger.hold(call, upper).await.expect("no account");
        let counted = r#"{"usage":{"prompt_tokens":7,"completion_tokens":4}}"#;
        let dear = r#"{"usage":{"prompt_tokens":7,"completion_tokens":400}}"#;
        let text = r#"{"choices":[{"delta":{"content":"five!"}}]}"#;
        let long = format!(
            r#"{{"choices":[{{"delta":{{"content":"{}"}}}}]}}"#,
            "x".repeat(500)
        );
        for (payloads, ending, cost, estimated) in [
            (vec![counted], Ending::Ended, 15, false),
            (vec![text, counted], Ending::Ended, 15, false),
            (vec![dear], Ending::Ended, 807, false),
            (vec![], Ending::Ended, 20, true),
            (vec![text], Ending::Ended, 30, true),
            (vec![long.as_str()], Ending::Ended, 100, true),
            (vec![], Ending::Cut, 100, true),
            (vec![text, counted], Ending::Cut, 100, true),
            (vec![dear], Ending::Cut, 807, true),
        ] {
            let mut meter = Meter::default();
            for payload in &payloads {
                meter.event(payload.as_bytes());
            }
            let settlement = settlement(&hold, &meter, ending, 20, 200);
            let found = (settlement.cost.nanos(), settlement.estimated);
            assert_eq!(found, (cost, estimated), "{payloads:?} {ending:?}");
        }
    }
}
