//! `bennu serve`.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use bennu::server::{Checked, Config, Listeners, LogFormat, Relaunch, ServiceManager, Start, check, start_logging};
use bennu::terminal::shown;
use clap::{Args, ValueEnum};

use super::hosting;
use super::path_or_nothing;
use super::signals::Signals;

/// Serve plugins, and reload a plugin when its file changes.
#[derive(Args)]
pub(super) struct Serve {
    /// Directories of plugins, or single plugins (NAME.wasm). They are added to `load` of the configuration
    #[arg(value_name = "DIR or FILE")]
    load: Vec<PathBuf>,

    /// The configuration file. Without it, every setting has its default
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// The address to listen on [default: 127.0.0.1:4000]; port 0 takes a free port
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,

    /// A directory of files to serve at /
    #[arg(long = "static", value_name = "DIR")]
    static_directory: Option<PathBuf>,

    /// The data directory: what plugins store, durable rooms and the API key [default: data, next to the configuration file]
    #[arg(long, env = "BENNU_DATA", value_name = "DIR", value_parser = path_or_nothing())]
    data: Option<PathBuf>,

    /// The log filter: a level, or directives such as info,guest=debug
    #[arg(long, env = "BENNU_LOG", value_name = "FILTER")]
    log: Option<String>,

    /// The format of the log
    #[arg(long, value_enum)]
    log_format: Option<Format>,

    /// Replace the host that runs on the data directory: take its sockets, its rooms in memory and its store over once the
    /// plugins are compiled. `bennu upgrade` starts such a process. If no host runs, this has no effect
    #[arg(long, conflicts_with = "check")]
    take_over: bool,

    /// Read the configuration and the plugins, print the findings, and exit. The status is 1 if something is wrong
    #[arg(long)]
    check: bool,
}

/// The flag that makes a process the successor of a running one.
const TAKE_OVER: &str = "--take-over";

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Human,
    Json,
}

impl Serve {
    /// Serves, on the sockets that were passed to this process, if there are some.
    pub(super) async fn run(self, listeners: Listeners) -> Result<()> {
        let (is_check, takes_over) = (self.check, self.take_over);
        let config = self.config()?;
        if is_check {
            return show(&check(&config).await?);
        }
        start_logging(&config.log, config.log_format)?;
        let mut signals = Signals::listen()?;
        let manager = ServiceManager::of_environment(takes_over)?;
        let relaunch = Some(Relaunch::of_this_process(TAKE_OVER)?);
        let start = Start { listeners, relaunch, ..Start::default() };
        let start = if takes_over { hosting::take_over(&config, start, &mut signals).await? } else { Some(start) };
        let Some(start) = start else { return Ok(()) };
        match hosting::start(&config, start, &mut signals).await? {
            Some(host) => {
                host.config_reload().read_by(Box::new(move || self.config()));
                hosting::serve(host, &config.data, signals, &manager).await
            }
            None => Ok(()),
        }
    }

    /// Reads the configuration file. The flags take precedence over it.
    fn config(&self) -> Result<Config> {
        let mut config = self.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        config.load.extend(self.load.iter().cloned());
        config.listen = self.listen.clone().unwrap_or(config.listen);
        config.static_directory = self.static_directory.clone().or(config.static_directory);
        config.data = self.data.clone().filter(|data| !data.as_os_str().is_empty()).unwrap_or(config.data);
        // An empty variable counts as not set.
        config.log = self.log.clone().filter(|log| !log.trim().is_empty()).unwrap_or(config.log);
        config.log_format = match self.log_format {
            Some(Format::Human) => LogFormat::Human,
            Some(Format::Json) => LogFormat::Json,
            None => config.log_format,
        };
        Ok(config)
    }
}

/// Prints the result of a check: a line for each plugin and each finding. Returns an error if something is wrong.
fn show(checked: &Checked) -> Result<()> {
    let mut wrong = 0;
    for (name, plugin) in &checked.plugins {
        let (name, file) = (shown::name(name), shown::name(&plugin.file));
        match &plugin.last_error {
            None if plugin.topics.is_empty() => out_line!("ok       {} {name} ({file})", plugin.kind),
            None => {
                let topics: Vec<String> = plugin.topics.iter().map(|topic| shown::name(topic)).collect();
                out_line!("ok       {} {name} ({file}) serves {}", plugin.kind, topics.join(" "));
            }
            Some(why) => {
                wrong += 1;
                out_line!("refused  plugin {name} ({file}): {}", shown::name(why));
            }
        }
    }
    for finding in &checked.findings {
        wrong += usize::from(finding.is_mistake);
        out_line!("{}  {}", if finding.is_mistake { "wrong  " } else { "note   " }, shown::name(&finding.text));
    }
    ensure!(wrong == 0, "{wrong} {} wrong", if wrong == 1 { "thing is" } else { "things are" });
    out_line!("nothing is wrong");
    Ok(())
}
