//! Plays scripts against plugins, each on its own stage.

use std::fs::File;
use std::io::Read;
use std::path::{Display, Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use bennu::kit::{StageSetup, play};
use bennu::server::{Config, write_error_line};
use bennu::terminal::shown;

/// Plays a script on a stage with these plugins, and prints the result with the script's name. Returns whether the script passed.
pub(super) fn report(config: &Config, plugins: &[PathBuf], name: &Display<'_>, script: &Path) -> bool {
    match play_file(config, plugins, script) {
        Ok(()) => {
            out_line!("ok      {name}");
            true
        }
        Err(error) => {
            out_line!("FAILED  {name}");
            write_error_line(&format!("{name}: {}", shown::lines(&format!("{error:#}"))));
            false
        }
    }
}

fn play_file(config: &Config, plugins: &[PathBuf], path: &Path) -> Result<()> {
    let script = read(path)?;
    let setup = StageSetup::default().config(config.clone());
    let stage = plugins.iter().fold(setup, StageSetup::plugin).load()?;
    play(&stage, &script, path.parent().unwrap_or(Path::new(".")))
}

/// Refuses a plugin that comes after a script.
pub(super) fn check_order(plugin: &Path, scripts: &[PathBuf]) -> Result<()> {
    let swapped = scripts.iter().find(|script| is_component(script));
    match swapped {
        Some(component) if !is_component(plugin) => {
            bail!("the plugin must come before the scripts: `bennu test {} {}`", component.display(), plugin.display())
        }
        Some(component) => bail!(
            "{} is a component, not a script; to load another plugin, use `--with {}`",
            component.display(),
            component.display()
        ),
        None => Ok(()),
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
pub(super) fn read(path: &Path) -> Result<String> {
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
