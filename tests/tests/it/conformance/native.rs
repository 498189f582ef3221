//! Scripts played on the native test kit.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail, ensure};
use bennu::server::PluginTable;
use bennu_guest::testing::{Client, Setup, Stage};
use bennu_guest::{IntoPayload, Payload};
use bennu_kit::{Act, ScriptLine, Voice, Words, pattern};
use serde_json::{Value, json};

use super::naughty;

/// Plays a script against the plugin as native code, which is told and granted this.
pub(super) fn play(granted: &PluginTable, script: &str) -> Result<()> {
    let mut cast = Cast { stage: stage(granted), actors: BTreeMap::new(), answer: None };
    for (at, text) in script.lines().enumerate() {
        let played = match ScriptLine::parse(text) {
            Ok(Some(line)) => cast.line(line),
            Ok(None) => Ok(()),
            Err(error) => Err(error),
        };
        played.map_err(|error| {
            let faults = cast.stage.faults();
            anyhow!("line {}: {}\n{error:#}\nthere were the faults {faults:?}", at + 1, text.trim())
        })?;
    }
    Ok(())
}

fn stage(granted: &PluginTable) -> Stage {
    let stage = naughty::on_stage(Stage::new()).config(&granted.config);
    let stage = granted.publish.iter().fold(stage, |stage, pattern| stage.publish(pattern));
    granted.read.iter().fold(stage, |stage, pattern| stage.read(pattern))
}

/// The clients of a script.
struct Cast {
    stage: Stage,
    actors: BTreeMap<String, Actor>,
    /// What the last `host ! send` was answered.
    answer: Option<Value>,
}

struct Actor {
    client: Client,
    voice: Voice,
}

impl Cast {
    fn line(&mut self, line: ScriptLine<'_>) -> Result<()> {
        let ScriptLine { who, act } = line;
        match act {
            Act::Enter(described) => self.enter(who, &described)?,
            Act::Send(words) => self.actor(who).send(&words)?,
            Act::SendRaw(text) => self.actor(who).client.send(text),
            Act::See(words) if who == "host" => self.see_answer(&words)?,
            Act::See(words) => self.actor(who).see(words)?,
            Act::SeeRaw(frame) => self.actor(who).see_any_of(&[frame])?,
            Act::SeeEnd(code) => {
                self.actor(who).see_any_of(&[json!({ "closed": code })])?;
                self.actors.remove(who);
            }
            Act::SeeNothing => {
                let came = self.actor(who).client.next();
                ensure!(came.is_none(), "expected  nothing\n    came  {}", shown(came.as_ref()));
            }
            Act::Close | Act::Drop => {
                self.actors.remove(who).with_context(|| format!("{who} isn't there"))?.client.close()
            }
            Act::Pass(time) => self.stage.advance(time),
            Act::Broadcast(Words { topic, word, payload, .. }) => {
                self.stage.broadcast(topic.unwrap_or_default(), word, payload);
            }
            Act::Tell(Words { topic, word, payload, .. }) => {
                self.answer = Some(match self.stage.send(topic.unwrap_or_default(), word, payload) {
                    Ok(None) => json!("none"),
                    Ok(Some(reply)) => json!([reply.status, reply.json()]),
                    Err(fault) => json!(["error", fault.to_string()]),
                });
            }
            Act::Disconnect(id) => ensure!(self.stage.disconnect(id) > 0, "no socket has the id `{id}`"),
            Act::Reload { .. } | Act::Remove { .. } => bail!("on this stage there are no files"),
        }
        Ok(())
    }

    fn enter(&mut self, who: &str, described: &Value) -> Result<()> {
        ensure!(!self.actors.contains_key(who), "{who} has connected before");
        let text = |key: &str| described[key].as_str().with_context(|| format!("who connects has a `{key}`"));
        let setup = Setup::new().user(text("user")?).socket_id(text("socket_id")?);
        let client = self.stage.connect(setup);
        self.actors.insert(who.to_owned(), Actor { client, voice: Voice::default() });
        Ok(())
    }

    fn actor(&mut self, who: &str) -> &mut Actor {
        let stage = &self.stage;
        let connect = || Actor { client: stage.connect(Setup::new()), voice: Voice::default() };
        self.actors.entry(who.to_owned()).or_insert_with(connect)
    }

    fn see_answer(&mut self, words: &Words<'_>) -> Result<()> {
        let came = self.answer.take().context("nothing was sent by `host ! send`, or its answer was seen")?;
        let expected = if words.word == "none" { json!("none") } else { json!([words.status, words.payload]) };
        ensure!(pattern::matches(&expected, &came), "expected  {expected}\n    came  {came}");
        Ok(())
    }
}

impl Actor {
    fn send(&mut self, words: &Words<'_>) -> Result<()> {
        let (topic, event) = self.voice.says(words)?;
        // The text as `bennu test` sends it.
        let payload = Payload::Json(words.payload.to_string()).into_payload();
        let reference = self.client.push(&topic, event, payload);
        self.voice.said(words, topic, &reference);
        Ok(())
    }

    fn see(&mut self, words: Words<'_>) -> Result<()> {
        let expected = self.voice.expects(words, |topic| self.client.join_ref(topic).map(str::to_owned))?;
        self.see_any_of(&expected)
    }

    fn see_any_of(&mut self, expected: &[Value]) -> Result<()> {
        let came = self.client.next();
        if came.as_ref().is_some_and(|came| expected.iter().any(|expected| pattern::matches(expected, came))) {
            return Ok(());
        }
        let wanted: Vec<String> = expected.iter().map(Value::to_string).collect();
        bail!("expected  {}\n    came  {}", wanted.join("\n      or  "), shown(came.as_ref()))
    }
}

fn shown(came: Option<&Value>) -> String {
    came.map_or_else(|| "nothing".to_owned(), Value::to_string)
}
