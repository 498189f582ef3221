//! Whether a disk can be written to, found out beside the store's own file.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// As much as a small batch writes.
const BYTES: usize = 64 << 10;

/// Writes a file beside another one, has it synced, and removes it. A full disk is found so without opening the store anew, for
/// which its whole file may have to be read.
pub(super) fn probe(path: &Path) -> io::Result<()> {
    let beside = path.with_extension("probe");
    let probed = written(&beside);
    // Also what a probe has left that failed, or was killed.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => probed.and(Err(error)),
        _ => probed,
    }
}

fn written(beside: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(beside)?;
    // Not zeros, which some file systems take no room for.
    file.write_all(&[0xa5; BYTES])?;
    file.sync_all()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_leaves_nothing_and_says_what_is_wrong() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("bennu.redb");
        fs::write(path.with_extension("probe"), "left by a probe that was killed").unwrap();
        probe(&path).unwrap();
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        let error = probe(&place.path().join("absent").join("bennu.redb")).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
