//! The check of a size against its limit.

use super::limit_key;
use crate::Fault;

/// Checks a size in bytes. `key` is the configuration's key for the limit, if it has one.
///
/// # Errors
/// Fault: oversize.
#[inline]
pub fn check_size(what: &str, bytes: usize, most: usize, key: Option<&str>) -> Result<(), Fault> {
    if bytes > most {
        let key = key.map(|key| limit_key(key, most)).unwrap_or_default();
        return Err(Fault::oversize(format!("{what} of {bytes} bytes; the limit is {most}{key}")));
    }
    Ok(())
}
