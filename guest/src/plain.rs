//! Translates serde's error texts into terms that need no knowledge of Rust: `u64` becomes a whole number, and a
//! sequence a list. Clients, operators, and authors of plugins in other languages read these texts.
//!
//! The host compiles this file too, as a module of its own. So it only uses the standard library.

/// The text between the found and the expected part in an error of serde.
const EXPECTED: &str = ", expected ";

/// Serde's terms for the found part, with their translations.
const FOUND: [(&str, &str); 4] =
    [("sequence", "a list"), ("map", "an object"), ("unit value", "null"), ("Option value", "a value")];

/// Returns an error's text with Rust's terms replaced. Other lines stay unchanged, such as the lines that show the
/// position.
#[must_use]
#[allow(unreachable_pub, reason = "the host gives it to its own modules")]
pub fn plain(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(plain_line).collect();
    lines.join("\n")
}

fn plain_line(line: &str) -> String {
    if let Some(at) = line.find("data did not match any variant of untagged enum ") {
        return format!("{}it has none of the allowed forms", &line[..at]);
    }
    // The found part may contain a client's text, and that text may contain the separator. So the last separator
    // counts.
    let Some((found, expected)) = line.rsplit_once(EXPECTED) else { return line.to_owned() };
    let (expected, position) = match expected.find(" at line ") {
        Some(at) => expected.split_at(at),
        None => (expected, ""),
    };
    let is_out_of_range = found.contains("invalid value: ");
    format!("{}{EXPECTED}{}{position}", plain_found(found), plain_expected(expected, is_out_of_range))
}

fn plain_found(found: &str) -> String {
    let kind = "invalid type: ";
    let Some(at) = found.find(kind) else { return found.to_owned() };
    let (before, what) = found.split_at(at + kind.len());
    let plain = FOUND.iter().find(|(rust, _)| *rust == what).map_or(what, |(_, plain)| plain);
    let plain = plain.strip_prefix("floating point ").map_or(plain.to_owned(), |number| format!("number {number}"));
    format!("{before}{plain}")
}

/// Translates the expected part. For a number that is too small or too large, returns the allowed range.
fn plain_expected(expected: &str, is_out_of_range: bool) -> String {
    if let Some(range) = is_out_of_range.then(|| range(expected)).flatten() {
        return range.to_owned();
    }
    let plain = match expected {
        "u8" | "u16" | "u32" | "u64" | "u128" | "usize" | "i8" | "i16" | "i32" | "i64" | "i128" | "isize" => {
            "a whole number"
        }
        "f32" | "f64" => "a number",
        "a boolean" | "bool" => "true or false",
        "a sequence" | "seq" => "a list",
        "a map" | "map" => "an object",
        "unit" => "null",
        "a borrowed string" | "identifier" | "field identifier" | "variant identifier" => "a string",
        "string or map" => "a string or an object",
        "byte array" | "a byte array" | "bytes" => "bytes",
        _ => return plain_named(expected),
    };
    plain.to_owned()
}

/// Translates an expected part that contains a type's name or a number.
fn plain_named(expected: &str) -> String {
    let starts_with = |words: &[&str]| words.iter().any(|word| expected.starts_with(word));
    if starts_with(&["a nonzero "]) {
        return "a whole number that is not 0".into();
    }
    let number = expected.rsplit(' ').find(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
    if starts_with(&["a tuple of size ", "an array of length ", "tuple struct ", "tuple variant "]) {
        return number.map_or("a list".into(), |number| format!("a list of {number}"));
    }
    if starts_with(&["unit struct ", "unit variant "]) {
        return "null".into();
    }
    // serde also reads a struct from a list. Nobody writes one on purpose, and serde's error about the list's length
    // uses the struct's name.
    if starts_with(&["struct ", "struct variant ", "internally tagged enum ", "adjacently tagged enum "]) {
        return "an object".into();
    }
    if starts_with(&["enum ", "newtype variant ", "newtype struct "]) {
        return "a string or an object".into();
    }
    if starts_with(&["an empty array"]) {
        return "an empty list".into();
    }
    if starts_with(&["an empty map", "empty map"]) {
        return "an empty object".into();
    }
    expected.to_owned()
}

/// Returns the range of a number type.
fn range(expected: &str) -> Option<&'static str> {
    Some(match expected {
        "u8" => "a whole number from 0 to 255",
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "u128" | "usize" => "a whole number that is not negative",
        "i8" => "a whole number from -128 to 127",
        "i16" => "a whole number from -32768 to 32767",
        "i32" => "a whole number from -2147483648 to 2147483647",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn rust_terms_are_translated() {
        let cases = [
            ("invalid type: string \"hi\", expected u64", "invalid type: string \"hi\", expected a whole number"),
            (
                "invalid value: integer `300`, expected u8",
                "invalid value: integer `300`, expected a whole number from 0 to 255",
            ),
            (
                "invalid value: integer `-1`, expected usize",
                "invalid value: integer `-1`, expected a whole number that is not negative",
            ),
            ("invalid type: floating point `1.5`, expected i32", "invalid type: number `1.5`, expected a whole number"),
            ("invalid type: null, expected f64", "invalid type: null, expected a number"),
            ("invalid type: sequence, expected a string", "invalid type: a list, expected a string"),
            ("invalid type: map, expected a sequence", "invalid type: an object, expected a list"),
            ("invalid type: integer `1`, expected struct Point", "invalid type: integer `1`, expected an object"),
            ("invalid type: null, expected a map", "invalid type: null, expected an object"),
            ("invalid length 1, expected a tuple of size 2", "invalid length 1, expected a list of 2"),
            ("invalid length 1, expected struct Point with 2 elements", "invalid length 1, expected an object"),
            ("invalid length 1, expected tuple struct Pair with 2 elements", "invalid length 1, expected a list of 2"),
            ("invalid type: null, expected string or map", "invalid type: null, expected a string or an object"),
            (
                "invalid type: integer `0`, expected a nonzero u16",
                "invalid type: integer `0`, expected a whole number that is not 0",
            ),
            ("data did not match any variant of untagged enum Shape", "it has none of the allowed forms"),
            (
                "the body: invalid type: null, expected u32 at line 1 column 9",
                "the body: invalid type: null, expected a whole number at line 1 column 9",
            ),
        ];
        for (rust, words) in cases {
            assert_eq!(plain(rust), words);
        }
    }

    #[test]
    fn other_texts_stay_unchanged() {
        for text in [
            "invalid type: integer `1`, expected a string",
            "missing field `body`",
            "unknown variant `xml`, expected `human` or `json`",
            "invalid type: string \"a, expected u64\", expected a string",
            "expected value at line 1 column 1",
            "1 | load = 80\n  |        ^^",
        ] {
            assert_eq!(plain(text), text);
        }
    }
}
