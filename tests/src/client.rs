//! A client that sends and receives frames.

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use bytes::Bytes;
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::net::{TcpSocket, TcpStream};
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{WebSocketStream, client_async};

use crate::within;

/// A request to connect, with its options.
#[derive(Clone, Debug)]
pub struct ConnectRequest {
    address: SocketAddr,
    mount: String,
    query: String,
    headers: Vec<(String, String)>,
    receive_buffer: Option<u32>,
}

impl ConnectRequest {
    /// A request to the host at this address.
    #[must_use]
    pub fn to(address: SocketAddr) -> Self {
        Self { address, mount: "/socket".into(), query: "vsn=2.0.0".into(), headers: Vec::new(), receive_buffer: None }
    }

    /// Connects to another mount.
    #[must_use]
    pub fn at(mut self, mount: &str) -> Self {
        mount.clone_into(&mut self.mount);
        self
    }

    /// Uses this query string.
    #[must_use]
    pub fn query(mut self, query: &str) -> Self {
        query.clone_into(&mut self.query);
        self
    }

    /// Adds a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the size of the kernel's receive buffer. If it is small, unread frames soon fill the host's outbox.
    #[must_use]
    pub fn receive_buffer(mut self, bytes: u32) -> Self {
        self.receive_buffer = Some(bytes);
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// If the host refuses the client.
    pub async fn connect(self) -> Result<TestClient> {
        match self.open().await? {
            Ok(client) => Ok(client),
            Err(status) => bail!("the host answered {status} to a client that connects"),
        }
    }

    /// Connects, and expects a refusal. Returns its HTTP status.
    ///
    /// # Errors
    /// If the host admits the client.
    pub async fn refused(self) -> Result<u16> {
        match self.open().await? {
            Ok(_) => bail!("the host admitted a client that it should refuse"),
            Err(status) => Ok(status),
        }
    }

    /// Connects, and returns the HTTP status: 101 if the host admits the client, which then closes.
    ///
    /// # Errors
    /// If the host can't be reached.
    pub async fn status(self) -> Result<u16> {
        Ok(self.open().await?.err().unwrap_or(101))
    }

    async fn open(self) -> Result<Result<TestClient, u16>> {
        let url = format!("ws://{}{}/websocket?{}", self.address, self.mount, self.query);
        let mut request = url.into_client_request()?;
        for (name, value) in &self.headers {
            request.headers_mut().append(HeaderName::try_from(name)?, HeaderValue::try_from(value)?);
        }
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = self.receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        let stream = socket.connect(self.address).await.context("connecting to the host")?;
        stream.set_nodelay(true)?;
        match within("the upgrade to a WebSocket", client_async(request, stream)).await? {
            Ok((stream, _)) => Ok(Ok(TestClient { stream, next_ref: 1, join_refs: HashMap::new() })),
            Err(Error::Http(answer)) => Ok(Err(answer.status().as_u16())),
            Err(error) => Err(error).context("connecting to the host"),
        }
    }
}

/// A frame from the host, or the end of the connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Received {
    /// A text frame, as JSON.
    Json(Value),
    /// A text frame that this client can't parse, for example because it is nested too deeply.
    Text(String),
    /// A binary frame.
    Binary(Bytes),
    /// The end of the connection, with the host's close code if it sent one.
    Closed(Option<u16>),
}

impl fmt::Display for Received {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json(value) => f.write_str(beginning(&value.to_string())),
            Self::Text(text) => write!(f, "text that isn't JSON: {}", beginning(text)),
            Self::Binary(bytes) => write!(f, "the bytes {:?}", &bytes[..bytes.len().min(SHOWN)]),
            Self::Closed(Some(code)) => write!(f, "the connection's end, with {code}"),
            Self::Closed(None) => write!(f, "the connection's end, without a code"),
        }
    }
}

/// The maximum number of characters of a frame that are shown.
const SHOWN: usize = 500;

fn beginning(text: &str) -> &str {
    text.char_indices().nth(SHOWN).map_or(text, |(end, _)| &text[..end])
}

/// A reply to a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The status: `ok`, `error`, or another word.
    pub status: String,
    /// The response.
    pub response: Value,
}

/// A connected client. It uses version 2 of the protocol, unless the query string says otherwise.
pub struct TestClient {
    stream: WebSocketStream<TcpStream>,
    next_ref: u64,
    join_refs: HashMap<String, String>,
}

/// Sending and receiving frames.
impl TestClient {
    /// Sends a text frame.
    ///
    /// # Errors
    /// If the connection is closed.
    pub async fn send(&mut self, text: impl Into<String>) -> Result<()> {
        self.send_message(Message::text(text.into())).await
    }

    /// Sends several text frames with one flush, as a client does after it was offline. The host reads them together.
    ///
    /// # Errors
    /// If the connection is closed.
    pub async fn send_all(&mut self, texts: impl IntoIterator<Item = String>) -> Result<()> {
        for text in texts {
            self.stream.feed(Message::text(text)).await.context("sending to the host")?;
        }
        within("room to send", self.stream.flush()).await?.context("sending to the host")
    }

    /// Sends a binary frame.
    ///
    /// # Errors
    /// If the connection is closed.
    pub async fn send_binary(&mut self, bytes: impl Into<Bytes>) -> Result<()> {
        self.send_message(Message::binary(bytes.into())).await
    }

    /// Sends one fragment of a text message: the first or a later one, the last or not. The bytes need not be UTF-8.
    ///
    /// # Errors
    /// If the connection is closed.
    pub async fn send_piece(&mut self, bytes: impl Into<Bytes>, is_first: bool, is_last: bool) -> Result<()> {
        let kind = if is_first { Data::Text } else { Data::Continue };
        self.send_message(Message::Frame(Frame::message(bytes, OpCode::Data(kind), is_last))).await
    }

    /// Sends a frame with a reserved opcode.
    ///
    /// # Errors
    /// If the connection is closed.
    pub async fn send_reserved(&mut self) -> Result<()> {
        self.send_message(Message::Frame(Frame::message(Bytes::new(), OpCode::Data(Data::Reserved(3)), true))).await
    }

    /// Sends a ping.
    ///
    /// # Errors
    /// If the connection is closed.
    pub async fn ping(&mut self) -> Result<()> {
        self.send_message(Message::Ping(Bytes::new())).await
    }

    async fn send_message(&mut self, message: Message) -> Result<()> {
        within("room to send", self.stream.send(message)).await?.context("sending to the host")
    }

    /// Waits for the next frame or the end of the connection. Skips pings and pongs.
    ///
    /// # Errors
    /// If nothing arrives before the deadline.
    pub async fn next(&mut self) -> Result<Received> {
        within("a frame from the host", async {
            loop {
                return match self.stream.next().await {
                    Some(Ok(Message::Text(text))) => match serde_json::from_str(&text) {
                        Ok(value) => Received::Json(value),
                        Err(_) => Received::Text(text.to_string()),
                    },
                    Some(Ok(Message::Binary(bytes))) => Received::Binary(bytes),
                    Some(Ok(Message::Close(frame))) => {
                        // The host waits for our close frame. The library has queued it, and this sends it.
                        let _ = self.stream.flush().await;
                        Received::Closed(frame.map(|frame| frame.code.into()))
                    }
                    Some(Ok(_)) => continue,
                    Some(Err(_)) | None => Received::Closed(None),
                };
            }
        })
        .await
    }

    /// Waits for the next frame and returns it as JSON.
    ///
    /// # Errors
    /// If something else arrives.
    pub async fn json(&mut self) -> Result<Value> {
        match self.next().await? {
            Received::Json(value) => Ok(value),
            other => bail!("expected a frame, and got {other}"),
        }
    }

    /// Waits for the next frame and returns its bytes.
    ///
    /// # Errors
    /// If something else arrives.
    pub async fn binary(&mut self) -> Result<Bytes> {
        match self.next().await? {
            Received::Binary(bytes) => Ok(bytes),
            other => bail!("expected a binary frame, and got {other}"),
        }
    }

    /// Asserts that the next frame is this one.
    ///
    /// # Errors
    /// If something else arrives.
    pub async fn expect(&mut self, expected: &Value) -> Result<()> {
        let received = self.next().await?;
        ensure!(received == Received::Json(expected.clone()), "expected {expected}, and got {received}");
        Ok(())
    }

    /// Reads until the connection ends. Returns the frames before the end, and the host's close code.
    ///
    /// # Errors
    /// If the connection doesn't end.
    pub async fn until_closed(&mut self) -> Result<(Vec<Received>, Option<u16>)> {
        let mut frames = Vec::new();
        loop {
            match self.next().await? {
                Received::Closed(code) => return Ok((frames, code)),
                frame => frames.push(frame),
            }
        }
    }

    /// Asserts that the connection ends without a further frame, with this close code.
    ///
    /// # Errors
    /// If a frame arrives, or the connection ends with another code.
    pub async fn closed_with(&mut self, code: u16) -> Result<()> {
        let received = self.next().await?;
        ensure!(
            received == Received::Closed(Some(code)),
            "expected the connection's end with {code}, and got {received}"
        );
        Ok(())
    }

    /// Closes the connection with a close frame.
    ///
    /// # Errors
    /// If the host doesn't answer the close frame.
    pub async fn close(mut self) -> Result<()> {
        within("room to close", self.stream.close(None)).await??;
        self.until_closed().await?;
        Ok(())
    }
}

/// Sending and receiving messages of protocol version 2.
impl TestClient {
    /// Sends a message and returns its ref. The ref of a join is also its join ref, as in phoenix.js.
    ///
    /// # Errors
    /// If the connection is closed.
    pub async fn push(&mut self, topic: &str, event: &str, payload: &Value) -> Result<String> {
        let reference = self.next_ref.to_string();
        self.next_ref += 1;
        if event == "phx_join" {
            self.join_refs.insert(topic.to_owned(), reference.clone());
        }
        let message = json!([self.join_ref(topic), reference, topic, event, payload]);
        self.send(message.to_string()).await?;
        Ok(reference)
    }

    /// The ref of the last join of `topic`.
    #[must_use]
    pub fn join_ref(&self, topic: &str) -> Option<&str> {
        self.join_refs.get(topic).map(String::as_str)
    }

    /// Waits for the reply to a message, which must be the next frame.
    ///
    /// # Errors
    /// If something else arrives.
    pub async fn reply(&mut self, topic: &str, reference: &str) -> Result<Reply> {
        let frame = self.json().await?;
        let is_it = frame[1] == reference && frame[2] == topic && frame[3] == "phx_reply";
        ensure!(is_it, "expected the reply to {reference} of {topic}, and got {frame}");
        let status = frame[4]["status"].as_str().unwrap_or_default().to_owned();
        Ok(Reply { status, response: frame[4]["response"].clone() })
    }

    /// Sends a message and returns its reply, which must be the next frame.
    ///
    /// # Errors
    /// If something else arrives.
    pub async fn ask(&mut self, topic: &str, event: &str, payload: &Value) -> Result<Reply> {
        let reference = self.push(topic, event, payload).await?;
        self.reply(topic, &reference).await
    }

    /// Sends a message and returns the response in its reply. The reply's status must be `ok`.
    ///
    /// # Errors
    /// If something else arrives.
    pub async fn call(&mut self, topic: &str, event: &str, payload: &Value) -> Result<Value> {
        let reply = self.ask(topic, event, payload).await?;
        ensure!(reply.status == "ok", "`{event}` on {topic} was answered {reply:?}");
        Ok(reply.response)
    }

    /// Joins a topic and returns the response. The join must be admitted.
    ///
    /// # Errors
    /// If something else arrives.
    pub async fn join(&mut self, topic: &str, params: &Value) -> Result<Value> {
        self.call(topic, "phx_join", params).await
    }

    /// Asserts that no frame has arrived: the next frame must be the answer to a heartbeat.
    ///
    /// # Errors
    /// If something else arrives.
    pub async fn quiet(&mut self) -> Result<()> {
        self.send(r#"[null,"beat","phoenix","heartbeat",{}]"#).await?;
        self.expect(&json!([null, "beat", "phoenix", "phx_reply", {"status": "ok", "response": {}}])).await
    }
}
