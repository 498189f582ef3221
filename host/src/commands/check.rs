//! `bennu check`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use bennu::contract::{Http, NoHost};
use bennu::plugin::{Digest, Loaded, build_of};
use bennu::routes::{OnFault, RoomKind, RouteSpec, Turns};
use bennu::server::{Config, loader, start_logging};
use bennu::store::{Store, StoreLimits};
use bennu::terminal::shown;
use clap::Args;

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
        let bytes = std::fs::read(&self.file).with_context(|| format!("reading {}", self.file.display()))?;
        let name = self.file.file_stem().unwrap_or_default().to_string_lossy();
        let origin = config.settings()?.origin(&name, 1);
        let origin = origin.map_err(|error| anyhow!("{} can't be served: {error:#}", self.file.display()))?;
        let bytes = build_of(&self.file, bytes);
        let digest = Digest::of(&bytes);
        let store = Store::in_memory(StoreLimits::default())?;
        let loaded = loader(&config, Arc::new(NoHost), store, Http::none(), 1)?
            .load(bytes.into(), digest, Arc::new(origin))
            .await;
        let loaded = loaded.map_err(|error| anyhow!("{} can't be served: {error:#}", self.file.display()))?;
        show(&self.file, &loaded);
        Ok(())
    }
}

fn show(file: &Path, loaded: &Loaded) {
    let (kind, version) = (loaded.anatomy.kind.as_str(), &loaded.anatomy.version);
    out_line!("{} is a {kind} for version {version} of the contract", file.display());
    let made: Vec<&str> = loaded.tools.language.iter().chain(&loaded.tools.tools).map(String::as_str).collect();
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
    list("imports", loaded.anatomy.imports.iter());
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
