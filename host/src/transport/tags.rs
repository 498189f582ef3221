//! Entity tags of static files: what a file holds, in a few bytes.
//!
//! A time of change is too coarse: a file may be written twice within one tick of its clock. So a tag is a digest of the content. It
//! is remembered with what the operating system says of the file (its *stamp*), but only where that was settled when the content was
//! read: any later change gives another stamp then.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::http::HeaderValue;
use sha2::{Digest, Sha256};

/// Tags that are remembered; past it they are made anew.
const REMEMBERED_MAX: usize = 4096;

/// How long a file must not have changed for its stamp to be settled: longer than a tick of any file system's clock.
const SETTLED: Duration = Duration::from_secs(3);

/// Bytes of a file whose content is read for its tag. That of a larger one is made of its stamp.
const DIGESTED_MAX: u64 = 64 << 20;

/// Bytes of a digest that make a tag.
const TAG_BYTES: usize = 16;

/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

/// The tags of files.
#[derive(Default)]
pub(super) struct Tags {
    remembered: Mutex<HashMap<PathBuf, (Stamp, HeaderValue)>>,
}

/// What the operating system says of a file: its device and number, its length, and when its content and what is said of it changed.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp([i128; 7]);

impl Tags {
    /// The tag of a file; none if it isn't a regular one. It reads the file where the tag isn't known.
    ///
    /// # Errors
    /// Where it can't be read.
    pub(super) fn of(&self, path: &Path) -> io::Result<Option<HeaderValue>> {
        // Before it is opened: to open a pipe would wait for who writes into it.
        let metadata = path.metadata()?;
        if !metadata.is_file() {
            return Ok(None);
        }
        let stamp = Stamp::of(&metadata);
        if let Some((_, tag)) = self.lock().get(path).filter(|(known, _)| *known == stamp) {
            return Ok(Some(tag.clone()));
        }
        let (now, is_large) = (SystemTime::now(), metadata.len() > DIGESTED_MAX);
        let is_settled = is_settled(&metadata, now);
        let tag = match is_large {
            false => digest(&mut File::open(path)?)?,
            // A stamp that isn't settled may be that of another content too, so this tag is nobody's again.
            true => digest(&mut format!("{:?} {:?}", stamp.0, Some(now).filter(|_| !is_settled)).as_bytes())?,
        };
        let is_same = Stamp::of(&path.metadata()?) == stamp;
        if is_same && is_settled {
            let mut remembered = self.lock();
            if remembered.len() >= REMEMBERED_MAX {
                remembered.clear();
            }
            remembered.insert(path.to_owned(), (stamp, tag.clone()));
        }
        Ok(Some(tag))
    }

    /// Nothing in here can panic half-way through a change, so a poisoned lock is as good as another.
    fn lock(&self) -> MutexGuard<'_, HashMap<PathBuf, (Stamp, HeaderValue)>> {
        self.remembered.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let times = [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()].map(i128::from);
        let [second, nano, changed, changed_nano] = times;
        let (device, number, length) = (metadata.dev(), metadata.ino(), metadata.len());
        Self([device.into(), number.into(), length.into(), second, nano, changed, changed_nano])
    }
}

/// Whether a file has been as it is for a while, by its own times. One from the future isn't.
fn is_settled(metadata: &Metadata, now: SystemTime) -> bool {
    let changed = u64::try_from(metadata.ctime().max(metadata.mtime())).unwrap_or_default();
    let changed = SystemTime::UNIX_EPOCH + Duration::from_secs(changed);
    now.duration_since(changed).is_ok_and(|age| age > SETTLED)
}

fn digest(content: &mut impl Read) -> io::Result<HeaderValue> {
    let (mut sha, mut buffer) = (Sha256::new(), vec![0; READ_BYTES]);
    loop {
        match content.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => sha.update(&buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let mut tag = String::from("\"");
    for byte in sha.finalize().iter().take(TAG_BYTES) {
        tag += &format!("{byte:02x}");
    }
    tag.push('"');
    HeaderValue::try_from(tag).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_tag_is_of_the_content_however_fast_that_changes() -> io::Result<()> {
        let (directory, tags) = (tempfile::tempdir()?, Tags::default());
        let path = directory.path().join("page.html");
        let mut seen = std::collections::HashSet::new();
        for n in 0..50 {
            fs::write(&path, format!("{n:03}"))?;
            let tag = tags.of(&path)?;
            assert_eq!(tags.of(&path)?, tag);
            assert!(seen.insert(tag), "version {n} has its own");
        }
        fs::write(&path, "000")?;
        assert!(!seen.insert(tags.of(&path)?), "the same content has the same tag");
        assert_eq!(tags.of(directory.path())?, None);
        assert!(tags.of(&directory.path().join("absent")).is_err());
        Ok(())
    }

    #[test]
    fn a_large_file_is_not_read_and_its_tag_is_new_until_it_has_settled() -> io::Result<()> {
        let (directory, tags) = (tempfile::tempdir()?, Tags::default());
        let path = directory.path().join("film.webm");
        File::create(&path)?.set_len(DIGESTED_MAX + 1)?;
        assert_ne!(tags.of(&path)?, tags.of(&path)?);
        Ok(())
    }

    #[test]
    fn a_tag_is_remembered_once_its_file_has_settled() -> io::Result<()> {
        let directory = tempfile::tempdir()?;
        let path = directory.path().join("page.html");
        fs::write(&path, "page")?;
        let (metadata, now) = (path.metadata()?, SystemTime::now());
        assert!(!is_settled(&metadata, now) && !is_settled(&metadata, now - Duration::from_secs(60)));
        assert!(is_settled(&metadata, now + 2 * SETTLED));
        let tags = Tags::default();
        tags.of(&path)?;
        assert!(tags.lock().is_empty(), "it may change within the tick");
        Ok(())
    }
}
