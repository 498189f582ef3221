//! Tests of the ledger, from the view of its members.

use bennu_guest::testing::{Actor, Stage};

use super::*;

fn stage() -> Stage {
    Stage::new().channel::<Ledger>("ledger:*")
}

fn join(stage: &Stage) -> Actor {
    stage.join("ledger:1", json!({})).expect("everyone may join")
}

fn asks(actor: &mut Actor, event: &str, payload: Value, response: Value) {
    let asked = actor.push(event, payload);
    actor.assert_reply(&asked, "ok", response);
}

#[test]
fn a_transfer_happens_completely() {
    let stage = stage();
    let (mut alice, mut bob) = (join(&stage), join(&stage));
    asks(&mut alice, "deposit", json!({ "to": "a", "n": 5 }), json!({ "balance": 5 }));
    asks(&mut alice, "transfer", json!({ "from": "a", "to": "b", "n": 2 }), json!({}));
    let moved = json!({ "from": "a", "to": "b", "n": 2 });
    bob.assert_broadcast("moved", &moved);
    asks(&mut bob, "balance", json!({ "of": "a" }), json!({ "balance": 3 }));
    asks(&mut bob, "entries", json!({ "limit": 10 }), json!({ "entries": [moved] }));
    asks(&mut bob, "audit", json!({}), json!({ "sum": 5, "accounts": 2, "entries": 1 }));
}

#[test]
fn a_transfer_above_the_balance_is_refused() {
    let stage = stage();
    let mut alice = join(&stage);
    let asked = alice.push("transfer", json!({ "from": "a", "to": "b", "n": 1 }));
    alice.assert_reply(&asked, "error", json!({ "reason": "the balance is too low" }));
    asks(&mut alice, "audit", json!({}), json!({ "sum": 0, "accounts": 0, "entries": 0 }));
}

#[test]
fn a_transfer_to_the_same_account_keeps_its_balance() {
    let stage = stage();
    let mut alice = join(&stage);
    asks(&mut alice, "deposit", json!({ "to": "a", "n": 5 }), json!({}));
    asks(&mut alice, "transfer", json!({ "from": "a", "to": "a", "n": 2 }), json!({}));
    asks(&mut alice, "balance", json!({ "of": "a" }), json!({ "balance": 5 }));
}

#[test]
fn several_transfers_happen_together_or_not_at_all() {
    let stage = stage();
    let (mut alice, mut bob) = (join(&stage), join(&stage));
    asks(&mut alice, "deposit", json!({ "to": "a", "n": 5 }), json!({ "balance": 5 }));
    let (first, second) = (json!({ "from": "a", "to": "b", "n": 4 }), json!({ "from": "b", "to": "c", "n": 3 }));
    asks(&mut alice, "transfers", json!({ "transfers": [first, second] }), json!({}));
    bob.assert_broadcast("moved", &first);
    bob.assert_broadcast("moved", &second);
    asks(&mut bob, "audit", json!({}), json!({ "sum": 5, "accounts": 3, "entries": 2 }));
    let (possible, too_much) = (json!({ "from": "c", "to": "a", "n": 3 }), json!({ "from": "a", "to": "b", "n": 9 }));
    let asked = alice.push("transfers", json!({ "transfers": [possible, too_much] }));
    alice.assert_reply(&asked, "error", json!({ "reason": "the balance is too low" }));
    asks(&mut bob, "balance", json!({ "of": "c" }), json!({ "balance": 3 }));
    asks(&mut bob, "audit", json!({}), json!({ "sum": 5, "accounts": 3, "entries": 2 }));
}
