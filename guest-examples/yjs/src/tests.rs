//! Documents that `yrs` changes as a client would, and what the server makes of them.

use bennu_guest::testing::{Setup, Stage};
use yrs::{Doc, ReadTxn, StateVector, Text, Transact};

use super::*;

fn stage() -> Stage {
    Stage::new().channel::<Editor>("doc:*")
}

/// Inserts a text into a client's own document, and returns the update.
fn insert(doc: &Doc, text: &str) -> Vec<u8> {
    let field = doc.get_or_insert_text("text");
    let mut transaction = doc.transact_mut();
    field.insert(&mut transaction, 0, text);
    transaction.encode_update_v1()
}

fn change(update: &[u8]) -> Binary {
    Binary(protocol::update(update))
}

/// All of a document, as the server sends it to a new client.
fn all(doc: &Doc) -> Binary {
    Binary(protocol::step_2(&doc.transact().encode_diff_v1(&StateVector::default())))
}

/// What a client sends that has nothing.
fn nothing() -> Binary {
    Binary(protocol::step_1(b"\0"))
}

#[test]
fn a_change_reaches_the_others_and_is_kept() {
    let (stage, doc) = (stage(), Doc::with_client_id(1));
    let mut ada = stage.join("doc:1", json!({})).unwrap();
    assert_eq!(ada.response(), nothing().into_payload());
    let mut bo = stage.join("doc:1", json!({})).unwrap();
    ada.assert_broadcast("who", json!({}));
    for text in ["one", "two"] {
        let update = insert(&doc, text);
        let sent = ada.push("sync", change(&update));
        ada.assert_reply(&sent, "ok", json!({}));
        bo.assert_broadcast("sync", change(&update));
        // A change that the server has already is no change.
        let again = bo.push("sync", change(&update));
        bo.assert_reply(&again, "ok", json!({}));
        ada.refute_broadcast("sync");
    }
    for topic in ["doc:1", "doc:2"] {
        let mut cleo = stage.join(topic, json!({})).unwrap();
        let asked = cleo.push("sync", nothing());
        let expected = if topic == "doc:1" { all(&doc) } else { Binary(protocol::step_2(b"\0\0")) };
        cleo.assert_reply(&asked, "ok", expected);
    }
    assert!(stage.faults().is_empty());
}

#[test]
fn what_is_no_change_is_refused() {
    let (stage, doc) = (stage().config(json!({ "bytes": 100 })), Doc::with_client_id(1));
    let mut ada = stage.join("doc:1", json!({})).unwrap();
    let missing = insert(&doc, "one");
    let later = ada.push("sync", change(&insert(&doc, "two")));
    ada.assert_reply(&later, "error", json!({ "reason": "an earlier change is missing", "resync": true }));
    let sent = ada.push("sync", change(&missing));
    ada.assert_reply(&sent, "ok", json!({}));
    let large = ada.push("sync", change(&insert(&Doc::with_client_id(2), &"x".repeat(200))));
    ada.assert_reply(&large, "error", json!({ "reason": "the document is full: it has at most 100 bytes" }));
    for (event, payload, reason) in [
        ("sync", change(b"text"), "this is no update of Yjs"),
        ("sync", Binary(b"text".to_vec()), "this is no message of y-protocols"),
        ("sync", Binary(protocol::step_1(b"\x01")), "this is no state vector"),
        ("awareness", Binary(b"\x02".to_vec()), "this is no message of y-protocols"),
    ] {
        let sent = ada.push(event, payload);
        ada.assert_reply(&sent, "error", json!({ "reason": reason }));
    }
    let reader = Setup::new().claims(json!({ "read_only": true }));
    let mut reader = stage.join_as(reader, "doc:1", json!({})).unwrap();
    let sent = reader.push("sync", change(&insert(&doc, "three")));
    reader.assert_reply(&sent, "error", json!({ "reason": "you can only read this document" }));
    assert!(stage.faults().is_empty());
}

#[test]
fn the_others_see_a_client_until_it_leaves() {
    let stage = stage();
    let mut ada = stage.join("doc:1", json!({})).unwrap();
    let mut bo = stage.join("doc:1", json!({})).unwrap();
    let state = |client: u8, clock: u8| Binary([&[1, client, clock, 2][..], b"{}"].concat());
    ada.push("awareness", state(7, 1));
    bo.assert_broadcast("awareness", state(7, 1));
    let forged = ada.push("awareness", state(8, 1));
    ada.assert_reply(&forged, "error", json!({ "reason": "a member has one client" }));
    ada.push("awareness", state(7, 2));
    bo.assert_broadcast("awareness", state(7, 2));
    ada.leave();
    bo.assert_broadcast("awareness", Binary([&[1, 7, 3, 4][..], b"null"].concat()));
}
