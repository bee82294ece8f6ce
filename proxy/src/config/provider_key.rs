//! Owns a provider's key together with the header that carries it, which is the
//! same for each call and made once.

use http::HeaderValue;

use crate::secret::Secret;

#[derive(Clone, Debug)]
pub(crate) struct ProviderKey {
    secret: Secret,
    bearer: HeaderValue,
}

impl ProviderKey {
    /// None for a text that no header can carry, such as one with a line end.
    pub(crate) fn new(text: String) -> Option<Self> {
        let mut bearer = HeaderValue::try_from(format!("Bearer {text}")).ok()?;
        bearer.set_sensitive(true);
        Some(Self {
            secret: Secret::new(text),
            bearer,
        })
    }

    /// To be found where it must not be shown.
    pub(crate) fn secret(&self) -> &Secret {
        &self.secret
    }

    /// OpenAI: `authorization`.
    pub(crate) fn bearer(&self) -> HeaderValue {
        self.bearer.clone()
    }
}
