//! Reads bytes as lib0 writes them, the library under Yjs. Each function returns `None` for what lib0 couldn't read.

/// The largest number: JavaScript has no larger whole numbers.
pub(crate) const NUMBER_MAX: u64 = (1 << 53) - 1;

/// The bytes that are still to be read.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*byte)
    }

    /// Takes so many bytes.
    pub(crate) fn take(&mut self, count: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }

    /// Takes a number: seven bits in each byte, the lowest first.
    pub(crate) fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..56).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number).filter(|number| *number <= NUMBER_MAX);
            }
        }
        None
    }

    /// Takes the number of a client and a clock.
    pub(crate) fn id(&mut self) -> Option<(u64, u64)> {
        Some((self.number()?, self.number()?))
    }

    /// Skips a number with a sign: six bits in the first byte.
    fn signed_number(&mut self) -> Option<()> {
        let first = self.byte()?;
        if first & 0x80 == 0 { Some(()) } else { self.number().filter(|rest| *rest <= NUMBER_MAX >> 6).map(|_| ()) }
    }

    /// Takes bytes with their number before them.
    pub(crate) fn counted(&mut self) -> Option<&'a [u8]> {
        let count = self.number()?;
        self.take(count)
    }

    pub(crate) fn text(&mut self) -> Option<&'a str> {
        str::from_utf8(self.counted()?).ok()
    }

    /// Skips a value of any type, with at most so many levels.
    pub(crate) fn any(&mut self, levels: u32) -> Option<()> {
        let levels = levels.checked_sub(1)?;
        match self.byte()? {
            // Undefined, null, false, true.
            127 | 126 | 121 | 120 => Some(()),
            125 => self.signed_number(),
            124 => self.take(4).map(|_| ()),
            123 | 122 => self.take(8).map(|_| ()),
            119 => self.text().map(|_| ()),
            118 => self.each(|reader| {
                reader.text()?;
                reader.any(levels)
            }),
            117 => self.each(|reader| reader.any(levels)),
            116 => self.counted().map(|_| ()),
            _ => None,
        }
    }

    /// Reads a number, and then so many elements. Each takes a byte at least.
    pub(crate) fn each(&mut self, mut read: impl FnMut(&mut Self) -> Option<()>) -> Option<()> {
        (0..self.number()?).try_for_each(|_| read(self))
    }
}
