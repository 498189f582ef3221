use bennu_guest::testing::{Member, join};

use super::*;

fn member() -> Member<Naughty> {
    join("naughty:1", json!({})).expect("anyone may join")
}

fn in_mood(mood: &str) -> Member<Naughty> {
    join("naughty:1", json!({ "mood": mood })).expect("anyone may join")
}

/// The fault that an event ends in, and of what kind it is.
fn fault(event: &str) -> String {
    let out = member().push(event, json!({ "bytes": 5_000_000 }));
    assert_eq!(out.ended().expect("the member ended").broadcasts()[0].json()["cause"], "fault");
    out.fault().expect("a fault").to_string()
}

#[test]
fn joining_may_be_refused_or_fail() {
    let refused = join::<Naughty>("naughty:join_refuse", json!({})).unwrap_err();
    assert_eq!(refused.reply(), ("error", json!({ "reason": "nobody may join here" })));
    let failed = join::<Naughty>("naughty:join_fail", json!({})).unwrap_err();
    assert_eq!(failed.fault().unwrap().detail, "asked to fail in join");
    assert_eq!(member().joined().reply(), ("ok", json!({ "member": 1 })));
}

#[test]
fn what_may_not_be_asked_for_is_a_fault() {
    assert_eq!(fault("fail"), "failed: asked to fail");
    assert_eq!(
        fault("push_array"),
        "failed: event `array`: the payload of a push or broadcast must be a JSON object or binary"
    );
    assert!(fault("bad_json").starts_with("failed: event `bad`: the payload is not one JSON value: "));
    assert_eq!(fault("bad_ref"), "failed: a reply-ref is given back as it came with handle-in; this is none");
    assert_eq!(fault("long_event"), "oversize: an event has at most 255 bytes, not 256");
    assert_eq!(fault("long_status"), "oversize: a status has at most 255 bytes, not 256");
    assert_eq!(fault("effects"), "oversize: a call asks for at most 1024 effects");
    assert_eq!(fault("timers"), "oversize: a member has at most 16 timers under way");
    assert_eq!(fault("short_timer"), "oversize: a timer takes at least 10 ms; use send-self for now");
    assert!(fault("huge_assigns").starts_with("oversize: assigns of "));
    assert!(fault("huge").starts_with("oversize: effects and answer of "));
    assert_eq!(fault("log_lines"), "oversize: a call logs at most 256 lines");
}

#[test]
fn a_message_to_itself_may_fail_it() {
    let mut member = member();
    assert_eq!(member.push("info_reply", json!({})).reply(), ("ok", json!({})));
    let out = member.advance(Duration::ZERO);
    assert!(out[0].fault().unwrap().detail.starts_with("handle_info answered \"info_reply\" with a reply"));
    assert!(member.has_ended());
}

#[test]
fn replies_may_come_later_and_twice() {
    let mut member = member();
    assert_eq!(member.push("later", json!({ "ms": 20 })).answer(), &Answer::None);
    assert_eq!(member.advance(Duration::from_millis(19)).len(), 0);
    assert_eq!(member.advance(Duration::from_millis(1))[0].late_replies(), [("ok", json!({ "late": true }))]);
    let out = member.push("twice", json!({}));
    assert_eq!(out.late_replies(), [("ok", json!({ "first": true }))]);
    assert_eq!(out.reply(), ("ok", json!({ "second": true })));
}

#[test]
fn timers_ring_unless_cancelled() {
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
fn a_secret_depends_on_the_mood() {
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
