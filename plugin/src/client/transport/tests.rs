//! One call, as the engine makes it and as a gateway may answer it.

use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::prelude::BASE64_STANDARD as STANDARD;
use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsAcceptor;

use super::*;
use crate::testing::Gateway;

fn transport(fields: &Value) -> Transport {
    let mut entry = json!({"master_key": "sk-canary"});
    entry
        .as_object_mut()
        .unwrap()
        .extend(fields.as_object().unwrap().clone());
    Transport::new(&serde_json::from_value(entry).unwrap()).unwrap()
}

#[tokio::test]
async fn ignored_fields_are_handed_on_and_only_names_are() {
    let gateway = Gateway::start().await;
    let transport = transport(&json!({"base_url": gateway.url}));
    for (header, expected) in [
        ("", vec![]),
        ("guardrails, tags", vec!["guardrails", "tags"]),
        ("a b,\"x\",metadata.tags,", vec!["metadata.tags"]),
    ] {
        gateway
            .script
            .then_with(200, "{}", &[(IGNORED_HEADER, header)]);
        let answer: Answer<Value> = transport
            .call(Method::POST, "/key/generate", &json!({}))
            .await
            .unwrap();
        assert_eq!(answer.ignored, expected, "{header}");
    }
}

fn pem(der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
}

/// The server name that a connection sent, and the head of its request.
type Seen = (Option<String>, String);

/// A TLS server on loopback whose certificate is for one name, and what each
/// connection asked for: the server name, and the request's head.
struct TlsGateway {
    port: u16,
    ca_cert: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl TlsGateway {
    async fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(vec![name.to_owned()])
            .unwrap()
            .self_signed(&key)
            .unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(key.serialize_der().into()),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gateway = Self {
            port: listener.local_addr().unwrap().port(),
            ca_cert: pem(certificate.der()),
            seen: Arc::default(),
        };
        let seen = gateway.seen.clone();
        #[expect(clippy::disallowed_methods, reason = "ends with the test's runtime")]
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let Ok(mut stream) = acceptor.accept(stream).await else {
                    continue;
                };
                let name = stream.get_ref().1.server_name().map(str::to_owned);
                let mut head = vec![0; 4096];
                let length = stream.read(&mut head).await.unwrap();
                let head = String::from_utf8_lossy(&head[..length]).into_owned();
                seen.lock().unwrap().push((name, head));
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}";
                stream.write_all(answer.as_bytes()).await.unwrap();
                stream.shutdown().await.unwrap();
            }
        });
        gateway
    }

    async fn call(&self, fields: Value) -> Result<Answer<Value>, GatewayError> {
        let mut all = json!({
            "base_url": format!("https://127.0.0.1:{}/prefix", self.port),
            "ca_cert": self.ca_cert,
        });
        all.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        transport(&all).call(Method::GET, "/x", &Value::Null).await
    }

    fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

#[tokio::test]
async fn the_certificate_must_be_for_the_server_name_and_the_name_is_sent() {
    let gateway = TlsGateway::named("gateway.internal").await;
    let refused = |answer: Result<Answer<Value>, GatewayError>| {
        let error = answer.err().unwrap();
        assert!(error.changed_nothing());
        error.to_string()
    };
    // The certificate is for another name than the address, or than was demanded.
    for fields in [
        json!({}),
        json!({"tls_server_name": "other.internal"}),
        json!({"ca_cert": TlsGateway::named("gateway.internal").await.ca_cert, "tls_server_name": "gateway.internal"}),
    ] {
        let text = refused(gateway.call(fields.clone()).await);
        assert!(
            text.contains("certificate is not accepted"),
            "{fields}: {text}"
        );
        assert!(gateway.seen().is_empty(), "{fields}");
    }
    gateway
        .call(json!({"tls_server_name": "gateway.internal"}))
        .await
        .map(|_| ())
        .unwrap();
    let (name, head) = gateway.seen().remove(0);
    assert_eq!(name.as_deref(), Some("gateway.internal"));
    let host = format!("host: 127.0.0.1:{}\r\n", gateway.port);
    assert!(head.starts_with("GET /prefix/x HTTP/1.1\r\n"), "{head}");
    assert!(head.to_ascii_lowercase().contains(&host), "{head}");
    assert_eq!(head.to_ascii_lowercase().matches("host:").count(), 1);

    // By name too: it is looked up in place of the one in the certificate.
    let by_name = json!({
        "base_url": format!("https://localhost:{}", gateway.port),
        "tls_server_name": "gateway.internal",
    });
    gateway.call(by_name).await.map(|_| ()).unwrap();
    // Without any check of the certificate the name is still sent.
    gateway
        .call(json!({"ca_cert": "", "insecure_tls": true, "tls_server_name": "any.internal"}))
        .await
        .map(|_| ())
        .unwrap();
    assert_eq!(gateway.seen()[2].0.as_deref(), Some("any.internal"));
}

#[tokio::test]
async fn a_pinned_authority_is_the_only_one_trusted() {
    let gateway = TlsGateway::named("localhost").await;
    let url = format!("https://localhost:{}", gateway.port);
    gateway
        .call(json!({"base_url": url}))
        .await
        .map(|_| ())
        .unwrap();
    let error = gateway
        .call(json!({"base_url": url, "ca_cert": ""}))
        .await
        .err()
        .unwrap();
    assert!(error.to_string().contains("certificate"), "{error}");
}

#[tokio::test]
async fn a_name_that_leads_to_a_metadata_service_is_not_called() {
    let entry = json!({"base_url": "http://gateway.example", "master_key": "sk-canary"});
    let config: ConfigEntry = serde_json::from_value(entry).unwrap();
    let mut transport = Transport::new(&config).unwrap();
    // As if the name had been resolved to it.
    transport.target.connect_to = Some(Host::Ipv4([169, 254, 169, 254].into()));
    transport.http = http_client(&config, &transport.target).unwrap();
    let answer: Result<Answer<Value>, _> = transport.call(Method::GET, "/x", &Value::Null).await;
    let error = answer.err().unwrap();
    assert!(error.to_string().contains("link-local"), "{error}");
    assert!(error.changed_nothing());
}
