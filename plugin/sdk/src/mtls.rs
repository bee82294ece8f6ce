//! Mutual TLS with the one peer that is allowed.
//!
//! Owns the process's key and certificate (in memory only, new at each start)
//! and the two verifiers, which compare the peer's certificate byte for byte.
//! Vault's is a CA used as a leaf with a P-521 key: the stock verifiers refuse
//! the first, and `ring` cannot verify the second.

mod pin;

use std::sync::Arc;

use base64::{Engine, engine::general_purpose::STANDARD_NO_PAD};
use rcgen::{
    CertificateParams, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
    PKCS_ECDSA_P256_SHA256,
};
use rustls::{
    ClientConfig, ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::NoServerSessionStorage,
};

use pin::Pin;

/// grpc: newer hosts refuse a connection that did not agree on this.
const ALPN: &[u8] = b"h2";

#[derive(Debug, thiserror::Error)]
pub(crate) enum TlsError {
    #[error("PLUGIN_CLIENT_CERT holds no certificate")]
    HostCertificate,
    #[error("cannot make a certificate: {0}")]
    Certificate(#[from] rcgen::Error),
    #[error("cannot set up TLS: {0}")]
    Setup(#[from] rustls::Error),
}

/// Both directions of the connection with one host.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
    certificate: CertificateDer<'static>,
}

impl Tls {
    pub(crate) fn new(host_certificate: &str) -> Result<Self, TlsError> {
        let host = CertificateDer::from_pem_slice(host_certificate.as_bytes())
            .map_err(|_| TlsError::HostCertificate)?;
        let (certificate, key) = identity()?;
        // A process-wide default would be a guess where two are compiled in.
        let provider = Arc::new(aws_lc_rs::default_provider());
        let pin = Arc::new(Pin::new(host, provider.clone()));
        let chain = vec![certificate.clone()];
        let server = server(
            provider.clone(),
            pin.clone(),
            chain.clone(),
            key.clone_key(),
        )?;
        let client = client(provider, pin, chain, key)?;
        Ok(Self {
            server: Arc::new(server),
            client: Arc::new(client),
            certificate,
        })
    }

    /// go-plugin: standard alphabet, no padding, DER.
    pub(crate) fn certificate_base64(&self) -> String {
        STANDARD_NO_PAD.encode(&self.certificate)
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tls")
    }
}

/// Go: the SAN counts, not the name; both usages, because the same certificate
/// is the server's here and the client's on brokered connections.
fn identity() -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>), rcgen::Error> {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()])?;
    params
        .distinguished_name
        .push(DnType::CommonName, "localhost");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
    let certificate = params.self_signed(&key)?;
    let key = PrivateKeyDer::try_from(key.serialize_der())
        .map_err(|_| rcgen::Error::CouldNotParseKeyPair)?;
    Ok((certificate.der().clone(), key))
}

fn server(
    provider: Arc<CryptoProvider>,
    pin: Arc<Pin>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_client_cert_verifier(pin)
        .with_single_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    // One connection a process: nothing to resume, every handshake is verified.
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

fn client(
    provider: Arc<CryptoProvider>,
    pin: Arc<Pin>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
) -> Result<ClientConfig, rustls::Error> {
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .dangerous()
        .with_custom_certificate_verifier(pin)
        .with_client_auth_cert(chain, key)?;
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(config)
}

#[cfg(test)]
mod tests;
