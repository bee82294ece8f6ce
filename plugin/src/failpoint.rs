//! Places where a test stops the engine. Compiled to nothing without the
//! feature `failpoints`, which no release has.
//!
//! `FAILPOINT=name=action[,name=action]`, or a file of that form named by
//! `FAILPOINT_FILE`, which is read at each hit so that a running process can be
//! armed. Actions: `abort`, `panic`, `sleep(ms)`.

/// Does what the environment says for this name; nothing when it is not named.
#[cfg(not(feature = "failpoints"))]
#[expect(clippy::unused_async, reason = "the build with failpoints sleeps here")]
pub(crate) async fn hit(_name: &str) {}

#[cfg(feature = "failpoints")]
pub(crate) async fn hit(name: &str) {
    let Some(action) = action(name) else { return };
    tracing::warn!(failpoint = name, action, "failpoint");
    match action.as_str() {
        "abort" => std::process::abort(),
        #[expect(clippy::panic, reason = "this is what the test asked for")]
        "panic" => panic!("failpoint"),
        other => {
            let millis = other
                .strip_prefix("sleep(")
                .and_then(|rest| rest.strip_suffix(')'))
                .and_then(|millis| millis.parse().ok())
                .unwrap_or(0);
            tokio::time::sleep(std::time::Duration::from_millis(millis)).await;
        }
    }
}

#[cfg(feature = "failpoints")]
fn action(name: &str) -> Option<String> {
    let text = match std::env::var("FAILPOINT_FILE") {
        Ok(file) => std::fs::read_to_string(file).unwrap_or_default(),
        Err(_) => std::env::var("FAILPOINT").unwrap_or_default(),
    };
    text.trim()
        .split(',')
        .filter_map(|pair| pair.split_once('='))
        .find(|(armed, _)| *armed == name)
        .map(|(_, action)| action.to_owned())
}
