//! Which start of a node has a data directory. The next process there ends that start at once: nobody else has to wait for its lease.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bennu_cluster::{Epoch, Incarnation, NodeId};

/// The name of the file.
const FILE: &str = "node";

/// The file. Whoever uses it has the lock of the directory, so the start that it names is over.
pub(super) struct LastStart(PathBuf);

impl LastStart {
    /// The one in a data directory.
    pub(super) fn of(directory: &Path) -> Self {
        Self(directory.join(FILE))
    }

    /// Returns the last start, if the file names one. Without it, a node that was killed can start again after its lease.
    pub(super) fn read(&self) -> Option<NodeId> {
        parse(fs::read_to_string(&self.0).ok()?.trim())
    }

    /// Notes a start. It isn't synced: a file that a crash of the machine damages names no start, and costs a wait.
    pub(super) fn write(&self, id: NodeId) {
        if let Err(error) = fs::write(&self.0, format!("{}\n", shown(id))) {
            tracing::warn!(
                "{} can't be written, so this node waits for its lease when it starts after a crash: {error}",
                self.0.display()
            );
        }
    }
}

/// The epoch, and the incarnation in hexadecimal digits.
fn shown(id: NodeId) -> String {
    let mut text = format!("{} ", id.epoch.0);
    for byte in id.incarnation.0 {
        // Writing to a string doesn't fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn parse(text: &str) -> Option<NodeId> {
    let (epoch, digits) = text.split_once(' ')?;
    if digits.len() != 32 || !digits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let bits = u128::from_str_radix(digits, 16).ok()?;
    Some(NodeId { epoch: Epoch(epoch.parse().ok()?), incarnation: Incarnation(bits.to_be_bytes()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_is_read_as_it_was_written() {
        let home = tempfile::tempdir().expect("a directory");
        let last = LastStart::of(home.path());
        assert_eq!(last.read(), None);
        let incarnation = Incarnation([0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 255]);
        let id = NodeId { epoch: Epoch(7), incarnation };
        last.write(id);
        assert_eq!(last.read(), Some(id));
    }

    #[test]
    fn a_damaged_file_names_no_start() {
        for text in
            ["", "7", "7 ", "x 00112233445566778899aabbccddeeff", "7 0011", "7 +0112233445566778899aabbccddeeff"]
        {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}
