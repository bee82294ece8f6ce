//! Goal: only the pinned peer gets through, in both directions. The host is
//! played by another identity of this module, over a pipe in memory.

use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::duplex;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::*;

/// A host's certificate: P-521, a CA, used as a leaf, as Vault makes it.
fn host() -> (CertificateDer<'static>, PrivateKeyDer<'static>, String) {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P521_SHA512).unwrap();
    let certificate = params.self_signed(&key).unwrap();
    let body = base64::engine::general_purpose::STANDARD.encode(certificate.der());
    let pem = format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
    (
        certificate.der().clone(),
        PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        pem,
    )
}

/// The host's side, which trusts `plugin` and shows `own`.
fn host_configs(
    own: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
    plugin: CertificateDer<'static>,
) -> ClientConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let pin = Arc::new(Pin::new(plugin, provider.clone()));
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(pin);
    let mut config = match own {
        Some((certificate, key)) => builder
            .with_client_auth_cert(vec![certificate], key)
            .unwrap(),
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = vec![b"h2".to_vec()];
    config
}

/// Whether the plugin, as server, accepts this host.
async fn accepts(tls: &Tls, client: ClientConfig) -> bool {
    let (ours, theirs) = duplex(64 * 1024);
    let name = ServerName::try_from("localhost").unwrap();
    let connector = TlsConnector::from(Arc::new(client));
    let (accepted, _kept) = tokio::join!(
        TlsAcceptor::from(tls.server.clone()).accept(ours),
        connector.connect(name, theirs)
    );
    accepted.is_ok_and(|stream| stream.get_ref().1.alpn_protocol() == Some(b"h2"))
}

#[tokio::test]
async fn only_the_pinned_host_gets_in() {
    let (certificate, key, pem) = host();
    let tls = Tls::new(&pem).unwrap();
    let plugin = tls.certificate.clone();
    let pinned = host_configs(Some((certificate, key)), plugin.clone());
    assert!(accepts(&tls, pinned).await, "the host from the handshake");

    let (other, other_key, _) = host();
    let stranger = host_configs(Some((other, other_key.clone_key())), plugin.clone());
    assert!(!accepts(&tls, stranger).await, "another certificate");
    assert!(
        !accepts(&tls, host_configs(None, plugin)).await,
        "no certificate"
    );
}

#[tokio::test]
async fn the_plugin_dials_only_the_pinned_host() {
    let (certificate, key, pem) = host();
    let tls = Tls::new(&pem).unwrap();
    let provider = Arc::new(aws_lc_rs::default_provider());
    let pin = Arc::new(Pin::new(tls.certificate.clone(), provider.clone()));
    let (other, other_key, _) = host();
    for (certificate, key, expected) in [(certificate, key, true), (other, other_key, false)] {
        let theirs = server(provider.clone(), pin.clone(), vec![certificate], key).unwrap();
        let (ours, host) = duplex(64 * 1024);
        let name = ServerName::try_from("localhost").unwrap();
        let connector = TlsConnector::from(tls.client.clone());
        let (dialled, _kept) = tokio::join!(
            connector.connect(name, ours),
            TlsAcceptor::from(Arc::new(theirs)).accept(host)
        );
        assert_eq!(dialled.is_ok(), expected);
    }
}

#[test]
fn the_line_carries_unpadded_standard_base64_of_the_der() {
    let tls = Tls::new(&host().2).unwrap();
    let text = tls.certificate_base64();
    assert!(text.len() > 50 && !text.contains(['=', '-', '_', '|', '\n']));
    assert_eq!(
        STANDARD_NO_PAD.decode(text).unwrap(),
        tls.certificate.as_ref()
    );
}

#[test]
fn a_certificate_that_is_none_is_refused() {
    assert!(matches!(
        Tls::new("not a certificate"),
        Err(TlsError::HostCertificate)
    ));
}
