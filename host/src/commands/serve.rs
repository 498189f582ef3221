//! `bennu serve`.

use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use bennu::server::{Checked, Config, Host, LogFormat, check, start_logging};
use clap::{Args, ValueEnum};
use rustix::process::Signal;
use tokio::signal::unix::{SignalKind, signal};

use super::{path_or_nothing, shown};

/// Serve plugins, and reload them when their files change.
#[derive(Args)]
pub(super) struct Serve {
    /// Directories of plugins, or single plugins (NAME.wasm); added to `load` of the configuration
    #[arg(value_name = "DIR or FILE")]
    load: Vec<PathBuf>,

    /// The configuration file; without it, everything has its default
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Where to listen [default: 127.0.0.1:4000]; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS:PORT")]
    listen: Option<String>,

    /// A directory of files to serve at /
    #[arg(long = "static", value_name = "DIR")]
    static_directory: Option<PathBuf>,

    /// Where to keep what outlives the host: plugins' storage, durable rooms and the API's key [default: data, beside the
    /// configuration]
    #[arg(long, env = "BENNU_DATA", value_name = "DIR", value_parser = path_or_nothing())]
    data: Option<PathBuf>,

    /// What to log: a level, or directives such as info,guest=debug
    #[arg(long, env = "BENNU_LOG", value_name = "FILTER")]
    log: Option<String>,

    /// How to write the log
    #[arg(long, value_enum)]
    log_format: Option<Format>,

    /// Read the configuration and the plugins, say what is found, and end: with 1 where something is wrong
    #[arg(long)]
    check: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Human,
    Json,
}

impl Serve {
    pub(super) async fn run(self) -> Result<()> {
        let is_check = self.check;
        let config = self.config()?;
        if is_check {
            return show(&check(&config).await?);
        }
        start_logging(&config.log, config.log_format)?;
        let mut interrupted = signal(SignalKind::interrupt()).context("listening for Ctrl-C")?;
        let mut terminated = signal(SignalKind::terminate()).context("listening for SIGTERM")?;
        // By default a file that grows past a limit on the size of files (`ulimit -f`) ends the process. With a handler it
        // is an error, as a full disk is. The handler stays when the stream is dropped.
        drop(signal(SignalKind::from_raw(Signal::XFSZ.as_raw())).context("handling SIGXFSZ")?);
        let host = Host::start(&config).await?;
        let address = host.address()?;
        if let Some(address) = host.api_address()? {
            tracing::info!("the API listens on http://{address}");
        }
        // The one line on standard output: who starts us waits for it.
        println!("Listening on http://{address}");
        std::io::stdout().flush().context("writing to standard output")?;
        let stop = async move {
            tokio::select! {
                _ = interrupted.recv() => {}
                _ = terminated.recv() => {}
            }
        };
        host.serve(stop).await;
        Ok(())
    }

    fn config(self) -> Result<Config> {
        let mut config = self.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        config.load.extend(self.load);
        config.listen = self.listen.unwrap_or(config.listen);
        config.static_directory = self.static_directory.or(config.static_directory);
        config.data = self.data.filter(|data| !data.as_os_str().is_empty()).unwrap_or(config.data);
        config.log = self.log.unwrap_or(config.log);
        config.log_format = match self.log_format {
            Some(Format::Human) => LogFormat::Human,
            Some(Format::Json) => LogFormat::Json,
            None => config.log_format,
        };
        Ok(config)
    }
}

/// Says what a host would start with.
fn show(checked: &Checked) -> Result<()> {
    let mut wrong = 0;
    for (name, plugin) in &checked.plugins {
        let (name, file) = (shown::name(name), shown::name(&plugin.file));
        match &plugin.last_error {
            None if plugin.topics.is_empty() => println!("ok       {} {name} ({file})", plugin.kind),
            None => {
                let topics: Vec<String> = plugin.topics.iter().map(|topic| shown::name(topic)).collect();
                println!("ok       {} {name} ({file}) serves {}", plugin.kind, topics.join(" "));
            }
            Some(why) => {
                wrong += 1;
                println!("refused  plugin {name} ({file}): {}", shown::name(why));
            }
        }
    }
    for finding in &checked.findings {
        wrong += usize::from(finding.is_mistake);
        println!("{}  {}", if finding.is_mistake { "wrong  " } else { "look at" }, shown::name(&finding.text));
    }
    ensure!(wrong == 0, "{wrong} {} wrong", if wrong == 1 { "thing is" } else { "things are" });
    println!("nothing is wrong");
    Ok(())
}
