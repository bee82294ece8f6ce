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
    pub(crate) async fn open(address: SocketAddr) -> Result<Self, Error> {
        Self::new(TcpStream::connect(address).await?)
    }

    pub(crate) fn new(stream: TcpStream) -> Result<Self, Error> {
        stream.set_nodelay(true)?;
        Ok(Self {
            stream,
            buffer: Vec::with_capacity(16 * 1024),
        })
    }

    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.stream.write_all(bytes).await
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

    /// Reads a body to its end; `seen` is given each piece, framing included.
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
                const END: &[u8] = b"0\r\n\r\n";
                let is_last = self.buffer.ends_with(END);
                seen(&self.buffer);
                self.buffer.clear();
                if is_last {
                    return Ok(());
                }
                self.fill_or_fail().await?;
            },
        }
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
