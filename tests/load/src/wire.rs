//! Just enough of HTTP/1.1: a connection on which one message after another is
//! read, with a length or in chunks.

use std::io::{Error, ErrorKind};
use std::net::SocketAddr;

use memchr::memmem;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// The head of a message that was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Head {
    /// Of an answer; 0 for a request.
    pub(crate) status: u16,
    body: Body,
}

#[derive(Debug, Clone, Copy)]
enum Body {
    Bytes(usize),
    Chunks,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self, Error> {
        Self::new(TcpStream::connect(address).await?)
    }

    pub(crate) fn new(stream: TcpStream) -> Result<Self, Error> {
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(16 * 1024),
        })
    }

    /// The connection in `kept`, or a new one.
    pub(crate) async fn reuse(
        kept: &mut Option<Self>,
        address: SocketAddr,
    ) -> Result<&mut Self, Error> {
        match kept {
            Some(connection) => Ok(connection),
            None => Ok(kept.insert(Self::open(address).await?)),
        }
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stream.write_all(bytes).await
    }

    /// The head of what must still come.
    pub(crate) async fn answer(&mut self) -> Result<Head, Error> {
        let head = self.head().await?;
        head.ok_or_else(|| Error::from(ErrorKind::UnexpectedEof))
    }

    /// None at the end of the connection.
    pub(crate) async fn head(&mut self) -> Result<Option<Head>, Error> {
        let end = loop {
            if let Some(end) = memmem::find(&self.buffer, b"\r\n\r\n") {
                break end;
            }
            if !self.fill().await? {
                return Ok(None);
            }
        };
        let head = parse(&self.buffer[..end])?;
        self.buffer.drain(..end + 4);
        Ok(Some(head))
    }

    /// Reads a body to its end; `seen` is given each piece, without its framing.
    pub(crate) async fn body(
        &mut self,
        head: Head,
        mut seen: impl FnMut(&[u8]),
    ) -> Result<(), Error> {
        match head.body {
            Body::Bytes(length) => {
                while self.buffer.len() < length {
                    self.fill_or_fail().await?;
                }
                seen(&self.buffer[..length]);
                self.buffer.drain(..length);
                Ok(())
            }
            Body::Chunks => loop {
                let size = self.chunk_size().await?;
                while self.buffer.len() < size + 2 {
                    self.fill_or_fail().await?;
                }
                if size > 0 {
                    seen(&self.buffer[..size]);
                }
                self.buffer.drain(..size + 2);
                if size == 0 {
                    return Ok(());
                }
            },
        }
    }

    /// Reads the line before a chunk. Nobody here sends extensions or trailers.
    async fn chunk_size(&mut self) -> Result<usize, Error> {
        let end = loop {
            if let Some(end) = memmem::find(&self.buffer, b"\r\n") {
                break end;
            }
            self.fill_or_fail().await?;
        };
        let size = std::str::from_utf8(&self.buffer[..end])
            .ok()
            .and_then(|text| usize::from_str_radix(text, 16).ok())
            .ok_or_else(|| Error::new(ErrorKind::InvalidData, "no length of a chunk"))?;
        self.buffer.drain(..end + 2);
        Ok(size)
    }

    async fn fill_or_fail(&mut self) -> Result<(), Error> {
        if self.fill().await? {
            return Ok(());
        }
        Err(Error::new(ErrorKind::UnexpectedEof, "the answer was cut"))
    }

    async fn fill(&mut self) -> Result<bool, Error> {
        self.stream
            .read_buf(&mut self.buffer)
            .await
            .map(|count| count > 0)
    }
}

fn parse(head: &[u8]) -> Result<Head, Error> {
    let wrong = || Error::new(ErrorKind::InvalidData, "no head of HTTP/1.1");
    let text = std::str::from_utf8(head).map_err(|_| wrong())?;
    let mut lines = text.split("\r\n");
    let first = lines.next().ok_or_else(wrong)?;
    let status = match first.strip_prefix("HTTP/1.1 ") {
        Some(rest) => rest
            .get(..3)
            .and_then(|code| code.parse().ok())
            .ok_or_else(wrong)?,
        None => 0,
    };
    let mut body = Body::Bytes(0);
    for line in lines {
        let Some((name, value)) = line.split_once(':') else {
            continue;
        };
        if name.eq_ignore_ascii_case("content-length") {
            body = Body::Bytes(value.trim().parse().map_err(|_| wrong())?);
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            body = Body::Chunks;
        }
    }
    Ok(Head { status, body })
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::Connection;

    #[tokio::test]
    async fn messages_are_read_one_after_another_however_they_are_cut() {
        let text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
            10\r\n0\r\n\r\n0\r\n\r\nabcdef\r\n1\r\nx\r\n0\r\n\r\n\
            HTTP/1.1 422 No\r\ncontent-length: 3\r\n\r\nabc";
        for length in [1, 2, 7, text.len()] {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let write = async {
                let mut stream = listener.accept().await.unwrap().0;
                stream.set_nodelay(true).unwrap();
                for piece in text.as_bytes().chunks(length) {
                    stream.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
            };
            let read = async {
                let mut connection =
                    Connection::new(TcpStream::connect(address).await.unwrap()).unwrap();
                let mut found = Vec::new();
                while let Some(head) = connection.head().await.unwrap() {
                    let mut body = Vec::new();
                    let seen = |piece: &[u8]| body.extend_from_slice(piece);
                    connection.body(head, seen).await.unwrap();
                    found.push((head.status, String::from_utf8(body).unwrap()));
                }
                found
            };
            let (found, ()) = tokio::join!(read, write);
            let whole = [
                (200, "0\r\n\r\n0\r\n\r\nabcdefx".to_owned()),
                (422, "abc".to_owned()),
            ];
            assert_eq!(found, whole, "in pieces of {length}");
        }
    }
}
