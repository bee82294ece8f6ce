//! Owns what an admin key may do. A key that has scopes calls the admin plane
//! and nothing else; a key that has none calls models. Pure. Read by
//! authentication, granted by the key API.

use serde::{Serialize, Serializer};

/// One power over the admin plane. The names are a contract: never change one, nor
/// refuse one that a key may have already. Which of them open no route yet,
/// SECURITY.md says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    KeysRead,
    KeysWrite,
    ModelsWrite,
    UsageRead,
    MetricsRead,
}

impl Scope {
    pub(crate) const ALL: [Self; 5] = [
        Self::KeysRead,
        Self::KeysWrite,
        Self::ModelsWrite,
        Self::UsageRead,
        Self::MetricsRead,
    ];

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.as_str() == name)
    }

    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::KeysRead => "keys.read",
            Self::KeysWrite => "keys.write",
            Self::ModelsWrite => "models.write",
            Self::UsageRead => "usage.read",
            Self::MetricsRead => "metrics.read",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::KeysRead => 1,
            Self::KeysWrite => 2,
            Self::ModelsWrite => 4,
            Self::UsageRead => 8,
            Self::MetricsRead => 16,
        }
    }
}

/// The scopes of a key; in JSON the list of their names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scopes(u8);

impl Scopes {
    pub(crate) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) const fn has(self, scope: Scope) -> bool {
        self.0 & scope.bit() != 0
    }

    /// A scope of `wanted` that is not among these.
    pub(crate) fn lacking(self, wanted: Self) -> Option<Scope> {
        let lacks = |scope: &Scope| wanted.has(*scope) && !self.has(*scope);
        Scope::ALL.into_iter().find(lacks)
    }

    /// Reads names, or answers the first that is none.
    pub(crate) fn parse<'a>(names: impl IntoIterator<Item = &'a str>) -> Result<Self, &'a str> {
        names
            .into_iter()
            .map(|name| Scope::parse(name).ok_or(name))
            .collect()
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<I: IntoIterator<Item = Scope>>(scopes: I) -> Self {
        Self(scopes.into_iter().fold(0, |bits, scope| bits | scope.bit()))
    }
}

impl Serialize for Scopes {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let held = Scope::ALL.into_iter().filter(|scope| self.has(*scope));
        serializer.collect_seq(held.map(Scope::as_str))
    }
}

#[cfg(test)]
mod tests {
    use super::{Scope, Scopes};

    #[test]
    fn scopes_are_read_by_name_and_written_back() {
        for names in [
            &[][..],
            &["keys.read"],
            &["keys.read", "keys.write"],
            &[
                "keys.read",
                "keys.write",
                "models.write",
                "usage.read",
                "metrics.read",
            ],
        ] {
            let scopes = Scopes::parse(names.iter().copied()).unwrap();
            assert_eq!(scopes.is_empty(), names.is_empty());
            assert_eq!(
                serde_json::to_value(scopes).unwrap(),
                serde_json::json!(names)
            );
        }
        for wrong in ["", "keys", "keys.Read", "keys.read ", "*", "admin"] {
            assert_eq!(Scopes::parse(["keys.read", wrong]), Err(wrong));
        }
    }

    #[test]
    fn what_is_lacking_is_named() {
        for held in Scope::ALL {
            for wanted in Scope::ALL {
                let lacking = Scopes::from_iter([held]).lacking(Scopes::from_iter([wanted]));
                assert_eq!(lacking, (held != wanted).then_some(wanted));
            }
        }
        assert_eq!(Scopes::default().lacking(Scopes::default()), None);
    }
}
