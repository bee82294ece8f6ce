//! How processes that share a store ask each other for allotment that no call
//! holds, and answer: by notifications, which are lost with their connection.

use uuid::Uuid;

use crate::key::AccountId;
use crate::store::{Store, StoreError};

/// PostgreSQL's name of the channel.
pub(crate) const CHANNEL: &str = "llm_proxy_allotment";

/// What one process tells all others of an account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Word {
    pub(crate) kind: Kind,
    /// Who says it.
    pub(crate) process: Uuid,
    pub(crate) account: AccountId,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Whoever has some of it left is to give it back.
    Asked,
    /// Some has been given back.
    Given,
    /// The same of what a key's rates admit.
    RatesAsked,
    RatesGiven,
}

impl Kind {
    const ALL: [Self; 4] = [Self::Asked, Self::Given, Self::RatesAsked, Self::RatesGiven];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Given => "given",
            Self::RatesAsked => "rates_asked",
            Self::RatesGiven => "rates_given",
        }
    }
}

impl Word {
    /// None for what another version says.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(4, ' ');
        let kind = parts.next()?;
        let kind = Kind::ALL.into_iter().find(|one| one.as_str() == kind)?;
        let process = parts.next()?.parse().ok()?;
        let account = AccountId::parse(parts.next()?, parts.next()?)?;
        Some(Self {
            kind,
            process,
            account,
        })
    }

    fn text(&self) -> String {
        let (kind, process) = (self.kind.as_str(), self.process);
        let (scope, subject) = (self.account.scope(), self.account.subject());
        format!("{kind} {process} {scope} {subject}")
    }
}

/// Tells all processes that listen. Only a shared store can.
pub(crate) async fn tell(store: &Store, word: &Word) -> Result<(), StoreError> {
    sqlx::query("SELECT 1 FROM pg_notify($1, $2)")
        .bind(CHANNEL)
        .bind(word.text())
        .execute(&store.writer)
        .await
        .map(drop)
        .map_err(StoreError::while_doing("notifying other processes"))
}

#[cfg(test)]
mod tests {
    use super::{AccountId, Kind, Uuid, Word};

    #[test]
    fn a_word_is_understood_as_it_was_said() {
        for (scope, subject) in [("team", "of four words, äh"), ("role", "a/b")] {
            let word = Word {
                kind: Kind::Given,
                process: Uuid::new_v4(),
                account: AccountId::parse(scope, subject).expect("account"),
            };
            assert_eq!(Word::parse(&word.text()), Some(word));
        }
        for text in ["", "asked", "asked x team y", "other 0 team y"] {
            assert_eq!(Word::parse(text), None, "{text}");
        }
    }
}
