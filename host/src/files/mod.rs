//! The host's own files: they are replaced as a whole, and renamed if they can't be read.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use tempfile::Builder;

/// The suffix of a file that isn't complete yet.
const PARTIAL: &str = ".partial";

/// The suffix that is added to the name of a file that couldn't be read.
const UNREADABLE: &str = ".unreadable";

/// The most files that are set aside for one name. A host with more of them needs a person.
const SET_ASIDE_MAX: usize = 100;

/// Replaces a file's content, or creates the file, readable only for this user. At any time, the name refers to the
/// whole old content or to the whole new content. When the function returns without an error, the new content survives
/// a power loss.
///
/// The function blocks until the disk has written the content.
///
/// # Errors
/// If the directory can't be written. The old file is then still in place.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "the path has no file name"))?;
    let directory = directory_of(path);
    // The temporary name must be unique: two processes may replace the same file at the same time.
    let prefix = suffixed(name.into(), ".");
    let mut file = Builder::new().prefix(&prefix).suffix(PARTIAL).tempfile_in(directory)?;
    file.write_all(content)?;
    // Synced before the rename. A file system may write the new name first, and then a power loss leaves an empty file.
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync_directory(directory)
}

/// Makes the names in a directory survive a power loss.
///
/// # Errors
/// If the operating system reports one.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Removes the incomplete files that a crash during [`replace`] has left. Only for a directory in which no other
/// process writes.
///
/// # Errors
/// If the directory can't be read.
pub fn remove_partial(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.as_os_str().as_encoded_bytes().ends_with(PARTIAL.as_bytes()) {
            // A file that can't be removed takes space, and does no other harm.
            let _ = fs::remove_file(path);
        }
    }
    Ok(())
}

/// Reads a JSON file. Returns `None` if the file doesn't exist. A file that can't be read is [set aside](set_aside)
/// with a warning, and the result is also `None`. `loss` is the part of the warning that says which information the
/// host has lost.
///
/// # Errors
/// If the file can't be read and can't be set aside.
pub fn read_json<T: DeserializeOwned>(path: &Path, loss: &str) -> Result<Option<T>> {
    let read = match fs::read(path) {
        Ok(text) => serde_json::from_slice(&text).map_err(anyhow::Error::from),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => Err(error.into()),
    };
    let why = match read {
        Ok(value) => return Ok(Some(value)),
        Err(why) => why,
    };
    let aside =
        set_aside(path).with_context(|| format!("{} can't be read ({why}), and can't be renamed", path.display()))?;
    tracing::warn!("{} can't be read ({why}), and was renamed to {}; {loss}", path.display(), aside.display());
    Ok(None)
}

/// Renames a file that can't be read, so that its content is kept and a new file can have its name. Returns its new
/// name.
///
/// # Errors
/// If it can't be renamed.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let numbers = std::iter::once(String::new()).chain((2..=SET_ASIDE_MAX).map(|number| format!("-{number}")));
    let mut names = numbers.map(|number| PathBuf::from(suffixed(path.into(), &format!("{UNREADABLE}{number}"))));
    // A file that was set aside earlier keeps its name.
    let free = names.find(|name| fs::symlink_metadata(name).is_err());
    let aside =
        free.ok_or_else(|| io::Error::new(ErrorKind::AlreadyExists, "too many files were set aside already"))?;
    fs::rename(path, &aside)?;
    sync_directory(directory_of(path))?;
    Ok(aside)
}

fn suffixed(mut name: OsString, suffix: &str) -> OsString {
    name.push(suffix);
    name
}

/// Returns the directory that a path is in.
#[must_use]
pub fn directory_of(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn names(directory: &Path) -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
        Ok(names)
    }

    #[test]
    fn a_file_is_replaced_as_a_whole_and_only_this_user_can_read_it() -> Result<()> {
        let home = tempfile::tempdir()?;
        let path = home.path().join("list.json");
        for content in ["first", "second"] {
            replace(&path, content.as_bytes())?;
            assert_eq!(fs::read_to_string(&path)?, content);
            assert_eq!(fs::metadata(&path)?.permissions().mode() & 0o777, 0o600);
        }
        assert_eq!(names(home.path())?, ["list.json"]);
        Ok(())
    }

    #[test]
    fn a_file_that_cant_be_replaced_stays_as_it_was() -> Result<()> {
        let home = tempfile::tempdir()?;
        // A directory is never replaced by a file.
        let path = home.path().join("list.json");
        fs::create_dir(&path)?;
        assert!(replace(&path, b"new").is_err());
        assert_eq!(names(home.path())?, ["list.json"], "no incomplete file is left");
        assert!(replace(Path::new("/"), b"new").is_err());
        Ok(())
    }

    #[test]
    fn incomplete_files_are_removed() -> Result<()> {
        let home = tempfile::tempdir()?;
        fs::write(home.path().join("list.json.x7Tg2a.partial"), "{")?;
        fs::write(home.path().join("list.json"), "{}")?;
        remove_partial(home.path())?;
        assert_eq!(names(home.path())?, ["list.json"]);
        Ok(())
    }

    #[test]
    fn a_file_that_cant_be_read_is_set_aside_and_its_content_is_kept() -> Result<()> {
        let home = tempfile::tempdir()?;
        let path = home.path().join("list.json");
        assert_eq!(read_json::<Vec<u8>>(&path, "")?, None);
        for content in ["", "[1, 2", "{\"a\": 1}"] {
            fs::write(&path, content)?;
            assert_eq!(read_json::<Vec<u8>>(&path, "")?, None, "{content}");
        }
        let aside = ["list.json.unreadable", "list.json.unreadable-2", "list.json.unreadable-3"];
        assert_eq!(names(home.path())?, aside);
        assert_eq!(fs::read_to_string(home.path().join(aside[1]))?, "[1, 2");
        replace(&path, b"[1, 2]")?;
        assert_eq!(read_json::<Vec<u8>>(&path, "")?, Some(vec![1, 2]));
        // A directory can't be read as a file either.
        fs::remove_file(&path)?;
        fs::create_dir(&path)?;
        assert_eq!(read_json::<Vec<u8>>(&path, "")?, None);
        Ok(())
    }
}
