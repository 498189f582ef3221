//! The exact diff of each operation.

use super::*;
use crate::presence::PresenceError;

/// The only diff of a change, with refs shortened to the clock's digits: B is 1, C is 2.
fn diff(change: &Change) -> String {
    assert_eq!(change.diffs.len(), 1);
    let mut mark = String::new();
    replica("a").write_ref(0, &mut mark);
    text(change.diffs[&topic()].payload()).replace(&mark, "")
}

#[test]
fn the_diff_of_each_operation_contains_its_change() {
    let (mut state, topic) = (State::new(replica("a")), topic());
    let change = state.join(&topic, 1, "ann", r#"{"at":"home"}"#).unwrap();
    assert_eq!(diff(&change), r#"{"joins":{"ann":{"metas":[{"at":"home","phx_ref":"B"}]}},"leaves":{}}"#);
    // A second member under the same key: the diff contains only its own meta.
    let change = state.join(&topic, 2, "ann", "{}").unwrap();
    assert_eq!(diff(&change), r#"{"joins":{"ann":{"metas":[{"phx_ref":"C"}]}},"leaves":{}}"#);
    let change = state.update(&topic, 1, "ann", r#"{"at":"work"}"#).unwrap();
    assert_eq!(
        diff(&change),
        concat!(
            r#"{"joins":{"ann":{"metas":[{"at":"work","phx_ref":"D","phx_ref_prev":"B"}]}},"#,
            r#""leaves":{"ann":{"metas":[{"at":"home","phx_ref":"B"}]}}}"#
        )
    );
    // The old meta is complete, including the ref of the entry before it.
    let change = state.update(&topic, 1, "ann", "{}").unwrap();
    assert_eq!(
        diff(&change),
        concat!(
            r#"{"joins":{"ann":{"metas":[{"phx_ref":"E","phx_ref_prev":"D"}]}},"#,
            r#""leaves":{"ann":{"metas":[{"at":"work","phx_ref":"D","phx_ref_prev":"B"}]}}}"#
        )
    );
    let change = state.leave_key(&topic, 2, "ann");
    assert_eq!(diff(&change), r#"{"joins":{},"leaves":{"ann":{"metas":[{"phx_ref":"C"}]}}}"#);
    state.join(&topic, 1, "a \"key\"", "{}").unwrap();
    let change = state.leave(&topic, 1);
    assert_eq!(
        diff(&change),
        concat!(
            r#"{"joins":{},"leaves":{"a \"key\"":{"metas":[{"phx_ref":"G"}]},"#,
            r#""ann":{"metas":[{"phx_ref":"E","phx_ref_prev":"D"}]}}}"#
        )
    );
    assert_eq!(state.payload(&topic), Payload::EMPTY);
}

#[test]
fn operations_without_a_matching_entry_change_nothing() {
    let (mut state, topic) = (State::new(replica("a")), topic());
    assert_eq!(state.update(&topic, 1, "ann", "{}").err(), Some(PresenceError::NotTracked));
    for change in [state.leave_key(&topic, 1, "ann"), state.leave(&topic, 1)] {
        assert!(change.diffs.is_empty() && change.delta.shares().is_empty());
    }
    state.join(&topic, 1, "ann", "{}").unwrap();
    assert_eq!(state.join(&topic, 1, "ann", "{}").err(), Some(PresenceError::AlreadyTracked));
    // A leave of another member or in another topic doesn't apply.
    assert!(state.leave(&topic, 2).diffs.is_empty() && state.leave(&Topic::new("room:b"), 1).diffs.is_empty());
    assert_eq!((state.count(&topic), state.of_member(&topic, 1).len()), (1, 1));
}

#[test]
fn the_state_lists_keys_with_their_metas() {
    let (mut state, topic) = (State::new(replica("a")), topic());
    assert_eq!((state.payload(&topic), state.metas(&topic, "ann")), (Payload::EMPTY, None));
    for (member, key) in [(1, "bob"), (2, "ann"), (3, "bob")] {
        state.join(&topic, member, key, &format!("{{\"m\":{member}}}")).unwrap();
    }
    let list = parsed(&text(state.payload(&topic)));
    let keys: Vec<&str> = list.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!((keys, state.count(&topic)), (vec!["ann", "bob"], 2));
    assert_eq!((&list["bob"]["metas"][0]["m"], &list["bob"]["metas"][1]["m"]), (&1.into(), &3.into()));
    assert_eq!(parsed(&state.metas(&topic, "bob").unwrap()), list["bob"]);
}

#[test]
fn the_state_is_encoded_once_for_each_revision() {
    let (mut state, topic) = (State::new(replica("a")), topic());
    let address = |state: &mut State| match state.payload(&topic) {
        Payload::Json(text) => text.as_ptr(),
        Payload::Binary(_) => panic!("presence is text"),
    };
    state.join(&topic, 1, "ann", "{}").unwrap();
    let first = address(&mut state);
    state.join(&Topic::new("room:b"), 1, "ann", "{}").unwrap();
    assert_eq!(address(&mut state), first);
    let before = text(state.payload(&topic));
    state.update(&topic, 1, "ann", "{}").unwrap();
    assert_ne!(text(state.payload(&topic)), before);
}

/// Tracking doesn't read all entries of a key. Otherwise this test would take minutes.
#[test]
fn many_members_under_one_key_are_fast() {
    const MANY: u64 = 20_000;
    let (mut state, topic) = (State::new(replica("a")), topic());
    for member in 0..MANY {
        state.join(&topic, member, "everybody", "{}").unwrap();
    }
    assert_eq!(state.list(&topic).count(), MANY as usize);
    for member in 0..MANY {
        state.leave(&topic, member);
    }
    assert_eq!((state.count(&topic), state.views()), (0, 0));
}
