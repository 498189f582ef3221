//! Plays scripts on a stage: on the kit's own, or on that of another test kit.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};

use super::script::{Act, ScriptLine, Words};
use super::script_stage::{ScriptClient, ScriptStage};
use super::{LineContext, pattern};

/// Plays a script on a stage. Paths in the script are relative to `folder`.
///
/// # Errors
/// If a line fails. The error has the line, the expected message and the received one.
pub fn play(stage: &dyn ScriptStage, script: &str, folder: &Path) -> Result<()> {
    let mut player = Player { stage, folder, actors: BTreeMap::new(), answer: None };
    for (at, text) in script.lines().enumerate() {
        let played = match ScriptLine::parse(text) {
            Ok(Some(line)) => player.line(line),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        played.map_err(|error| anyhow!("line {}: {}\n{error:#}", at + 1, text.trim()))?;
    }
    Ok(())
}

/// The state of a script that is played.
struct Player<'a> {
    stage: &'a dyn ScriptStage,
    folder: &'a Path,
    /// The connected clients, by their names in the script.
    actors: BTreeMap<String, Actor>,
    /// The answer to the last `host ! send`.
    answer: Option<Value>,
}

struct Actor {
    client: Box<dyn ScriptClient>,
    context: LineContext,
}

impl Player<'_> {
    fn line(&mut self, line: ScriptLine<'_>) -> Result<()> {
        let ScriptLine { who, act } = line;
        match act {
            Act::Enter(described) => {
                ensure!(!self.actors.contains_key(who), "{who} is already connected");
                self.connect(who, Some(&described))?;
            }
            Act::Serve { method, url, result } => self.stage.http(method, url, result),
            Act::Send(words) => self.actor(who)?.send(&words)?,
            Act::SendRaw(text) => self.actor(who)?.client.send(text),
            Act::See(words) if who == "host" => self.see_answer(&words)?,
            Act::See(words) => self.actor(who)?.see(words)?,
            Act::SeeRaw(frame) => self.actor(who)?.see_any_of(&[frame])?,
            Act::SeeEnd(code) => {
                self.actor(who)?.see_any_of(&[json!({ "closed": code })])?;
                self.actors.remove(who);
            }
            Act::SeeNothing => {
                let received = self.actor(who)?.client.next();
                ensure!(received.is_none(), "expected  nothing\n    came  {}", shown(received.as_ref()));
            }
            Act::Close | Act::Drop => {
                self.actors.remove(who).with_context(|| format!("{who} isn't connected"))?.client.close();
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
                self.answer = Some(self.stage.send(words.topic.unwrap_or_default(), words.word, words.payload)?);
            }
            Act::Disconnect(id) => {
                ensure!(self.stage.disconnect(id) > 0, "no socket has the id `{id}`");
            }
            Act::Reload { plugin, guest } => {
                let file = self.folder.join(guest);
                let file =
                    if file.extension().is_some() { file } else { PathBuf::from(format!("{}.wasm", file.display())) };
                self.stage.reload(plugin, &file)?;
            }
            _ => bail!("a stage has no files to remove"),
        }
        Ok(())
    }

    fn connect(&mut self, who: &str, described: Option<&Value>) -> Result<()> {
        let actor = Actor { client: self.stage.connect(described)?, context: LineContext::default() };
        self.actors.insert(who.to_owned(), actor);
        Ok(())
    }

    /// Returns a client. Connects it first if the script hasn't described it.
    fn actor(&mut self, who: &str) -> Result<&mut Actor> {
        if !self.actors.contains_key(who) {
            self.connect(who, None)?;
        }
        self.actors.get_mut(who).context("the client was connected above")
    }

    fn see_answer(&mut self, words: &Words<'_>) -> Result<()> {
        let received = self.answer.take().context("no answer of a `host ! send` is left")?;
        let expected = if words.word == "none" { json!("none") } else { json!([words.status, words.payload]) };
        ensure!(pattern::matches(&expected, &received), "expected  {expected}\n    came  {received}");
        Ok(())
    }
}

impl Actor {
    fn send(&mut self, words: &Words<'_>) -> Result<()> {
        let (topic, event) = self.context.message(words)?;
        let reference = self.client.push(&topic, event, &words.payload);
        self.context.record_sent(words, topic, &reference);
        Ok(())
    }

    fn see(&mut self, words: Words<'_>) -> Result<()> {
        let expected = self.context.expected_frames(words, |topic| self.client.join_ref(topic))?;
        self.see_any_of(&expected)
    }

    fn see_any_of(&mut self, expected: &[Value]) -> Result<()> {
        let received = self.client.next();
        if received
            .as_ref()
            .is_some_and(|received| expected.iter().any(|expected| pattern::matches(expected, received)))
        {
            return Ok(());
        }
        let wanted: Vec<String> = expected.iter().map(|expected| shown(Some(expected))).collect();
        bail!("expected  {}\n    came  {}", wanted.join("\n      or  "), shown(received.as_ref()))
    }
}

fn shown(frame: Option<&Value>) -> String {
    let Some(frame) = frame else { return "nothing".to_owned() };
    match frame {
        Value::Object(end) => format!("the connection's end with {}", end.get("closed").unwrap_or(&Value::Null)),
        Value::Array(bytes) if bytes.iter().all(Value::is_number) => format!("the bytes {frame}"),
        frame => frame.to_string(),
    }
}
