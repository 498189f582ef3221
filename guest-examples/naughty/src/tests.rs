use bennu_guest::testing::{Member, join};

use super::*;

fn member() -> Member<Naughty> {
    join("naughty:1", json!({})).expect("everyone may join")
}

fn in_mood(mood: &str) -> Member<Naughty> {
    join("naughty:1", json!({ "mood": mood })).expect("everyone may join")
}

/// Returns the text of the fault that an event causes, with its kind.
fn fault(event: &str) -> String {
    let out = member().push(event, json!({ "bytes": 5_000_000 }));
    assert_eq!(out.ended().expect("the member has ended").broadcasts()[0].json()["cause"], "fault");
    out.fault().expect("a fault").to_string()
}

#[test]
fn a_join_can_be_refused_or_fail() {
    let refused = join::<Naughty>("naughty:join_refuse", json!({})).unwrap_err();
    assert_eq!(refused.reply(), ("error", json!({ "reason": "nobody may join here" })));
    let failed = join::<Naughty>("naughty:join_fail", json!({})).unwrap_err();
    assert_eq!(failed.fault().unwrap().detail, "asked to fail in join");
    assert_eq!(member().joined().reply(), ("ok", json!({ "member": 1 })));
}

#[test]
fn an_invalid_effect_is_a_fault() {
    assert_eq!(fault("fail"), "failed: asked to fail");
    // What the SDK refuses has the place of the call.
    let array = fault("push_array");
    assert!(array.starts_with("trap: panicked at ") && array.contains("src/faults.rs:"), "{array}");
    assert!(
        array.ends_with(": event `array`: the payload of a push or broadcast must be a JSON object or binary"),
        "{array}"
    );
    assert!(fault("long_event").ends_with(": an event has at most 255 bytes, not 256"));
    assert!(fault("bad_json").starts_with("failed: event `bad`: the payload is not one JSON value: "));
    assert_eq!(fault("bad_ref"), "failed: a reply-ref must be passed back as it came with handle-in; this isn't one");
    assert_eq!(fault("long_status"), "oversize: a status has at most 255 bytes, not 256");
    assert_eq!(fault("effects"), "oversize: a call asks for at most 1024 effects (`limits.effects_per_call = 1024`)");
    assert_eq!(fault("timers"), "oversize: a member has at most 16 pending timers (`limits.timers_per_member = 16`)");
    assert_eq!(
        fault("short_timer"),
        "oversize: a timer takes at least 10 ms (`limits.timer_shortest_ms = 10`); use send-self to send at once"
    );
    assert!(fault("huge_assigns").starts_with("oversize: assigns of "));
    assert!(fault("huge").starts_with("oversize: effects and answer of "));
    assert_eq!(fault("log_lines"), "oversize: a call logs at most 256 lines (`limits.log_lines_per_call = 256`)");
    assert_eq!(
        fault("tick"),
        "failed: the call used a tick, a seat or a published state, but its route has no room; set the route's option `room` (`type Room` in Rust)"
    );
    assert_eq!(fault("store_no_key"), "oversize: a key in the store has at least one byte");
    assert_eq!(
        fault("store_long_key"),
        "oversize: a key in the store has 1025 bytes; at most 1024 (`limits.store_key_bytes = 1024`)"
    );
    assert_eq!(
        fault("store_long_value"),
        "oversize: a value in the store has 1048577 bytes; at most 1048576 (`limits.store_value_bytes = 1048576`)"
    );
    assert_eq!(
        fault("store_many"),
        "oversize: a call writes more than 1024 keys of the store (`limits.store_writes_per_call = 1024`)"
    );
    assert_eq!(
        fault("store_much"),
        "oversize: a call writes more than 4194304 bytes to the store (`limits.store_write_bytes_per_call = 4194304`)"
    );
}

#[test]
fn a_fault_in_handle_info_ends_the_member() {
    let mut member = member();
    assert_eq!(member.push("info_reply", json!({})).reply(), ("ok", json!({})));
    let out = member.advance(Duration::ZERO);
    assert!(out[0].fault().unwrap().detail.starts_with("handle_info answered \"info_reply\" with a reply"));
    assert!(member.has_ended());
}

#[test]
fn a_message_can_be_answered_later_and_twice() {
    let mut member = member();
    assert_eq!(member.push("later", json!({ "ms": 20 })).answer(), &Answer::None);
    assert_eq!(member.advance(Duration::from_millis(19)).len(), 0);
    assert_eq!(member.advance(Duration::from_millis(1))[0].late_replies(), [("ok", json!({ "late": true }))]);
    let out = member.push("twice", json!({}));
    assert_eq!(out.late_replies(), [("ok", json!({ "first": true }))]);
    assert_eq!(out.reply(), ("ok", json!({ "second": true })));
}

#[test]
fn timers_fire_unless_they_are_cancelled() {
    let mut member = member();
    for _ in 0..2 {
        assert!(member.push("timer", json!({ "ms": 10 })).fault().is_none());
    }
    assert!(member.push("cancel", json!({})).fault().is_none());
    let rang = member.advance(Duration::from_secs(1));
    assert_eq!(rang.len(), 1);
    assert_eq!(rang[0].pushes(), [("rang", json!({}))]);
}

#[test]
fn a_stop_ends_the_member() {
    let out = member().push("stop_reply", json!({}));
    assert_eq!(out.reply(), ("ok", json!({ "last": "words" })));
    let gone = json!({ "member": 1, "cause": "stopped", "detail": "asked to" });
    assert_eq!(out.ended().unwrap().broadcasts(), [("gone", gone)]);
}

#[test]
fn the_mood_decides_about_a_secret() {
    let secret = json!({ "code": 7 });
    assert_eq!(in_mood("pass").handle_out("secret", &secret), Decision::Pass);
    assert_eq!(in_mood("drop").handle_out("secret", &secret), Decision::Drop);
    assert_eq!(
        in_mood("replace").handle_out("secret", &secret),
        Decision::replace(json!({ "for": 1, "secret": secret }))
    );
    let mut member = in_mood("hand_over");
    assert_eq!(member.handle_out("secret", &secret), Decision::HandOver);
    assert_eq!(member.handed_over("secret", &secret).pushes(), [("handed_over", secret)]);
}

#[test]
fn stored_values_can_be_read() {
    let mut member = member();
    for n in 1..=3 {
        assert!(member.push("store_put", json!({ "key": format!("k:{n}"), "value": [n] })).fault().is_none());
    }
    assert!(member.push("store_delete", json!({ "key": "k:2" })).fault().is_none());
    assert_eq!(member.push("store_get", json!({ "key": "k:1" })).reply(), ("ok", json!([1])));
    assert_eq!(member.push("store_get", json!({ "key": "k:2" })).reply(), ("ok", json!(null)));
    let scanned = |member: &mut Member<Naughty>, wanted| member.push("store_scan", wanted).reply().json();
    assert_eq!(scanned(&mut member, json!({ "prefix": "k:" })), json!([["k:1", [1]], ["k:3", [3]]]));
    let last = json!({ "prefix": "", "after": "k:1", "before": "k:4", "limit": 1, "backward": true });
    assert_eq!(scanned(&mut member, last), json!([["k:3", [3]]]));
    for n in 1..=2 {
        assert_eq!(member.push("store_count", json!({ "key": "n" })).reply(), ("ok", json!({ "count": n })));
    }
    assert_eq!(member.push("store_own", json!({ "key": "o" })).reply(), ("ok", json!([null, 1, null, 2])));
    let out = member.push("store_then_fail", json!({ "key": "n", "value": 7 }));
    assert_eq!(out.fault().unwrap().detail, "asked to fail after a put");
    assert_eq!(member.stored::<u64>("n"), Some(2));
}

#[test]
fn a_room_can_fail_in_many_ways() {
    let stage = on_stage(testing::Stage::new());
    let join = || stage.join("unruly:1", json!({})).expect("everyone may join");
    let look = || stage.send("unruly:1", "look", json!({})).unwrap().unwrap().json();
    let mut alice = join();
    alice.push("count", json!({}));
    let mut again = alice.rejoin(json!({})).expect("everyone may join");
    again.push("grow", json!({}));
    again.assert_error();
    let mut alice = join();
    alice.push("count_and_fail", json!({}));
    assert_eq!(look(), json!({ "count": 1, "ended": ["replaced", "fault", "fault"] }));
    let mut alice = join();
    alice.push("tick", json!({ "ms": 10 }));
    stage.advance(Duration::from_millis(10));
    alice.assert_broadcast("beat", json!({ "number": 1, "missed": 0, "period_ms": 10 }));
    alice.push("tick", json!({ "ms": 9 }));
    alice.assert_error();
    stage.advance(Duration::from_millis(101));
    assert_eq!(look(), json!({ "count": 0, "ended": [] }));
    let mut alice = join();
    alice.push("at_tick", json!({ "mood": "fail" }));
    alice.push("tick", json!({ "ms": 10 }));
    stage.advance(Duration::from_millis(30));
    alice.assert_error();
    let kinds: Vec<_> = stage.faults().iter().map(|fault| fault.kind).collect();
    assert_eq!(kinds, ["oversize", "failed", "oversize", "failed", "failed", "failed"]);
}

#[test]
fn a_reload_upgrades_the_entries_that_are_read() {
    let stage = on_stage(testing::Stage::new());
    let mut alice = stage.join("unruly:1", json!({})).expect("everyone may join");
    alice.push("entries_put", json!({ "entries": [["a", 1]] }));
    reload::<1>(&stage);
    let read = alice.push("entry_get", json!({ "key": "a" }));
    alice.assert_reply(&read, "ok", json!({ "from": 0, "was": 1 }));
}
