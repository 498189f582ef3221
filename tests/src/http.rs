//! A minimal HTTP client, with one request for each connection.
//!
//! A host's API requires its key. A request to the API of a host under test sends this key automatically ([`know`]), unless
//! the request has its own `Authorization` header.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::within;

/// An HTTP answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The status line and the headers, unchanged.
    pub head: String,
    /// The body.
    pub body: String,
}

impl Answer {
    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<String> {
        let lines = self.head.lines().skip(1).filter_map(|line| line.split_once(": "));
        lines.filter(|(other, _)| other.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned()).next()
    }

    /// The body as JSON.
    ///
    /// # Errors
    /// If the body isn't JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("the body isn't JSON: {self:?}"))
    }
}

/// The API keys of the hosts under test, by the address of the API. The mutex protects the map, because tests run in
/// parallel.
static KEYS: LazyLock<Mutex<HashMap<SocketAddr, String>>> = LazyLock::new(Mutex::default);

/// Makes requests to the API at this address send this key.
pub fn know(address: SocketAddr, key: &str) {
    KEYS.lock().unwrap_or_else(PoisonError::into_inner).insert(address, key.to_owned());
}

/// The value of `Authorization` for a request to an API whose key is known. `None` if the request has its own header.
fn authorization(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Option<String> {
    let is_own = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    let path = path.trim_start_matches('/');
    if is_own || !(path.starts_with("api") || path.starts_with("metrics")) {
        return None;
    }
    KEYS.lock().unwrap_or_else(PoisonError::into_inner).get(&address).map(|key| format!("Bearer {key}"))
}

/// The header of a request whose body is JSON.
pub const JSON: &[(&str, &str)] = &[("content-type", "application/json")];

/// Sends a `GET` request without headers.
///
/// # Errors
/// If there is no answer.
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    request(address, "GET", path, &[]).await
}

/// Sends a request without a body. If the request has a `Connection` header, the connection may stay open, as after an
/// upgrade. Then the answer is what has arrived with the head.
///
/// # Errors
/// If there is no answer.
pub async fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    request_with(address, method, path, headers, &[]).await
}

/// Sends a request with a body.
///
/// # Errors
/// If there is no answer.
pub async fn request_with(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> Result<Answer> {
    let mut head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\n");
    let closes = !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("connection"));
    if closes {
        head += "connection: close\r\n";
    }
    if let Some(authorization) = authorization(address, path, headers) {
        head += &format!("authorization: {authorization}\r\n");
    }
    for (name, value) in headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !body.is_empty() {
        head += &format!("content-length: {}\r\n", body.len());
    }
    head += "\r\n";
    let asking = || format!("{method} {path} at {address}");
    let mut stream = TcpStream::connect(address).await.with_context(asking)?;
    stream.write_all(&[head.as_bytes(), body].concat()).await.with_context(asking)?;
    let mut answer = Vec::new();
    within("an HTTP answer", async {
        if closes {
            stream.read_to_end(&mut answer).await?;
        } else {
            while !answer.windows(4).any(|bytes| bytes == b"\r\n\r\n") && stream.read_buf(&mut answer).await? > 0 {}
        }
        anyhow::Ok(())
    })
    .await?
    .with_context(asking)?;
    parse(&String::from_utf8_lossy(&answer)).with_context(asking)
}

fn parse(text: &str) -> Result<Answer> {
    let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("not an HTTP answer: {text:?}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("no status in {head:?}"))?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}
