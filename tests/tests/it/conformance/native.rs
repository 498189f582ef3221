//! Scripts played on the native test kit.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use bennu::contract::HttpResult;
use bennu::kit::{ScriptClient, ScriptStage};
use bennu::server::PluginTable;
use bennu_guest::testing::{Client, Setup, Stage};
use bennu_guest::{IntoPayload, Payload};
use serde_json::{Value, json};

use super::naughty;

/// Plays a script against the plugin as native code, with this configuration and these grants.
pub(super) fn play(granted: &PluginTable, script: &str) -> Result<()> {
    let stage = stage(granted);
    bennu::kit::play(&NativeStage(&stage), script, Path::new("")).map_err(|error| {
        let faults = stage.faults();
        anyhow!("{error:#}\nthe faults were {faults:?}")
    })
}

fn stage(granted: &PluginTable) -> Stage {
    let stage = naughty::on_stage(Stage::new()).config(&granted.config);
    let stage = granted.publish.iter().fold(stage, |stage, pattern| stage.publish(pattern));
    granted.read.iter().fold(stage, |stage, pattern| stage.read(pattern))
}

struct NativeStage<'a>(&'a Stage);

impl ScriptStage for NativeStage<'_> {
    fn connect(&self, described: Option<&Value>) -> Result<Box<dyn ScriptClient>> {
        let mut setup = Setup::new();
        if let Some(described) = described {
            let text = |key: &str| described[key].as_str().with_context(|| format!("a client needs a `{key}`"));
            setup = setup.user(text("user")?).socket_id(text("socket_id")?);
        }
        Ok(Box::new(NativeClient(self.0.connect(setup))))
    }

    fn pass(&self, time: Duration) {
        self.0.advance(time);
    }

    fn broadcast(&self, topic: &str, event: &str, payload: Value) {
        self.0.broadcast(topic, event, payload);
    }

    fn send(&self, topic: &str, event: &str, payload: Value) -> Result<Value> {
        Ok(match self.0.send(topic, event, payload) {
            Ok(None) => json!("none"),
            Ok(Some(reply)) => json!([reply.status, reply.json()]),
            Err(fault) => json!(["error", fault.to_string()]),
        })
    }

    fn http(&self, method: &str, url: &str, result: HttpResult) {
        let stage = self.0.clone();
        drop(match result {
            Ok(response) => {
                let body = serde_json::from_slice::<Value>(&response.body).unwrap_or_default();
                stage.http(method, url, response.status, body)
            }
            Err(failure) => stage.http_failure(method, url, &failure.kind),
        });
    }

    fn disconnect(&self, id: &str) -> usize {
        self.0.disconnect(id)
    }

    fn reload(&self, _: &str, file: &Path) -> Result<()> {
        match file.to_str() {
            Some("naughty.wasm") => naughty::reload::<0>(self.0),
            Some("variants/naughty-entries.wasm") => naughty::reload::<1>(self.0),
            _ => bail!("the native kit has no build of {}", file.display()),
        }
        Ok(())
    }
}

struct NativeClient(Client);

impl ScriptClient for NativeClient {
    fn push(&mut self, topic: &str, event: &str, payload: &Value) -> String {
        // The text as `bennu test` sends it.
        self.0.push(topic, event, Payload::Json(payload.to_string()).into_payload())
    }

    fn send(&mut self, text: &str) {
        self.0.send(text);
    }

    fn next(&mut self) -> Option<Value> {
        self.0.next()
    }

    fn join_ref(&self, topic: &str) -> Option<String> {
        self.0.join_ref(topic).map(str::to_owned)
    }

    fn close(self: Box<Self>) {
        self.0.close();
    }
}
