//! Why a flush can't be read.

use std::fmt;

/// Why a flush can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireError {
    /// It ends too early.
    Short,
    /// It is longer than a flush may be.
    Long,
    /// It has this version of the protocol, which isn't understood here.
    Version(u16),
    /// It wasn't made with the cluster's secret, or was changed.
    Forged,
    /// Its content has this kind, which there isn't.
    Kind(u8),
    /// Its lane has this kind, which there isn't.
    Lane(u8),
    /// A number or a range of numbers can't be.
    Number,
    /// It has more of something than it may have, or nothing of something that it must have.
    Count,
    /// Something follows its end.
    Rest,
}

impl fmt::Display for WireError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Short => formatter.write_str("it ends too early"),
            Self::Long => formatter.write_str("it is too long"),
            Self::Version(version) => write!(formatter, "version {version} of the protocol isn't understood"),
            Self::Forged => formatter.write_str("it wasn't made with the cluster's secret"),
            Self::Kind(kind) => write!(formatter, "there is no kind {kind}"),
            Self::Lane(kind) => write!(formatter, "there is no kind {kind} of lanes"),
            Self::Number => formatter.write_str("a number can't be"),
            Self::Count => formatter.write_str("it has too many or too few parts"),
            Self::Rest => formatter.write_str("something follows its end"),
        }
    }
}

impl std::error::Error for WireError {}
