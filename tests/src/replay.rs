//! Replays transcripts against a host and returns the differences.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Duration, timeout};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::transcript::{Exchange, Frame, Headers, Line, Row};
use crate::{eventually, http};

/// The value of the `Host` header in the transcripts.
const HOST: &str = "127.0.0.1:4110";

/// A difference from a transcript.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Difference {
    /// A frame of the transcript arrived too early.
    Early(String),
    /// Something else.
    Other(String),
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Early(what) => write!(f, "too early: {what}"),
            Self::Other(what) => f.write_str(what),
        }
    }
}

/// Replays one scenario and returns the differences from the transcript. The transcript doesn't have the headers of each
/// connection, so `offers` returns the headers of the n-th one. `patience` limits each wait for a frame that the transcript has.
///
/// # Errors
/// If the connection to the host fails.
pub async fn replay(
    address: SocketAddr,
    lines: &[Line],
    patience: Duration,
    offers: impl Fn(usize) -> Vec<(&'static str, String)>,
) -> Result<Vec<Difference>> {
    let mut stage = Stage {
        address,
        patience,
        clients: HashMap::new(),
        tokens: HashMap::new(),
        refs: Refs::default(),
        connects: 0,
        differs: Vec::new(),
    };
    for (at, line) in lines.iter().enumerate() {
        stage.line(line, &lines[at + 1..], &offers).await.with_context(|| format!("at {line:?}"))?;
    }
    Ok(stage.differs)
}

struct Stage {
    address: SocketAddr,
    patience: Duration,
    clients: HashMap<String, Client>,
    /// The tokens of long-poll sessions, by the request path without the token.
    tokens: HashMap<String, String>,
    refs: Refs,
    connects: usize,
    differs: Vec<Difference>,
}

struct Client {
    stream: WebSocketStream<TcpStream>,
    /// Frames that arrived too early.
    early: Vec<Value>,
}

impl Stage {
    async fn line(
        &mut self,
        line: &Line,
        rest: &[Line],
        offers: &impl Fn(usize) -> Vec<(&'static str, String)>,
    ) -> Result<()> {
        let who = line.who.clone();
        match &line.row {
            Row::Open { path, protocol } => {
                let headers = self.connect_headers(&who, offers);
                match connect(self.address, path, &headers).await? {
                    Ok((stream, agreed)) => {
                        self.expect(&format!("{path}: the subprotocol"), protocol, &agreed);
                        self.clients.insert(who, Client { stream, early: Vec::new() });
                    }
                    Err(status) => {
                        self.differs.push(Difference::Other(format!("{who} at {path}: refused with {status}")))
                    }
                }
            }
            Row::Refused { path, status } => {
                let headers = self.connect_headers(&who, offers);
                let received = connect(self.address, path, &headers).await?.err().unwrap_or(101);
                self.expect(&format!("{who} at {path}"), status, &received);
            }
            Row::Sent(frame) => {
                if let Some(client) = self.clients.get_mut(&who) {
                    let message = match frame {
                        Frame::Text(text) => Message::text(text.clone()),
                        Frame::Binary(bytes) => Message::binary(bytes.clone()),
                    };
                    // An error means that the connection is closed already, as in the transcript.
                    let _ = client.stream.send(message).await;
                }
            }
            Row::Got(frame) => self.got(&who, frame, rest).await?,
            Row::Pong(text) => {
                let Some(client) = self.clients.get_mut(&who) else { return Ok(()) };
                client.stream.send(Message::Ping(text.clone().into())).await?;
                match timeout(self.patience, client.stream.next()).await {
                    Ok(Some(Ok(Message::Pong(received)))) if received == text.as_bytes() => {}
                    other => self.differs.push(Difference::Other(format!("{who}: expected a pong, got {other:?}"))),
                }
            }
            Row::Closed(code) => self.closed(&who, *code).await,
            Row::Handshake { path, headers, status, protocol } => {
                self.handshake(path, headers, *status, protocol).await?
            }
            Row::Http(exchange) => self.exchange(exchange).await?,
            // In the transcript the clients didn't poll, so the sessions ended.
            Row::Note(note) if note == "inactivity" => {
                eventually("the sessions have ended", async || {
                    let shown = http::get(self.address, "/api/inspect").await?.json()?;
                    Ok((shown["sockets"] == 0).then_some(()))
                })
                .await?;
            }
            Row::Note(_) => {}
        }
        Ok(())
    }

    fn connect_headers(
        &mut self,
        who: &str,
        offers: &impl Fn(usize) -> Vec<(&'static str, String)>,
    ) -> Vec<(&'static str, String)> {
        self.connects += 1;
        let mut headers = offers(self.connects - 1);
        if who.contains("://") || who == "null" {
            headers.push(("origin", who.to_owned()));
        }
        headers
    }

    fn expect<T: PartialEq + std::fmt::Debug>(&mut self, what: &str, expected: &T, received: &T) {
        if expected != received {
            self.differs.push(Difference::Other(format!("{what}: expected {expected:?}, got {received:?}")));
        }
    }

    /// Reads a client's frames until this frame arrives. A frame that the transcript has later is kept as too early. Any
    /// other frame is a difference.
    async fn got(&mut self, who: &str, frame: &Frame, rest: &[Line]) -> Result<()> {
        let expected = self.refs.theirs(frame);
        let later: Vec<Value> = rest
            .iter()
            .filter(|line| line.who == who)
            .filter_map(|line| if let Row::Got(frame) = &line.row { Some(self.refs.peek(frame)) } else { None })
            .collect();
        let Some(client) = self.clients.get_mut(who) else { bail!("there is no client `{who}`") };
        if let Some(at) = client.early.iter().position(|early| *early == expected) {
            client.early.remove(at);
            return Ok(());
        }
        loop {
            let next = timeout(self.patience, client.stream.next()).await;
            let received = match next {
                Ok(Some(Ok(Message::Text(text)))) => self.refs.ours(&Frame::Text(text.to_string())),
                Ok(Some(Ok(Message::Binary(bytes)))) => self.refs.ours(&Frame::Binary(bytes.to_vec())),
                Ok(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => continue,
                other => {
                    self.differs.push(Difference::Other(format!("{who}: missing {expected} (instead: {other:?})")));
                    return Ok(());
                }
            };
            if received == expected {
                return Ok(());
            }
            if later.contains(&received) {
                self.differs.push(Difference::Early(format!("{who}: {received}")));
                client.early.push(received);
            } else {
                self.differs.push(Difference::Other(format!("{who}: an unexpected frame: {received}")));
            }
        }
    }

    async fn closed(&mut self, who: &str, code: u16) {
        let Some(mut client) = self.clients.remove(who) else { return };
        match code {
            // The client closed the connection (1000), or the connection broke (1006).
            1000 => drop(client.stream.close(None).await),
            1006 => return,
            _ => {}
        }
        let end = timeout(self.patience, async {
            loop {
                match client.stream.next().await {
                    Some(Ok(Message::Close(frame))) => return frame.map(|frame| u16::from(frame.code)),
                    Some(Ok(Message::Text(text))) => {
                        self.differs.push(Difference::Other(format!("{who}: an unexpected frame: {text}")))
                    }
                    Some(Ok(_)) => {}
                    Some(Err(_)) | None => return None,
                }
            }
        });
        let end = end.await.unwrap_or_default();
        if code != 1000 && end != Some(code) {
            self.differs.push(Difference::Other(format!("{who}: closed with {end:?} instead of {code}")));
        }
    }

    async fn handshake(&mut self, path: &str, headers: &Headers, status: u16, protocol: &Option<String>) -> Result<()> {
        let mut sent: Headers = [
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("sec-websocket-version", "13"),
            ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
        sent.extend(headers.clone());
        let pairs: Vec<(&str, &str)> = sent.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let answer = http::request(self.address, "GET", path, &pairs).await?;
        let what = format!("the handshake at {path} with {headers:?}");
        self.expect(&what, &status, &answer.status);
        self.expect(&format!("{what}: the subprotocol"), protocol, &answer.header("sec-websocket-protocol"));
        Ok(())
    }

    async fn exchange(&mut self, exchange: &Exchange) -> Result<()> {
        let place = exchange.path.replace("&token=…", "").replace("?token=…", "");
        let token = self.tokens.get(&place).cloned().unwrap_or_else(|| "no-token".to_owned());
        let path = exchange.path.replace('…', &token);
        let mut headers: Vec<(String, String)> = Vec::new();
        for (name, value) in &exchange.headers {
            let value = if name == "x-phoenix-longpoll-token" { token.clone() } else { value.clone() };
            headers.push((name.clone(), value));
        }
        let mut messages = Vec::new();
        let what = format!("{} {}", exchange.method, exchange.path);
        let expected = body(&exchange.answer);
        let wanted = expected["messages"].as_array().map_or(0, Vec::len);
        loop {
            let pairs: Vec<(&str, &str)> =
                headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            let answer =
                http::request_with(self.address, &exchange.method, &path, &pairs, exchange.body.as_bytes()).await?;
            self.expect(&what, &exchange.status, &answer.status);
            for name in ["content-type", "cache-control", "access-control-allow-origin"] {
                // Only successful answers are compared, because the protocol doesn't define the application's own pages and
                // errors.
                if exchange.status == 200 && exchange.method != "OPTIONS" {
                    let received = answer.header(name);
                    self.expect(&format!("{what}: {name}"), &exchange.answer_headers.get(name).cloned(), &received);
                }
            }
            let mut received = body(&answer.body);
            if let Some(token) = received["token"].as_str() {
                // A request that sends a token keeps it, although the answer has another one.
                if place == exchange.path {
                    self.tokens.insert(place.clone(), token.to_owned());
                }
                received["token"] = json!("…");
            }
            if exchange.status != 200 || answer.status != 200 {
                return Ok(());
            }
            messages.extend(received["messages"].as_array().cloned().unwrap_or_default());
            // Messages that arrive in two polls here may have arrived in one poll in the transcript.
            if received["status"] == 200 && wanted > 0 && messages.len() < wanted {
                continue;
            }
            if wanted > 0 {
                received["messages"] = json!(messages);
            }
            self.expect(&what, &expected, &received);
            return Ok(());
        }
    }
}

type Connected = Result<(WebSocketStream<TcpStream>, Option<String>), u16>;

async fn connect(address: SocketAddr, path: &str, headers: &[(&'static str, String)]) -> Result<Connected> {
    let mut request =
        format!("ws://{address}{}", path.replace('[', "%5B").replace(']', "%5D")).into_client_request()?;
    request.headers_mut().insert("host", HeaderValue::from_static(HOST));
    for (name, value) in headers {
        request.headers_mut().append(HeaderName::from_static(name), HeaderValue::try_from(value)?);
    }
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    match client_async(request, stream).await {
        Ok((stream, answer)) => {
            let protocol = answer.headers().get("sec-websocket-protocol");
            Ok(Ok((stream, protocol.and_then(|protocol| protocol.to_str().ok()).map(str::to_owned))))
        }
        Err(Error::Http(answer)) => Ok(Err(answer.status().as_u16())),
        Err(error) => Err(error).context("connecting"),
    }
}

/// The subprotocol that carries an `authToken`, as phoenix.js 1.8 encodes it.
#[must_use]
pub fn bearer(token: &str) -> String {
    format!("base64url.bearer.phx.{}", BASE64_STANDARD.encode(token).trim_end_matches('='))
}

/// Parses a body as JSON, including the messages in it. A body that isn't JSON is returned as a string.
fn body(text: &str) -> Value {
    let Ok(mut value) = serde_json::from_str::<Value>(text) else { return json!(text) };
    for message in value["messages"].as_array_mut().into_iter().flatten() {
        if let Some(read) = message.as_str().and_then(|text| serde_json::from_str(text).ok()) {
            *message = read;
        }
    }
    value
}

/// The presence refs of each side, in the order in which they first appear. A ref is compared by its position in this
/// order.
#[derive(Default)]
struct Refs {
    theirs: Vec<String>,
    ours: Vec<String>,
}

impl Refs {
    fn theirs(&mut self, frame: &Frame) -> Value {
        normal(frame, &mut self.theirs)
    }

    fn ours(&mut self, frame: &Frame) -> Value {
        normal(frame, &mut self.ours)
    }

    /// Returns the normal form that the frame will have if no other new refs come before it.
    fn peek(&self, frame: &Frame) -> Value {
        normal(frame, &mut self.theirs.clone())
    }
}

fn normal(frame: &Frame, seen: &mut Vec<String>) -> Value {
    match frame {
        Frame::Text(text) => {
            let mut value = serde_json::from_str(text).unwrap_or_else(|_| json!(text));
            number_refs(&mut value, seen);
            value
        }
        Frame::Binary(bytes) => json!({ "bytes": bytes }),
    }
}

fn number_refs(value: &mut Value, seen: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, field) in &mut *fields {
                if let (true, Some(text)) = (name.starts_with("phx_ref"), field.as_str()) {
                    let at = seen.iter().position(|other| other == text).unwrap_or_else(|| {
                        seen.push(text.to_owned());
                        seen.len() - 1
                    });
                    *field = json!(at);
                } else {
                    number_refs(field, seen);
                }
            }
            // The order of metas has no meaning.
            if let Some(metas) = fields.get_mut("metas").and_then(Value::as_array_mut) {
                metas.sort_by_key(|meta| meta["phx_ref"].as_u64());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| number_refs(item, seen)),
        _ => {}
    }
}
