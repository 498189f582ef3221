//! The effects that the record accepts, and those that it refuses.

use super::*;
use crate::entries::Followed;
use crate::limits::EntryLimits;
use crate::{FaultKind, Follows, Grant, Need};

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

fn push(event: &str, payload: Payload) -> Effect {
    Effect::Push { event: event.into(), payload }
}

fn broadcast(payload: Payload) -> Effect {
    Effect::Broadcast { event: "e".into(), payload }
}

fn broadcast_from(payload: Payload) -> Effect {
    Effect::BroadcastFrom { event: "e".into(), payload }
}

fn publish() -> Effect {
    Effect::Publish { topic: "t".into(), event: "e".into(), payload: json("{}") }
}

fn broadcast_droppable(key: &str) -> Effect {
    Effect::BroadcastDroppable { key: key.into(), event: "e".into(), payload: json("{}") }
}

fn broadcast_from_droppable(key: &str) -> Effect {
    Effect::BroadcastFromDroppable { key: key.into(), event: "e".into(), payload: json("{}") }
}

fn publish_droppable(key: &str) -> Effect {
    Effect::PublishDroppable { topic: "t".into(), key: key.into(), event: "e".into(), payload: json("{}") }
}

fn send(payload: Payload) -> Effect {
    Effect::Send { topic: "t".into(), event: "e".into(), payload }
}

fn send_member(payload: Payload) -> Effect {
    Effect::SendMember { topic: "t".into(), member: 7, event: "e".into(), payload }
}

fn push_to_socket(id: &str, payload: Payload) -> Effect {
    Effect::PushToSocket { topic: "t".into(), socket_id: id.into(), event: "e".into(), payload }
}

fn send_self(payload: Payload) -> Effect {
    Effect::SendSelf { event: "e".into(), payload }
}

fn send_after(milliseconds: u64) -> Effect {
    Effect::SendAfter { milliseconds, event: "e".into(), payload: json("{}") }
}

fn subscribe(topic: &str) -> Effect {
    Effect::Subscribe { topic: topic.into() }
}

fn unsubscribe(topic: &str) -> Effect {
    Effect::Unsubscribe { topic: topic.into() }
}

fn track(key: &str, meta: &str) -> Effect {
    Effect::Track { key: key.into(), meta: meta.into() }
}

fn update(key: &str) -> Effect {
    Effect::UpdatePresence { key: key.into(), meta: "{}".into() }
}

fn untrack(key: &str) -> Effect {
    Effect::Untrack { key: key.into() }
}

fn take_seat(name: &str, grace_ms: u32) -> Effect {
    Effect::TakeSeat { name: name.into(), grace_ms }
}

fn reply(reply_ref: &str) -> Effect {
    Effect::Reply { reply_ref: reply_ref.into(), reply: Reply { status: "ok".into(), payload: json("{\"a\":1}") } }
}

#[test]
fn a_value_that_no_frame_can_carry_is_a_fault_at_once() {
    let mut record = record(CallLimits::default());
    assert_eq!(kind(record.ask(push("e", json("[1]")))), Some(FaultKind::Failed));
    assert_eq!(kind(record.ask(broadcast(json("{")))), Some(FaultKind::Failed));
    assert_eq!(kind(record.ask(push(&"e".repeat(256), json("{}")))), Some(FaultKind::Oversize));
    assert_eq!(kind(record.ask(reply("],["))), Some(FaultKind::Failed));
    assert_eq!(record.take(), []);
}

#[test]
fn a_payload_that_comes_back_unchanged_must_still_be_an_object() {
    let mut record = Record::new(CallLimits::default());
    record.open(MemberUsage::default(), Some(&json("[1]")));
    assert_eq!(kind(record.ask(push("e", json("[1]")))), Some(FaultKind::Failed));
    assert_eq!(kind(record.ask(send_self(json("[1]")))), None);
}

#[test]
fn the_number_and_the_bytes_of_effects_are_limited() {
    let mut record = record(CallLimits { effects: 2, effect_bytes: 10, ..CallLimits::default() });
    assert_eq!(kind(record.ask(push("e", json("{\"a\":100000}")))), Some(FaultKind::Oversize));
    let mut record = self::record(CallLimits { effects: 2, ..CallLimits::default() });
    assert_eq!(kind(record.ask(push("e", json("{}")))), None);
    assert_eq!(kind(record.ask(push("e", json("{}")))), None);
    assert_eq!(kind(record.ask(push("e", json("{}")))), Some(FaultKind::Oversize));
}

#[test]
fn the_bytes_of_each_effect_count_once() {
    let fits = |ask: &dyn Fn(&mut Record) -> Result<(), Fault>, bytes: usize| {
        let limits = |effect_bytes| CallLimits { effect_bytes, ..CallLimits::default() };
        assert_eq!(kind(ask(&mut record(limits(bytes - 1)))), Some(FaultKind::Oversize), "{bytes}");
        assert_eq!(ask(&mut record(limits(bytes))), Ok(()), "{bytes}");
    };
    let effects = [
        (reply("\"7\""), 3 + 7),
        (push("e", json("{}")), 1 + 2),
        (broadcast(json("{}")), 1 + 2),
        (broadcast_from(json("{}")), 1 + 2),
        (publish(), 1 + 1 + 2),
        (broadcast_droppable("key"), 3 + 1 + 2),
        (broadcast_from_droppable("key"), 3 + 1 + 2),
        (publish_droppable("key"), 1 + 3 + 1 + 2),
        (send(json("{}")), 1 + 1 + 2),
        (send_member(json("{}")), 1 + 1 + 2),
        (push_to_socket("id", json("{}")), 1 + 2 + 1 + 2),
        (send_self(json("{}")), 1 + 2),
        (send_after(1000), 1 + 2),
        (subscribe("topic"), 5),
        (unsubscribe("topic"), 5),
        (Effect::Disconnect { socket_id: "id".into() }, 2),
        (track("k", "{}"), 1 + 2),
        (untrack("k"), 1),
        (Effect::PublishState { state: "{}".into() }, 2),
        (take_seat("ada", 0), 3),
    ];
    for (effect, bytes) in effects {
        fits(&|record| record.ask(effect.clone()).map(drop), bytes);
    }
    fits(&|record| record.check_reply(&Reply { status: "ok".into(), payload: json("{\"a\":1}") }), 7);
}

#[test]
fn the_key_of_a_droppable_message_has_at_most_255_bytes() {
    for effect in [broadcast_droppable, broadcast_from_droppable, publish_droppable] {
        let mut record = record(CallLimits::default());
        assert_eq!(kind(record.ask(effect(&"k".repeat(255)))), None);
        assert_eq!(kind(record.ask(effect(&"k".repeat(256)))), Some(FaultKind::Oversize));
    }
    assert_eq!(publish_droppable("k").need(), publish().need());
    assert_eq!(publish_droppable("k").grant(), publish().grant());
}

#[test]
fn timers_are_limited_in_number_and_delay() {
    let mut record = record(CallLimits { timers: 1, ..CallLimits::default() });
    assert_eq!(kind(record.ask(send_after(9))), Some(FaultKind::Oversize));
    assert_eq!(record.ask(send_after(10)), Ok(Some(0)));
    assert_eq!(kind(record.ask(send_after(10))), Some(FaultKind::Oversize));
    assert_eq!(record.ask(Effect::Cancel { timer: 0 }), Ok(None));
    assert_eq!(record.ask(send_after(10)), Ok(Some(1)));
}

#[test]
fn a_tick_period_has_a_shortest_value_and_zero_ends_the_tick() {
    let mut record = record(CallLimits::default());
    assert_eq!(kind(record.ask(Effect::Tick { milliseconds: 9 })), Some(FaultKind::Oversize));
    assert_eq!(kind(record.ask(Effect::Tick { milliseconds: 10 })), None);
    assert_eq!(kind(record.ask(Effect::Tick { milliseconds: 0 })), None);
}

#[test]
fn presences_have_one_meta_a_key_and_are_limited() {
    let mut record = record(CallLimits { presences: 2, presence_bytes: 10, ..CallLimits::default() });
    assert_eq!(kind(record.ask(track("a", "[]"))), Some(FaultKind::Failed));
    assert_eq!(kind(record.ask(track("a", "{\"long\":\"one\"}"))), Some(FaultKind::Oversize));
    assert_eq!(kind(record.ask(track(&"a".repeat(256), "{}"))), Some(FaultKind::Oversize));
    assert_eq!(kind(record.ask(update("a"))), Some(FaultKind::Failed));
    assert_eq!(kind(record.ask(track("a", "{}"))), None);
    assert_eq!(kind(record.ask(track("a", "{}"))), Some(FaultKind::Failed));
    assert_eq!(kind(record.ask(update("a"))), None);
    assert_eq!(kind(record.ask(track("b", "{}"))), None);
    assert_eq!(kind(record.ask(track("c", "{}"))), Some(FaultKind::Oversize));
    assert_eq!(kind(record.ask(untrack("a"))), None);
    assert_eq!(kind(record.ask(track("c", "{}"))), None);
}

#[test]
fn a_seat_is_kept_for_at_most_a_day_and_a_published_state_is_an_object() {
    let mut record = record(CallLimits::default());
    let day = 24 * 60 * 60 * 1000;
    assert_eq!(kind(record.ask(take_seat("ada", day))), None);
    assert_eq!(kind(record.ask(take_seat("ada", day + 1))), Some(FaultKind::Oversize));
    assert_eq!(kind(record.ask(take_seat(&"a".repeat(256), day))), Some(FaultKind::Oversize));
    assert_eq!(kind(record.ask(Effect::PublishState { state: "[1]".into() })), Some(FaultKind::Failed));
    assert_eq!(record.take().len(), 1);
}

#[test]
fn a_state_beyond_the_limit_is_refused_before_it_is_parsed() {
    let mut record = record(CallLimits { effect_bytes: 3, ..CallLimits::default() });
    assert_eq!(kind(record.ask(Effect::PublishState { state: "[1, ".into() })), Some(FaultKind::Oversize));
}

#[test]
fn the_plugins_refs_are_removed_from_a_meta() {
    let mut record = record(CallLimits::default());
    for meta in [r#"{"phx_ref":"mine","a":1}"#, r#"{"phx\u005fref_prev":"mine","a":1}"#, r#"{"a":1}"#] {
        assert_eq!(kind(record.ask(track(meta, meta))), None);
    }
    assert_eq!(kind(record.ask(track("u", r#"{"a":"\u0031"}"#))), None);
    let metas = record.take().into_iter().map(|effect| match effect {
        Effect::Track { meta, .. } => meta.to_string(),
        _ => String::new(),
    });
    assert_eq!(metas.collect::<Vec<_>>(), [r#"{"a":1}"#, r#"{"a":1}"#, r#"{"a":1}"#, r#"{"a":"\u0031"}"#]);
}

#[test]
fn further_topics_are_counted_once_each() {
    let mut record = record(CallLimits { subscriptions: 1, ..CallLimits::default() });
    assert_eq!(kind(record.ask(subscribe("news"))), None);
    assert_eq!(kind(record.ask(subscribe("news"))), None);
    assert_eq!(kind(record.ask(subscribe("other"))), Some(FaultKind::Oversize));
    assert_eq!(kind(record.ask(unsubscribe("news"))), None);
    assert_eq!(kind(record.ask(subscribe("other"))), None);
    assert_eq!(record.take(), [subscribe("news"), unsubscribe("news"), subscribe("other")]);
}

#[test]
fn a_call_without_a_member_has_only_effects_that_need_none() {
    let mut record = Record::new(CallLimits::default());
    record.open_with(Capability::Topic, None);
    let allowed = [
        broadcast(json("{}")),
        publish(),
        send(json("[1]")),
        send_member(json("[1]")),
        push_to_socket("id", json("{}")),
        Effect::Disconnect { socket_id: "user_socket:1".into() },
        Effect::PublishState { state: "{}".into() },
        Effect::Tick { milliseconds: 10 },
    ];
    for effect in allowed {
        assert_eq!(record.ask(effect), Ok(None));
    }
    let refused = [
        broadcast_from(json("{}")),
        push("e", json("{}")),
        track("k", "{}"),
        update("k"),
        untrack("k"),
        subscribe("t"),
        unsubscribe("t"),
        send_self(json("{}")),
        send_after(10),
        Effect::Cancel { timer: 0 },
        reply("\"7\""),
        take_seat("ada", 0),
        Effect::LeaveSeat,
        Effect::PushPresences,
    ];
    for effect in refused {
        let fault = record.ask(effect).expect_err("it needs a member");
        assert_eq!(fault.detail, "the call has an effect that needs a member, but this callback has none");
    }
}

#[test]
fn messages_to_some_members_are_checked_as_others_are() {
    let mut record = record(CallLimits::default());
    assert_eq!(record.ask(send_member(json("[1]"))), Ok(None));
    assert_eq!(kind(record.ask(send_member(json("{")))), Some(FaultKind::Failed));
    assert_eq!(kind(record.ask(push_to_socket("id", json("[1]")))), Some(FaultKind::Failed));
    assert_eq!(kind(record.ask(push_to_socket(&"i".repeat(256), json("{}")))), Some(FaultKind::Oversize));
    for (effect, doing) in [
        (send_member(json("{}")), "sending to members of"),
        (push_to_socket("id", json("{}")), "pushing to members of"),
    ] {
        assert_eq!((effect.need(), effect.grant()), (Need::Addressees, Grant::Reach(doing, "t")));
    }
}

#[test]
fn discarded_effects_are_gone_and_no_others_follow() {
    let mut record = record(CallLimits { effects: 1, ..CallLimits::default() });
    assert_eq!(record.ask(subscribe("t")), Ok(None));
    record.discard();
    assert_eq!(record.ask(push("e", json("{}"))), Err(Fault::discarded()));
    // It would change nothing if the first one had happened.
    assert_eq!(record.ask(subscribe("t")), Err(Fault::discarded()));
    assert_eq!(record.check_undiscarded(), Err(Fault::discarded()));
    let reply = Reply { status: "error".into(), payload: json("{}") };
    assert_eq!((record.check_reply(&reply), record.take()), (Ok(()), vec![]));
    // The next call begins anew.
    record.open(MemberUsage::default(), None);
    assert_eq!(record.ask(push("e", json("{}"))), Ok(None));
}

#[test]
fn a_callback_that_only_reads_has_no_effects() {
    let mut record = Record::new(CallLimits::default());
    record.open_with(Capability::Reads, None);
    assert_eq!(kind(record.ask(push("e", json("{}")))), Some(FaultKind::Failed));
    assert_eq!(kind(record.check_decision(&Decision::Replace(json("[]")))), Some(FaultKind::Failed));
}

#[test]
fn a_member_follows_published_entries_only_and_a_limited_number_of_prefixes() {
    let follow = |prefix: &str| Effect::Follow { prefix: prefix.into() };
    let unfollow = |prefix: &str| Effect::Unfollow { prefix: prefix.into() };
    let limits = EntryLimits { follows_per_member: 2, ..EntryLimits::default() };
    let mut record = record(CallLimits { entries: limits, ..CallLimits::default() });
    assert_eq!(kind(record.ask(follow("p/"))), Some(FaultKind::Failed), "nothing is published");
    let publishes: Arc<[Box<str>]> = ["p/".into(), "q".into()].into();
    record.set_published(&publishes);
    assert_eq!(kind(record.ask(follow("p"))), Some(FaultKind::Failed), "not all of it is published");
    assert_eq!(record.ask(unfollow("p/")), Ok(None));
    assert_eq!(record.ask(follow("p/1")), Ok(None));
    assert_eq!(record.ask(follow("p/1")), Ok(None), "again");
    assert_eq!(record.ask(follow("q")), Ok(None));
    assert_eq!(record.ask(unfollow("p/1")), Ok(None));
    assert_eq!(record.ask(follow("p/")), Ok(None));
    let fault = record.ask(follow("q/2")).map_err(|fault| fault.to_string());
    let text = "oversize: a member follows at most 2 prefixes of published entries (`limits.follows_per_member = 2`)";
    assert_eq!(fault, Err(text.to_owned()));
    let follows = record.usage.follows.take().map(|follows| follows.set());
    assert_eq!(follows, Some(Followed::new(["q", "p/", "q/2"])));
    assert_eq!(kind(record.ask(follow(&format!("p/{}", "x".repeat(254))))), Some(FaultKind::Oversize));

    // What changes nothing isn't recorded.
    let asked = record.take();
    assert_eq!(asked, [follow("p/1"), follow("q"), unfollow("p/1"), follow("p/")][..]);
    record.open_with(Capability::Topic, None);
    record.set_published(&publishes);
    assert_eq!(kind(record.ask(follow("p/"))), Some(FaultKind::Failed), "it is an effect of a member");
}

#[test]
fn the_last_effect_for_a_prefix_counts_in_a_join() {
    let follow = |prefix: &str| Effect::Follow { prefix: prefix.into() };
    let unfollow = |prefix: &str| Effect::Unfollow { prefix: prefix.into() };
    assert_eq!(Follows::after_join(&[push("e", json("{}"))]), None);
    assert_eq!(Follows::after_join(&[follow("a"), follow("b"), unfollow("a")]), Some(Followed::new(["b"])));
    assert_eq!(Follows::after_join(&[follow("a"), unfollow("a")]), Some(Followed::default()));
}
