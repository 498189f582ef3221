//! `bennu store export`.

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use bennu::store::Checked;
use bennu::terminal::{Out, Progress, shown};

use super::super::ask::Ask;
use super::backup::{write, written};
use super::rows;
use super::source::Source;

/// Writes an export to a file, which only this user can read, or to standard output.
pub(super) async fn export(ask: &Ask, plugin: Option<&str>, output: Option<&Path>) -> Result<()> {
    let source = Source::find(ask).await?;
    let checked = match output {
        Some(path) if !is_device(path) => {
            // A link stays, and the file that it names is replaced.
            let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            written(source, plugin, &path, "stopped: there is no new export, and an earlier file is as it was").await?
        }
        _ => streamed(source, plugin, output).await?,
    };
    error_line!("{} exported", rows(checked.rows));
    Ok(())
}

/// Whether something is there that can't be replaced, such as a device or a pipe.
fn is_device(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|found| !found.is_file())
}

/// Writes an export to a device or a pipe, or to standard output.
async fn streamed(source: Source<'_>, plugin: Option<&str>, device: Option<&Path>) -> Result<Checked> {
    let is_terminal = device.is_none() && io::stdout().is_terminal();
    let out: Box<dyn Write + Send> = match device {
        // Its permissions stay as they are.
        Some(path) => {
            let opened = OpenOptions::new().write(true).open(path);
            Box::new(opened.with_context(|| format!("opening {}", path.display()))?)
        }
        // Escaped only for a terminal: a file or a program gets the exact data.
        None if is_terminal => Box::new(shown::JsonLines::new(Out)),
        None => Box::new(Out),
    };
    // At a terminal, the bar would be among the lines of the export.
    let progress = (!is_terminal).then(|| Arc::new(Progress::default()));
    let streamed = write(&source, plugin, out, progress.as_ref(), "stopped: the export isn't complete").await;
    source.close().await;
    if let Some(progress) = progress {
        progress.clear();
    }
    streamed
}
