//! `bennu check`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use bennu::plugin::Loaded;
use bennu::routes::{HistorySpec, OnFault, RoomKind, RouteSpec, Turns};
use bennu::server::{Config, start_logging};
use bennu::terminal::shown;
use clap::Args;

use super::building::Checker;

/// Describe a component, and say whether a host would serve it.
#[derive(Args)]
pub(super) struct Check {
    /// The component's file
    #[arg(value_name = "FILE")]
    file: PathBuf,

    /// The configuration file, for its limits and the plugin's settings
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Check {
    pub(super) async fn run(self) -> Result<()> {
        let config = self.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        start_logging("warn", config.log_format)?;
        let content = std::fs::read(&self.file).with_context(|| format!("reading {}", self.file.display()))?;
        let loaded = Checker::new(&config)?.load(&self.file, content).await?;
        show(&self.file, &loaded);
        Ok(())
    }
}

fn show(file: &Path, loaded: &Loaded) {
    let (kind, version) = (loaded.anatomy.kind.as_str(), &loaded.anatomy.version);
    out_line!("{} is a {kind} for version {version} of the contract", file.display());
    let made: Vec<&str> =
        loaded.tools.language.iter().chain(&loaded.tools.sdk).chain(&loaded.tools.tools).map(String::as_str).collect();
    if !made.is_empty() {
        out_line!("  made with {}", shown::name(&made.join(", ")));
    }
    out_line!("  size      {} bytes", loaded.size);
    out_line!("  sha256    {}", loaded.digest);
    let how = if loaded.was_cached { "found compiled in" } else { "compiled in" };
    out_line!("  code      {how} {} ms", loaded.compiling.as_millis());
    for (at, route) in loaded.routes.iter().enumerate() {
        out_line!("  {}    {}", if at == 0 { "topics" } else { "      " }, describe(route));
    }
    list("exports", loaded.anatomy.exports.iter());
    list("imports", loaded.anatomy.own_imports());
}

fn describe(route: &RouteSpec) -> String {
    let mut line = shown::name(&route.pattern.to_string());
    if !route.intercepts.is_empty() {
        line += &format!(", intercepts {}", shown::name(&route.intercepts.join(" ")));
    }
    match route.room {
        RoomKind::None if route.turns == Turns::Topic => line += ", turns of the topic",
        RoomKind::None => {}
        RoomKind::Memory => line += &format!(", a room that lingers for {:?}", route.linger),
        RoomKind::Durable => line += ", a durable room",
    }
    if let Some(HistorySpec { count, age }) = route.history {
        line += &format!(", a history of {count} broadcasts for {age:?}");
    }
    for (state, version) in [("assigns", route.assigns_version), ("room", route.room_version)] {
        if version > 0 {
            line += &format!(", {state} of version {version}");
        }
    }
    if route.on_fault == OnFault::Keep {
        line += ", members that live on after a fault";
    }
    line
}

fn list<'a>(title: &str, names: impl Iterator<Item = &'a String>) {
    for (at, name) in names.enumerate() {
        out_line!("  {:<9} {}", if at == 0 { title } else { "" }, shown::name(name));
    }
}
