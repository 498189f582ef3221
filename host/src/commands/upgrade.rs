//! `bennu upgrade`.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use bennu::handover::{Answer, Connection, Incoming, Request};
use bennu::server::Config;
use bennu::store::is_free;
use bennu::terminal::shown;
use clap::Args;
use tokio::time::timeout;

use super::path_or_nothing;

/// After this time without an answer, the command says that it waits.
const SILENCE: Duration = Duration::from_secs(10);

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
            let shown = data.display();
            if is_free(&data).is_ok_and(|is_free| !is_free) {
                bail!(
                    "{shown} is in use by a process that can't be replaced: a host that stops or starts, or another command"
                );
            }
            bail!("no host runs on the data directory {shown}; --data or --config names another");
        };
        outgoing.message(&Request::Upgrade { executable }).await.context("asking the running host")?;
        let mut answer = first_answer(&mut incoming).await;
        loop {
            // The end of a host that hasn't accepted the connection yet is such an error.
            let is_end = |error: &io::Error| error.kind() == ErrorKind::ConnectionReset;
            let answered = answer.or_else(|error| if is_end(&error) { Ok(None) } else { Err(error) });
            match answered.context("waiting for the running host")? {
                Some(Answer::Progress { text }) => out_line!("{}", shown::name(&text)),
                Some(Answer::Done { pid }) => {
                    out_line!("the process {pid} serves now");
                    return Ok(());
                }
                Some(Answer::Refused { why }) => bail!("the old process serves on: {}", shown::name(&why)),
                Some(_) => bail!("the host answered what it shouldn't; is it of another version?"),
                None => bail!("the host stops, or has ended; its log says why"),
            }
            answer = incoming.message().await;
        }
    }

    fn directory(&self) -> Result<PathBuf> {
        if let Some(data) = self.data.as_ref().filter(|data| !data.as_os_str().is_empty()) {
            return Ok(data.clone());
        }
        Ok(self.config.as_deref().map(Config::read).transpose()?.unwrap_or_default().data)
    }
}

/// Waits for the first answer. It comes at once, unless another process takes over, or the host is suspended.
async fn first_answer(incoming: &mut Incoming) -> io::Result<Option<Answer>> {
    if let Ok(answer) = timeout(SILENCE, incoming.message()).await {
        return answer;
    }
    let seconds = SILENCE.as_secs();
    error_line!(
        "the host hasn't answered for {seconds} s, perhaps because another process is about to take over; waiting"
    );
    incoming.message().await
}

/// The host may have another working directory.
fn absolute(path: &Path) -> Result<String> {
    let absolute = std::path::absolute(path).with_context(|| format!("finding {}", path.display()))?;
    absolute.into_os_string().into_string().ok().with_context(|| format!("{} isn't UTF-8", path.display()))
}
