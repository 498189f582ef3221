//! Which version of glibc an executable needs.

/// The beginning of the name of a version of symbols.
const NAME: &[u8] = b"GLIBC_";

/// Returns the greatest version that is named in an executable, as major and minor number. None if it names none, for example because
/// it is linked to another C library.
pub(super) fn needed(executable: &[u8]) -> Option<(u32, u32)> {
    let starts = executable.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME);
    starts.filter_map(|(at, _)| version(&executable[at + NAME.len()..])).max()
}

/// Reads a version such as `2.34`, or `2.2.5`, up to a byte 0.
fn version(text: &[u8]) -> Option<(u32, u32)> {
    let end = text.iter().take(16).position(|byte| *byte == 0)?;
    let mut parts = std::str::from_utf8(&text[..end]).ok()?.split('.').map(str::parse);
    Some((parts.next()?.ok()?, parts.next()?.ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_greatest_version_counts() {
        assert_eq!(needed(b"..GLIBC_2.2.5\0GLIBC_2.34\0x GLIBC_2.4\0GLIBC_PRIVATE\0"), Some((2, 34)));
        assert_eq!(needed(b"GLIBC_2.34 is text\0"), None);
        assert_eq!(needed(b""), None);
    }
}
