//! Entity tags of static files.
//!
//! The modification time is too coarse for a tag: a file may be written twice within one tick of the file system's clock. So
//! a tag is a digest of the content. It is cached together with the file's metadata (its *stamp*). It is cached only if the
//! stamp was settled when the content was read, because then any later change gives another stamp.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use axum::http::HeaderValue;
use sha2::{Digest, Sha256};

/// The most tags in the cache. If it is full, it is cleared.
const REMEMBERED_MAX: usize = 4096;

/// A file's stamp is settled if the file hasn't changed for this long. It is longer than a tick of any file system's clock.
const SETTLED: Duration = Duration::from_secs(3);

/// The most bytes of a file whose content is read for its tag. The tag of a larger file is a digest of its stamp.
const DIGESTED_MAX: u64 = 64 << 20;

/// Bytes of the digest that are used for a tag.
const TAG_BYTES: usize = 16;

/// Bytes that are read at once.
const READ_BYTES: usize = 64 << 10;

/// A cache of the tags of files.
#[derive(Default)]
pub(super) struct Tags {
    /// Behind a lock, because requests are answered on several threads. It isn't held while a file is read.
    remembered: Mutex<HashMap<PathBuf, (Stamp, HeaderValue)>>,
}

/// A file's metadata: its device and inode number, its length, and the times of the last changes of its content and
/// metadata.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp([i128; 7]);

impl Tags {
    /// Returns the tag of a file, or none if it isn't a regular file. Reads the file if its tag isn't cached.
    ///
    /// # Errors
    /// If the file can't be read.
    pub(super) fn of(&self, path: &Path) -> io::Result<Option<HeaderValue>> {
        // The type is checked before the file is opened, because opening a pipe waits for its writer.
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
            // The content can still change without a change of an unsettled stamp. So the tag has the present time in it,
            // and is used only once.
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

    /// No change can panic half-way, so a poisoned lock is still valid.
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

/// Whether a file hasn't changed for [`SETTLED`], by its own times. False if its times are in the future.
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
    fn each_content_has_its_own_tag_however_fast_it_changes() -> io::Result<()> {
        let (directory, tags) = (tempfile::tempdir()?, Tags::default());
        let path = directory.path().join("page.html");
        let mut seen = std::collections::HashSet::new();
        for n in 0..50 {
            fs::write(&path, format!("{n:03}"))?;
            let tag = tags.of(&path)?;
            assert_eq!(tags.of(&path)?, tag);
            assert!(seen.insert(tag), "version {n} has its own tag");
        }
        fs::write(&path, "000")?;
        assert!(!seen.insert(tags.of(&path)?), "the same content has the same tag");
        assert_eq!(tags.of(directory.path())?, None);
        assert!(tags.of(&directory.path().join("absent")).is_err());
        Ok(())
    }

    #[test]
    fn a_large_file_is_not_read_and_gets_a_new_tag_until_it_is_settled() -> io::Result<()> {
        let (directory, tags) = (tempfile::tempdir()?, Tags::default());
        let path = directory.path().join("film.webm");
        File::create(&path)?.set_len(DIGESTED_MAX + 1)?;
        assert_ne!(tags.of(&path)?, tags.of(&path)?);
        Ok(())
    }

    #[test]
    fn a_tag_is_cached_once_its_file_is_settled() -> io::Result<()> {
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
