//! The ledger as its members see it.

use bennu_guest::prelude::*;

use super::Ledger;

#[test]
fn what_is_moved_is_moved_as_a_whole() {
    let stage = testing::Stage::new().channel::<Ledger>("ledger:*");
    let mut alice = stage.join("ledger:1", json!({})).unwrap();
    let mut bob = stage.join("ledger:1", json!({})).unwrap();
    assert_eq!(alice.push("deposit", json!({ "to": "a", "n": 5 })).reply(), ("ok", json!({ "balance": 5 })));
    let out = alice.push("transfer", json!({ "from": "a", "to": "b", "n": 2 }));
    let (status, reply) = out.reply();
    assert_eq!(status, "ok");
    let moved = json!({ "entry": reply["entry"], "from": "a", "to": "b", "n": 2 });
    bob.assert_broadcast("moved", moved.clone());
    assert_eq!(bob.push("balance", json!({ "of": "a" })).reply(), ("ok", json!({ "balance": 3 })));
    assert_eq!(bob.push("entries", json!({ "limit": 10 })).reply(), ("ok", json!({ "entries": [moved] })));
    assert_eq!(bob.push("audit", json!({})).reply(), ("ok", json!({ "sum": 5, "accounts": 2, "entries": 1 })));
}

#[test]
fn nobody_moves_what_isnt_there() {
    let stage = testing::Stage::new().channel::<Ledger>("ledger:*");
    let mut alice = stage.join("ledger:1", json!({})).unwrap();
    let out = alice.push("transfer", json!({ "from": "a", "to": "b", "n": 1 }));
    assert_eq!(out.reply(), ("error", json!({ "reason": "there isn't so much" })));
    assert_eq!(alice.push("audit", json!({})).reply(), ("ok", json!({ "sum": 0, "accounts": 0, "entries": 0 })));
}

#[test]
fn from_an_account_to_itself_nothing_comes_and_nothing_goes() {
    let stage = testing::Stage::new().channel::<Ledger>("ledger:*");
    let mut alice = stage.join("ledger:1", json!({})).unwrap();
    alice.push("deposit", json!({ "to": "a", "n": 5 }));
    alice.push("transfer", json!({ "from": "a", "to": "a", "n": 2 }));
    assert_eq!(alice.push("balance", json!({ "of": "a" })).reply(), ("ok", json!({ "balance": 5 })));
}
