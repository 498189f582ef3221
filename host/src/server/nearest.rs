//! Suggestions for misspelt names.

/// Returns the candidate that is most similar to a name, by edit distance. Returns none if no candidate is similar.
pub(super) fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // A plugin's name is its file's name without `.wasm`.
    let name = name.strip_suffix(".wasm").unwrap_or(name);
    let meant = name.to_lowercase();
    // One edit for every three letters, and at least one.
    let most = (name.chars().count() / 3).max(1);
    let distances = candidates
        .into_iter()
        .map(|candidate| (strsim::damerau_levenshtein(&meant, &candidate.to_lowercase()), candidate));
    distances.filter(|(distance, _)| *distance <= most).min().map(|(_, candidate)| candidate)
}

/// Returns `; did you mean …?`, or an empty text if no candidate is similar.
pub(super) fn suggestion<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> String {
    nearest(name, candidates).map(|name| format!("; did you mean `{name}`?")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_only_if_it_is_similar() {
        let names = ["chat", "echo", "notifications", "cat"];
        let cases = [
            ("chta", Some("chat")),
            ("Chat", Some("chat")),
            ("chat.wasm", Some("chat")),
            ("ecoh", Some("echo")),
            ("notification", Some("notifications")),
            ("notfications_v2", Some("notifications")),
            ("game", None),
            ("x", None),
            ("", None),
        ];
        for (name, expected) in cases {
            assert_eq!(nearest(name, names), expected, "{name}");
        }
        assert_eq!(suggestion("chta", names), "; did you mean `chat`?");
        assert_eq!(suggestion("game", names), "");
    }
}
