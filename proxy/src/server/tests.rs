//! Real sockets on loopback; tokio's clock is paused, so that timeouts of a
//! minute take no time and are measured exactly.

use std::{net::SocketAddr, time::Duration};

use axum::{Router, routing::get};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

use super::{Server, bind};
use crate::app::Tasks;

const REQUEST: &[u8] = b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n";

async fn start(tasks: &Tasks, connections_max: usize) -> SocketAddr {
    let routes = Router::new().route("/", get(|| async { "here" })).route(
        "/slow",
        get(|| async {
            tokio::time::sleep(Duration::from_secs(20)).await;
            "finished"
        }),
    );
    let listener = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::new(tasks.clone(), connections_max);
    tasks.spawn(server.accept(listener, routes.into()));
    address
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    // A reset counts as an end.
    let _ = stream.read_to_end(&mut bytes).await;
    String::from_utf8(bytes).unwrap()
}

#[tokio::test(start_paused = true)]
async fn h8_headers_that_come_slowly_are_cut_after_ten_seconds() {
    let address = start(&Tasks::new(), 8).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let since = Instant::now();
    assert!(!read_all(&mut stream).await.contains("200"));
    let waited = since.elapsed().as_secs();
    assert!((9..=11).contains(&waited), "{waited} s");
}

#[tokio::test(start_paused = true)]
async fn h8_an_idle_connection_is_closed_after_a_minute() {
    let address = start(&Tasks::new(), 8).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let since = Instant::now();
    assert!(read_all(&mut stream).await.ends_with("here"));
    let waited = since.elapsed().as_secs();
    assert!((59..=61).contains(&waited), "{waited} s");
}

#[tokio::test]
async fn connections_beyond_the_cap_are_told_so() {
    let address = start(&Tasks::new(), 1).await;
    let mut first = TcpStream::connect(address).await.unwrap();
    first
        .write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n")
        .await
        .unwrap();
    let mut start = [0; 12];
    first.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
    let mut second = TcpStream::connect(address).await.unwrap();
    let refusal = read_all(&mut second).await;
    assert!(refusal.starts_with("HTTP/1.1 503"), "{refusal}");
    let (head, body) = refusal.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains(&format!("content-length: {}", body.len())),
        "{head}"
    );
    serde_json::from_str::<serde_json::Value>(body).unwrap();
}

#[tokio::test(start_paused = true)]
async fn d7_a_stop_lets_calls_finish_and_takes_no_new_ones() {
    let tasks = Tasks::new();
    let address = start(&tasks, 8).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(REQUEST).await.unwrap();
    // The call is under way once it has been accepted and counted.
    while tasks.running() < 2 {
        tokio::task::yield_now().await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    tasks.stop();
    assert!(read_all(&mut stream).await.ends_with("finished"));
    assert!(tasks.drain(Duration::from_secs(30)).await);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn a_port_in_use_is_said_clearly() {
    let taken = bind("127.0.0.1:0".parse().unwrap()).await.unwrap();
    let error = bind(taken.local_addr().unwrap())
        .await
        .unwrap_err()
        .to_string();
    assert!(error.contains("the port is in use"), "{error}");
}

#[tokio::test]
async fn h10_too_many_headers_are_refused() {
    let address = start(&Tasks::new(), 8).await;
    let mut stream = TcpStream::connect(address).await.unwrap();
    let headers = "a: b\r\n".repeat(101);
    let request = format!("GET / HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
}
