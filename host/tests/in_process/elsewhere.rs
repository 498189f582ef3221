//! Effects of a channel outside its own topic: topic messages, subscriptions, disconnects by socket id, presences, and
//! members that a fault doesn't end. The tests use scripted behaviours and paused time.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Notes, Part, Stage, admitted, nothing, replied};
use bennu::channel::{NodeLimits, Undelivered};
use bennu::contract::{
    Call, CallFuture, Callback, Effect, Fault, FaultKind, Identity, Outcome, TopicCall, TopicCallback,
};
use bennu::protocol::{Payload, Topic};
use serde_json::{Value, json};
use tokio::sync::Notify;

fn json_of(text: &str) -> Payload {
    Payload::Json(text.into())
}

fn send(topic: &str, event: &str) -> Effect {
    Effect::Send { topic: Topic::new(topic), event: event.into(), payload: Payload::EMPTY }
}

fn track(key: &str) -> Effect {
    Effect::Track { key: key.into(), meta: "{}".into() }
}

/// Handles an event. Most events are named after their effect.
fn on_event(event: &str) -> Result<Outcome, Fault> {
    let with = |effects| Ok(Outcome { effects, ..replied("{}") });
    match event {
        "ask" => with(vec![send("desk", "question")]),
        "ask_nobody" => with(vec![send("nobody", "question")]),
        "subscribe" => with(vec![Effect::Subscribe { topic: Topic::new("news") }]),
        "unsubscribe" => with(vec![Effect::Unsubscribe { topic: Topic::new("news") }]),
        "disconnect" => with(vec![Effect::Disconnect { socket_id: "user:1".into() }]),
        "track" => with(vec![Effect::PushPresences, track("alice")]),
        "update" => with(vec![Effect::UpdatePresence { key: "alice".into(), meta: "{\"away\":true}".into() }]),
        "untrack" => with(vec![Effect::Untrack { key: "alice".into() }]),
        "crash" => Err(Fault::new(FaultKind::Trap, "asked to")),
        _ => Ok(replied("{}")),
    }
}

fn simple(call: Call, notes: &Notes) -> Result<Outcome, Fault> {
    match call.callback {
        Callback::Join(_) => Ok(admitted()),
        Callback::In { event, .. } => on_event(&event),
        Callback::Info(message) => {
            notes.add(format!("{} {} {}", message.source.as_str(), message.topic, message.event));
            if &*message.event == "crash" {
                return Err(Fault::new(FaultKind::Trap, "asked to"));
            }
            Ok(Outcome {
                effects: vec![Effect::Push { event: "got".into(), payload: as_object(message.payload) }],
                ..nothing()
            })
        }
        Callback::Terminate(_) => Ok(nothing()),
    }
}

fn as_object(payload: Payload) -> Payload {
    if payload.check_object().is_ok() { payload } else { Payload::EMPTY }
}

fn part(pattern: &'static str, notes: &Notes) -> Part {
    let notes = notes.clone();
    Part::new(pattern, move |call| std::future::ready(simple(call, &notes)))
}

fn taking(pattern: &'static str, on_message: impl Fn(&str) -> Result<Outcome, Fault> + Send + Sync + 'static) -> Part {
    let mut part = part(pattern, &Notes::default());
    part.on_topic_call = Some(Arc::new(move |call: TopicCall, _| {
        let TopicCallback::Message { event, .. } = call.callback else { panic!("no topic has a tick") };
        let answer = on_message(&event);
        Box::pin(async move { answer })
    }));
    part
}

fn frame(event: &str, reference: u32) -> String {
    format!(r#"["1","{reference}","room:a","{event}",{{}}]"#)
}

fn ok(reference: u32) -> String {
    format!(r#"["1","{reference}","room:a","phx_reply",{{"response":{{}},"status":"ok"}}]"#)
}

fn read(frame: &str) -> Value {
    serde_json::from_str(frame).expect("a frame of JSON")
}

fn broadcast(topic: &str, event: &'static str) -> bennu::pubsub::Broadcast {
    let except = bennu::pubsub::Except::Nobody;
    let (topic, payload) = (Topic::new(topic), Payload::EMPTY);
    bennu::pubsub::Broadcast { topic, event: event.into(), payload, except, droppable: None, number: None }
}

#[tokio::test(start_paused = true)]
async fn a_topic_message_reaches_the_plugin_of_a_topic_without_members() {
    let stage = Stage::new([
        taking("desk", |event| match event {
            "question" => Ok(replied("[42]")),
            "crash" => Err(Fault::new(FaultKind::Trap, "asked to")),
            _ => Ok(nothing()),
        }),
        part("room:*", &Notes::default()),
    ]);
    let node = &stage.endpoint.node;
    let answer = node.send("desk", "question".into(), Payload::EMPTY).await.expect("handled").expect("an answer");
    assert_eq!((&*answer.status, answer.payload), ("ok", json_of("[42]")));
    assert_eq!(node.send("desk", "other".into(), Payload::EMPTY).await, Ok(None));
    assert_eq!(node.send("nobody", "question".into(), Payload::EMPTY).await, Err(Undelivered::Unrouted));
    let not_taken = node.send("room:a", "question".into(), Payload::EMPTY).await;
    assert_eq!(not_taken, Err(Undelivered::NotTaken("script".into())));
    let crashed = node.send("desk", "crash".into(), Payload::EMPTY).await;
    assert!(matches!(crashed, Err(Undelivered::Fault(fault)) if fault.kind == FaultKind::Trap));
    assert_eq!(node.fault_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn handle_info_gets_the_answer_to_a_topic_message() {
    let notes = Notes::default();
    let stage = Stage::new([taking("desk", |_| Ok(replied("[42]"))), part("room:*", &notes)]);
    let mut alice = stage.connect();
    alice.join("room:a").await;
    alice.send(&frame("ask", 2));
    alice.send(&frame("ask_nobody", 3));
    assert_eq!([alice.next().await, alice.next().await], [ok(2), ok(3)]);
    let got = r#"["1",null,"room:a","got",{"status":"ok","response":[42]}]"#;
    assert_eq!(read(&alice.next().await), read(got));
    assert_eq!(notes.all(), ["answer desk question"]);
}

#[tokio::test(start_paused = true)]
async fn messages_of_a_topic_are_handled_one_after_another_and_a_bounded_number_waits() {
    let go = Arc::new(Notify::new());
    let at_work = Arc::new(AtomicUsize::new(0));
    let mut desk = part("desk", &Notes::default());
    let (gate, count) = (Arc::clone(&go), Arc::clone(&at_work));
    desk.on_topic_call = Some(Arc::new(move |_, _| -> CallFuture<'static, Outcome> {
        let (gate, count) = (Arc::clone(&gate), Arc::clone(&count));
        Box::pin(async move {
            assert_eq!(count.fetch_add(1, Ordering::SeqCst), 0, "two calls run at once");
            gate.notified().await;
            count.fetch_sub(1, Ordering::SeqCst);
            Ok(nothing())
        })
    }));
    let stage = Stage::with_limits([desk], NodeLimits { from_elsewhere: 2, ..NodeLimits::default() });
    let node = &stage.endpoint.node;
    let mut sent = Vec::new();
    for _ in 0..4 {
        let node = Arc::clone(node);
        sent.push(tokio::spawn(async move { node.send("desk", "e".into(), Payload::EMPTY).await }));
        // The first message is being handled before the others arrive.
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // One message is being handled and two wait, so the queue was full for the last one.
    assert_eq!(sent.pop().expect("the fourth").await.expect("no panic"), Err(Undelivered::Busy));
    for each in sent {
        go.notify_one();
        assert_eq!(each.await.expect("no panic"), Ok(None));
    }
}

#[tokio::test(start_paused = true)]
async fn a_member_gets_messages_of_a_further_topic_until_it_unsubscribes_or_ends() {
    let notes = Notes::default();
    let stage = Stage::new([part("room:*", &notes)]);
    let pubsub = &stage.endpoint.node.pubsub;
    let mut alice = stage.connect();
    alice.join("room:a").await;
    for event in ["subscribe", "unsubscribe", "subscribe"] {
        alice.send(&frame(event, 2));
        assert_eq!(alice.next().await, ok(2));
        pubsub.broadcast(broadcast("news", "flash"));
        if event == "subscribe" {
            assert_eq!(read(&alice.next().await)[3], "got");
        }
    }
    assert_eq!(notes.all(), ["topic news flash", "topic news flash"]);
    alice.close();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(pubsub.topic_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_socket_is_disconnected_by_its_id_from_anywhere() {
    let stage = Stage::new([part("room:*", &Notes::default())]);
    let named = |id: &str| Identity { socket_id: Some(id.into()), ..Identity::default() };
    let (mut alice, mut bob) = (stage.connect_as(named("user:1")), stage.connect_as(named("user:2")));
    alice.join("room:a").await;
    bob.join("room:a").await;
    bob.send(&frame("disconnect", 2));
    assert_eq!(bob.now(), [ok(2)]);
    assert_eq!(alice.now(), ["closed 1001"]);
    stage.endpoint.node.pubsub.broadcast(broadcast("user:2", "disconnect"));
    assert_eq!(bob.now(), ["closed 1001"]);
}

#[tokio::test(start_paused = true)]
async fn presence_messages_are_in_order_and_presences_leave_with_their_member() {
    let stage = Stage::new([part("room:*", &Notes::default())]);
    let (mut alice, mut bob) = (stage.connect(), stage.connect());
    alice.join("room:a").await;
    bob.join("room:a").await;
    alice.send(&frame("track", 2));
    let frames: Vec<Value> = alice.now().iter().map(|frame| read(frame)).collect();
    assert_eq!(frames[0], json!(["1", null, "room:a", "presence_state", {}]));
    let entry = &frames[1][4]["joins"]["alice"]["metas"][0];
    assert_eq!(
        frames[1],
        json!([null, null, "room:a", "presence_diff", {"joins": {"alice": {"metas": [entry]}}, "leaves": {}}])
    );
    assert_eq!(frames[2], read(&ok(2)));
    assert_eq!(bob.now().len(), 1);
    alice.send(&frame("update", 3));
    let updated = read(&bob.next().await);
    assert_eq!(updated[4]["joins"]["alice"]["metas"][0]["phx_ref_prev"], entry["phx_ref"]);
    assert_eq!(updated[4]["leaves"]["alice"]["metas"][0], *entry);
    alice.close();
    let left = read(&bob.next().await);
    assert_eq!(left[4]["leaves"]["alice"]["metas"][0]["away"], true);
    assert_eq!(stage.endpoint.node.presence.count(&Topic::new("room:a")), 0);
}

#[tokio::test(start_paused = true)]
async fn a_second_join_of_a_client_removes_the_presence_of_its_first_join() {
    let stage = Stage::new([part("room:*", &Notes::default())]);
    let (mut alice, mut bob) = (stage.connect(), stage.connect());
    bob.join("room:a").await;
    alice.join("room:a").await;
    alice.send(&frame("track", 2));
    let _ = (alice.now(), bob.now());
    alice.send(r#"["3","3","room:a","phx_join",{}]"#);
    let left: Vec<Value> = bob.now().iter().map(|frame| read(frame)).collect();
    assert_eq!((left.len(), &left[0][4]["joins"]), (1, &json!({})));
    assert!(left[0][4]["leaves"]["alice"].is_object());
}

#[tokio::test(start_paused = true)]
async fn with_on_fault_keep_a_member_survives_a_fault() {
    let (notes, mut room) = (Notes::default(), Part::new("unused", |_| std::future::ready(Ok(nothing()))));
    let seen = notes.clone();
    room.pattern = "room:*";
    room.options = &[("on-fault", "keep")];
    room.on_call = Arc::new(move |call, _| Box::pin(std::future::ready(simple(call, &seen))));
    let stage = Stage::new([room]);
    let mut alice = stage.connect();
    alice.join("room:a").await;
    alice.send(&frame("subscribe", 2));
    alice.send(&frame("crash", 3));
    alice.send(&frame("echo", 4));
    let error = r#"["1","3","room:a","phx_reply",{"response":{"reason":"channel_crash"},"status":"error"}]"#;
    assert_eq!(alice.now(), [ok(2), error.to_owned(), ok(4)]);
    // A fault in `handle_info` is only logged, because no client waits for a reply.
    stage.endpoint.node.pubsub.broadcast(broadcast("news", "crash"));
    stage.endpoint.node.pubsub.broadcast(broadcast("news", "flash"));
    assert_eq!(read(&alice.next().await)[3], "got");
    assert_eq!(
        (notes.all(), stage.endpoint.node.fault_count()),
        (vec!["topic news crash".into(), "topic news flash".into()], 2)
    );
}

#[tokio::test(start_paused = true)]
async fn with_on_fault_keep_a_member_survives_an_overflow() {
    let mut room = part("room:*", &Notes::default());
    room.options = &[("on-fault", "keep")];
    let stage = Stage::with_limits([room], NodeLimits { from_elsewhere: 1, ..NodeLimits::default() });
    let mut alice = stage.connect();
    alice.join("room:a").await;
    alice.send(&frame("subscribe", 2));
    for _ in 0..5 {
        stage.endpoint.node.pubsub.broadcast(broadcast("news", "flash"));
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    let frames = alice.now();
    assert!(frames.len() > 1, "the member got the messages that its queue had room for: {frames:?}");
    assert_eq!(stage.endpoint.node.fault_count(), 1);
    alice.send(&frame("echo", 3));
    assert_eq!(alice.next().await, ok(3));
}
