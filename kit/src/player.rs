//! Scripts played on a stage.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use bennu::channel::Delivered;
use bennu::contract::Identity;
use bennu::protocol::Payload;
use serde_json::{Value, json};

use crate::client::{Came, Client};
use crate::script::{Act, ScriptLine, Words};
use crate::stage::{Join, Stage};
use crate::{Voice, pattern};

/// Plays a script on a stage. Paths in the script are relative to `folder`.
///
/// # Errors
/// If a line fails. The error has the line, the expected message and the received one.
pub fn play(stage: &Stage, script: &str, folder: &Path) -> Result<()> {
    let mut cast = Cast { stage, folder, actors: BTreeMap::new(), answer: None };
    for (at, text) in script.lines().enumerate() {
        let played = match ScriptLine::parse(text) {
            Ok(Some(line)) => cast.line(line),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        played.map_err(|error| anyhow!("line {}: {}\n{error:#}", at + 1, text.trim()))?;
    }
    Ok(())
}

/// The clients of a script.
struct Cast<'a> {
    stage: &'a Stage,
    folder: &'a Path,
    actors: BTreeMap<String, Actor>,
    /// The result of the last `host ! send`.
    answer: Option<Delivered>,
}

struct Actor {
    client: Client,
    voice: Voice,
}

impl Cast<'_> {
    fn line(&mut self, line: ScriptLine<'_>) -> Result<()> {
        let ScriptLine { who, act } = line;
        match act {
            Act::Enter(who_it_is) => self.enter(who, &who_it_is)?,
            Act::Send(words) => self.actor(who).send(&words)?,
            Act::SendRaw(text) => self.actor(who).client.send(text),
            Act::See(words) if who == "host" => self.see_answer(&words)?,
            Act::See(words) => self.actor(who).see(words)?,
            Act::SeeRaw(frame) => self.actor(who).see_any_of(&[frame])?,
            Act::SeeEnd(code) => {
                match self.actor(who).client.next() {
                    Some(Came::Closed(came)) if came == code => {}
                    came => bail!("expected  the connection's end with {code}\n    came  {}", shown(came.as_ref())),
                }
                self.actors.remove(who);
            }
            Act::SeeNothing => {
                if let Some(came) = self.actor(who).client.next() {
                    bail!("expected  nothing\n    came  {}", shown(Some(&came)));
                }
            }
            Act::Close | Act::Drop => {
                let mut actor = self.actors.remove(who).with_context(|| format!("{who} isn't connected"))?;
                actor.client.close();
            }
            Act::Pass(time) => {
                ensure!(who == "clock", "only `clock` can advance time: `clock + …`");
                self.stage.pass(time);
            }
            operator => self.operate(operator)?,
        }
        Ok(())
    }

    fn operate(&mut self, act: Act<'_>) -> Result<()> {
        match act {
            Act::Broadcast(words) => {
                self.stage.broadcast(words.topic.unwrap_or_default(), words.word, words.payload);
            }
            Act::Tell(words) => {
                self.answer = Some(self.stage.send(words.topic.unwrap_or_default(), words.word, words.payload));
            }
            Act::Disconnect(id) => {
                ensure!(self.stage.disconnect(id) > 0, "no socket has the id `{id}`");
            }
            Act::Reload { plugin, guest } => {
                let file = self.folder.join(guest);
                let file =
                    if file.extension().is_some() { file } else { PathBuf::from(format!("{}.wasm", file.display())) };
                self.stage.reload_as(plugin, &file)?;
            }
            _ => bail!("a stage has no files to remove"),
        }
        Ok(())
    }

    fn enter(&mut self, who: &str, described: &Value) -> Result<()> {
        ensure!(!self.actors.contains_key(who), "{who} is already connected");
        let client = self.stage.connect(&read_join(described)?);
        self.actors.insert(who.to_owned(), Actor { client, voice: Voice::default() });
        Ok(())
    }

    fn actor(&mut self, who: &str) -> &mut Actor {
        let stage = self.stage;
        let connect = || Actor { client: stage.connect(&Join::default()), voice: Voice::default() };
        self.actors.entry(who.to_owned()).or_insert_with(connect)
    }

    fn see_answer(&mut self, words: &Words<'_>) -> Result<()> {
        let answer = self.answer.take().context("no answer of a `host ! send` is left")?;
        let came = match &answer {
            Ok(None) => json!("none"),
            Ok(Some(reply)) => match &reply.payload {
                Payload::Json(text) => json!([&*reply.status, serde_json::from_str::<Value>(text)?]),
                Payload::Binary(bytes) => json!([&*reply.status, bytes.to_vec()]),
            },
            Err(undelivered) => json!(["error", format!("{undelivered:?}")]),
        };
        let expected = if words.word == "none" { json!("none") } else { json!([words.status, words.payload]) };
        ensure!(pattern::matches(&expected, &came), "expected  {expected}\n    came  {came}");
        Ok(())
    }
}

impl Actor {
    fn send(&mut self, words: &Words<'_>) -> Result<()> {
        let (topic, event) = self.voice.says(words)?;
        let reference = self.client.push(&topic, event, &words.payload);
        self.voice.said(words, topic, &reference);
        Ok(())
    }

    fn see(&mut self, words: Words<'_>) -> Result<()> {
        let expected = self.voice.expects(words, |topic| self.client.join_ref(topic).map(str::to_owned))?;
        self.see_any_of(&expected)
    }

    fn see_any_of(&mut self, expected: &[Value]) -> Result<()> {
        let came = self.client.next();
        let is_it =
            |came: &Came| matches!(came, Came::Json(came) if expected.iter().any(|it| pattern::matches(it, came)));
        if came.as_ref().is_some_and(is_it) {
            return Ok(());
        }
        let wanted: Vec<String> = expected.iter().map(Value::to_string).collect();
        bail!("expected  {}\n    came  {}", wanted.join("\n      or  "), shown(came.as_ref()))
    }
}

/// `{"user": .., "socket_id": .., "claims": {..}, "params": {..}}`.
fn read_join(described: &Value) -> Result<Join> {
    let fields = described.as_object().context("a client's identity must be a JSON object")?;
    let mut join = Join::default();
    for (key, value) in fields {
        let text = || value.as_str().map(Into::into).with_context(|| format!("`{key}` must be a string"));
        match key.as_str() {
            "user" => join.identity.user = Some(text()?),
            "socket_id" => join.identity.socket_id = Some(text()?),
            "claims" => join.identity = Identity { claims: value.to_string().into(), ..join.identity },
            "params" => join.params = value.clone(),
            _ => bail!("a client's identity can have `user`, `socket_id`, `claims` and `params`, not `{key}`"),
        }
    }
    Ok(join)
}

fn shown(came: Option<&Came>) -> String {
    match came {
        None => "nothing".to_owned(),
        Some(Came::Json(frame)) => frame.to_string(),
        Some(Came::Binary(bytes)) => format!("the bytes {bytes:?}"),
        Some(Came::Closed(code)) => format!("the connection's end with {code}"),
    }
}
