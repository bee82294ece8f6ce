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
