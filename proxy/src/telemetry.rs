//! Owns the log: JSON lines on stderr, plain lines on a terminal. Libraries
//! never log below `info`, whatever the filter says, because their trace
//! output shows headers and statements. Our own code logs no secret and no
//! body at any level.

use std::io::IsTerminal as _;

use tracing::{Level, Metadata};
use tracing_subscriber::{
    EnvFilter, Layer as _, filter::filter_fn, fmt, layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

const OWN_TARGET: &str = "llm_proxy";

/// Called once, before anything logs. A filter that cannot be read is `info`.
pub(crate) fn start(filter: Option<&str>) {
    let (filter, bad) = match filter.map(EnvFilter::try_new) {
        Some(Ok(filter)) => (filter, false),
        Some(Err(_)) => (EnvFilter::new("info"), true),
        None => (EnvFilter::new("info"), false),
    };
    let lines = fmt::layer().with_writer(std::io::stderr);
    let lines = if std::io::stderr().is_terminal() {
        lines.boxed()
    } else {
        lines.json().flatten_event(true).boxed()
    };
    tracing_subscriber::registry()
        .with(lines.with_filter(filter_fn(may_log)).with_filter(filter))
        .init();
    std::panic::set_hook(Box::new(|panic| {
        // Where, not what: a panic's text may hold the value that caused it.
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panicked");
    }));
    if bad {
        tracing::warn!("LLM_PROXY_LOG is not a log filter, using info");
    }
}

fn may_log(metadata: &Metadata<'_>) -> bool {
    is_ours(metadata.target()) || *metadata.level() <= Level::INFO
}

fn is_ours(target: &str) -> bool {
    target
        .strip_prefix(OWN_TARGET)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

#[cfg(test)]
mod tests {
    use super::is_ours;

    #[test]
    fn only_our_own_modules_may_log_below_info() {
        for (target, ours) in [
            ("llm_proxy", true),
            ("llm_proxy::auth", true),
            ("llm_proxy_other", false),
            ("hyper::proto::h1", false),
            ("sqlx::query", false),
        ] {
            assert_eq!(is_ours(target), ours, "{target}");
        }
    }
}
