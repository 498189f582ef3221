//! `bennu inspect`.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde_json::Value;

/// Show what runs on a host of this machine: plugins, sockets, channels, topics.
#[derive(Args)]
pub(super) struct Inspect {
    /// Where the host listens
    #[arg(long, default_value = "127.0.0.1:4000", value_name = "ADDRESS:PORT")]
    host: String,

    /// Print all of it as JSON
    #[arg(long)]
    json: bool,
}

/// Topics in the summary; `--json` has more.
const TOPICS_SHOWN: usize = 20;

impl Inspect {
    pub(super) fn run(self) -> Result<()> {
        let found = self.ask()?;
        if self.json {
            println!("{}", serde_json::to_string_pretty(&found)?);
        } else {
            show(&found);
        }
        Ok(())
    }

    fn ask(&self) -> Result<Value> {
        let url = format!("http://{}/api/inspect", self.host);
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(5)))
            .http_status_as_error(false)
            .build()
            .into();
        let asking =
            || format!("asking the host at {}; is it running there? (--host ADDRESS:PORT names another)", self.host);
        let mut answer = agent.get(&url).call().with_context(asking)?;
        let text = answer.body_mut().read_to_string().with_context(asking)?;
        if answer.status() != 200 {
            bail!("the host at {} answered {}: {}", self.host, answer.status(), text.trim());
        }
        serde_json::from_str(&text).with_context(|| format!("what answers at {} is no Bennu host", self.host))
    }
}

fn show(found: &Value) {
    let number = |key: &str| found[key].as_u64().unwrap_or_default();
    let uptime = Duration::from_secs(number("uptime_ms") / 1000);
    println!("bennu {}, up {uptime:?}", found["version"].as_str().unwrap_or_default());
    let (sockets, channels) = (number("sockets"), number("channels"));
    println!("{sockets} sockets, {channels} channels, {} topics, {} faults", number("topic_count"), number("faults"));
    for (name, plugin) in found["plugins"].as_object().into_iter().flatten() {
        show_plugin(name, plugin);
    }
    let topics = found["topics"].as_array().map_or(&[][..], Vec::as_slice);
    for topic in topics.iter().take(TOPICS_SHOWN) {
        println!("topic {}: {} members", topic["topic"].as_str().unwrap_or_default(), topic["members"]);
    }
    if topics.len() > TOPICS_SHOWN {
        println!("… and more; --json shows up to a thousand");
    }
}

fn show_plugin(name: &str, plugin: &Value) {
    let topics: Vec<&str> = plugin["topics"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    match plugin["generation"].as_u64() {
        Some(0) | None => println!("plugin {name}: not served"),
        Some(generation) => println!("plugin {name}: generation {generation}, serves {}", topics.join(" ")),
    }
    println!("  {}", plugin["file"].as_str().unwrap_or_default());
    if let Some(error) = plugin["last_error"].as_str() {
        println!("  last load refused: {error}");
    }
    if plugin["file_is_gone"] == Value::Bool(true) {
        println!("  its file has vanished; the last good generation goes on serving");
    }
}
