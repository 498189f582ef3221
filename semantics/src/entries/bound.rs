//! The lower bound of a page.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;

/// The lower bound of the keys of a page. A bound is as short as its neighbours allow, so it is usually short enough to
/// be in the nodes of the map of pages. Then a search reads no other memory, which would cost a cache miss for each
/// comparison.
#[derive(Clone)]
pub(super) enum PageBound {
    Inline { length: u8, bytes: [u8; INLINE_MAX] },
    Boxed(Box<[u8]>),
}

const INLINE_MAX: usize = 22;

#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<PageBound>() == 24, "a longer bound isn't stored in more space than a shorter one");

impl PageBound {
    /// The bound of the first page.
    pub(super) const FIRST: Self = Self::Inline { length: 0, bytes: [0; INLINE_MAX] };

    pub(super) fn new(key: &[u8]) -> Self {
        let mut bytes = [0; INLINE_MAX];
        match (bytes.get_mut(..key.len()), u8::try_from(key.len())) {
            (Some(inline), Ok(length)) => {
                inline.copy_from_slice(key);
                Self::Inline { length, bytes }
            }
            _ => Self::Boxed(key.into()),
        }
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline { length, bytes } => &bytes[..usize::from(*length)],
            Self::Boxed(bytes) => bytes,
        }
    }
}

impl fmt::Debug for PageBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().fmt(f)
    }
}

impl Borrow<[u8]> for PageBound {
    #[inline]
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq for PageBound {
    fn eq(&self, other: &Self) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl Eq for PageBound {}

impl PartialOrd for PageBound {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for PageBound {
    #[inline]
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_of_any_length_have_the_order_of_their_bytes() {
        let keys: Vec<Vec<u8>> = (0..=2 * INLINE_MAX).map(|length| vec![b'k'; length]).collect();
        for left in &keys {
            assert_eq!(PageBound::new(left).as_bytes(), left);
            for right in &keys {
                assert_eq!(PageBound::new(left).cmp(&PageBound::new(right)), left.cmp(right));
            }
        }
    }
}
