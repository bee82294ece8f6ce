//! What an auth engine's role says about the tokens of its logins.
//!
//! Owns the fields that every auth engine offers, their rules, and the way into
//! a login. Vault: the names and rules of its `tokenutil`, so that operators and
//! tools know them.

use std::{net::IpAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::{Auth, Error, Field, FieldData, FieldType, Map, Path, TokenType, Value};

#[cfg(test)]
mod tests;

/// The token fields of a role. Stored as they are named in the API, durations in
/// seconds, so that a role's entry can hold them with `#[serde(flatten)]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct TokenFields {
    /// `token_ttl`: life of a token at first; zero leaves it to the mount.
    #[serde(rename = "token_ttl", with = "seconds")]
    pub ttl: Duration,
    /// `token_max_ttl`: longest life with renewals; zero leaves it to the mount.
    #[serde(rename = "token_max_ttl", with = "seconds")]
    pub max_ttl: Duration,
    /// `token_explicit_max_ttl`: a maximum fixed at login; zero means none.
    #[serde(rename = "token_explicit_max_ttl", with = "seconds")]
    pub explicit_max_ttl: Duration,
    /// `token_period`: renewals give this life again and again; zero means none.
    #[serde(rename = "token_period", with = "seconds")]
    pub period: Duration,
    /// `token_policies`.
    #[serde(rename = "token_policies")]
    pub policies: Vec<String>,
    /// `token_bound_cidrs`: addresses and blocks that a token works from.
    #[serde(rename = "token_bound_cidrs")]
    pub bound_cidrs: Vec<String>,
    /// `token_no_default_policy`: leaves the policy `default` out.
    #[serde(rename = "token_no_default_policy")]
    pub no_default_policy: bool,
    /// `token_num_uses`: how often a token works; zero means without limit.
    #[serde(rename = "token_num_uses")]
    pub num_uses: i64,
    /// `token_type`.
    #[serde(rename = "token_type")]
    pub token_type: TokenType,
}

impl TokenFields {
    /// Declares the fields on a role's path.
    #[must_use]
    pub fn declare<S: Send + Sync + 'static>(path: Path<S>) -> Path<S> {
        declarations()
            .into_iter()
            .fold(path, |path, field| path.field(field.group("Tokens")))
    }

    /// With the fields that a request carries; the others stay as they are.
    ///
    /// # Errors
    /// [`Error::User`] where a value makes no sense, alone or beside the others.
    pub fn merged(&self, fields: &FieldData) -> Result<Self, Error> {
        let mut merged = self.clone();
        keep(&mut merged.ttl, fields.duration_opt("token_ttl"));
        keep(&mut merged.max_ttl, fields.duration_opt("token_max_ttl"));
        keep(
            &mut merged.explicit_max_ttl,
            fields.duration_opt("token_explicit_max_ttl"),
        );
        keep(&mut merged.period, fields.duration_opt("token_period"));
        keep(&mut merged.policies, fields.strings_opt("token_policies"));
        keep(
            &mut merged.bound_cidrs,
            fields.strings_opt("token_bound_cidrs"),
        );
        keep(
            &mut merged.no_default_policy,
            fields.bool_opt("token_no_default_policy"),
        );
        keep(&mut merged.num_uses, fields.int_opt("token_num_uses"));
        if let Some(word) = fields.string_opt("token_type") {
            merged.token_type = parse_type(&word)?;
        }
        merged.check()?;
        Ok(merged)
    }

    fn check(&self) -> Result<(), Error> {
        if self.num_uses < 0 {
            return Err(Error::user("token_num_uses must not be negative"));
        }
        if !self.max_ttl.is_zero() && self.ttl > self.max_ttl {
            return Err(Error::user(
                "token_ttl must not be longer than token_max_ttl",
            ));
        }
        let batch = matches!(self.token_type, TokenType::Batch | TokenType::DefaultBatch);
        if batch && !self.period.is_zero() {
            return Err(Error::user(
                "a batch token cannot be renewed: token_period needs token_type=service",
            ));
        }
        if batch && self.num_uses != 0 {
            return Err(Error::user(
                "the uses of a batch token are not counted: token_num_uses needs token_type=service",
            ));
        }
        match self.bound_cidrs.iter().position(|cidr| !is_cidr(cidr)) {
            None => Ok(()),
            Some(index) => Err(Error::user(format!(
                "token_bound_cidrs: item {} is neither an address nor a block such as 10.0.0.0/8",
                index + 1
            ))),
        }
    }

    /// The fields for the answer to a read, durations in seconds.
    pub fn answer(&self) -> Map<String, Value> {
        let seconds = |duration: Duration| Value::from(duration.as_secs());
        [
            ("token_ttl", seconds(self.ttl)),
            ("token_max_ttl", seconds(self.max_ttl)),
            ("token_explicit_max_ttl", seconds(self.explicit_max_ttl)),
            ("token_period", seconds(self.period)),
            ("token_policies", self.policies.clone().into()),
            ("token_bound_cidrs", self.bound_cidrs.clone().into()),
            ("token_no_default_policy", self.no_default_policy.into()),
            ("token_num_uses", self.num_uses.into()),
            ("token_type", self.token_type.as_str().into()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
    }

    /// Sets what the role grants on a login. The server applies the mount's
    /// limits; a batch token is never renewable, whatever is asked.
    pub fn populate(&self, auth: &mut Auth) {
        auth.lease.ttl = self.ttl;
        auth.lease.max_ttl = self.max_ttl;
        auth.lease.renewable = true;
        auth.explicit_max_ttl = self.explicit_max_ttl;
        auth.period = self.period;
        auth.policies.clone_from(&self.policies);
        auth.bound_cidrs.clone_from(&self.bound_cidrs);
        auth.no_default_policy = self.no_default_policy;
        auth.num_uses = self.num_uses;
        auth.token_type = self.token_type;
    }

    /// Sets what a renewal may change: the life that the role grants now. What
    /// the token is (policies, type, uses) was settled by the login.
    pub fn extend(&self, auth: &mut Auth) {
        auth.lease.ttl = self.ttl;
        auth.lease.max_ttl = self.max_ttl;
        auth.period = self.period;
    }
}

fn keep<T>(value: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *value = given;
    }
}

fn parse_type(word: &str) -> Result<TokenType, Error> {
    match word {
        "" | "default" => Ok(TokenType::Default),
        "service" => Ok(TokenType::Service),
        "batch" => Ok(TokenType::Batch),
        _ => Err(Error::user(
            "token_type must be one of: default, service, batch",
        )),
    }
}

/// An address, alone or with the length of its network.
fn is_cidr(text: &str) -> bool {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let Ok(address) = address.parse::<IpAddr>() else {
        return false;
    };
    let most = if address.is_ipv4() { 32 } else { 128 };
    bits.is_none_or(|bits| bits.parse::<u8>().is_ok_and(|bits| bits <= most))
}

fn declarations() -> [Field; 9] {
    [
        Field::new("token_ttl", FieldType::DurationSecond)
            .description("Life of a token at first. Zero means the mount's default.")
            .display_name("Generated Token's Initial TTL"),
        Field::new("token_max_ttl", FieldType::DurationSecond)
            .description("Longest life of a token, renewals included. Zero means the mount's.")
            .display_name("Generated Token's Maximum TTL"),
        Field::new("token_explicit_max_ttl", FieldType::DurationSecond)
            .description(
                "Longest life of a token, fixed when it is made: later changes of the role or \
                 of the mount do not touch it. Zero means none.",
            )
            .display_name("Generated Token's Explicit Maximum TTL"),
        Field::new("token_period", FieldType::DurationSecond)
            .description(
                "Makes tokens periodic: each renewal gives this life again, without a maximum. \
                 Zero means none.",
            )
            .display_name("Generated Token's Period"),
        Field::new("token_policies", FieldType::CommaStringSlice)
            .description("Policies of a token, as a list or separated by commas.")
            .display_name("Generated Token's Policies")
            .display_description("Policies of a token."),
        Field::new("token_bound_cidrs", FieldType::CommaStringSlice)
            .description(
                "Addresses and blocks that a token works from, as a list or separated by commas. \
                 Empty means from anywhere.",
            )
            .display_name("Generated Token's Bound CIDRs")
            .display_description("Addresses and blocks that a token works from."),
        Field::new("token_no_default_policy", FieldType::Bool)
            .description("Leaves the policy \"default\" out.")
            .display_name("Do Not Attach 'default' Policy To Generated Tokens"),
        Field::new("token_num_uses", FieldType::Int)
            .description("How often a token can be used. Zero means without limit.")
            .display_name("Maximum Uses of Generated Tokens"),
        Field::new("token_type", FieldType::String)
            .description("Kind of token: default (as the mount is tuned), service or batch.")
            .allowed_values(["default", "service", "batch"])
            .display_name("Generated Token's Type"),
    ]
}

/// Durations in stored roles: whole seconds.
mod seconds {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(
        duration: &Duration,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(duration.as_secs())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Duration, D::Error> {
        u64::deserialize(deserializer).map(Duration::from_secs)
    }
}
