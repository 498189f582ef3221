//! `bennu store export`.

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use bennu::files::directory_of;
use bennu::store::Checked;
use bennu::terminal::{Out, Progress, shown};

use super::super::ask::Ask;
use super::backup::{write, written};
use super::rows;
use super::source::Source;

/// The most links that follow one another, as in Linux.
const LINKS_MAX: usize = 40;

/// Writes an export to a file, which only this user can read, or to standard output.
pub(super) async fn export(ask: &Ask, plugin: Option<&str>, output: Option<&Path>) -> Result<()> {
    let source = Source::find(ask).await?;
    let checked = match output {
        Some(path) if !is_device(path) => {
            let path = linked(path)?;
            written(source, plugin, &path, "stopped: there is no new export, and an earlier file is as it was").await?
        }
        _ => streamed(source, plugin, output).await?,
    };
    error_line!("{} exported", rows(checked.rows));
    Ok(())
}

/// The file that a path names at the end of its links, which may not exist yet. A link stays, and the file that it names is replaced.
fn linked(path: &Path) -> Result<PathBuf> {
    let mut file = path.to_owned();
    for _ in 0..LINKS_MAX {
        // What isn't there, or no link, has no target.
        let Ok(target) = fs::read_link(&file) else { return Ok(file) };
        file = directory_of(&file).join(target);
    }
    bail!("{} is a link that leads through more than {LINKS_MAX} others, or to itself", path.display())
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_link_leads_to_its_file_also_if_that_is_missing() -> Result<()> {
        let home = tempfile::tempdir()?;
        let (directory, file) = (home.path().join("a"), home.path().join("b/all.jsonl"));
        fs::create_dir(&directory)?;
        fs::create_dir(home.path().join("b"))?;
        symlink("../b/all.jsonl", directory.join("relative"))?;
        symlink(&file, directory.join("absolute"))?;
        symlink("relative", directory.join("twice"))?;
        symlink("itself", directory.join("itself"))?;
        for exists in [false, true] {
            for link in ["relative", "absolute", "twice"] {
                fs::write(linked(&directory.join(link))?, link)?;
                assert_eq!(fs::read_to_string(&file)?, link, "{exists}");
                assert!(fs::symlink_metadata(directory.join(link))?.is_symlink());
                if !exists {
                    fs::remove_file(&file)?;
                }
            }
        }
        assert_eq!(linked(&directory.join("none"))?, directory.join("none"));
        assert_eq!(linked(&file).ok(), Some(file));
        assert!(linked(&directory.join("itself")).is_err());
        Ok(())
    }
}
