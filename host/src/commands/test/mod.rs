//! `bennu test`.

mod project;
mod scripts;

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use bennu::project::Project;
use bennu::server::{Config, start_logging};
use clap::Args;

/// Build and test the project in this folder; or play scripts against a plugin, in process: the messages that clients send, and the
/// messages that they get
#[derive(Args)]
#[command(after_help = LANGUAGE)]
pub(super) struct Test {
    /// The plugin: a component or a script in TypeScript or JavaScript. Without it, the project in this folder is tested
    #[arg(value_name = "PLUGIN")]
    plugin: Option<PathBuf>,

    /// The scripts. Each one has its own stage
    #[arg(value_name = "SCRIPT")]
    scripts: Vec<PathBuf>,

    /// Another plugin on the same stage
    #[arg(long = "with", value_name = "PLUGIN")]
    others: Vec<PathBuf>,

    /// The configuration that the plugins run under. For a project, the default is its bennu.toml
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Test the project as it was built before
    #[arg(long, conflicts_with = "plugin")]
    no_build: bool,

    /// The filter of the log: a level, or directives such as info,guest=debug
    #[arg(long, env = "BENNU_LOG", default_value = LOG, value_name = "FILTER")]
    log: String,
}

/// The default filter of the log.
const LOG: &str = "warn";

const LANGUAGE: &str = "A script has a line for each event:
  alice = {\"user\": \"42\"}                 alice connects as this user (without this line: without a user)
  alice > join room:1 {\"name\": \"alice\"}  she joins a topic; her next lines are about this topic
  alice < ok {}                            her next message is this reply
  alice > new_msg {\"body\": \"hi\"}         she sends an event
  bob   < new_msg {\"body\": \"hi\", \"id\": …}  bob's next message is this event; … matches any value
  bob   ~                                  bob gets no further message
  clock + 5s                               time passes, and timers fire
  alice x close                            her connection is closed
  host  ! send room:1 close {}             another system sends a message to handle_message
  host  < ok {}                            the answer to that message is this
  -- a comment

Time passes only in the lines of `clock`. `bennu docs testing` describes the whole language";

impl Test {
    pub(super) fn run(self) -> Result<()> {
        // An empty variable counts as unset.
        let log = if self.log.trim().is_empty() { LOG } else { &self.log };
        let Some(plugin) = self.plugin else {
            let mut project = Project::read(Path::new("."), self.config.as_deref())?;
            project.config.repeats_calls = true;
            start_logging(log, project.config.log_format)?;
            return project::test(project, !self.no_build);
        };
        let mut config = self.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        config.repeats_calls = true;
        start_logging(log, config.log_format)?;
        ensure!(!self.scripts.is_empty(), "name the scripts too: `bennu test {} SCRIPT`", plugin.display());
        scripts::check_order(&plugin, &self.scripts)?;
        let plugins: Vec<PathBuf> = std::iter::once(plugin).chain(self.others).collect();
        let failed =
            self.scripts.iter().filter(|script| !scripts::report(&config, &plugins, &script.display(), script)).count();
        ensure!(failed == 0, "{failed} of {} scripts failed", self.scripts.len());
        Ok(())
    }
}
