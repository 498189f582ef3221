//! Files that commands write into the folder of a user.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use bennu_templates::File;

/// Writes files below a folder, and makes the folders that they need.
pub(super) fn write(folder: &Path, files: &[File]) -> Result<()> {
    for file in files {
        let path = folder.join(&file.path);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent).with_context(|| format!("making the folder {}", parent.display()))?;
        fs::write(&path, &file.content).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}
