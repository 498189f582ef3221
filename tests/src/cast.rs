//! Plays scripts with several named clients of one host.
//!
//! The language is the one of `bennu test`: see `bennu::kit`. An operator's actions use the command line. A client that
//! connects as a user connects to the mount `/user` with a token. For that, the host's configuration needs a
//! `secret_key_base` and this mount. Only `bennu test` supports claims and connect parameters.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::{Value, json};

use crate::command::Ended;
use crate::{Log, Received, TestClient, TestHost, bennu_with, eventually};
use bennu::kit::{Act, LineContext, ScriptLine, Words, pattern};

/// Plays a script with new clients. `bennu::kit` describes the language.
///
/// # Errors
/// If a line fails. The error has the line, the expected frame and the frame that arrived.
pub async fn check(host: &TestHost, script: &str) -> Result<()> {
    Cast::new(host).play(script).await
}

/// Starts a host with these plugins, plays a script and stops the host. Returns the host's log.
///
/// # Errors
/// See [`check`] and [`TestHost::stop`].
pub async fn play(guests: &[&str], script: &str) -> Result<Log> {
    let host = TestHost::start(guests).await?;
    check(&host, script).await?;
    host.stop().await
}

/// The clients of a script. They stay connected between calls of [`Cast::play`].
pub struct Cast<'a> {
    host: &'a TestHost,
    actors: BTreeMap<String, Actor>,
    /// The answer to the last `host ! send`.
    answer: Option<Value>,
}

/// The mount that authenticates clients by a token, and the salt of its tokens.
const MOUNT: &str = "/user";
const SALT: &str = "user";

/// A client, and the defaults for parts that its script lines leave out.
struct Actor {
    client: TestClient,
    context: LineContext,
}

impl<'a> Cast<'a> {
    /// A cast without clients.
    #[must_use]
    pub fn new(host: &'a TestHost) -> Self {
        Self { host, actors: BTreeMap::new(), answer: None }
    }

    /// A client of the cast, for actions that the language doesn't have.
    ///
    /// # Errors
    /// If no client has this name.
    pub fn client(&mut self, name: &str) -> Result<&mut TestClient> {
        let actor = self.actors.get_mut(name).with_context(|| format!("there is no client `{name}`"))?;
        Ok(&mut actor.client)
    }

    /// Adds a client that the test has connected itself.
    pub fn enter(&mut self, name: &str, client: TestClient) {
        self.actors.insert(name.to_owned(), Actor::new(client));
    }

    /// Plays a script or a part of it.
    ///
    /// # Errors
    /// If a line fails. The error has the line, the expected frame and the frame that arrived.
    pub async fn play(&mut self, script: &str) -> Result<()> {
        for (at, text) in script.lines().enumerate() {
            let played = match ScriptLine::parse(text) {
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

    async fn line(&mut self, line: ScriptLine<'_>) -> Result<()> {
        let ScriptLine { who, act } = line;
        match act {
            Act::Reload { plugin, guest } => {
                self.host.reload(plugin, guest).await?;
            }
            Act::Remove { plugin } => self.remove(plugin).await?,
            Act::Close => self.leaving(who)?.client.close().await?,
            Act::Drop => drop(self.leaving(who)?),
            Act::Send(words) => self.actor(who).await?.send(words).await?,
            Act::SendRaw(text) => self.actor(who).await?.client.send(text).await?,
            Act::See(words) if who == "host" => self.see_answer(&words)?,
            Act::See(words) => self.actor(who).await?.see(words).await?,
            Act::SeeRaw(frame) => self.actor(who).await?.see_any_of(&[frame]).await?,
            Act::SeeEnd(code) => {
                self.actor(who).await?.client.closed_with(code).await?;
                self.actors.remove(who);
            }
            Act::SeeNothing => self.actor(who).await?.client.quiet().await?,
            Act::Enter(described) => self.enter_as(who, &described).await?,
            // The host uses the real clock, so the script waits in real time.
            Act::Serve { .. } => bail!("a real host asks real servers"),
            Act::Pass(time) => tokio::time::sleep(time).await,
            Act::Broadcast(words) => {
                let sent = self.send_as_operator("broadcast", &words)?;
                ensure!(sent.code == Some(0), "{sent:?}");
            }
            Act::Tell(words) => self.answer = Some(answer(&self.send_as_operator("send", &words)?)?),
            Act::Disconnect(id) => {
                let closed = self.operate(&["disconnect", id])?;
                ensure!(
                    closed.code == Some(0) && closed.output != "0 sockets\n",
                    "no socket has the id `{id}`: {closed:?}"
                );
            }
        }
        Ok(())
    }

    async fn enter_as(&mut self, who: &str, described: &Value) -> Result<()> {
        ensure!(!self.actors.contains_key(who), "{who} is connected already");
        let user = described["user"].as_str().context("a client that connects needs a `user`")?;
        let expected = json!({ "user": user, "socket_id": format!("user_socket:{user}") });
        ensure!(*described == expected, "on this host a client is described by {expected}, not {described}");
        let signed = self.operate(&["token", "sign", "--secret-file", "secret.txt", "--salt", SALT, user])?;
        ensure!(signed.code == Some(0), "{signed:?}");
        let query = format!("vsn=2.0.0&token={}", signed.output.trim());
        let client = self.host.connect_request().at(MOUNT).query(&query).connect().await?;
        self.enter(who, client);
        Ok(())
    }

    fn send_as_operator(&self, command: &str, words: &Words<'_>) -> Result<Ended> {
        let payload = words.payload.to_string();
        self.operate(&[command, words.topic.unwrap_or_default(), words.word, &payload])
    }

    /// Runs a command against the host, in the directory of the host's configuration.
    fn operate(&self, arguments: &[&str]) -> Result<Ended> {
        let host = self.host.address().to_string();
        bennu_with(self.host.home(), arguments, &[("BENNU_HOST", &host)])
    }

    fn see_answer(&mut self, words: &Words<'_>) -> Result<()> {
        let came = self.answer.take().context("there was no `host ! send`, or its answer has already been expected")?;
        let expected = if words.word == "none" { json!("none") } else { json!([words.status, words.payload]) };
        ensure!(pattern::matches(&expected, &came), "expected  {expected}\n    came  {came}");
        Ok(())
    }

    async fn actor(&mut self, who: &str) -> Result<&mut Actor> {
        if !self.actors.contains_key(who) {
            let client = self.host.connect().await?;
            self.enter(who, client);
        }
        self.actors.get_mut(who).context("the client was just added")
    }

    fn leaving(&mut self, who: &str) -> Result<Actor> {
        self.actors.remove(who).with_context(|| format!("there is no client `{who}`"))
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

/// The answer that `bennu send` printed: its status with the response, or `none`.
fn answer(ended: &Ended) -> Result<Value> {
    let response = || -> Result<Value> { serde_json::from_str(&ended.output).with_context(|| format!("{ended:?}")) };
    match (ended.code, ended.errors.split('`').nth(1)) {
        (Some(0), _) if ended.output.is_empty() => Ok(json!("none")),
        (Some(0), _) => Ok(json!(["ok", response()?])),
        (_, Some(status)) if ended.errors.contains("the reply has the status") => Ok(json!([status, response()?])),
        _ => Ok(json!(["error", ended.errors])),
    }
}

impl Actor {
    fn new(client: TestClient) -> Self {
        Self { client, context: LineContext::default() }
    }

    async fn send(&mut self, words: Words<'_>) -> Result<()> {
        let (topic, event) = self.context.message(&words)?;
        let reference = self.client.push(&topic, event, &words.payload).await?;
        self.context.record_sent(&words, topic, &reference);
        Ok(())
    }

    async fn see(&mut self, words: Words<'_>) -> Result<()> {
        let expected = self.context.expected_frames(words, |topic| self.client.join_ref(topic).map(str::to_owned))?;
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
