//! The packages for PyPI: a wheel with the executable, and one with the SDK.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::{VERSION, check_version, copy_files, empty};
use crate::{places, process, python};

/// Makes the wheel with the executable in `folder`, and returns its path.
pub(super) fn pack(executable: &Path, folder: &Path) -> Result<PathBuf> {
    let project = copied(&places::root().join("packages").join("python"), &folder.join("python"))?;
    fs::copy(executable, project.join(executable.file_name().context("the executable has no name")?))?;
    wheel(&project, folder, "bennu_server-")
}

/// Makes the wheel with the SDK in `folder`, and returns its path.
pub(super) fn pack_sdk(folder: &Path) -> Result<PathBuf> {
    let sources = places::root().join("sdk").join("python");
    let project = copied(&sources, &folder.join("sdk-python"))?;
    for part in ["bennu", "bennu/testing"] {
        fs::create_dir(project.join(part))?;
        copy_files(&sources.join(part), &project.join(part))?;
    }
    fs::create_dir(project.join("wit"))?;
    copy_files(&places::root().join("wit"), &project.join("wit"))?;
    wheel(&project, folder, "bennu_sdk-")
}

/// Copies a project without its folders, and adds the licence.
fn copied(sources: &Path, to: &Path) -> Result<PathBuf> {
    check_version(&sources.join("pyproject.toml"), &format!("version = \"{VERSION}\""))?;
    empty(to)?;
    copy_files(sources, to)?;
    fs::copy(places::root().join("LICENSE"), to.join("LICENSE"))?;
    Ok(to.to_owned())
}

/// Builds the wheel of a project. Its name begins with `prefix`.
fn wheel(project: &Path, folder: &Path, prefix: &str) -> Result<PathBuf> {
    let mut pip = python::pip(&places::target().join("packages-python"))?;
    pip.args(["wheel", "--quiet", "--no-deps", "--wheel-dir"]).arg(folder).arg(project);
    process::run_quietly("building the wheel", &mut pip)?;
    let mut entries = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_it = |path: &PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        name.starts_with(prefix) && name.ends_with(".whl")
    };
    entries.find(is_it).context("pip has made no wheel")
}
