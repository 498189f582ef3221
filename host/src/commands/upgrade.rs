//! `bennu upgrade`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use bennu::handover::{Answer, Connection, Request};
use bennu::server::Config;
use bennu::terminal::shown;
use clap::Args;

use super::path_or_nothing;

/// Replace the process of a running host by a new one: with the executable as it is now, the same arguments, and the
/// configuration as it is now. No connection is refused, and rooms in memory are kept. Clients connect again by themselves.
///
/// The status is 1 if the old process serves on; the message says why.
#[derive(Args)]
pub(super) struct Upgrade {
    /// Another executable than the file from which the running host was started
    #[arg(value_name = "EXECUTABLE")]
    executable: Option<PathBuf>,

    /// The data directory of the host [default: `data` of the configuration, or the directory data]
    #[arg(long, env = "BENNU_DATA", value_name = "DIR", value_parser = path_or_nothing())]
    data: Option<PathBuf>,

    /// The host's configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl Upgrade {
    pub(super) async fn run(self) -> Result<()> {
        let data = self.directory()?;
        let executable = self.executable.as_deref().map(absolute).transpose()?;
        let connecting = Connection::to(&data).await;
        let connection =
            connecting.with_context(|| format!("connecting to the host that runs on {}", data.display()))?;
        let Some(Connection { mut incoming, outgoing }) = connection else {
            bail!("no host runs on the data directory {}; --data or --config names another", data.display());
        };
        outgoing.message(&Request::Upgrade { executable }).await.context("asking the running host")?;
        loop {
            match incoming.message::<Answer>().await.context("waiting for the running host")? {
                Some(Answer::Progress { text }) => out_line!("{}", shown::name(&text)),
                Some(Answer::Done { pid }) => {
                    out_line!("the process {pid} serves now");
                    return Ok(());
                }
                Some(Answer::Refused { why }) => bail!("the old process serves on: {}", shown::name(&why)),
                Some(_) => bail!("the host answered what it shouldn't; is it of another version?"),
                None => bail!("the host has ended; its log says why"),
            }
        }
    }

    fn directory(&self) -> Result<PathBuf> {
        if let Some(data) = self.data.as_ref().filter(|data| !data.as_os_str().is_empty()) {
            return Ok(data.clone());
        }
        Ok(self.config.as_deref().map(Config::read).transpose()?.unwrap_or_default().data)
    }
}

/// The host may have another working directory.
fn absolute(path: &Path) -> Result<String> {
    let absolute = std::path::absolute(path).with_context(|| format!("finding {}", path.display()))?;
    absolute.into_os_string().into_string().ok().with_context(|| format!("{} isn't UTF-8", path.display()))
}
