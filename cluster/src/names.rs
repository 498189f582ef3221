//! Names in a sentence.

use std::fmt::Display;

/// The most names in a sentence.
const NAMED_MAX: usize = 3;

/// The first ones, and how many more there are.
#[must_use]
pub fn named(names: &[impl Display]) -> String {
    let (shown, rest) = names.split_at(names.len().min(NAMED_MAX));
    let shown: Vec<String> = shown.iter().map(ToString::to_string).collect();
    match rest.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_names_are_shown_and_the_others_are_counted() {
        assert_eq!(named(&[1, 2, 3]), "1, 2, 3");
        assert_eq!(named(&["a", "b", "c", "d", "e"]), "a, b, c and 2 more");
    }
}
