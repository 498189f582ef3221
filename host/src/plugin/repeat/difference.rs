//! Says in what two outcomes of the same call differ.

use std::fmt::Debug;

use bytes::Bytes;

use super::super::wasm::Decided;
use crate::contract::{Decision, Effect, Outcome};

/// The maximum number of characters of a value that are shown.
const SHOWN_MAX: usize = 120;

/// Returns the first difference of two outcomes, if there is one.
pub(super) fn of_outcomes(first: &Outcome, second: &Outcome) -> Option<String> {
    of_bytes("the member's state", first.assigns.as_ref(), second.assigns.as_ref())
        .or_else(|| of_bytes("the room", first.room.as_ref(), second.room.as_ref()))
        .or_else(|| of_values("the answer", &first.answer, &second.answer))
        .or_else(|| of_effects(&first.effects, &second.effects))
        .or_else(|| of_writes(first, second))
        .or_else(|| of_entries(first, second))
}

/// Returns the difference of two lists of decisions.
pub(super) fn of_decisions(first: &[Decision], second: &[Decision]) -> Option<String> {
    let differing = first.iter().zip(second).find(|(first, second)| first != second);
    match differing {
        Some((first, second)) => of_values("a decision", first, second),
        None => of_values("the number of decisions", &first.len(), &second.len()),
    }
}

/// Returns the difference of two upgraded states.
pub(super) fn of_upgrades(first: &Option<Bytes>, second: &Option<Bytes>) -> Option<String> {
    of_bytes("the upgraded state", first.as_ref(), second.as_ref())
}

/// Returns the difference of two answers of a gatekeeper.
pub(super) fn of_decided(first: &Decided, second: &Decided) -> Option<String> {
    of_values("the answer", &first.0, &second.0)
}

fn of_effects(first: &[Effect], second: &[Effect]) -> Option<String> {
    let at = (0..first.len().max(second.len())).find(|&at| first.get(at) != second.get(at))?;
    let show = |effects: &[Effect]| effects.get(at).map_or_else(|| "nothing".to_owned(), shown);
    Some(differ(&format!("effect {}", at + 1), &show(first), &show(second)))
}

fn of_writes(first: &Outcome, second: &Outcome) -> Option<String> {
    let writes = |outcome: &Outcome| outcome.draft.as_ref().map(|draft| draft.own_writes()).unwrap_or_default();
    of_changes("the write of the key", &writes(first), &writes(second))
}

fn of_entries(first: &Outcome, second: &Outcome) -> Option<String> {
    let changes = |outcome: &Outcome| outcome.entries.as_ref().map(|entries| entries.writes()).unwrap_or_default();
    of_changes("the change of the entry", &changes(first), &changes(second))
}

/// Keys with their new values. A key without a value is deleted.
type Changes = [(Bytes, Option<Bytes>)];

/// Returns the first difference of two lists of changes, which are in the order of their keys.
fn of_changes(what: &str, first: &Changes, second: &Changes) -> Option<String> {
    let at = (0..first.len().max(second.len())).find(|&at| first.get(at) != second.get(at))?;
    let key = match (first.get(at), second.get(at)) {
        (Some((one, _)), Some((other, _))) => one.min(other),
        (Some((key, _)), None) | (None, Some((key, _))) => key,
        (None, None) => return None,
    };
    let show = |changes: &Changes| match changes.get(at).filter(|(changed, _)| changed == key) {
        Some((_, Some(value))) => shown_bytes(value),
        Some((_, None)) => "a deletion".to_owned(),
        None => "nothing".to_owned(),
    };
    Some(differ(&format!("{what} {}", shown_bytes(key)), &show(first), &show(second)))
}

fn of_bytes(what: &str, first: Option<&Bytes>, second: Option<&Bytes>) -> Option<String> {
    let show = |state: Option<&Bytes>| state.map_or_else(|| "unchanged".to_owned(), shown_bytes);
    (first != second).then(|| differ(what, &show(first), &show(second)))
}

fn of_values<T: PartialEq + Debug>(what: &str, first: &T, second: &T) -> Option<String> {
    (first != second).then(|| differ(what, &shown(first), &shown(second)))
}

fn differ(what: &str, first: &str, second: &str) -> String {
    format!("{what} is {first} on the first one and {second} on the second one")
}

fn shown(value: &impl Debug) -> String {
    cut(format!("{value:?}"))
}

/// Bytes as text, if they are. A state in another format, such as that of Rust, is shown as far as it has text in it.
fn shown_bytes(bytes: &Bytes) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) if !text.chars().any(char::is_control) => cut(format!("`{text}`")),
        _ => cut(format!("{bytes:?}")),
    }
}

fn cut(mut text: String) -> String {
    if let Some((at, _)) = text.char_indices().nth(SHOWN_MAX) {
        text.truncate(at);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Answer;

    fn outcome() -> Outcome {
        Outcome { assigns: None, room: None, entries: None, draft: None, effects: Vec::new(), answer: Answer::None }
    }

    #[test]
    fn the_difference_names_what_differs() {
        assert_eq!(of_outcomes(&outcome(), &outcome()), None);
        let state = |text: &'static str| Outcome { assigns: Some(Bytes::from_static(text.as_bytes())), ..outcome() };
        let expected = "the member's state is `{\"n\":2}` on the first one and `{\"n\":1}` on the second one";
        assert_eq!(of_outcomes(&state("{\"n\":2}"), &state("{\"n\":1}")).as_deref(), Some(expected));
        let expected = "the member's state is unchanged on the first one and b\"\\x81\" on the second one";
        let packed = Outcome { assigns: Some(Bytes::from_static(b"\x81")), ..outcome() };
        assert_eq!(of_outcomes(&outcome(), &packed).as_deref(), Some(expected));
        let effects = |event: &'static str| Outcome {
            effects: vec![Effect::Push { event: event.into(), payload: Default::default() }],
            ..outcome()
        };
        let found = of_outcomes(&effects("a"), &effects("b")).unwrap_or_default();
        assert!(found.starts_with("effect 1 is Push { event: \"a\""), "{found}");
        let found = of_outcomes(&effects("a"), &outcome()).unwrap_or_default();
        assert!(found.ends_with("and nothing on the second one"), "{found}");
    }

    #[test]
    fn the_first_differing_key_of_changes_is_named() {
        let change = |key: &'static str, value: Option<&'static str>| {
            (Bytes::from_static(key.as_bytes()), value.map(|value| Bytes::from_static(value.as_bytes())))
        };
        let both = [change("a", Some("1")), change("b", Some("2"))];
        let other = [change("b", None)];
        let found = of_changes("the key", &both, &other);
        assert_eq!(found.as_deref(), Some("the key `a` is `1` on the first one and nothing on the second one"));
        let found = of_changes("the key", &both[1..], &other);
        assert_eq!(found.as_deref(), Some("the key `b` is `2` on the first one and a deletion on the second one"));
        assert_eq!(of_changes("the key", &both, &both), None);
    }

    #[test]
    fn a_long_value_is_cut() {
        let long = Bytes::from("x".repeat(1000));
        assert_eq!(shown_bytes(&long).chars().count(), SHOWN_MAX + 1);
    }
}
