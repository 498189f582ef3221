use bennu_guest::testing::Stage;

use super::*;

fn stage() -> Stage {
    Stage::new().channel::<Realtime>("realtime:*")
}

/// Returns the join parameters of a client with the presence key `key`.
fn params(key: &str, broadcast: Value) -> Value {
    json!({ "config": { "broadcast": broadcast, "presence": { "key": key }, "private": false } })
}

#[test]
fn a_broadcast_reaches_the_others_and_with_self_its_sender() {
    let stage = stage();
    let mut ada = stage.join("realtime:lobby", params("ada", json!({ "self": false, "ack": true }))).unwrap();
    let mut bo = stage.join("realtime:lobby", params("bo", json!({ "self": true }))).unwrap();
    let message = json!({ "type": "broadcast", "event": "cursor", "payload": { "x": 1 } });
    let sent = ada.push("broadcast", message.clone());
    ada.assert_reply(&sent, "ok", json!({}));
    ada.refute_broadcast("broadcast");
    bo.assert_broadcast("broadcast", message.clone());
    let sent = bo.push("broadcast", message.clone());
    bo.refute_reply(&sent);
    bo.assert_broadcast("broadcast", message);
}

#[test]
fn a_tracked_client_is_online_until_it_untracks() {
    let stage = stage();
    let mut ada = stage.join("realtime:lobby", params("ada", json!({}))).unwrap();
    let mut bo = stage.join("realtime:lobby", params("", json!({}))).unwrap();
    bo.assert_push("presence_state", json!({}));
    for step in [1, 2] {
        let sent = ada.push("presence", json!({ "type": "presence", "event": "track", "payload": { "step": step } }));
        ada.assert_reply(&sent, "ok", json!({}));
        bo.assert_broadcast("presence_diff", json!({ "joins": { "ada": { "metas": [{ "step": step }] } } }));
    }
    ada.push("presence", json!({ "type": "presence", "event": "untrack" }));
    bo.assert_broadcast("presence_diff", json!({ "leaves": { "ada": {} } }));
    assert!(stage.faults().is_empty());
}

#[test]
fn unsupported_features_are_refused() {
    let config = json!({ "postgres_changes": [{ "event": "*", "schema": "public" }] });
    assert!(stage().join("realtime:lobby", json!({ "config": config })).is_err());
    let mut ada = stage().join("realtime:lobby", params("ada", json!({}))).unwrap();
    let sent = ada.push("presence", json!({ "event": "hide" }));
    ada.assert_reply(&sent, "error", json!({ "reason": r#"unknown event "hide""# }));
}
