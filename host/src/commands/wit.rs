//! `bennu wit`.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::written::write;

/// Print the contract between this host and its plugins, or write its files
#[derive(Args)]
pub(super) struct Wit {
    /// The folder to write the files to. Existing files of the same names are replaced. Without it, they are printed
    #[arg(value_name = "DIR")]
    folder: Option<PathBuf>,
}

impl Wit {
    pub(super) fn run(self) -> Result<()> {
        let files = bennu_templates::contract();
        if let Some(folder) = self.folder {
            write(&folder, &files)?;
            out_line!("Wrote {} files to {}", files.len(), folder.display());
            return Ok(());
        }
        for file in &files {
            out_line!("// {}\n{}", file.path, String::from_utf8_lossy(&file.content).trim_end());
            out_line!("");
        }
        Ok(())
    }
}
