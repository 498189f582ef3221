//! JSON texts that parsers disagree about, each with the expected result. The tests of the host and of the test kit use
//! the same table, so that both refuse the same texts.

/// How far a text is valid.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Degree {
    /// Invalid: every parser refuses the text.
    Broken,
    /// Valid by the grammar and for `JSON.parse`, but `serde_json` can't read it. The host only passes it on.
    Passed,
    /// The host can read it.
    Readable,
}

use Degree::{Broken, Passed, Readable};

const VALUES: [(&str, Degree); 52] = [
    ("", Broken),
    ("nul", Broken),
    ("NaN", Broken),
    ("-Infinity", Broken),
    ("undefined", Broken),
    ("01", Broken),
    ("-01", Broken),
    ("1.", Broken),
    (".5", Broken),
    ("+1", Broken),
    ("-", Broken),
    ("1e", Broken),
    ("1e+", Broken),
    ("0x10", Broken),
    ("1_000", Broken),
    ("'a'", Broken),
    ("[1,]", Broken),
    ("{\"a\":1,}", Broken),
    ("{a:1}", Broken),
    ("{1:1}", Broken),
    ("1 2", Broken),
    ("1 // one", Broken),
    ("\"\\x41\"", Broken),
    ("\"\\u12\"", Broken),
    ("\"\\u{41}\"", Broken),
    ("\"a\tb\"", Broken),
    ("\"a\nb\"", Broken),
    ("\"\u{0}\"", Broken),
    ("\u{feff}1", Broken),
    ("\u{a0}1", Broken),
    ("1e999", Passed),
    ("-1e999", Passed),
    ("[0.1e310]", Passed),
    ("\"\\ud800\"", Passed),
    ("\"\\udc00\"", Passed),
    ("\"\\ud83d\\u0041\"", Passed),
    ("\"\\ude00\\ud83d\"", Passed),
    ("{\"\\ud800\":1}", Passed),
    ("\"\\ud83d\\ude00 \\u0000 \\/ \u{7f} \u{2028}\"", Readable),
    ("-0", Readable),
    ("1e308", Readable),
    ("1e-999", Readable),
    ("18446744073709551616", Readable),
    ("-9223372036854775809", Readable),
    ("123456789012345678901234567890", Readable),
    ("{\"a\":1,\"a\":2}", Readable),
    ("{\"\":{\"__proto__\":null}}", Readable),
    ("{\"$serde_json::private::RawValue\":5}", Readable),
    ("{\"$serde_json::private::RawValue\":\"[1]\"}", Readable),
    ("[{\"$serde_json::private::Number\":\"1\"}]", Readable),
    (" [ true , false , null ] ", Readable),
    ("{\"phx_ref\":\"mine\",\"phx_ref_prev\":1}", Readable),
];

/// Returns the texts: objects with one of the values above, objects of the greatest allowed depth and deeper ones, and
/// texts that aren't one object.
pub(crate) fn texts() -> Vec<(String, Degree)> {
    let deep = |levels: usize| format!("{{\"v\":{}{}}}", "[".repeat(levels - 1), "]".repeat(levels - 1));
    let mut texts: Vec<_> = VALUES.iter().map(|(value, degree)| (format!("{{\"v\":{value}}}"), *degree)).collect();
    texts.extend([
        (deep(127), Readable),
        (deep(128), Passed),
        (deep(1_500), Passed),
        (deep(100_000), Passed),
        ("{}".to_owned(), Readable),
        (" {\r\n\t} ".to_owned(), Readable),
        ("{}{}".to_owned(), Broken),
        ("{\"v\":1".to_owned(), Broken),
        ("\u{feff}{}".to_owned(), Broken),
        ("{\"$serde_json::private::RawValue\":5}".to_owned(), Readable),
    ]);
    texts
}
