//! The effects that the record accepts, and those that it refuses.

use super::*;
use crate::FaultKind;

fn json(text: &'static str) -> Payload {
    Payload::Json(ByteString::from_static(text))
}

fn record(limits: CallLimits) -> Record {
    let mut record = Record::new(limits);
    record.open(MemberUsage::default(), None);
    record
}

fn kind<T>(result: Result<T, Fault>) -> Option<FaultKind> {
    result.err().map(|fault| fault.kind)
}

#[test]
fn a_value_that_no_frame_can_carry_is_a_fault_at_once() {
    let mut record = record(CallLimits::default());
    assert_eq!(kind(record.push("e".into(), json("[1]"))), Some(FaultKind::Failed));
    assert_eq!(kind(record.broadcast("e".into(), json("{"), false)), Some(FaultKind::Failed));
    assert_eq!(kind(record.push("e".repeat(256).into(), json("{}"))), Some(FaultKind::Oversize));
    assert_eq!(
        kind(record.reply("],[".into(), Reply { status: "ok".into(), payload: json("{}") })),
        Some(FaultKind::Failed)
    );
    assert_eq!(record.take(), []);
}

#[test]
fn a_payload_that_comes_back_unchanged_must_still_be_an_object() {
    let mut record = Record::new(CallLimits::default());
    record.open(MemberUsage::default(), Some(&json("[1]")));
    assert_eq!(kind(record.push("e".into(), json("[1]"))), Some(FaultKind::Failed));
    assert_eq!(kind(record.send_self("e".into(), json("[1]"))), None);
}

#[test]
fn the_number_and_the_bytes_of_effects_are_limited() {
    let mut record = record(CallLimits { effects: 2, effect_bytes: 10, ..CallLimits::default() });
    assert_eq!(kind(record.push("e".into(), json("{\"a\":100000}"))), Some(FaultKind::Oversize));
    let mut record = self::record(CallLimits { effects: 2, ..CallLimits::default() });
    assert_eq!(kind(record.push("e".into(), json("{}"))), None);
    assert_eq!(kind(record.push("e".into(), json("{}"))), None);
    assert_eq!(kind(record.push("e".into(), json("{}"))), Some(FaultKind::Oversize));
}

#[test]
fn the_bytes_of_each_effect_count_once() {
    let fits = |ask: &dyn Fn(&mut Record) -> Result<(), Fault>, bytes: usize| {
        let limits = |effect_bytes| CallLimits { effect_bytes, ..CallLimits::default() };
        assert_eq!(kind(ask(&mut record(limits(bytes - 1)))), Some(FaultKind::Oversize), "{bytes}");
        assert_eq!(ask(&mut record(limits(bytes))), Ok(()), "{bytes}");
    };
    let reply = || Reply { status: "ok".into(), payload: json("{\"a\":1}") };
    fits(&|it| it.reply("\"7\"".into(), reply()), 3 + 7);
    fits(&|it| it.check_reply(&reply()), 7);
    fits(&|it| it.push("e".into(), json("{}")), 1 + 2);
    fits(&|it| it.broadcast("e".into(), json("{}"), true), 1 + 2);
    fits(&|it| it.publish("t", "e".into(), json("{}")), 1 + 1 + 2);
    fits(&|it| it.send("t", "e".into(), json("{}")), 1 + 1 + 2);
    fits(&|it| it.send_self("e".into(), json("{}")), 1 + 2);
    fits(&|it| it.send_after(Duration::from_secs(1), "e".into(), json("{}")).map(drop), 1 + 2);
    fits(&|it| it.subscribe("topic"), 5);
    fits(&|it| it.unsubscribe("topic"), 5);
    fits(&|it| it.disconnect("id".into()), 2);
    fits(&|it| it.track("k".into(), "{}".into()), 1 + 2);
    fits(&|it| it.untrack("k".into()), 1);
    fits(&|it| it.publish_state("{}".into()), 2);
    fits(&|it| it.take_seat("ada".into(), Duration::ZERO), 3);
}

#[test]
fn timers_are_limited_in_number_and_delay() {
    let mut record = record(CallLimits { timers: 1, ..CallLimits::default() });
    let ms = Duration::from_millis;
    assert_eq!(kind(record.send_after(ms(9), "e".into(), json("{}"))), Some(FaultKind::Oversize));
    assert_eq!(record.send_after(ms(10), "e".into(), json("{}")), Ok(0));
    assert_eq!(kind(record.send_after(ms(10), "e".into(), json("{}"))), Some(FaultKind::Oversize));
    assert_eq!(record.cancel(0), Ok(()));
    assert_eq!(record.send_after(ms(10), "e".into(), json("{}")), Ok(1));
}

#[test]
fn presences_have_one_meta_a_key_and_are_limited() {
    let mut record = record(CallLimits { presences: 2, presence_bytes: 10, ..CallLimits::default() });
    assert_eq!(kind(record.track("a".into(), "[]".into())), Some(FaultKind::Failed));
    assert_eq!(kind(record.track("a".into(), "{\"long\":\"one\"}".into())), Some(FaultKind::Oversize));
    assert_eq!(kind(record.track("a".repeat(256).into(), "{}".into())), Some(FaultKind::Oversize));
    assert_eq!(kind(record.update_presence("a".into(), "{}".into())), Some(FaultKind::Failed));
    assert_eq!(record.track("a".into(), "{}".into()), Ok(()));
    assert_eq!(kind(record.track("a".into(), "{}".into())), Some(FaultKind::Failed));
    assert_eq!(record.update_presence("a".into(), "{}".into()), Ok(()));
    assert_eq!(record.track("b".into(), "{}".into()), Ok(()));
    assert_eq!(kind(record.track("c".into(), "{}".into())), Some(FaultKind::Oversize));
    assert_eq!(record.untrack("a".into()), Ok(()));
    assert_eq!(record.track("c".into(), "{}".into()), Ok(()));
}

#[test]
fn a_seat_is_kept_for_at_most_a_day_and_a_published_state_is_an_object() {
    let mut record = record(CallLimits::default());
    let day = Duration::from_secs(24 * 60 * 60);
    assert_eq!(record.take_seat("ada".into(), day), Ok(()));
    assert_eq!(kind(record.take_seat("ada".into(), day + Duration::from_millis(1))), Some(FaultKind::Oversize));
    assert_eq!(kind(record.take_seat("a".repeat(256).into(), day)), Some(FaultKind::Oversize));
    assert_eq!(kind(record.publish_state("[1]".into())), Some(FaultKind::Failed));
    assert_eq!(record.take().len(), 1);
}

#[test]
fn the_plugins_refs_are_removed_from_a_meta() {
    let mut record = record(CallLimits::default());
    for meta in [r#"{"phx_ref":"mine","a":1}"#, r#"{"phx\u005fref_prev":"mine","a":1}"#, r#"{"a":1}"#] {
        assert_eq!(record.track(meta.into(), meta.into()), Ok(()));
    }
    assert_eq!(record.track("u".into(), r#"{"a":"\u0031"}"#.into()), Ok(()));
    let metas = record.take().into_iter().map(|effect| match effect {
        Effect::Track { meta, .. } => meta.to_string(),
        _ => String::new(),
    });
    assert_eq!(metas.collect::<Vec<_>>(), [r#"{"a":1}"#, r#"{"a":1}"#, r#"{"a":1}"#, r#"{"a":"\u0031"}"#]);
}

#[test]
fn further_topics_are_counted_once_each() {
    let mut record = record(CallLimits { subscriptions: 1, ..CallLimits::default() });
    assert_eq!(record.subscribe("news"), Ok(()));
    assert_eq!(record.subscribe("news"), Ok(()));
    assert_eq!(kind(record.subscribe("other")), Some(FaultKind::Oversize));
    assert_eq!(record.unsubscribe("news"), Ok(()));
    assert_eq!(record.subscribe("other"), Ok(()));
    assert_eq!(record.take().len(), 3);
}

#[test]
fn a_call_without_a_member_has_only_effects_that_need_none() {
    let mut record = Record::new(CallLimits::default());
    record.open_with(Capability::Topic, None);
    assert_eq!(record.broadcast("e".into(), json("{}"), false), Ok(()));
    assert_eq!(record.publish("t", "e".into(), json("{}")), Ok(()));
    assert_eq!(record.send("t", "e".into(), json("[1]")), Ok(()));
    assert_eq!(record.disconnect("user_socket:1".into()), Ok(()));
    assert_eq!(kind(record.broadcast("e".into(), json("{}"), true)), Some(FaultKind::Failed));
    assert_eq!(kind(record.push("e".into(), json("{}"))), Some(FaultKind::Failed));
    assert_eq!(kind(record.track("k".into(), "{}".into())), Some(FaultKind::Failed));
    assert_eq!(kind(record.update_presence("k".into(), "{}".into())), Some(FaultKind::Failed));
    assert_eq!(kind(record.subscribe("t")), Some(FaultKind::Failed));
    assert_eq!(kind(record.send_self("e".into(), json("{}"))), Some(FaultKind::Failed));
}

#[test]
fn a_callback_that_only_reads_has_no_effects() {
    let mut record = Record::new(CallLimits::default());
    record.open_with(Capability::Reads, None);
    assert_eq!(kind(record.push("e".into(), json("{}"))), Some(FaultKind::Failed));
    assert_eq!(kind(record.check_decision(&Decision::Replace(json("[]")))), Some(FaultKind::Failed));
}
