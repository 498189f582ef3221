//! `bennu test`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use bennu::kit::{StageSetup, play};
use bennu::server::{Config, start_logging};
use clap::Args;

use super::output::{error_line, out_line};
use super::shown;

/// Play transcripts against a plugin, in process: what clients say, and what they see.
#[derive(Args)]
#[command(after_help = LANGUAGE)]
pub(super) struct Test {
    /// The component
    #[arg(value_name = "FILE.wasm")]
    plugin: PathBuf,

    /// The scripts, each played on a stage of its own
    #[arg(value_name = "SCRIPT", required = true)]
    scripts: Vec<PathBuf>,

    /// Another plugin that is on stage too
    #[arg(long = "with", value_name = "FILE.wasm")]
    others: Vec<PathBuf>,

    /// The configuration that the plugins run under
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// What to log, such as faults: a level, or directives such as info,guest=debug
    #[arg(long, env = "BENNU_LOG", default_value = LOG, value_name = "FILTER")]
    log: String,
}

/// What is logged where nobody says otherwise.
const LOG: &str = "warn";

const LANGUAGE: &str = "A script has a line for each thing that happens:
  alice = {\"user\": \"42\"}                 alice connects as this user (or plainly, when first named)
  alice > join room:1 {\"name\": \"alice\"}  she joins a topic, which is hers from here on
  alice < ok {}                            the next thing she sees is this reply
  alice > new_msg {\"body\": \"hi\"}         she sends an event
  bob   < new_msg {\"body\": \"hi\", \"id\": …}  the next thing bob sees; … stands for anything
  bob   ~                                  bob sees nothing more
  clock + 5s                               time passes; timers ring
  alice x close                            her connection ends
  host  ! send room:1 close {}             somebody elsewhere sends to handle_message
  host  < ok {}                            and is answered
  -- a comment

Time stands still but for what the clock is told. The guide has the whole language: docs/testing.md";

impl Test {
    pub(super) fn run(self) -> Result<()> {
        let config = self.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        // An empty variable is as none.
        let log = if self.log.trim().is_empty() { LOG } else { &self.log };
        start_logging(log, config.log_format)?;
        self.check_order()?;
        let mut failed = 0;
        for path in &self.scripts {
            match self.play(&config, path) {
                Ok(()) => out_line!("ok      {}", path.display()),
                Err(error) => {
                    failed += 1;
                    out_line!("FAILED  {}", path.display());
                    error_line!("{}: {}", path.display(), shown::lines(&format!("{error:#}")));
                }
            }
        }
        if failed > 0 {
            bail!("{failed} of {} scripts failed", self.scripts.len());
        }
        Ok(())
    }

    fn play(&self, config: &Config, path: &Path) -> Result<()> {
        let script = read_script(path)?;
        let mut setup = StageSetup::default().config(config.clone()).plugin(&self.plugin);
        for other in &self.others {
            setup = setup.plugin(other);
        }
        let stage = setup.load()?;
        play(&stage, &script, path.parent().unwrap_or(Path::new(".")))
    }

    /// Whether the plugin stands first, as it has to.
    fn check_order(&self) -> Result<()> {
        let swapped = self.scripts.iter().find(|script| is_component(script));
        match swapped {
            Some(component) if !is_component(&self.plugin) => bail!(
                "the plugin stands first and the scripts behind it: `bennu test {} {}`",
                component.display(),
                self.plugin.display()
            ),
            Some(component) => bail!(
                "{} is a component and no script; another plugin on stage is named with `--with {}`",
                component.display(),
                component.display()
            ),
            None => Ok(()),
        }
    }
}

/// How every component and module of WebAssembly begins.
const WASM: &[u8] = b"\0asm";

/// What some editors write at the start of a text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Whether a file is WebAssembly. One that can't be read is none; reading it later says why.
fn is_component(path: &Path) -> bool {
    let mut start = [0; WASM.len()];
    File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok_and(|()| start == WASM)
}

/// Reads a script. A byte order mark, which some editors write, is no part of it.
fn read_script(path: &Path) -> Result<String> {
    let shown = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("reading {shown}"))?;
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        bail!("{shown} is text in UTF-16; save it as UTF-8");
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        anyhow!("{shown} is no text in UTF-8, as a script has to be; line {line} has other bytes")
    })?;
    Ok(text.strip_prefix(BYTE_ORDER_MARK).map(str::to_owned).unwrap_or(text))
}
