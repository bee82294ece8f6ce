//! What a call costs: a price table entry times token counts, summed in 128-bit
//! integers and rounded up to nano-dollars once.
//!
//! It owns the arithmetic of one call. It never reads configuration and never
//! touches an account: `config` builds prices, `api` bounds a call with one and
//! freezes it for the settlement.

use crate::money::{NanoUsd, PicoUsd};

/// USD a token of one deployment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Price {
    pub(crate) input: PicoUsd,
    pub(crate) output: PicoUsd,
    /// Input tokens that the provider had cached; `input` where absent.
    pub(crate) cache_read: Option<PicoUsd>,
}

/// Token counts as a provider reports them.
/// OpenAI: cached tokens are part of the prompt's, reasoning tokens part of the
/// completion's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: u64,
    pub(crate) completion_tokens: u64,
    pub(crate) cached_tokens: u64,
}

impl Price {
    /// The exact cost of a call, rounded up once.
    pub(crate) fn cost(&self, usage: Usage) -> NanoUsd {
        let cached = usage.cached_tokens.min(usage.prompt_tokens);
        let fresh = usage.prompt_tokens - cached;
        let cached_rate = self.cache_read.unwrap_or(self.input);
        let total = self
            .input
            .times(fresh)
            .saturating_add(cached_rate.times(cached))
            .saturating_add(self.output.times(usage.completion_tokens));
        NanoUsd::from_picos(total)
    }

    /// What a call can cost at most, given bounds of its tokens: a cached token
    /// is bounded by the dearer of the two input rates.
    pub(crate) fn upper_bound(&self, prompt_tokens: u64, completion_tokens: u64) -> NanoUsd {
        let dearest = self
            .cache_read
            .map_or(self.input, |rate| rate.max(self.input));
        let total = dearest
            .times(prompt_tokens)
            .saturating_add(self.output.times(completion_tokens));
        NanoUsd::from_picos(total)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn price(input: &str, output: &str, cache_read: Option<&str>) -> Price {
        let rate = |text: &str| PicoUsd::from_decimal(text).expect(text);
        Price {
            input: rate(input),
            output: rate(output),
            cache_read: cache_read.map(rate),
        }
    }

    fn usage(prompt_tokens: u64, completion_tokens: u64, cached_tokens: u64) -> Usage {
        Usage {
            prompt_tokens,
            completion_tokens,
            cached_tokens,
        }
    }

    #[test]
    fn a_call_is_rounded_up_once() {
        for (price, usage, nanos) in [
            (price("1e-6", "2e-6", None), usage(10, 5, 0), 20_000),
            (price("1e-12", "1e-12", None), usage(1, 1, 0), 1),
            (price("1e-12", "1e-12", None), usage(600, 401, 0), 2),
            (price("1e-6", "2e-6", Some("1e-7")), usage(10, 0, 4), 6_400),
            (price("1e-6", "2e-6", None), usage(10, 0, 4), 10_000),
            // A provider that reports more cached tokens than it read.
            (price("1e-6", "0", Some("1e-7")), usage(10, 0, 99), 1_000),
            (price("0", "0", None), usage(u64::MAX, u64::MAX, 0), 0),
        ] {
            assert_eq!(price.cost(usage).nanos(), nanos, "{price:?} {usage:?}");
        }
    }

    #[test]
    fn absurd_counts_saturate_instead_of_wrapping() {
        let dear = price("18000000", "18000000", None);
        assert_eq!(dear.cost(usage(u64::MAX, u64::MAX, 0)), NanoUsd::MAX);
        assert_eq!(dear.upper_bound(u64::MAX, u64::MAX), NanoUsd::MAX);
    }

    #[test]
    fn the_bound_covers_every_usage_below_it() {
        let odd = price("1e-6", "3e-6", Some("2e-6"));
        let bound = odd.upper_bound(100, 50);
        for cached in [0, 1, 50, 100] {
            assert!(odd.cost(usage(100, 50, cached)) <= bound);
        }
    }
}
