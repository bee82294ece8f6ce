//! Owns the named points at which the crash tests end or delay the process:
//! `FAILPOINT=name=abort|panic|exit|sleep(ms)`, several parted by commas, or a
//! file of that form named by `FAILPOINT_FILE`, read at each pass so that a
//! running process can be armed.
//! Only builds with the feature `failpoints` obey them.

/// Every point that exists, as `--help-failpoints` prints them.
pub(crate) const NAMES: [&str; 11] = [
    "chat.after_hold",
    "chat.before_send",
    "chat.before_settle",
    "key_delete.after_commit",
    "key_delete.before_commit",
    "key_generate.after_commit",
    "key_generate.before_commit",
    "key_regenerate.after_commit",
    "key_regenerate.before_commit",
    "key_update.after_commit",
    "key_update.before_commit",
];

/// Passes the point `name`, or does what the environment asks of it.
#[cfg(feature = "failpoints")]
pub(crate) async fn pass(name: &'static str) {
    debug_assert!(NAMES.contains(&name));
    let plan = match std::env::var("FAILPOINT_FILE") {
        Ok(file) => std::fs::read_to_string(file).unwrap_or_default(),
        Err(_) => std::env::var("FAILPOINT").unwrap_or_default(),
    };
    let action = plan
        .split(',')
        .find_map(|one| one.trim().strip_prefix(name)?.strip_prefix('='));
    match action {
        Some("abort") => std::process::abort(),
        #[expect(clippy::panic, reason = "the point of this failpoint")]
        Some("panic") => std::panic::panic_any(name),
        #[expect(clippy::disallowed_methods, reason = "the point of this failpoint")]
        Some("exit") => std::process::exit(1),
        Some(sleep) => {
            let ms = sleep
                .strip_prefix("sleep(")
                .and_then(|rest| rest.strip_suffix(')')?.parse().ok());
            tokio::time::sleep(std::time::Duration::from_millis(ms.unwrap_or(0))).await;
        }
        None => {}
    }
}

/// Passes the point; this build has no others.
#[cfg(not(feature = "failpoints"))]
pub(crate) fn pass(_name: &'static str) -> std::future::Ready<()> {
    std::future::ready(())
}
