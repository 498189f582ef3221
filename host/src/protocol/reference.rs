//! Refs: values by which a client matches replies to its messages.

use bytestring::ByteString;

/// A `ref` or `join_ref`: an opaque JSON value, stored as the text that the client sent. As in Phoenix, it is returned
/// with its type and compared strictly (`"1"` is not `1`). Two spellings of the same string are equal.
#[derive(Clone, Debug, Eq)]
pub struct Ref(ByteString);

impl Ref {
    /// No ref.
    pub const NULL: Self = Self(ByteString::from_static("null"));

    /// Creates a ref from the JSON text of a value.
    #[must_use]
    pub fn from_json(text: ByteString) -> Self {
        Self(text)
    }

    /// Creates a ref from a string, as in binary frames. An empty string is the empty string, and not null.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(serde_json::Value::from(text).to_string().into())
    }

    /// Whether the client sent no ref.
    #[must_use]
    pub fn is_null(&self) -> bool {
        &*self.0 == "null"
    }

    /// Returns its JSON text.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.0
    }

    /// Returns its JSON text as a value that shares the bytes.
    #[must_use]
    pub fn to_json(&self) -> ByteString {
        self.0.clone()
    }

    /// Returns its value as in binary frames: the string itself, an empty string for null, and the JSON text of any
    /// other value.
    #[must_use]
    pub fn text(&self) -> String {
        if self.is_null() {
            return String::new();
        }
        self.string().unwrap_or_else(|| self.0.to_string())
    }

    fn string(&self) -> Option<String> {
        serde_json::from_str(&self.0).ok()
    }

    /// Returns a copy to keep. A ref from a message is a slice, and would keep the message's whole frame in memory.
    #[must_use]
    pub fn detached(&self) -> Self {
        if self.is_null() { Self::NULL } else { Self(ByteString::from(self.json())) }
    }
}

impl PartialEq for Ref {
    fn eq(&self, other: &Self) -> bool {
        let has_escape = |it: &Self| it.0.contains('\\');
        self.0 == other.0
            || (has_escape(self) || has_escape(other)) && self.string().is_some_and(|it| other.string() == Some(it))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refs_are_equal_if_their_types_and_values_are() {
        let cases = [
            (r#""1""#, r#""1""#, true),
            (r#""1""#, r#""\u0031""#, true),
            (r#""\u00e9""#, r#""é""#, true),
            (r#""1""#, "1", false),
            (r#""\u0031""#, "1", false),
            (r#""\ud800""#, r#""\ud800""#, true),
            (r#""\ud800""#, r#""\ud801""#, false),
            ("null", r#""null""#, false),
            ("1", "2", false),
        ];
        for (one, other, same) in cases {
            let [one, other] = [one, other].map(|text| Ref::from_json(text.into()));
            assert_eq!(one == other, same, "{one:?} {other:?}");
        }
    }
}
