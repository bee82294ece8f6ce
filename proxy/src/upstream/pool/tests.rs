//! Goal: a connection serves call after call, and never one that it cannot
//! serve. Method: a provider on loopback that does as each connection's script
//! says, and counts its connections.

use std::future::pending;

use http_body_util::Full;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::*;

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const IN_CHUNKS: &str =
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n";
const LAST: &str = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
const HALF: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\no";

struct Provider {
    pool: Pool,
    target: Arc<Target>,
    /// Serves until it is dropped.
    _serving: JoinSet<()>,
}

impl Provider {
    /// Each connection answers as its script says, one request after the other,
    /// and is closed behind the last.
    async fn start(scripts: Vec<Vec<&'static str>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let base = format!("http://{}/v1", listener.local_addr().expect("address"));
        let mut serving = JoinSet::new();
        serving.spawn(async move {
            let mut conversations = JoinSet::new();
            for script in scripts {
                let (stream, _) = listener.accept().await.expect("accept");
                conversations.spawn(converse(stream, script));
            }
            pending::<()>().await;
        });
        let pool = Pool::new().expect("pool");
        let base = base.parse().expect("address");
        Self {
            target: pool.target(&base).expect("target"),
            pool,
            _serving: serving,
        }
    }

    async fn call(&self) -> Result<String, Failure> {
        let mut request = Request::new(Full::new(Bytes::from_static(b"{}")));
        *request.method_mut() = http::Method::POST;
        *request.uri_mut() = self.target.uri.clone();
        let headers = request.headers_mut();
        headers.insert(http::header::HOST, self.target.host.clone());
        let until = Instant::now() + Duration::from_secs(5);
        let answer = self.pool.send(&self.target, request, until).await?;
        let mut body = answer.into_body();
        let mut read = Vec::new();
        while let Some(part) = body.next(until).await? {
            read.extend_from_slice(&part);
        }
        Ok(String::from_utf8(read).expect("text"))
    }

    fn idle(&self) -> usize {
        self.target.idle().len()
    }
}

async fn converse(mut stream: TcpStream, script: Vec<&'static str>) {
    for answer in script {
        let mut request = vec![0; 4_096];
        let read = stream.read(&mut request).await.expect("read");
        if read == 0 {
            return;
        }
        stream.write_all(answer.as_bytes()).await.expect("write");
    }
}

#[test]
fn the_base_keeps_its_path_and_query() {
    let connector = Connector::new().expect("connector");
    for (base, path, host) in [
        (
            "https://api.openai.com/v1",
            "/v1/chat/completions",
            "api.openai.com",
        ),
        ("http://a:1/v1/", "/v1/chat/completions", "a:1"),
        ("http://a:80", "/chat/completions", "a"),
        ("http://[::1]:8/", "/chat/completions", "[::1]:8"),
        ("http://a/b?c=d#e", "/b/chat/completions?c=d", "a"),
        ("http://me:p%77@a/b", "/b/chat/completions", "a"),
    ] {
        let target = Target::new(&base.parse().expect(base), &connector).expect(base);
        assert_eq!(target.uri, path);
        assert_eq!(target.host, host);
        let credentials = target.credentials.as_ref();
        let credentials = credentials.map(|value| value.to_str().expect("text"));
        let expected = base.contains('@').then_some("Basic bWU6cHc=");
        assert_eq!(credentials, expected);
    }
}

#[tokio::test]
async fn a_connection_serves_call_after_call() {
    let provider = Provider::start(vec![vec![ANSWER, IN_CHUNKS, ANSWER, ANSWER]]).await;
    for _ in 0..3 {
        assert_eq!(provider.call().await.ok().as_deref(), Some("ok"));
        assert_eq!(provider.idle(), 1);
    }
}

#[tokio::test]
async fn a_connection_that_ends_serves_no_more() {
    // Told of beforehand, and not.
    for last in [LAST, ANSWER] {
        let provider = Provider::start(vec![vec![last], vec![ANSWER]]).await;
        for _ in 0..2 {
            assert_eq!(provider.call().await.ok().as_deref(), Some("ok"));
            // The end of the connection has to arrive.
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

#[tokio::test]
async fn a_request_is_never_sent_twice() {
    // The second one is read, and the connection is closed without an answer.
    let provider = Provider::start(vec![vec![ANSWER, ""], vec![ANSWER]]).await;
    assert_eq!(provider.call().await.ok().as_deref(), Some("ok"));
    assert!(matches!(provider.call().await, Err(Failure::Broken(_))));
    assert_eq!(provider.call().await.ok().as_deref(), Some("ok"));
}

#[tokio::test]
async fn an_answer_that_was_left_takes_its_connection_along() {
    let provider = Provider::start(vec![vec![HALF, ANSWER], vec![ANSWER]]).await;
    let call = tokio::time::timeout(Duration::from_millis(50), provider.call());
    assert!(call.await.is_err());
    assert_eq!(provider.idle(), 0);
    assert_eq!(provider.call().await.ok().as_deref(), Some("ok"));
}

#[tokio::test]
async fn a_connection_is_not_kept_for_ever() {
    let provider = Provider::start(vec![vec![ANSWER; 2]; 2]).await;
    let aged = |seconds| {
        let mut idle = provider.target.idle();
        let (since, _) = idle.back_mut().expect("one is idle");
        *since = Instant::now() - Duration::from_secs(seconds);
    };
    for (seconds, taken) in [(29, true), (31, false)] {
        assert_eq!(provider.call().await.ok().as_deref(), Some("ok"));
        aged(seconds);
        forget_old(&mut provider.target.idle());
        assert_eq!(provider.idle(), usize::from(taken));
        assert_eq!(provider.target.take_idle().await.is_some(), taken);
    }
}
