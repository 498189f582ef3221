//! The language of transcripts, a line at a time: `WHO VERB WHAT`.
//!
//! | line | meaning |
//! | --- | --- |
//! | `alice = {"user": "42"}` | alice connects as this user; also `socket_id`, `claims`, `params` |
//! | `alice > join room:1 {..}` | sends a join; from here on `room:1` is the topic of alice's lines |
//! | `alice > new_msg {..}` | sends an event |
//! | `alice > leave` | leaves |
//! | `alice > ["1",null,"room:1","new_msg",{}]` | sends exactly this frame |
//! | `alice < ok {..}`, `alice < error {..}` | the next frame is this reply to the last message that alice sent |
//! | `alice < reply word {..}` | the same with another status |
//! | `alice < unmatched` | the next frame says that the topic isn't joined |
//! | `alice < new_msg {..}` | the next frame is this event, pushed or broadcast |
//! | `alice < phx_close`, `alice < phx_error` | the next frame ends alice's membership |
//! | `alice < [null,null,"room:1","new_msg",{}]` | the next frame is exactly this one |
//! | `alice < close 1012` | the connection ends with this code |
//! | `bob ~` | bob gets nothing more |
//! | `bob x close`, `bob x drop` | bob's connection is closed, or breaks |
//! | `clock + 5s` | time passes and timers fire; also in `ms`, `m` and `h` |
//! | `http = GET https://a.example/x 200 {..}` | requests of plugins with this method and URL get this answer |
//! | `http = GET https://a.example/x timeout` | they fail with this kind |
//! | `host ! broadcast room:1 news {..}` | the host broadcasts to a topic |
//! | `host ! send room:1 close {..}` | the host sends a topic message, for `handle_message` |
//! | `host < ok {..}`, `host < none` | the answer to that topic message is this, or there is none |
//! | `host ! disconnect user_socket:42` | every socket with this id is closed |
//! | `host ! reload echo variants/echo-v2` | another build replaces the plugin |
//! | `host ! remove echo` | the plugin's file is removed |
//!
//! An event, a status, a join or a leave may be followed by `on TOPIC`, for that line only, and by `#LABEL`: a message
//! with a label is answered by the reply with the same label. The default payload is `{}`. `…` matches any value.
//! A client connects when it is first named. Lines that start with `--` are comments.

use std::time::Duration;

use crate::contract::{HttpFailure, HttpResponse, HttpResult};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::pattern;

/// A line of a script.
#[derive(Debug, PartialEq)]
pub struct ScriptLine<'a> {
    /// A client, `host`, `http` or `clock`.
    pub who: &'a str,
    /// The action or the expected message.
    pub act: Act<'a>,
}

/// The action or the expected message of a line.
#[derive(Debug, PartialEq)]
pub enum Act<'a> {
    /// Connects with an identity.
    Enter(Value),
    /// Sets the answer to requests by HTTP.
    Serve {
        /// Their method.
        method: &'a str,
        /// Their URL.
        url: &'a str,
        /// The answer.
        result: HttpResult,
    },
    /// Sends a message.
    Send(Words<'a>),
    /// Sends exactly this frame.
    SendRaw(&'a str),
    /// Expects a message.
    See(Words<'a>),
    /// Expects exactly this frame.
    SeeRaw(Value),
    /// Expects the end of the connection.
    SeeEnd(u16),
    /// Expects no further message.
    SeeNothing,
    /// Closes the connection.
    Close,
    /// Breaks the connection.
    Drop,
    /// Advances the clock.
    Pass(Duration),
    /// Broadcasts to a topic.
    Broadcast(Words<'a>),
    /// Sends a topic message.
    Tell(Words<'a>),
    /// Closes the sockets with this id.
    Disconnect(&'a str),
    /// Replaces a plugin.
    Reload {
        /// Its name.
        plugin: &'a str,
        /// The other build.
        guest: &'a str,
    },
    /// Removes a plugin's file.
    Remove {
        /// Its name.
        plugin: &'a str,
    },
}

/// A message in a script.
#[derive(Debug, PartialEq)]
pub struct Words<'a> {
    /// An event, a status, `join` or `leave`.
    pub word: &'a str,
    /// The status after the word `reply`.
    pub status: &'a str,
    /// The topic after `on`, or of a join.
    pub topic: Option<&'a str>,
    /// The label after `#`.
    pub label: Option<&'a str>,
    /// The payload, `{}` if none is given.
    pub payload: Value,
}

impl<'a> ScriptLine<'a> {
    /// Reads a line. An empty line or a comment is `None`.
    ///
    /// # Errors
    /// If the line isn't in the language.
    pub fn parse(text: &'a str) -> Result<Option<Self>> {
        let text = text.trim();
        if text.is_empty() || text.starts_with("--") {
            return Ok(None);
        }
        let (who, rest) = next_word(text);
        let (verb, what) = next_word(rest);
        let act = match verb {
            "=" if who == "http" => Self::served(what)?,
            "=" => Act::Enter(pattern::parse(what)?),
            "+" => Act::Pass(duration(what)?),
            ">" if what.starts_with('[') => Act::SendRaw(what),
            ">" => Act::Send(Words::parse(what)?),
            "<" if what.starts_with('[') => Act::SeeRaw(pattern::parse(what)?),
            "<" => match what.strip_prefix("close ") {
                Some(code) => Act::SeeEnd(code.trim().parse().context("a close code must be a number")?),
                None => Act::See(Words::parse(what)?),
            },
            "~" => Act::SeeNothing,
            "x" if what == "close" => Act::Close,
            "x" if what == "drop" => Act::Drop,
            "!" => Self::operator(what)?,
            _ => bail!("no such verb: `{verb} {what}`"),
        };
        Ok(Some(Self { who, act }))
    }

    /// `METHOD URL STATUS BODY`, or `METHOD URL FAILURE`.
    fn served(what: &'a str) -> Result<Act<'a>> {
        let (method, rest) = next_word(what);
        let (url, rest) = next_word(rest);
        let (outcome, body) = next_word(rest);
        if outcome.is_empty() {
            bail!("an answer is a method, a URL, and a status or the kind of a failure");
        }
        let result = match outcome.parse() {
            Ok(status) => {
                let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
                let body = if body.is_empty() { String::new() } else { pattern::parse(body)?.to_string() };
                Ok(HttpResponse { status, headers, body: body.into() })
            }
            Err(_) => Err(HttpFailure { kind: outcome.to_owned(), detail: "as the test says".to_owned() }),
        };
        Ok(Act::Serve { method, url, result })
    }

    fn operator(what: &'a str) -> Result<Act<'a>> {
        match next_word(what) {
            ("broadcast", rest) => return Ok(Act::Broadcast(Words::to_topic(rest)?)),
            ("send", rest) => return Ok(Act::Tell(Words::to_topic(rest)?)),
            ("disconnect", id) => return Ok(Act::Disconnect(id)),
            _ => {}
        }
        let words: Vec<&str> = what.split_whitespace().collect();
        match words[..] {
            ["reload", plugin, guest] => Ok(Act::Reload { plugin, guest }),
            ["remove", plugin] => Ok(Act::Remove { plugin }),
            _ => bail!(
                "the host can `broadcast TOPIC EVENT`, `send TOPIC EVENT`, `disconnect ID`, `reload PLUGIN FILE` and \
                 `remove PLUGIN`, not `{what}`"
            ),
        }
    }
}

impl<'a> Words<'a> {
    fn parse(text: &'a str) -> Result<Self> {
        let (word, mut rest) = next_word(text);
        let mut words = Words { word, status: word, topic: None, label: None, payload: json!({}) };
        match word {
            "" => bail!("a word is missing"),
            "reply" => (words.status, rest) = next_word(rest),
            "join" => {
                let topic;
                (topic, rest) = next_word(rest);
                words.topic = Some(topic);
            }
            _ => {}
        }
        loop {
            let (next, behind) = next_word(rest);
            if next == "on" {
                let (topic, behind) = next_word(behind);
                (words.topic, rest) = (Some(topic), behind);
            } else if let Some(label) = next.strip_prefix('#') {
                (words.label, rest) = (Some(label), behind);
            } else {
                break;
            }
        }
        if !rest.is_empty() {
            words.payload = pattern::parse(rest)?;
        }
        Ok(words)
    }
}

impl<'a> Words<'a> {
    /// `TOPIC EVENT PAYLOAD`.
    fn to_topic(text: &'a str) -> Result<Self> {
        let (topic, rest) = next_word(text);
        Ok(Self { topic: Some(topic), ..Self::parse(rest)? })
    }
}

fn duration(text: &str) -> Result<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().with_context(|| format!("`{text}` isn't a time such as `5s` or `200ms`"))?;
    let unit = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => bail!("`{text}` isn't a time: its unit must be `ms`, `s`, `m` or `h`"),
    };
    Ok(Duration::from_millis(number.saturating_mul(unit)))
}

fn next_word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    (word, rest.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn act(text: &str) -> Result<Option<Act<'_>>> {
        Ok(ScriptLine::parse(text)?.map(|line| line.act))
    }

    fn words<'a>(word: &'a str, payload: Value) -> Words<'a> {
        Words { word, status: word, topic: None, label: None, payload }
    }

    #[test]
    fn lines_are_read() -> Result<()> {
        let join = Words { topic: Some("room:1"), ..words("join", json!({"user": "alice"})) };
        assert_eq!(
            ScriptLine::parse(r#"  alice > join room:1 {"user": "alice"} "#)?,
            Some(ScriptLine { who: "alice", act: Act::Send(join) })
        );
        assert_eq!(act("a < ok")?, Some(Act::See(words("ok", json!({})))));
        let reply = Words { status: "late", label: Some("1"), ..words("reply", json!([1])) };
        assert_eq!(act("a < reply late #1 [1]")?, Some(Act::See(reply)));
        let elsewhere = Words { topic: Some("b"), label: Some("2"), ..words("e", json!("…")) };
        assert_eq!(act("a < e on b #2 …")?, Some(Act::See(elsewhere)));
        assert_eq!(act("a > [1, 2]")?, Some(Act::SendRaw("[1, 2]")));
        assert_eq!(act("a < close 1012")?, Some(Act::SeeEnd(1012)));
        assert_eq!(act("a ~")?, Some(Act::SeeNothing));
        assert_eq!(act("host ! reload a b")?, Some(Act::Reload { plugin: "a", guest: "b" }));
        assert_eq!(act("clock + 5s")?, Some(Act::Pass(Duration::from_secs(5))));
        let news = Words { topic: Some("room:1"), ..words("news", json!({"a": 1})) };
        assert_eq!(act("host ! broadcast room:1 news {\"a\": 1}")?, Some(Act::Broadcast(news)));
        assert_eq!(act("host ! disconnect user:1")?, Some(Act::Disconnect("user:1")));
        assert_eq!(act("a = {\"user\": \"1\"}")?, Some(Act::Enter(json!({"user": "1"}))));
        assert!(act("clock + 5").is_err() && act("clock + s").is_err());
        let result = Err(HttpFailure { kind: "timeout".into(), detail: "as the test says".into() });
        assert_eq!(act("http = GET http://a/ timeout")?, Some(Act::Serve { method: "GET", url: "http://a/", result }));
        assert!(act("http = GET http://a/").is_err());
        assert_eq!(act("-- what follows")?, None);
        assert!(act("a ? b").is_err() && act("a > e {").is_err() && act("host ! dance").is_err());
        Ok(())
    }
}
