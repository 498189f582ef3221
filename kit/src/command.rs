//! The command line of `bennu test`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use bennu::server::{Config, start_logging, write_error_line};
use bennu::terminal::{self, shown};
use bennu_kit::{StageSetup, play};
use clap::Parser;

/// Play scripts against a plugin, in process: the messages that clients send, and the messages that they get.
#[derive(Parser)]
#[command(name = "bennu test", bin_name = "bennu test", version, after_help = LANGUAGE)]
pub(crate) struct Test {
    /// The plugin: a component
    #[arg(value_name = "FILE.wasm")]
    plugin: PathBuf,

    /// The scripts. Each one has its own stage
    #[arg(value_name = "SCRIPT", required = true)]
    scripts: Vec<PathBuf>,

    /// Another plugin on the same stage
    #[arg(long = "with", value_name = "FILE.wasm")]
    others: Vec<PathBuf>,

    /// The configuration that the plugins run under
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

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

Time passes only in the lines of `clock`. The guide describes the whole language: docs/testing.md";

impl Test {
    pub(crate) fn run(self) -> Result<()> {
        let mut config = self.config.as_deref().map(Config::read).transpose()?.unwrap_or_default();
        config.repeats_calls = true;
        // An empty variable counts as unset.
        let log = if self.log.trim().is_empty() { LOG } else { &self.log };
        start_logging(log, config.log_format)?;
        self.check_order()?;
        let mut failed = 0;
        for path in &self.scripts {
            match self.play(&config, path) {
                Ok(()) => terminal::line(format_args!("ok      {}", path.display())),
                Err(error) => {
                    failed += 1;
                    terminal::line(format_args!("FAILED  {}", path.display()));
                    write_error_line(&format!("{}: {}", path.display(), shown::lines(&format!("{error:#}"))));
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

    /// Refuses a plugin that comes after a script.
    fn check_order(&self) -> Result<()> {
        let swapped = self.scripts.iter().find(|script| is_component(script));
        match swapped {
            Some(component) if !is_component(&self.plugin) => bail!(
                "the plugin must come before the scripts: `bennu test {} {}`",
                component.display(),
                self.plugin.display()
            ),
            Some(component) => bail!(
                "{} is a component, not a script; to load another plugin, use `--with {}`",
                component.display(),
                component.display()
            ),
            None => Ok(()),
        }
    }
}

/// The first bytes of every component and module of WebAssembly.
const WASM: &[u8] = b"\0asm";

/// Some editors write it at the start of a text.
const BYTE_ORDER_MARK: char = '\u{feff}';

/// Whether a file is WebAssembly. A file that can't be read counts as a script: reading it later gives the reason. A pipe
/// is not read here, because its bytes could not be read again.
fn is_component(path: &Path) -> bool {
    let mut start = [0; WASM.len()];
    path.is_file() && File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok_and(|()| start == WASM)
}

/// Reads a script, without its byte order mark.
fn read_script(path: &Path) -> Result<String> {
    let shown = path.display();
    let bytes = std::fs::read(path).with_context(|| format!("reading {shown}"))?;
    if bytes.starts_with(b"\xff\xfe") || bytes.starts_with(b"\xfe\xff") {
        bail!("{shown} is text in UTF-16; save it as UTF-8");
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let line =
            error.as_bytes()[..error.utf8_error().valid_up_to()].iter().filter(|byte| **byte == b'\n').count() + 1;
        anyhow!("{shown} isn't text in UTF-8; line {line} has invalid bytes")
    })?;
    Ok(text.strip_prefix(BYTE_ORDER_MARK).map(str::to_owned).unwrap_or(text))
}
