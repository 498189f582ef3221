//! `bennu config reload` and `bennu reload`, which are the same.

use anyhow::Result;
use bennu::terminal::shown;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::ask::Ask;

/// Reload the configuration of a running host.
#[derive(Args)]
pub(super) struct ConfigCommand {
    #[command(flatten)]
    ask: Ask,

    /// Print the whole answer as JSON
    #[arg(long, global = true)]
    json: bool,

    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Read the configuration again, and apply what has changed
    ///
    /// The host reads the file with which it was started, the secrets and keys that the file names, and the flags of its command
    /// line. If anything is invalid, nothing is changed, and the exit status is 1. A key that takes effect only when the host is
    /// started again is named. The signal SIGHUP does the same.
    Reload {
        /// Only print what would change
        #[arg(long)]
        dry_run: bool,
    },
}

/// Read the configuration of a running host again, and apply what has changed
///
/// This is the same as `bennu config reload`. `bennu plugins reload` loads the file of a plugin again.
#[derive(Args)]
pub(super) struct Reload {
    #[command(flatten)]
    ask: Ask,

    /// Print the whole answer as JSON
    #[arg(long)]
    json: bool,

    /// Only print what would change
    #[arg(long)]
    dry_run: bool,
}

impl ConfigCommand {
    pub(super) fn run(self) -> Result<()> {
        let Self { ask, json, what: What::Reload { dry_run } } = self;
        Reload { ask, json, dry_run }.run()
    }
}

impl Reload {
    pub(super) fn run(self) -> Result<()> {
        let body = json!({ "dry_run": self.dry_run }).to_string();
        let answer: Value = self.ask.post("/api/config/reload", &body)?;
        if self.json {
            out_line!("{}", shown::pretty(&answer)?);
        } else {
            show(&answer);
        }
        Ok(())
    }
}

fn show(answer: &Value) {
    let changes = answer["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    if changes.is_empty() {
        out_line!("nothing has changed");
    }
    for change in changes {
        let when = match change["takes_effect"].as_str() {
            Some("now") => "now",
            Some("new_connections") => "new connections",
            Some("plugin_reload") => "plugin reload",
            _ => "restart",
        };
        out_line!("{when:<15}  {}", shown::name(change["key"].as_str().unwrap_or_default()));
    }
    for (plugin, outcome) in answer["plugins"].as_object().into_iter().flatten() {
        match outcome["failure"].as_str() {
            None => out_line!("loaded again     plugin {}", shown::name(plugin)),
            Some(why) => out_line!("not loaded       plugin {}: {}", shown::name(plugin), shown::name(why)),
        }
    }
    for finding in answer["findings"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        out_line!("note             {}", shown::name(finding));
    }
}
