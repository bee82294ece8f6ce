//! Owns `Secret`: text that must never be shown, logged or compared by
//! accident. It has neither `Display` nor `PartialEq`, its `Debug` prints only
//! the type's name, and its memory is wiped when dropped. Reading it needs the
//! greppable call `expose`. Used by the configuration, authentication and the
//! upstream client.

use std::fmt;

use zeroize::Zeroizing;

/// A provider key, the master key, or a virtual key just generated.
#[derive(Clone)]
pub(crate) struct Secret(Zeroizing<String>);

impl Secret {
    pub(crate) fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    /// The secret itself: only for sending it where it belongs.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::Secret;

    #[test]
    fn debug_shows_only_the_type() {
        let secret = Secret::new("sk-canary".to_owned());
        assert_eq!(format!("{secret:?}"), "Secret");
        assert_eq!(secret.expose(), "sk-canary");
    }
}
