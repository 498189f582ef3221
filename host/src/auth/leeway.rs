//! How much the clock of a token's signer may differ from the host's.

/// Seconds by which two clocks may differ, unless a mount says otherwise.
pub const LEEWAY_SECONDS: u64 = 60;

/// The tolerance for the times of a `Phoenix.Token`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leeway {
    /// How many seconds in the future the token may have been signed.
    pub ahead: u64,
    /// How many seconds past its maximum age the token is accepted.
    pub beyond: u64,
}

impl Leeway {
    /// Returns a leeway in both directions. It is for a client's token, whose age is counted from another machine's clock. The
    /// same rule applies to `nbf` and `exp` of a JSON Web Token.
    #[must_use]
    pub fn both(seconds: u64) -> Self {
        Self { ahead: seconds, beyond: seconds }
    }

    /// Returns a leeway only for a signer whose clock is ahead. The maximum age is exact, because the verifier has chosen it
    /// for this token.
    #[must_use]
    pub fn ahead(seconds: u64) -> Self {
        Self { ahead: seconds, beyond: 0 }
    }
}
