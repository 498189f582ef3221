//! Inflates the compressed messages of a server (RFC 7692). The host compresses each message alone.

use anyhow::{Result, ensure};
use flate2::{Decompress, FlushDecompress};

/// The bytes that a server leaves out at the end of each message.
const TAIL: [u8; 4] = [0, 0, 0xff, 0xff];

/// The longest message.
const MESSAGE_BYTES_MAX: usize = 4 << 20;

/// Memory for one message at a time.
pub(super) struct Inflater {
    decompress: Decompress,
    message: Vec<u8>,
}

impl Inflater {
    pub(super) fn new() -> Self {
        Self { decompress: Decompress::new(false), message: Vec::new() }
    }

    pub(super) fn inflate(&mut self, compressed: &[u8]) -> Result<&[u8]> {
        self.message.clear();
        self.message.reserve(MESSAGE_BYTES_MAX);
        self.decompress.reset(false);
        for part in [compressed, &TAIL] {
            let before = self.decompress.total_in();
            self.decompress.decompress_vec(part, &mut self.message, FlushDecompress::Sync)?;
            let is_taken = self.decompress.total_in() - before == part.len() as u64;
            ensure!(is_taken, "a compressed message is too long, or isn't complete");
        }
        Ok(&self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_message_is_inflated_alone() -> Result<()> {
        let mut inflater = Inflater::new();
        // The example of RFC 7692, 7.2.3.1.
        for _ in 0..2 {
            assert_eq!(inflater.inflate(&[0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00])?, b"Hello");
        }
        assert!(inflater.inflate(&[0x06]).is_err());
        Ok(())
    }
}
