//! As much of an HTTP client as the tests need: one request a connection.
//!
//! A host's API asks for its key. Requests to the API of a host under test bring it by themselves ([`know`]), unless they
//! have an `Authorization` of their own.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{LazyLock, Mutex, PoisonError};

use anyhow::{Context, Result};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::within;

/// What was answered.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status code.
    pub status: u16,
    /// The status line and the headers, as they came.
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
    /// Where it is none.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(&self.body).with_context(|| format!("the body is no JSON: {self:?}"))
    }
}

/// The keys of the hosts under test, by the addresses of their APIs.
static KEYS: LazyLock<Mutex<HashMap<SocketAddr, String>>> = LazyLock::new(Mutex::default);

/// Has requests to the API at this address bring this key.
pub fn know(address: SocketAddr, key: &str) {
    KEYS.lock().unwrap_or_else(PoisonError::into_inner).insert(address, key.to_owned());
}

/// The value of `Authorization` for a request that has none of its own, if it asks an API whose key is known.
fn authorization(address: SocketAddr, path: &str, headers: &[(&str, &str)]) -> Option<String> {
    let is_own = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("authorization"));
    if is_own || !path.trim_start_matches('/').starts_with("api") {
        return None;
    }
    KEYS.lock().unwrap_or_else(PoisonError::into_inner).get(&address).map(|key| format!("Bearer {key}"))
}

/// A plain `GET`.
///
/// # Errors
/// Where nobody answers.
pub async fn get(address: SocketAddr, path: &str) -> Result<Answer> {
    request(address, "GET", path, &[]).await
}

/// A request without a body. Should the connection stay open after the head of the answer, as after an upgrade, what came
/// by then is the answer.
///
/// # Errors
/// Where nobody answers.
pub async fn request(address: SocketAddr, method: &str, path: &str, headers: &[(&str, &str)]) -> Result<Answer> {
    request_with(address, method, path, headers, &[]).await
}

/// A request with a body.
///
/// # Errors
/// Where nobody answers.
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
    let (head, body) = text.split_once("\r\n\r\n").with_context(|| format!("no HTTP answer but {text:?}"))?;
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.with_context(|| format!("no status in {head:?}"))?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}
