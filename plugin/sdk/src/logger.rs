//! Log lines that the server understands.
//!
//! Owns the way from `tracing` events to hclog's JSON lines on stderr. go-plugin
//! asserts the type of the three `@` keys without a check: a wrong one brings
//! the server down, so no field of an event can ever overwrite them.

pub(crate) mod line;

use std::io::Write;

use tracing::{Event, Metadata, Subscriber, level_filters::LevelFilter};
use tracing_subscriber::{
    Layer, Registry,
    filter::Targets,
    layer::{Context, SubscriberExt},
};

use line::Line;

/// Sends all events of this crate and of the engine's to stderr; of libraries
/// only warnings, because their finer levels quote what they carry.
pub(crate) fn install(name: &str) {
    let filter = Targets::new()
        .with_default(LevelFilter::WARN)
        .with_target(env!("CARGO_CRATE_NAME"), LevelFilter::TRACE)
        .with_target(name.replace('-', "_"), LevelFilter::TRACE);
    let layer = Hclog {
        module: name.to_owned(),
    }
    .with_filter(filter);
    // A second subscriber in one process keeps the first; nothing is lost.
    tracing::subscriber::set_global_default(Registry::default().with(layer)).ok();
}

/// Writes a line for a panic: where, never what, because the payload can quote
/// a secret. Rust's own text would be visible at debug level alone.
pub(crate) fn install_panic_hook(name: &str) {
    let module = name.to_owned();
    std::panic::set_hook(Box::new(move |panic| {
        let mut line = Line::new("error", &module);
        line.message("the plugin panicked");
        if let Some(place) = panic.location() {
            line.field(
                "location",
                format!("{}:{}", place.file(), place.line()).into(),
            );
        }
        write(&line.finish());
    }));
}

struct Hclog {
    module: String,
}

impl<S: Subscriber> Layer<S> for Hclog {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut line = Line::new(level(event.metadata()), &self.module);
        event.record(&mut line);
        write(&line.finish());
    }
}

fn level(metadata: &Metadata<'_>) -> &'static str {
    match *metadata.level() {
        tracing::Level::TRACE => "trace",
        tracing::Level::DEBUG => "debug",
        tracing::Level::INFO => "info",
        tracing::Level::WARN => "warn",
        tracing::Level::ERROR => "error",
    }
}

/// One write a line, so that two lines never mix. There is nowhere to report a
/// failure to.
fn write(line: &str) {
    std::io::stderr().lock().write_all(line.as_bytes()).ok();
}
