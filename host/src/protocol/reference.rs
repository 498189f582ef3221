//! Refs: the numbers by which a client knows its own messages again.

use bytestring::ByteString;

/// A `ref` or `join_ref`: an opaque JSON value, kept as the text that the client sent. Phoenix gives it back with its
/// type and compares it strictly (`"1"` is not `1`), and so do we. Two ways to write a string are one ref.
#[derive(Clone, Debug, Eq)]
pub struct Ref(ByteString);

impl Ref {
    /// No ref.
    pub const NULL: Self = Self(ByteString::from_static("null"));

    /// Takes the JSON text of a value.
    #[must_use]
    pub fn from_json(text: ByteString) -> Self {
        Self(text)
    }

    /// Takes a string, as binary frames carry refs. An empty one is the empty string and not null.
    #[must_use]
    pub fn from_text(text: &str) -> Self {
        Self(serde_json::Value::from(text).to_string().into())
    }

    /// Whether the client sent none.
    #[must_use]
    pub fn is_null(&self) -> bool {
        &*self.0 == "null"
    }

    /// Its JSON text.
    #[must_use]
    pub fn json(&self) -> &str {
        &self.0
    }

    /// The same in a text of its own, which shares the bytes.
    #[must_use]
    pub fn to_json(&self) -> ByteString {
        self.0.clone()
    }

    /// The string inside, as binary frames carry it: empty for null, and the JSON text of anything but a string.
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

    /// The same ref in bytes of its own, for keeping: a ref fresh from the wire is a slice of its whole frame.
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
    fn refs_are_the_same_by_type_and_by_what_they_say() {
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
