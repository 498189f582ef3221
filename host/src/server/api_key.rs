//! The key of the API that a host makes for itself where its configuration names none.
//!
//! It is a file in the data directory that only the host's user can read. The commands read it too, so that they work
//! without a flag where the host runs. Everybody else has to be given it.

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

/// Its name until it is complete.
const PARTIAL: &str = "api-key.part";

/// Random bytes of a key. Nobody finds so many by trying.
const KEY_BYTES: usize = 32;

/// Characters of the file at most: a key in base64url, and the newline behind it. One more shows that there are more.
const FILE_BYTES_MAX: u64 = 64;

/// Why a key file isn't used.
#[derive(Debug)]
enum Unusable {
    Absent,
    Unreadable(io::Error),
    /// It is a directory, a link or something else.
    NoFile,
    /// Others than its owner may read or write it.
    Exposed(u32),
    /// It belongs to another user, who knows the key.
    Foreign,
    /// It is empty, cut short, or no key.
    Damaged,
}

/// Where the key stands in a data directory.
#[must_use]
pub fn api_key_file(data: &Path) -> PathBuf {
    data.join(FILE)
}

/// The key that a host has made in this data directory. None where there is no such file.
///
/// # Errors
/// Where the file can't be read, is no key, or can be read by others. Names the file and what to do, and never the content.
pub fn made_api_key(data: &Path) -> Result<Option<Secret>> {
    let path = api_key_file(data);
    match read(&path) {
        Ok(key) => Ok(Some(key)),
        Err(Unusable::Absent) => Ok(None),
        Err(why @ Unusable::Unreadable(_)) => {
            bail!("the key of the API in {} {why}; run this as the user that runs the host", path.display())
        }
        Err(why) => {
            bail!("the key of the API in {} {why}; the host makes a new one when it starts again", path.display())
        }
    }
}

/// The key of a host with this data directory, made at its first start and kept over others. A key that others may know, or
/// that is damaged, is replaced, with a warning.
///
/// The host has the store of the directory open, so no other host makes a key there at the same time.
///
/// # Errors
/// Where the file can't be read or made, or the file system can't keep others from reading it.
pub(super) fn own_api_key(data: &Path) -> Result<Secret> {
    let path = api_key_file(data);
    match read(&path).and_then(|key| owned(&path).map(|()| key)) {
        Ok(key) => return Ok(key),
        Err(Unusable::Absent) => {}
        Err(why @ Unusable::Unreadable(_)) => bail!("the key of the API in {} {why}", path.display()),
        Err(why) => {
            tracing::warn!("the key of the API in {} {why}; a new key is put in its place", path.display());
        }
    }
    make(data, &path).with_context(|| format!("making the key of the API in {}", path.display()))?;
    read(&path).map_err(|why| {
        anyhow!(
            "the key of the API in {} {why} although it was made just now: this file system doesn't keep permissions. \
             Set `data` to a directory elsewhere, or `api.key`",
            path.display()
        )
    })
}

fn read(path: &Path) -> Result<Secret, Unusable> {
    let found = fs::symlink_metadata(path)?;
    // Before it is opened: opening a pipe would wait for a writer.
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

/// Whether it is this user's own: whoever made the file knows what is in it.
fn owned(path: &Path) -> Result<(), Unusable> {
    let user = rustix::process::geteuid().as_raw();
    if fs::metadata(path)?.uid() == user { Ok(()) } else { Err(Unusable::Foreign) }
}

/// Makes the file: a crash leaves either a whole one, or none of that name.
fn make(data: &Path, path: &Path) -> Result<()> {
    let mut random = [0; KEY_BYTES];
    getrandom::fill(&mut random).map_err(|error| anyhow!("there is no randomness: {error}"))?;
    let partial = data.join(PARTIAL);
    match fs::remove_file(&partial) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial)?;
    // A umask may have taken more away, so that not even this user could read it.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(format!("{}\n", URL_SAFE_NO_PAD.encode(random)).as_bytes())?;
    file.sync_all()?;
    fs::rename(&partial, path)?;
    // Else a power loss could take the file's name away, and with it the key that others were given.
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
            Self::NoFile => f.write_str("is no regular file"),
            Self::Exposed(mode) => write!(f, "can be used by others than its user (its mode is {mode:03o}, not 600)"),
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
        // What a crash left is no obstacle.
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
            assert!(!key.matches(content.trim_end().as_bytes()), "{content:?} {mode:o} was taken");
            assert!(key.matches(text(data.path())?.trim_end().as_bytes()));
            assert_eq!(fs::metadata(&path)?.mode() & 0o777, 0o600);
        }
        Ok(())
    }

    #[test]
    fn a_link_is_replaced_and_what_it_leads_to_is_left_alone() -> Result<()> {
        let data = tempfile::tempdir()?;
        let elsewhere = data.path().join("elsewhere");
        fs::write(&elsewhere, "precious")?;
        std::os::unix::fs::symlink(&elsewhere, api_key_file(data.path()))?;
        assert!(made_api_key(data.path()).is_err_and(|error| error.to_string().contains("is no regular file")));
        own_api_key(data.path())?;
        assert_eq!(fs::read_to_string(&elsewhere)?, "precious");
        assert!(fs::symlink_metadata(api_key_file(data.path()))?.is_file());
        Ok(())
    }
}
