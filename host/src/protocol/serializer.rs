//! Serializers: the two wire formats of the Phoenix Channels protocol, by the version that a client asks for.

use std::fmt;

use semver::Version;

use super::{Frame, Incoming, Message, Outbound, binary, v1, v2};

/// A wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serializer {
    /// Objects of four fields, from before binary payloads and join refs.
    V1,
    /// Arrays of five fields, and binary frames.
    V2,
}

/// A frame that isn't a message. Phoenix closes the whole socket for it, and so do we.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

impl Serializer {
    /// How many there are; [`index`](Self::index) stays below.
    pub const COUNT: usize = 2;

    /// The serializer for the `vsn` of a request: `1.0.x`, which is also meant where none is given, or `2.0.x`. Phoenix
    /// takes full versions only (`2` is none), and so do we.
    #[must_use]
    pub fn for_version(vsn: Option<&str>) -> Option<Self> {
        let Some(vsn) = vsn else { return Some(Self::V1) };
        // A pre-release of a version comes before it, and so isn't meant.
        let version = Version::parse(vsn).ok().filter(|version| version.pre.is_empty())?;
        match (version.major, version.minor) {
            (1, 0) => Some(Self::V1),
            (2, 0) => Some(Self::V2),
            _ => None,
        }
    }

    /// Its place in an array of [`COUNT`](Self::COUNT).
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// Reads what a client sent.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn decode(self, incoming: &Incoming) -> Result<Message, Malformed> {
        match (self, incoming) {
            (Self::V2, Incoming::Text(text)) => v2::decode(text),
            (Self::V2, Incoming::Binary(bytes)) => binary::decode(bytes),
            (Self::V1, Incoming::Text(text)) => v1::decode(text),
            // Phoenix's V1 doesn't look at the kind of the frame.
            (Self::V1, Incoming::Binary(bytes)) => {
                let text = bytes.clone().try_into().map_err(|_| Malformed("the frame is not UTF-8".into()))?;
                v1::decode(&text)
            }
        }
    }

    /// Writes a message, if this format can carry it: V1 has no binary payloads, and a binary frame no field of more than
    /// 255 bytes.
    #[must_use]
    pub fn encode(self, message: Outbound<'_>) -> Option<Frame> {
        match self {
            Self::V1 => v1::encode(message),
            Self::V2 => v2::encode(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_choose_as_in_phoenix() {
        let cases = [
            (None, Some(Serializer::V1)),
            (Some("1.0.0"), Some(Serializer::V1)),
            (Some("2.0.0"), Some(Serializer::V2)),
            (Some("2.0.7"), Some(Serializer::V2)),
            (Some("2.1.0"), None),
            (Some("2.0.0-rc.1"), None),
            (Some("3.0.0"), None),
            (Some("2"), None),
            (Some(""), None),
            (Some("abc"), None),
        ];
        for (vsn, expected) in cases {
            assert_eq!(Serializer::for_version(vsn), expected, "{vsn:?}");
        }
    }
}
