//! Reads numbers and bytes from the begin of a slice.

use bytes::{Buf, Bytes, TryGetError};

use super::WireError;

pub(super) struct Reader(Bytes);

impl Reader {
    pub(super) const fn new(bytes: Bytes) -> Self {
        Self(bytes)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn u8(&mut self) -> Result<u8, WireError> {
        self.0.try_get_u8().map_err(short)
    }

    pub(super) fn u16(&mut self) -> Result<u16, WireError> {
        self.0.try_get_u16().map_err(short)
    }

    pub(super) fn u32(&mut self) -> Result<u32, WireError> {
        self.0.try_get_u32().map_err(short)
    }

    pub(super) fn u64(&mut self) -> Result<u64, WireError> {
        self.0.try_get_u64().map_err(short)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], WireError> {
        let mut array = [0; N];
        self.0.try_copy_to_slice(&mut array).map_err(short)?;
        Ok(array)
    }

    /// Bytes after their length. They aren't copied.
    pub(super) fn counted(&mut self) -> Result<Bytes, WireError> {
        let length = self.u32()? as usize;
        if length > self.0.len() {
            return Err(WireError::Short);
        }
        Ok(self.0.split_to(length))
    }

    /// All that is left.
    pub(super) fn rest(self) -> Bytes {
        self.0
    }
}

fn short(_error: TryGetError) -> WireError {
    WireError::Short
}
