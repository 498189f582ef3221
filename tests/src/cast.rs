//! Scripts played: several clients of one host, by name.
//!
//! The language is the one of `bennu test`: see `bennu::kit`.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::{Log, Received, TestClient, TestHost, eventually};
use bennu::kit::{Act, Line, Voice, Words, pattern};

/// Plays a script with clients that exist for it alone. `bennu::kit` has the language.
///
/// # Errors
/// Names the line, what it expects, and what came.
pub async fn check(host: &TestHost, script: &str) -> Result<()> {
    Cast::new(host).play(script).await
}

/// Plays a script on a host of its own with these plugins, which it stops in the end. Gives the host's log.
///
/// # Errors
/// See [`check`] and [`TestHost::stop`].
pub async fn play(guests: &[&str], script: &str) -> Result<Log> {
    let host = TestHost::start(guests).await?;
    check(&host, script).await?;
    host.stop().await
}

/// The clients of a script, kept from one scene to the next.
pub struct Cast<'a> {
    host: &'a TestHost,
    actors: BTreeMap<String, Actor>,
}

/// A client, and what its lines leave unsaid.
struct Actor {
    client: TestClient,
    voice: Voice,
}

impl<'a> Cast<'a> {
    /// A cast that nobody has entered yet.
    #[must_use]
    pub fn new(host: &'a TestHost) -> Self {
        Self { host, actors: BTreeMap::new() }
    }

    /// A client of the cast, for what the language has no words for.
    ///
    /// # Errors
    /// Where no line has named it.
    pub fn client(&mut self, name: &str) -> Result<&mut TestClient> {
        let actor = self.actors.get_mut(name).with_context(|| format!("{name} hasn't entered"))?;
        Ok(&mut actor.client)
    }

    /// Gives a name to a client that has connected in another way than usual.
    pub fn enter(&mut self, name: &str, client: TestClient) {
        self.actors.insert(name.to_owned(), Actor::new(client));
    }

    /// Plays a scene.
    ///
    /// # Errors
    /// Names the line, what it expects, and what came.
    pub async fn play(&mut self, script: &str) -> Result<()> {
        for (at, text) in script.lines().enumerate() {
            let played = match Line::parse(text) {
                Ok(Some(line)) => self.line(line).await,
                Ok(None) => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = played {
                let (number, text, log) = (at + 1, text.trim(), self.host.log().tail(10));
                return Err(anyhow!("line {number}: {text}\n{error:#}\nthe host's log ends with\n{log}"));
            }
        }
        Ok(())
    }

    async fn line(&mut self, line: Line<'_>) -> Result<()> {
        let Line { who, act } = line;
        match act {
            Act::Reload { plugin, guest } => {
                self.host.reload(plugin, guest).await?;
            }
            Act::Remove { plugin } => self.remove(plugin).await?,
            Act::Close => self.leaving(who)?.client.close().await?,
            Act::Drop => drop(self.leaving(who)?),
            Act::Send(words) => self.actor(who).await?.send(words).await?,
            Act::SendRaw(text) => self.actor(who).await?.client.send(text).await?,
            Act::See(words) => self.actor(who).await?.see(words).await?,
            Act::SeeRaw(frame) => self.actor(who).await?.see_any_of(&[frame]).await?,
            Act::SeeEnd(code) => {
                self.actor(who).await?.client.closed_with(code).await?;
                self.actors.remove(who);
            }
            Act::SeeNothing => self.actor(who).await?.client.quiet().await?,
            Act::Enter(_) | Act::Pass(_) | Act::Broadcast(_) | Act::Tell(_) | Act::Disconnect(_) => {
                bail!("only `bennu test` can do that: this host is another process")
            }
        }
        Ok(())
    }

    async fn actor(&mut self, who: &str) -> Result<&mut Actor> {
        if !self.actors.contains_key(who) {
            let client = self.host.connect().await?;
            self.enter(who, client);
        }
        self.actors.get_mut(who).context("it has just entered")
    }

    fn leaving(&mut self, who: &str) -> Result<Actor> {
        self.actors.remove(who).with_context(|| format!("{who} isn't there"))
    }

    async fn remove(&self, plugin: &str) -> Result<()> {
        fs::remove_file(self.host.plugin_file(plugin))?;
        eventually("the host has seen that the file is gone", async || {
            let shown = self.host.inspect().await?;
            Ok((shown["plugins"][plugin]["file_is_gone"] == true).then_some(()))
        })
        .await
    }
}

impl Actor {
    fn new(client: TestClient) -> Self {
        Self { client, voice: Voice::default() }
    }

    async fn send(&mut self, words: Words<'_>) -> Result<()> {
        let (topic, event) = self.voice.says(&words)?;
        let reference = self.client.push(&topic, event, &words.payload).await?;
        self.voice.said(&words, topic, &reference);
        Ok(())
    }

    async fn see(&mut self, words: Words<'_>) -> Result<()> {
        let expected = self.voice.expects(words, |topic| self.client.join_ref(topic).map(str::to_owned))?;
        self.see_any_of(&expected).await
    }

    async fn see_any_of(&mut self, expected: &[Value]) -> Result<()> {
        let came = self.client.next().await;
        let shown: Vec<String> = expected.iter().map(Value::to_string).collect();
        let shown = shown.join("\n      or  ");
        match came {
            Ok(Received::Json(came)) if expected.iter().any(|expected| pattern::matches(expected, &came)) => Ok(()),
            Ok(came) => bail!("expected  {shown}\n    came  {came}"),
            Err(error) => bail!("expected  {shown}\n    came  nothing: {error:#}"),
        }
    }
}
