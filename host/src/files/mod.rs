//! Files that the host keeps: replaced as a whole, and set aside where they can't be read.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use tempfile::Builder;

/// How the name of a file ends that isn't complete yet.
const PARTIAL: &str = ".partial";

/// What is put behind the name of a file that couldn't be read.
const UNREADABLE: &str = ".unreadable";

/// How many files of one name are set aside. A host that finds more of them needs a person.
const SET_ASIDE_MAX: usize = 100;

/// Replaces a file's content, or makes the file, for this user alone. Whatever happens meanwhile, the name stands for the
/// old content or for the new one, and never for a part. When the function returns without an error, the new content
/// survives a power loss.
///
/// The function blocks until the disk has written the content.
///
/// # Errors
/// Where the directory can't be written. The old file is then still in place.
pub fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let name = path.file_name().ok_or_else(|| io::Error::new(ErrorKind::InvalidInput, "the path names no file"))?;
    let directory = directory_of(path);
    // A temporary name that nobody else has: two processes may replace the same file at the same time.
    let prefix = suffixed(name.into(), ".");
    let mut file = Builder::new().prefix(&prefix).suffix(PARTIAL).tempfile_in(directory)?;
    file.write_all(content)?;
    // Before the rename, because a file system may write the name first, and a power loss then leaves an empty file.
    file.as_file().sync_all()?;
    file.persist(path)?;
    sync_directory(directory)
}

/// Makes the names in a directory survive a power loss.
///
/// # Errors
/// Those of the operating system.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Removes what a crash has left of files that were being [replaced](replace). Only for a directory that no other process
/// writes in.
///
/// # Errors
/// Where the directory can't be read.
pub fn remove_partial(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.as_os_str().as_encoded_bytes().ends_with(PARTIAL.as_bytes()) {
            // A file that stays takes room, and does no harm.
            let _ = fs::remove_file(path);
        }
    }
    Ok(())
}

/// Reads a JSON file; none where there is no such file. A file that can't be read is [set aside](set_aside) with a
/// warning, and then there is none either. `loss` says what the host doesn't know without it.
///
/// # Errors
/// Where the file can't be read and can't be set aside.
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
    let aside = set_aside(path).with_context(|| format!("{} can't be read ({why}), nor renamed", path.display()))?;
    tracing::warn!("{} can't be read ({why}): it is now {}; {loss}", path.display(), aside.display());
    Ok(None)
}

/// Renames a file that can't be read, so that another one may take its place and its content is still there. Gives its new
/// name.
///
/// # Errors
/// Where it can't be renamed.
pub fn set_aside(path: &Path) -> io::Result<PathBuf> {
    let numbers = std::iter::once(String::new()).chain((2..=SET_ASIDE_MAX).map(|number| format!("-{number}")));
    let mut names = numbers.map(|number| PathBuf::from(suffixed(path.into(), &format!("{UNREADABLE}{number}"))));
    // A file that was set aside earlier stays what it is.
    let free = names.find(|name| fs::symlink_metadata(name).is_err());
    let aside = free.ok_or_else(|| io::Error::new(ErrorKind::AlreadyExists, "too many were set aside already"))?;
    fs::rename(path, &aside)?;
    sync_directory(directory_of(path))?;
    Ok(aside)
}

fn suffixed(mut name: OsString, suffix: &str) -> OsString {
    name.push(suffix);
    name
}

fn directory_of(path: &Path) -> &Path {
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
    fn a_file_is_replaced_as_a_whole_and_is_for_this_user_alone() -> Result<()> {
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
        assert_eq!(names(home.path())?, ["list.json"], "nothing partial is left");
        assert!(replace(Path::new("/"), b"new").is_err());
        Ok(())
    }

    #[test]
    fn what_a_crash_has_left_of_a_file_is_removed() -> Result<()> {
        let home = tempfile::tempdir()?;
        fs::write(home.path().join("list.json.x7Tg2a.partial"), "{")?;
        fs::write(home.path().join("list.json"), "{}")?;
        remove_partial(home.path())?;
        assert_eq!(names(home.path())?, ["list.json"]);
        Ok(())
    }

    #[test]
    fn a_file_that_cant_be_read_is_set_aside_and_no_content_is_lost() -> Result<()> {
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
        // Neither can a directory be read as a file.
        fs::remove_file(&path)?;
        fs::create_dir(&path)?;
        assert_eq!(read_json::<Vec<u8>>(&path, "")?, None);
        Ok(())
    }
}
