//! Owns `llm-proxy healthcheck`: one request to the gateway's own readiness
//! route, for container health checks. Needs no secret.

use std::{net::SocketAddr, path::PathBuf, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::config::{ConfigError, Environment, listen_address};

const TIMEOUT: Duration = Duration::from_secs(3);

/// Why the gateway counts as not ready.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HealthError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the gateway at {0} does not answer: is it running?")]
    Unreachable(SocketAddr),
    #[error("the gateway at {0} is not ready: GET /health/readiness says why")]
    NotReady(SocketAddr),
}

pub(super) async fn run(
    file: Option<PathBuf>,
    environment: &Environment,
) -> Result<(), HealthError> {
    let mut address = listen_address(file, environment)?;
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    match tokio::time::timeout(TIMEOUT, status_line(address)).await {
        Ok(Ok(line)) if line.starts_with("HTTP/1.1 200 ") => Ok(()),
        Ok(Ok(line)) if line.starts_with("HTTP/1.") => Err(HealthError::NotReady(address)),
        _ => Err(HealthError::Unreachable(address)),
    }
}

async fn status_line(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request =
        format!("GET /health/readiness HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut start = [0_u8; 32];
    let read = stream.read(&mut start).await?;
    Ok(String::from_utf8_lossy(&start[..read]).into_owned())
}
