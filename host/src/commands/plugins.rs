//! `bennu plugins`.

use anyhow::Result;
use bennu::terminal::shown;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::ask::{Ask, in_path};

/// Show the plugins of a host; reload, unload, roll back or forget one.
#[derive(Args)]
pub(super) struct Plugins {
    #[command(flatten)]
    ask: Ask,

    /// Print the result as JSON
    #[arg(long)]
    json: bool,

    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Subcommand)]
enum Action {
    /// Load the plugin's file, even if it hasn't changed
    Reload { name: String },
    /// Stop serving the plugin, until a reload or the host's next start
    Unload { name: String },
    /// Roll back to the generation before, until the plugin's file changes or the host restarts
    Rollback { name: String },
    /// Remove what the host remembers of a plugin whose file is gone for good, also that it was a gatekeeper
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

/// Prints a plugin's state for people.
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
    // A node of a cluster serves also plugins of which it has no file.
    if let Some(file) = plugin["file"].as_str().filter(|file| !file.is_empty()) {
        out_line!("  {}", shown::name(file));
    }
    if let Some(language) = plugin["language"].as_str().filter(|_| is_served) {
        let sdk = plugin["sdk"].as_str().map_or_else(String::new, |sdk| format!(", with {}", shown::name(sdk)));
        out_line!("  in {}{sdk}", shown::name(language));
    }
    show_standing(plugin);
    if is_served {
        show_usage(&plugin["usage"]);
    }
    if let Some(taken_back) = plugin["taken_back"].as_object() {
        let (generation, faults) = (&taken_back["generation"], &taken_back["faults"]);
        let commits = &taken_back["commits_given_up"];
        out_line!(
            "  generation {generation} was rolled back automatically after {faults} faults; {commits} commits were discarded"
        );
        // Not if a later build serves, because the file then no longer contains the refused build.
        if plugin["generation"].as_u64() < generation.as_u64() {
            out_line!("    `bennu plugins reload {name}` loads the build in its file anyway");
        }
    }
    show_cluster(&plugin["cluster"]);
    if let Some(error) = plugin["last_error"].as_str() {
        out_line!("  last load refused: {}", shown::name(error));
    }
    let gone = match (is_served, plugin["is_unloaded"] == true) {
        (true, _) => "its file is gone; the last good generation continues to serve",
        (false, true) => "its file is gone; put it back before a reload",
        (false, false) => "its file is gone",
    };
    for (flag, text) in [
        ("is_loading", "a build is being read and compiled"),
        ("is_unloaded", "unloaded by an operator; `bennu plugins reload` loads it again"),
        ("is_rolled_back", "rolled back: a later build is in its file"),
        ("file_is_gone", gone),
    ] {
        if plugin[flag] == true {
            out_line!("  {text}");
        }
    }
}

/// Prints what the nodes of a cluster serve, and what they prepare.
fn show_cluster(cluster: &Value) {
    let text = |value: &Value| shown::name(value.as_str().unwrap_or_default());
    if let Some(rollout) = cluster["rollout"].as_object() {
        out_line!("  rollout {}: begun at {}", rollout["number"], text(&rollout["by"]));
    }
    for node in cluster["nodes"].as_array().into_iter().flatten() {
        let generation = match node["generation"].as_u64() {
            Some(generation) => format!("generation {generation}"),
            None => "not served".to_owned(),
        };
        let prepared = match node["is_prepared"].as_bool() {
            Some(true) => ", ready to switch",
            Some(false) => ", prepares the rollout",
            None => "",
        };
        let trouble = node["trouble"].as_str().map(|why| format!(": {}", shown::name(why))).unwrap_or_default();
        out_line!("  at {}: {generation}{prepared}{trouble}", text(&node["node"]));
    }
}

/// Prints what a plugin uses. A host of an earlier version doesn't say so.
fn show_usage(usage: &Value) {
    let number = |key: &str| usage[key].as_u64().unwrap_or_default();
    if number("calls") + number("instances") > 0 {
        out_line!(
            "  {} calls, {} ms of CPU time, {} faults; {} instances ({} idle) with {:.1} MiB",
            number("calls"),
            number("cpu_ms"),
            number("faults"),
            number("instances"),
            number("instances_idle"),
            number("memory_bytes") as f64 / f64::from(1 << 20)
        );
    }
}

/// Prints whether the build that serves has passed probation, is on probation, or has answered no call yet.
fn show_standing(plugin: &Value) {
    let probation = &plugin["probation"];
    let (instead, calls, faults) = (&probation["instead"], &probation["calls"], &probation["faults"]);
    match plugin["standing"].as_str() {
        Some("unproved") => out_line!("  unproved: it has answered no call yet, and there is no build to roll back to"),
        Some("proved") => out_line!("  proved"),
        Some("on-probation") if instead.is_null() => {
            out_line!("  on probation: {calls} calls answered; the build to roll back to can't be loaded any more");
        }
        Some("on-probation") => {
            out_line!(
                "  on probation: {calls} calls answered, {faults} faults on calls that generation {instead} answered"
            );
        }
        _ => {}
    }
}
