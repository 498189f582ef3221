//! `bennu plugins`.

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::ask::{Ask, in_path};
use super::output::out_line;
use super::shown;

/// Show the plugins of a host, and reload, unload, roll back or forget one.
#[derive(Args)]
pub(super) struct Plugins {
    #[command(flatten)]
    ask: Ask,

    /// Print them as JSON
    #[arg(long)]
    json: bool,

    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Load its file anew, changed or not
    Reload { name: String },
    /// Serve it no more, until a reload or the host's next start
    Unload { name: String },
    /// Let the generation before serve again, until its file changes
    Rollback { name: String },
    /// Forget one whose file is gone for good, and that it was a gatekeeper
    Forget { name: String },
}

impl Plugins {
    pub(super) fn run(self) -> Result<()> {
        let (name, action) = match &self.action {
            None => return self.list(),
            Some(Action::Reload { name }) => (name, "reload"),
            Some(Action::Unload { name }) => (name, "unload"),
            Some(Action::Rollback { name }) => (name, "rollback"),
            Some(Action::Forget { name }) => (name, "forget"),
        };
        let status = self.ask.post(&format!("/api/plugins/{}/{action}", in_path(name)), "{}")?;
        if self.json {
            out_line!("{}", shown::pretty(&status)?);
        } else if action == "forget" {
            out_line!("forgotten: {}", shown::name(name));
        } else {
            show(name, &status);
        }
        Ok(())
    }

    fn list(&self) -> Result<()> {
        let found = self.ask.get("/api/plugins")?;
        if self.json {
            out_line!("{}", shown::pretty(&found["plugins"])?);
            return Ok(());
        }
        found["plugins"].as_object().into_iter().flatten().for_each(|(name, status)| show(name, status));
        Ok(())
    }
}

/// A plugin as a person reads it.
pub(super) fn show(name: &str, plugin: &Value) {
    let topics = plugin["topics"].as_array().into_iter().flatten().filter_map(Value::as_str).map(shown::name);
    let topics: Vec<String> = topics.collect();
    let kind = plugin["kind"].as_str().filter(|kind| !kind.is_empty()).unwrap_or("plugin");
    let (name, is_served) = (shown::name(name), plugin["generation"].as_u64() > Some(0));
    match plugin["generation"].as_u64() {
        Some(0) | None => out_line!("{kind} {name}: not served"),
        Some(generation) if topics.is_empty() => out_line!("{kind} {name}: generation {generation}"),
        Some(generation) => out_line!("{kind} {name}: generation {generation}, serves {}", topics.join(" ")),
    }
    out_line!("  {}", shown::name(plugin["file"].as_str().unwrap_or_default()));
    show_standing(plugin);
    if let Some(taken_back) = plugin["taken_back"].as_object() {
        let (generation, faults) = (&taken_back["generation"], &taken_back["faults"]);
        let commits = &taken_back["commits_given_up"];
        out_line!("  generation {generation} was taken back after {faults} faults; {commits} commits were given up");
        // Unless a later build has come since.
        if plugin["generation"].as_u64() < generation.as_u64() {
            out_line!("    `bennu plugins reload {name}` loads what is in its file all the same");
        }
    }
    if let Some(error) = plugin["last_error"].as_str() {
        out_line!("  last load refused: {}", shown::name(error));
    }
    let gone = match (is_served, plugin["is_unloaded"] == true) {
        (true, _) => "its file has vanished; the last good generation continues to serve",
        (false, true) => "its file has vanished; put it back before a reload",
        (false, false) => "its file has vanished",
    };
    for (flag, text) in [
        ("is_loading", "a build of it is being read and compiled"),
        ("is_unloaded", "unloaded by an operator; `bennu plugins reload` brings it back"),
        ("is_rolled_back", "rolled back: a later build is in its file"),
        ("file_is_gone", gone),
    ] {
        if plugin[flag] == true {
            out_line!("  {text}");
        }
    }
}

/// Whether its build is proved.
fn show_standing(plugin: &Value) {
    let probation = &plugin["probation"];
    let (instead, calls, faults) = (&probation["instead"], &probation["calls"], &probation["faults"]);
    match plugin["standing"].as_str() {
        Some("unproved") => out_line!("  unproved: it has answered no call yet, and there is no build to go back to"),
        Some("proved") => out_line!("  proved"),
        Some("on-probation") if instead.is_null() => {
            out_line!("  on probation: {calls} calls answered; the build to go back to can't be loaded any more");
        }
        Some("on-probation") => {
            out_line!("  on probation: {calls} calls answered, {faults} faults that generation {instead} answered");
        }
        _ => {}
    }
}
