//! The API key that a host makes if its configuration names none.
//!
//! The key is in a file of the data directory that only the host's user can read. The commands read that file too, so they
//! need no flag in the directory where the host runs. Other clients need a copy of the key.

use std::fmt;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::auth::Secret;

/// The file's name in the data directory.
const FILE: &str = "api-key";

/// The file's name while it is written.
const PARTIAL: &str = "api-key.part";

/// The number of random bytes of a key: too many to guess.
const KEY_BYTES: usize = 32;

/// The maximum number of bytes that are read of a key file. A valid file is shorter: it has a key in base64url and a newline.
/// A longer file fails the check of the key's length.
const FILE_BYTES_MAX: u64 = 64;

/// Why a key file isn't used.
#[derive(Debug)]
enum Unusable {
    Absent,
    Unreadable(io::Error),
    /// It isn't a regular file, but a directory, a link or something else.
    NoFile,
    /// Other users than its owner may read or write it. The number is its mode.
    Exposed(u32),
    /// It belongs to another user, who may know the key.
    Foreign,
    /// Its content isn't a whole key.
    Damaged,
}

/// Returns the path of the key file in a data directory.
#[must_use]
pub fn api_key_file(data: &Path) -> PathBuf {
    data.join(FILE)
}

/// Reads the key that a host has made in this data directory. Returns none if there is no key file.
///
/// # Errors
/// Returns an error if the file can't be read, doesn't contain a key, or can be read by others. The error names the file and
/// says what to do. It never contains the content of the file.
pub fn made_api_key(data: &Path) -> Result<Option<Secret>> {
    let path = api_key_file(data);
    match read(&path) {
        Ok(key) => Ok(Some(key)),
        Err(Unusable::Absent) => Ok(None),
        Err(why @ Unusable::Unreadable(_)) => {
            bail!("the key of the API in {} {why}; run the command as the user that runs the host", path.display())
        }
        Err(why) => {
            bail!("the key of the API in {} {why}; the host makes a new one when it starts again", path.display())
        }
    }
}

/// Returns the key of the host with this data directory. The first start makes the key, and later starts use the same one. A
/// key that is damaged or that others may know is replaced, with a warning.
///
/// The host has the store of the directory open, so no other host makes a key there at the same time.
///
/// # Errors
/// Returns an error if the file can't be read or made, or if the file system doesn't support permissions.
pub(super) fn own_api_key(data: &Path) -> Result<Secret> {
    let path = api_key_file(data);
    match read(&path).and_then(|key| owned(&path).map(|()| key)) {
        Ok(key) => return Ok(key),
        Err(Unusable::Absent) => {}
        Err(why @ Unusable::Unreadable(_)) => bail!("the key of the API in {} {why}", path.display()),
        Err(why) => {
            tracing::warn!("the key of the API in {} {why}; a new key replaces it", path.display());
        }
    }
    make(data, &path).with_context(|| format!("making the key of the API in {}", path.display()))?;
    read(&path).map_err(|why| {
        anyhow!(
            "the key of the API in {} {why}, although the host has just made it: this file system doesn't keep permissions. \
             Set `data` to a directory on another file system, or set `api.key`",
            path.display()
        )
    })
}

fn read(path: &Path) -> Result<Secret, Unusable> {
    let found = fs::symlink_metadata(path)?;
    // Checked before the file is opened, because opening a pipe would wait for a writer.
    if !found.is_file() {
        return Err(Unusable::NoFile);
    }
    let file = File::open(path)?;
    let mode = file.metadata()?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(Unusable::Exposed(mode));
    }
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX).read_to_end(&mut bytes)?;
    let key = bytes.strip_suffix(b"\n").unwrap_or(&bytes);
    let is_whole = URL_SAFE_NO_PAD.decode(key).is_ok_and(|random| random.len() == KEY_BYTES);
    if is_whole { Ok(Secret::new(key)) } else { Err(Unusable::Damaged) }
}

/// Checks that the file belongs to this user. Otherwise another user made it, and knows the key.
fn owned(path: &Path) -> Result<(), Unusable> {
    let user = rustix::process::geteuid().as_raw();
    if fs::metadata(path)?.uid() == user { Ok(()) } else { Err(Unusable::Foreign) }
}

/// Makes the key file. After a crash, the file is either complete or doesn't exist.
fn make(data: &Path, path: &Path) -> Result<()> {
    let mut random = [0; KEY_BYTES];
    getrandom::fill(&mut random).map_err(|error| anyhow!("there is no randomness: {error}"))?;
    let partial = data.join(PARTIAL);
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
    // The umask may have removed more permissions, even this user's.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(format!("{}\n", URL_SAFE_NO_PAD.encode(random)).as_bytes())?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    // Without this sync, a power loss could undo the rename. The next start would then make another key.
    File::open(data)?.sync_all()?;
    Ok(())
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::NotFound { Self::Absent } else { Self::Unreadable(error) }
    }
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("isn't there"),
            Self::Unreadable(error) => write!(f, "can't be read: {error}"),
            Self::NoFile => f.write_str("is not a regular file"),
            Self::Exposed(mode) => write!(f, "is accessible to other users (its mode is {mode:03o}, not 600)"),
            Self::Foreign => f.write_str("belongs to another user"),
            Self::Damaged => f.write_str("is empty or damaged"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(data: &Path) -> Result<String> {
        Ok(fs::read_to_string(api_key_file(data))?)
    }

    #[test]
    fn a_key_is_made_once_and_kept() -> Result<()> {
        let data = tempfile::tempdir()?;
        assert!(made_api_key(data.path())?.is_none());
        // A partial file from a crash doesn't matter.
        fs::write(data.path().join(PARTIAL), "half")?;
        let key = own_api_key(data.path())?;
        let written = text(data.path())?;
        assert_eq!(fs::metadata(api_key_file(data.path()))?.mode() & 0o777, 0o600);
        assert!(written.trim_end().len() >= 43 && key.matches(written.trim_end().as_bytes()));
        assert!(!data.path().join(PARTIAL).exists());
        assert!(own_api_key(data.path())?.matches(written.trim_end().as_bytes()));
        let read = made_api_key(data.path())?.context("it is there")?;
        assert!(read.matches(written.trim_end().as_bytes()));
        let other = tempfile::tempdir()?;
        own_api_key(other.path())?;
        assert_ne!(text(other.path())?, written);
        Ok(())
    }

    #[test]
    fn a_key_that_is_damaged_or_that_others_can_read_is_replaced_by_the_host_and_refused_by_commands() -> Result<()> {
        let data = tempfile::tempdir()?;
        let path = api_key_file(data.path());
        own_api_key(data.path())?;
        let good = text(data.path())?;
        let cases = [
            (String::new(), 0o600, "empty or damaged"),
            ("\n".into(), 0o600, "empty or damaged"),
            (good[..20].into(), 0o600, "empty or damaged"),
            (format!("{good}{good}"), 0o600, "empty or damaged"),
            ("*".repeat(43), 0o600, "empty or damaged"),
            (good.clone(), 0o640, "its mode is 640"),
            (good.clone(), 0o604, "its mode is 604"),
            (good.clone(), 0o620, "its mode is 620"),
        ];
        for (content, mode, words) in cases {
            fs::write(&path, &content)?;
            fs::set_permissions(&path, Permissions::from_mode(mode))?;
            let refused = made_api_key(data.path()).err().context("refused")?.to_string();
            assert!(refused.contains(words) && refused.contains("api-key"), "{refused}");
            assert!(content.len() < 20 || !refused.contains(&content[..20]), "{refused}");
            let key = own_api_key(data.path())?;
            assert!(!key.matches(content.trim_end().as_bytes()), "{content:?} {mode:o} was accepted");
            assert!(key.matches(text(data.path())?.trim_end().as_bytes()));
            assert_eq!(fs::metadata(&path)?.mode() & 0o777, 0o600);
        }
        Ok(())
    }

    #[test]
    fn a_link_is_replaced_and_its_target_stays_unchanged() -> Result<()> {
        let data = tempfile::tempdir()?;
        let elsewhere = data.path().join("elsewhere");
        fs::write(&elsewhere, "precious")?;
        std::os::unix::fs::symlink(&elsewhere, api_key_file(data.path()))?;
        assert!(made_api_key(data.path()).is_err_and(|error| error.to_string().contains("is not a regular file")));
        own_api_key(data.path())?;
        assert_eq!(fs::read_to_string(&elsewhere)?, "precious");
        assert!(fs::symlink_metadata(api_key_file(data.path()))?.is_file());
        Ok(())
    }
}
