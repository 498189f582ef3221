//! `bennu deliveries`.

use anyhow::Result;
use bennu::terminal::shown;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ask::{Ask, in_path};

/// Show the deliveries of plugins: requests that are sent until a server accepts them. Retry or drop them.
#[derive(Args)]
pub(super) struct Deliveries {
    #[command(flatten)]
    ask: Ask,

    /// Show only those of this plugin
    #[arg(long)]
    plugin: Option<String>,

    /// Show only those that have failed, or are given up
    #[arg(long)]
    failed: bool,

    /// Print the deliveries as JSON
    #[arg(long)]
    json: bool,

    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Send a delivery now, and then for as long as a new one
    Retry(Named),
    /// Remove a delivery
    Drop(Named),
}

#[derive(Args)]
struct Named {
    /// The plugin
    plugin: String,
    /// The delivery's id. Without it: all deliveries of the plugin that are given up
    id: Option<String>,
}

impl Deliveries {
    pub(super) fn run(self) -> Result<()> {
        let (command, Named { plugin, id }) = match &self.action {
            None => return self.show(),
            Some(Action::Retry(named)) => ("retry", named),
            Some(Action::Drop(named)) => ("drop", named),
        };
        let ids = match id {
            Some(id) => vec![id.clone()],
            None => self.given_up(plugin)?,
        };
        for id in &ids {
            let body = json!({ "plugin": plugin, "id": id }).to_string();
            let _: Value = self.ask.post(&format!("/api/deliveries/{command}"), &body)?;
        }
        if id.is_none() {
            out_line!("{}", ids.len());
        }
        Ok(())
    }

    /// The ids of a plugin's deliveries that are given up.
    fn given_up(&self, plugin: &str) -> Result<Vec<String>> {
        let all = self.list(Some(plugin))?;
        let given_up = all.iter().filter(|delivery| delivery["state"] == "given-up");
        Ok(given_up.filter_map(|delivery| delivery["id"].as_str().map(str::to_owned)).collect())
    }

    fn list(&self, plugin: Option<&str>) -> Result<Vec<Value>> {
        let plugin = plugin.map(|plugin| format!("&plugin={}", in_path(plugin))).unwrap_or_default();
        let (mut all, mut after) = (Vec::new(), String::new());
        loop {
            let page = self.ask.get(&format!("/api/deliveries?limit=1000{plugin}{after}"))?;
            all.extend(page["deliveries"].as_array().cloned().unwrap_or_default());
            let Some(next) = page["next"].as_str() else { return Ok(all) };
            after = format!("&after={}", in_path(next));
        }
    }

    fn show(&self) -> Result<()> {
        let mut all = self.list(self.plugin.as_deref())?;
        all.retain(|delivery: &Value| !self.failed || delivery["failures"].as_u64() > Some(0));
        if self.json {
            out_line!("{}", shown::pretty(&all)?);
            return Ok(());
        }
        for delivery in &all {
            let text = |name: &str| shown::name(delivery[name].as_str().unwrap_or_default());
            let state = match delivery["failures"].as_u64() {
                Some(failures) if failures > 0 => {
                    format!("{}, {failures} failures, the last one: {}", text("state"), text("failure"))
                }
                _ => text("state").to_string(),
            };
            out_line!("{}  {}  {}  {}  {state}", text("id"), text("plugin"), text("topic"), text("url"));
        }
        Ok(())
    }
}
