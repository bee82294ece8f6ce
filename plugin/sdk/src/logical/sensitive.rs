//! Text that must not leave by accident.
//!
//! Owns the wrapper for tokens that the server hands over. It has no `Display`
//! and no equality, and its `Debug` is its name alone.

use std::fmt;

/// A token. Reading it takes a call to [`Sensitive::expose`], easy to search for.
#[derive(Clone, Default)]
pub struct Sensitive(String);

impl Sensitive {
    /// Wraps the text.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Never log or store it.
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether there is any text.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Sensitive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Sensitive")
    }
}
