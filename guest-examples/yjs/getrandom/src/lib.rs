//! Stands in for the crate getrandom in this workspace.
//!
//! `yrs` makes the generator of random numbers that it depends on (`fastrand`) ask a browser for its seed, on every
//! WebAssembly target without a system. A component that imports a browser can't be loaded. The plugin needs no random
//! numbers of `yrs`: documents on the server have no client of their own. So this seed is always the same.

use std::fmt;

/// There is no error.
#[derive(Clone, Copy, Debug)]
pub struct Error;

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no random bytes")
    }
}

impl std::error::Error for Error {}

/// Fills a slice with zeros.
///
/// # Errors
/// Never.
pub fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    bytes.fill(0);
    Ok(())
}
