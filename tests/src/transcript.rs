//! Transcripts of the traffic between clients and a server, with one line of JSON for each event.
//!
//! They were recorded from Phoenix 1.8.12, as `tests/transcripts/README.md` describes. [`Row`] lists the kinds of lines.

use std::collections::HashMap;

use anyhow::{Context, Result};
use serde_json::Value;

/// The event of a line.
#[derive(Clone, Debug)]
pub enum Row {
    /// A client connected with a WebSocket.
    Open {
        /// The path of the request.
        path: String,
        /// The negotiated subprotocol.
        protocol: Option<String>,
    },
    /// A client was refused with an HTTP status.
    Refused {
        /// The path of the request.
        path: String,
        /// The status.
        status: u16,
    },
    /// A client sent a frame.
    Sent(Frame),
    /// A client got a frame.
    Got(Frame),
    /// The server answered a client's ping with this text.
    Pong(String),
    /// A connection ended with this close code. It is 1000 if the client closed the connection.
    Closed(u16),
    /// A WebSocket handshake whose answer was recorded as HTTP.
    Handshake {
        /// The path of the request.
        path: String,
        /// Headers that replace the usual ones.
        headers: Headers,
        /// The status.
        status: u16,
        /// The subprotocol in the answer.
        protocol: Option<String>,
    },
    /// An HTTP request.
    Http(Box<Exchange>),
    /// A remark, or an event that can't be replayed.
    Note(String),
}

/// Names with values.
pub type Headers = HashMap<String, String>;

/// A frame.
#[derive(Clone, Debug, PartialEq)]
pub enum Frame {
    /// Text. The recorder cut texts that are longer than some thousand characters.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
}

/// A request with its answer.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The method, such as `GET`.
    pub method: String,
    /// The path, in which `…` stands for a token.
    pub path: String,
    /// The request's headers.
    pub headers: Headers,
    /// Its body.
    pub body: String,
    /// The answer's status.
    pub status: u16,
    /// Its headers.
    pub answer_headers: Headers,
    /// Its body.
    pub answer: String,
}

/// A line of a transcript.
#[derive(Clone, Debug)]
pub struct Line {
    /// The client. In the scenario `origin` it is the client's `Origin` header.
    pub who: String,
    /// The event.
    pub row: Row,
}

/// Reads all scenarios, in the order of the file.
///
/// # Errors
/// If a line has an unknown kind.
pub fn read(text: &str) -> Result<Vec<(String, Vec<Line>)>> {
    let mut scenarios: Vec<(String, Vec<Line>)> = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let value: Value = serde_json::from_str(line).with_context(|| format!("line {}", at + 1))?;
        let scenario = text_of(&value, "scn").context("a scenario")?;
        let row = row(&value).with_context(|| format!("line {}: {line}", at + 1))?;
        let line = Line { who: text_of(&value, "who").unwrap_or_default(), row };
        match scenarios.last_mut() {
            Some((name, lines)) if *name == scenario => lines.push(line),
            _ => scenarios.push((scenario, vec![line])),
        }
    }
    Ok(scenarios)
}

fn row(value: &Value) -> Result<Row> {
    let text = |key: &str| text_of(value, key);
    let status = |key: &str| value[key].as_u64().and_then(|status| u16::try_from(status).ok());
    let kind = (text("ev"), text("dir"));
    Ok(match (kind.0.as_deref(), kind.1.as_deref()) {
        (Some("open"), _) => Row::Open { path: text("path").context("a path")?, protocol: text("subprotocol") },
        (Some("http"), _) => {
            Row::Refused { path: text("path").context("a path")?, status: status("status").context("a status")? }
        }
        (Some("close"), _) => Row::Closed(status("code").context("a code")?),
        (Some("error"), _) => Row::Note(text("msg").unwrap_or_default()),
        (_, Some(">")) => Row::Sent(frame(value)?),
        (_, Some("<")) => match text("pong") {
            Some(pong) => Row::Pong(pong),
            None => Row::Got(frame(value)?),
        },
        _ if text("rawUpgrade").is_some() => Row::Handshake {
            path: text("rawUpgrade").unwrap_or_default(),
            headers: headers(&value["reqHeaders"]),
            status: status("status").context("a status")?,
            protocol: headers(&value["headers"]).remove("sec-websocket-protocol"),
        },
        _ if text("http").is_some() => {
            let request = text("http").unwrap_or_default();
            let (method, path) = request.split_once(' ').context("a method and a path")?;
            Row::Http(Box::new(Exchange {
                method: method.to_owned(),
                path: path.to_owned(),
                headers: headers(&value["reqHeaders"]),
                body: text("body").unwrap_or_default(),
                status: status("status").context("a status")?,
                answer_headers: headers(&value["respHeaders"]),
                answer: text("resp").unwrap_or_default(),
            }))
        }
        _ => Row::Note(text("note").context("a kind")?),
    })
}

fn frame(value: &Value) -> Result<Frame> {
    if let Some(text) = text_of(value, "text") {
        return Ok(Frame::Text(text));
    }
    let hex = text_of(value, "bin").context("a frame")?;
    let byte = |at: usize| u8::from_str_radix(hex.get(at..at + 2).unwrap_or_default(), 16);
    let bytes = (0..hex.len()).step_by(2).map(byte).collect::<Result<Vec<u8>, _>>();
    Ok(Frame::Binary(bytes.context("hexadecimal digits")?))
}

fn headers(value: &Value) -> Headers {
    let headers = value.as_object().into_iter().flatten();
    headers.map(|(name, value)| (name.clone(), value.as_str().unwrap_or_default().to_owned())).collect()
}

fn text_of(value: &Value, key: &str) -> Option<String> {
    value[key].as_str().map(str::to_owned)
}
