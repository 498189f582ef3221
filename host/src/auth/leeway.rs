//! How far the clock of who signs a token may be from ours.

/// Seconds by which two clocks may differ, unless a mount says otherwise.
pub const LEEWAY_SECONDS: u64 = 60;

/// By how much a token of Phoenix's kind may miss its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leeway {
    /// Seconds by which it may have been signed in our future.
    pub ahead: u64,
    /// Seconds for which it is taken beyond its age.
    pub beyond: u64,
}

impl Leeway {
    /// In both directions: for a client's token, whose age is counted from another machine's clock. The same rule holds for
    /// `nbf` and `exp` of a JSON Web Token.
    #[must_use]
    pub fn both(seconds: u64) -> Self {
        Self { ahead: seconds, beyond: seconds }
    }

    /// For a signer whose clock is ahead only. The age is exact: whoever verifies has chosen it for this very token.
    #[must_use]
    pub fn ahead(seconds: u64) -> Self {
        Self { ahead: seconds, beyond: 0 }
    }
}
