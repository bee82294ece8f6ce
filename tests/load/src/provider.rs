//! A provider that has thought already: 680 bytes of JSON, or a hundred events,
//! one every 10 ms, with the usage in the last, and the event that ends them.

use std::io::Error;
use std::net::SocketAddr;
use std::time::Duration;

use memchr::memmem;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, interval_at};

use crate::wire::Connection;

const FRAMES: usize = 100;
/// With `[DONE]`.
pub(crate) const EVENTS: usize = FRAMES + 1;
pub(crate) const FRAME_EVERY: Duration = Duration::from_millis(10);
const BODY_BYTES: usize = 680;

pub(crate) async fn serve(listen: SocketAddr) -> Result<(), Error> {
    let listener = TcpListener::bind(listen).await?;
    let local = tokio::task::LocalSet::new();
    local
        .run_until(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                tokio::task::spawn_local(async move {
                    // A caller that goes away is the end of its connection.
                    let _gone = converse(stream).await;
                });
            }
        })
        .await
}

async fn converse(stream: TcpStream) -> Result<(), Error> {
    let mut connection = Connection::new(stream)?;
    let whole = whole();
    while let Some(head) = connection.head().await? {
        let mut is_streamed = false;
        connection
            .body(head, |body| {
                is_streamed |= memmem::find(body, br#""stream":true"#).is_some()
            })
            .await?;
        if is_streamed {
            stream_answer(&mut connection).await?;
        } else {
            connection.send(&whole).await?;
        }
    }
    Ok(())
}

fn whole() -> Vec<u8> {
    let answer = |content: &str| {
        json!({
            "id": "chatcmpl-bench", "object": "chat.completion", "created": 1_700_000_000, "model": "bench",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": content}}],
            "usage": {"prompt_tokens": 25, "completion_tokens": 64, "total_tokens": 89},
        })
        .to_string()
    };
    let missing = BODY_BYTES.saturating_sub(answer("").len());
    let body = answer(&"x".repeat(missing));
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

async fn stream_answer(connection: &mut Connection) -> Result<(), Error> {
    connection
        .send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
        .await?;
    let mut due = interval_at(Instant::now(), FRAME_EVERY);
    for at in 0..FRAMES {
        due.tick().await;
        let mut frame = json!({
            "id": "chatcmpl-bench", "object": "chat.completion.chunk", "created": 1_700_000_000, "model": "bench",
            "choices": [{"index": 0, "delta": {"content": "word "}, "finish_reason": null}],
        });
        if at + 1 == FRAMES {
            frame["choices"] = json!([]);
            frame["usage"] =
                json!({"prompt_tokens": 25, "completion_tokens": 99, "total_tokens": 124});
        }
        send_chunk(connection, &format!("data: {frame}\n\n")).await?;
    }
    send_chunk(connection, "data: [DONE]\n\n").await?;
    connection.send(b"0\r\n\r\n").await
}

async fn send_chunk(connection: &mut Connection, text: &str) -> Result<(), Error> {
    connection
        .send(format!("{:x}\r\n{text}\r\n", text.len()).as_bytes())
        .await
}
