//! `bennu schedules`.

use anyhow::Result;
use bennu::terminal::shown;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ask::{Ask, in_path};

/// Show the schedules of plugins: messages that topics get later. Retry or drop one.
#[derive(Args)]
pub(super) struct Schedules {
    #[command(flatten)]
    ask: Ask,

    /// Show only those of this plugin
    #[arg(long)]
    plugin: Option<String>,

    /// Show the next times of cron lines instead
    #[arg(long)]
    cron: bool,

    /// Show the failure messages of deliveries that wait for their topic instead
    #[arg(long, conflicts_with = "cron")]
    undelivered: bool,

    /// Show only those that have failed, or are given up
    #[arg(long)]
    failed: bool,

    /// Print the schedules as JSON
    #[arg(long)]
    json: bool,

    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Try a schedule now, and then as often as a new one
    Retry(Named),
    /// Remove a schedule
    Drop(Named),
}

#[derive(Args)]
struct Named {
    /// The plugin
    plugin: String,
    /// The topic
    topic: String,
    /// The key of the schedule
    key: String,
}

impl Schedules {
    pub(super) fn run(self) -> Result<()> {
        let (command, named) = match &self.action {
            None => return self.list(),
            Some(Action::Retry(named)) => ("retry", named),
            Some(Action::Drop(named)) => ("drop", named),
        };
        let Named { plugin, topic, key } = named;
        let body = json!({ "kind": self.kind(), "plugin": plugin, "topic": topic, "key": key }).to_string();
        let _: Value = self.ask.post(&format!("/api/schedules/{command}"), &body)?;
        Ok(())
    }

    fn kind(&self) -> &'static str {
        match (self.cron, self.undelivered) {
            (true, _) => "cron",
            (_, true) => "undelivered",
            _ => "schedule",
        }
    }

    fn list(&self) -> Result<()> {
        let plugin = self.plugin.as_ref().map(|plugin| format!("&plugin={}", in_path(plugin))).unwrap_or_default();
        let kind = self.kind();
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.ask.get(&format!("/api/schedules?kind={kind}&limit=1000{plugin}{after}"))?;
            all.extend(page["schedules"].as_array().cloned().unwrap_or_default());
            let Some(next) = page["next"].as_str() else { break };
            after = format!("&after={}", in_path(next));
        }
        all.retain(|schedule: &Value| !self.failed || schedule["failures"].as_u64() > Some(0));
        if self.json {
            out_line!("{}", shown::pretty(&all)?);
            return Ok(());
        }
        for schedule in &all {
            let text = |name: &str| shown::name(schedule[name].as_str().unwrap_or_default());
            let state = match (schedule["state"].as_str(), schedule["failures"].as_u64()) {
                (Some(state @ ("retrying" | "given-up")), Some(failures)) => format!("{state}, {failures} failures"),
                (state, _) => state.unwrap_or_default().to_owned(),
            };
            let due = schedule["due_ms"].as_u64().map_or_else(String::new, time);
            out_line!("{due}  {}  {}  {}  {}  {state}", text("plugin"), text("topic"), text("key"), text("event"));
        }
        Ok(())
    }
}

/// A time for people, in UTC.
fn time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(chrono::DateTime::from_timestamp_millis);
    time.map_or_else(|| ms.to_string(), |time| time.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}
