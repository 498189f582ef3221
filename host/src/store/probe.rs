//! Checks whether the disk can be written to, without touching the store's own file.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// The size of the file that is written: about as much as a small batch writes.
const BYTES: usize = 64 << 10;

/// Writes, syncs and removes a file next to the given one. This detects a full disk without reopening the store, which reads
/// the log and writes to the tree.
///
/// # Errors
/// If the file can't be written, synced or removed.
pub(super) fn probe(path: &Path) -> io::Result<()> {
    let sibling = path.with_extension("probe");
    let probed = written(&sibling);
    // This also removes a file that a failed or killed probe has left.
    match fs::remove_file(&sibling) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => probed.and(Err(error)),
        _ => probed,
    }
}

fn written(sibling: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(sibling)?;
    // Not zeros, because some file systems store zeros without using space.
    file.write_all(&[0xa5; BYTES])?;
    file.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_leaves_no_file_and_returns_the_error() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("bennu.redb");
        fs::write(path.with_extension("probe"), "left by a probe that was killed").unwrap();
        probe(&path).unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        let error = probe(&place.path().join("absent").join("bennu.redb")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
