//! Serializers: the two wire formats of the Phoenix Channels protocol, and Supabase's extension of the second. The client
//! requests one by its version.

use std::fmt;

use semver::Version;
use serde::Deserialize;

use super::{Frame, Incoming, Message, Outbound, binary, supabase, v1, v2};

/// A wire format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Serializer {
    /// Version 1: objects of four fields, without binary payloads and join refs.
    V1,
    /// Version 2: arrays of five fields, and binary frames.
    V2,
    /// Version 2 with the binary frames of Supabase Realtime's clients.
    Supabase,
}

/// The clients that a mount is for. They differ in version 2.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dialect {
    /// Clients of Phoenix Channels.
    #[default]
    Phoenix,
    /// Clients of Supabase Realtime. Those of Phoenix Channels can't read the binary frames of version 2 that they get here.
    Supabase,
}

/// A frame that isn't a message, and the reason. As in Phoenix, it closes the whole socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed(pub String);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Malformed {}

impl Serializer {
    /// The number of serializers.
    pub const COUNT: usize = 3;

    /// Returns the serializer for the `vsn` of a request: version 1 for `1.0.x` or no `vsn`, and version 2 for `2.0.x`.
    /// As in Phoenix, only full versions are valid (`2` isn't).
    #[must_use]
    pub fn for_version(vsn: Option<&str>, dialect: Dialect) -> Option<Self> {
        let Some(vsn) = vsn else { return Some(Self::V1) };
        // A pre-release such as `2.0.0-rc.1` comes before `2.0.0`, so it doesn't match.
        let version = Version::parse(vsn).ok().filter(|version| version.pre.is_empty())?;
        match (version.major, version.minor) {
            (1, 0) => Some(Self::V1),
            (2, 0) => Some(match dialect {
                Dialect::Phoenix => Self::V2,
                Dialect::Supabase => Self::Supabase,
            }),
            _ => None,
        }
    }

    /// Returns its index in an array of [`COUNT`](Self::COUNT) elements.
    #[must_use]
    pub fn index(self) -> usize {
        self as usize
    }

    /// Reads a message from a client.
    ///
    /// # Errors
    /// If it isn't a message of this version.
    pub fn decode(self, incoming: &Incoming) -> Result<Message, Malformed> {
        match (self, incoming) {
            (Self::V2 | Self::Supabase, Incoming::Text(text)) => v2::decode(text),
            (Self::V2, Incoming::Binary(bytes)) => binary::decode(bytes),
            (Self::Supabase, Incoming::Binary(bytes)) => supabase::decode(bytes),
            (Self::V1, Incoming::Text(text)) => v1::decode(text),
            // Phoenix's version 1 ignores the kind of the frame.
            (Self::V1, Incoming::Binary(bytes)) => {
                let text = bytes.clone().try_into().map_err(|_| Malformed("the frame is not UTF-8".into()))?;
                v1::decode(&text)
            }
        }
    }

    /// Encodes a message. Returns `None` if this format can't carry it: version 1 has no binary payloads, and a field
    /// of a binary frame has at most 255 bytes. Supabase's clients read only packed bytes of the event `broadcast`.
    #[must_use]
    pub fn encode(self, message: Outbound<'_>) -> Option<Frame> {
        match self {
            Self::V1 => v1::encode(message),
            Self::V2 => v2::encode(message),
            Self::Supabase => supabase::encode(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_selects_the_same_serializer_as_in_phoenix() {
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
            assert_eq!(Serializer::for_version(vsn, Dialect::Phoenix), expected, "{vsn:?}");
            let expected =
                expected.map(|version| if version == Serializer::V2 { Serializer::Supabase } else { version });
            assert_eq!(Serializer::for_version(vsn, Dialect::Supabase), expected, "{vsn:?}");
        }
    }
}
