//! Goal: a provider that misbehaves becomes a typed error in bounded time.
//! Method: sockets on loopback that do one wrong thing each.

use std::future::Future;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;

const PATIENCE: Duration = Duration::from_millis(500);

fn deployment(api_base: &str) -> Deployment {
    Deployment {
        public_name: "m".into(),
        provider: Provider::OpenAiCompatible,
        upstream_model: "m".to_owned(),
        api_base: api_base.parse().expect("URL"),
        api_key: crate::config::ProviderKey::new("sk-provider".to_owned()),
        price: None,
        free: false,
        max_output_tokens: None,
        id: "test".into(),
        timeout: Some(PATIENCE),
    }
}

/// The outcome of one call to a provider that treats its connection so.
async fn call<F: Future<Output = ()> + Send + 'static>(
    treat: impl FnOnce(TcpStream) -> F,
) -> Result<(u16, Bytes), UpstreamError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let base = format!("http://{}/v1", listener.local_addr().expect("address"));
    let client = Client::new().expect("client");
    let outgoing = Outgoing {
        body: Bytes::from_static(b"{}"),
        streamed: false,
        headers: HeaderMap::new(),
    };
    let target = deployment(&base);
    let mut provider = JoinSet::new();
    let exchange = async {
        let mut answer = client.send(&target, outgoing).await?;
        let body = answer.collect(1_000).await?;
        Ok((answer.status.as_u16(), body))
    };
    let serve = async {
        let (stream, _) = listener.accept().await.expect("accept");
        provider.spawn(treat(stream));
    };
    let (outcome, ()) = tokio::join!(exchange, serve);
    outcome
}

async fn request(stream: &mut TcpStream) -> String {
    let mut head = vec![0; 4_096];
    let read = stream.read(&mut head).await.expect("read");
    String::from_utf8_lossy(&head[..read]).into_owned()
}

async fn say(mut stream: TcpStream, text: &'static str) -> TcpStream {
    request(&mut stream).await;
    stream.write_all(text.as_bytes()).await.expect("write");
    stream
}

#[tokio::test]
async fn a_good_answer_comes_through_with_the_providers_key() {
    let outcome = call(|mut stream| async move {
        let request = request(&mut stream).await;
        let has_key = request.contains("authorization: Bearer sk-provider\r\n");
        let body = if has_key { "yes" } else { "no." };
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{body}");
        stream.write_all(answer.as_bytes()).await.expect("write");
    });
    assert_eq!(
        outcome.await.expect("answer"),
        (200, Bytes::from_static(b"yes"))
    );
}

#[tokio::test]
async fn e3_a_redirect_is_not_followed() {
    let outcome = call(|stream| async {
        let _open = say(
            stream,
            "HTTP/1.1 307 Elsewhere\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n",
        )
        .await;
    });
    assert_eq!(outcome.await.expect("answer").0, 307);
}

#[tokio::test]
async fn e3_silence_before_and_inside_an_answer_is_a_timeout() {
    for begun in ["", "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc"] {
        let started = Instant::now();
        let outcome = call(move |stream| async move {
            let _open = say(stream, begun).await;
            std::future::pending::<()>().await;
        });
        let outcome = outcome.await;
        assert!(
            matches!(outcome, Err(UpstreamError::Timeout(_))),
            "{outcome:?}"
        );
        assert!(started.elapsed() < PATIENCE * 10);
    }
}

#[tokio::test]
async fn e3_a_connection_that_breaks_is_told_from_one_that_never_was() {
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        "garbage\r\n\r\n",
    ] {
        let outcome = call(move |stream| async move {
            drop(say(stream, answer).await);
        });
        let outcome = outcome.await;
        assert!(
            matches!(outcome, Err(UpstreamError::Broken(_))),
            "{answer}: {outcome:?}"
        );
    }
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let base = format!("http://{}", closed.local_addr().expect("address"));
    drop(closed);
    let outgoing = Outgoing {
        body: Bytes::new(),
        streamed: false,
        headers: HeaderMap::new(),
    };
    let client = Client::new().expect("client");
    let outcome = client.send(&deployment(&base), outgoing).await;
    assert!(
        matches!(outcome, Err(UpstreamError::Unreachable(_))),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn an_endless_answer_is_cut() {
    let outcome = call(|mut stream| async move {
        request(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n";
        stream.write_all(head).await.expect("write");
        // The reader hangs up in the middle, which is what is wanted.
        let _cut = stream.write_all(&[b'x'; 100_000]).await;
    });
    let outcome = outcome.await;
    assert!(
        matches!(outcome, Err(UpstreamError::TooLarge)),
        "{outcome:?}"
    );
}
