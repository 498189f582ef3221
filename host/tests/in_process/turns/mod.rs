//! The guarantees of channels: order, duplicate joins, ends and faults. With scripted behaviours and paused time.

mod joins;
mod waiting;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::support::{Notes, Part, Stage, admitted, nothing, replied};
use bennu::channel::NodeLimits;
use bennu::contract::{Answer, Call, Callback, Decision, Effect, Fault, FaultKind, Outcome, Passing, Stop};
use bennu::presence::Pace;
use bennu::protocol::{Payload, Topic};
use bennu::pubsub::HELD_BACK_MAX;
use tokio::sync::Notify;

fn push(event: &str) -> Effect {
    Effect::Push { event: event.into(), payload: Payload::EMPTY }
}

fn broadcast(event: &str) -> Effect {
    Effect::Broadcast { event: event.into(), payload: Payload::EMPTY }
}

/// Admits all joins. The name of an event says what it does.
fn simple(call: Call, notes: &Notes) -> Result<Outcome, Fault> {
    match call.callback {
        Callback::Join(_) => Ok(admitted()),
        Callback::In { event, .. } => on_event(&event),
        Callback::Info(message) => {
            notes.add(format!("info {} {}", message.source.as_str(), message.event));
            Ok(Outcome { effects: vec![push(&message.event)], ..nothing() })
        }
        Callback::Terminate(ending) => {
            let assigns = String::from_utf8_lossy(&call.assigns);
            notes.add(format!("terminate {} {} with {assigns}", ending.cause(), ending.detail()));
            Ok(Outcome { effects: vec![push("last")], ..nothing() })
        }
    }
}

fn on_event(event: &str) -> Result<Outcome, Fault> {
    let after = |milliseconds| Effect::SendAfter { milliseconds, event: "fired".into(), payload: Payload::EMPTY };
    match event {
        "echo" => Ok(replied("{}")),
        "shout" => Ok(Outcome { effects: vec![broadcast("shout")], ..replied("{}") }),
        "secret" => Ok(Outcome { effects: vec![broadcast("secret")], ..replied("{}") }),
        "secret_and_shout" => Ok(Outcome { effects: vec![broadcast("secret"), broadcast("shout")], ..replied("{}") }),
        "set" => Ok(Outcome { assigns: Some("set".into()), ..replied("{}") }),
        "crash" => Err(Fault::new(FaultKind::Trap, "asked to")),
        "later" => Ok(Outcome { effects: vec![after(50)], ..replied("{}") }),
        "set_and_cancel" => Ok(Outcome { effects: vec![after(10)], ..nothing() }),
        // The second timer of the member. The first one is number 0.
        "cancel" => Ok(Outcome { effects: vec![Effect::Cancel { timer: 1 }], ..replied("{}") }),
        "stop" => Ok(Outcome { answer: Answer::Stop(Stop { reason: "enough".into(), reply: None }), ..nothing() }),
        "flood" => {
            let own = Effect::SendSelf { event: "own".into(), payload: Payload::EMPTY };
            Ok(Outcome { effects: vec![own; 5], ..nothing() })
        }
        other => Err(Fault::failed(format!("unknown event {other}"))),
    }
}

fn simple_stage(notes: &Notes) -> Stage {
    let notes = notes.clone();
    Stage::new([Part::new("room:*", move |call| std::future::ready(simple(call, &notes)))])
}

fn frame(join_ref: &str, reference: &str, topic: &str, event: &str) -> String {
    format!(r#"[{join_ref},{reference},"{topic}","{event}",{{}}]"#)
}

fn event(reference: u32, event: &str) -> String {
    frame("\"1\"", &format!("\"{reference}\""), "room:a", event)
}

fn ok(join_ref: &str, reference: u32) -> String {
    format!(r#"["{join_ref}","{reference}","room:a","phx_reply",{{"response":{{}},"status":"ok"}}]"#)
}

fn unmatched(reference: u32) -> String {
    let response = r#"{"response":{"reason":"unmatched topic"},"status":"error"}"#;
    format!(r#"[null,"{reference}","room:a","phx_reply",{response}]"#)
}

#[tokio::test(start_paused = true)]
async fn effects_come_before_the_reply() {
    let mut alice = simple_stage(&Notes::default()).connect();
    alice.join("room:a").await;
    alice.send(&event(2, "shout"));
    assert_eq!(alice.now(), [r#"[null,null,"room:a","shout",{}]"#.to_owned(), ok("1", 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_reply_never_passes_an_earlier_intercepted_broadcast() {
    let decide = Arc::new(Notify::new());
    let gate = Arc::clone(&decide);
    let mut part = Part::new("room:*", |call| std::future::ready(simple(call, &Notes::default())));
    part.intercepts = &["secret"];
    part.on_passing = Arc::new(move |passing: Passing| {
        let gate = Arc::clone(&gate);
        Box::pin(async move {
            gate.notified().await;
            Ok(vec![Decision::Pass; passing.recipients.len()])
        })
    });
    let stage = Stage::new([part]);
    let (mut alice, mut bob, mut late) = (stage.connect(), stage.connect(), stage.connect());
    alice.join("room:a").await;
    bob.join("room:a").await;
    alice.send(&event(2, "secret_and_shout"));
    tokio::task::yield_now().await;
    // A client that joins after the broadcast gets neither the broadcast nor the messages that wait behind it.
    late.join("room:a").await;
    bob.send(&event(2, "echo"));
    assert_eq!((alice.now(), bob.now()), (vec![], vec![]));
    decide.notify_one();
    let (secret, shout) = (r#"[null,null,"room:a","secret",{}]"#, r#"[null,null,"room:a","shout",{}]"#);
    for expected in [secret.to_owned(), shout.to_owned(), ok("1", 2)] {
        assert_eq!(alice.next().await, expected);
    }
    for expected in [secret.to_owned(), shout.to_owned(), ok("1", 2)] {
        assert_eq!(bob.next().await, expected);
    }
    assert_eq!(late.now(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_intercepted_broadcast_is_sent_within_its_turn_unless_a_decision_has_to_wait() {
    let mut part = Part::new("room:*", |call| std::future::ready(simple(call, &Notes::default())));
    part.intercepts = &["secret"];
    part.on_passing =
        Arc::new(|passing: Passing| Box::pin(std::future::ready(Ok(vec![Decision::Pass; passing.recipients.len()]))));
    let mut alice = Stage::new([part]).connect();
    alice.join("room:a").await;
    alice.send(&event(2, "secret_and_shout"));
    let (secret, shout) = (r#"[null,null,"room:a","secret",{}]"#, r#"[null,null,"room:a","shout",{}]"#);
    assert_eq!(alice.now(), [secret.to_owned(), shout.to_owned(), ok("1", 2)]);
}

#[tokio::test(start_paused = true)]
async fn a_handle_out_fault_ends_only_the_member_that_causes_it() {
    let mut part = Part::new("room:*", |call| {
        let admitted = Outcome { assigns: Some(call.member.id.to_string().into()), ..admitted() };
        std::future::ready(match call.callback {
            Callback::Join(_) => Ok(admitted),
            _ => simple(call, &Notes::default()),
        })
    });
    part.intercepts = &["secret"];
    // Members 1 and 2 pass, 3 faults, 4 is handed the event, 5 gets another payload.
    part.on_passing = Arc::new(|passing: Passing| {
        Box::pin(async move {
            let decide = |id| match id {
                3 => Err(Fault::failed("not this one")),
                4 => Ok(Decision::HandOver),
                5 => Ok(Decision::Replace(Payload::Json(r#"{"for":5}"#.into()))),
                _ => Ok(Decision::Pass),
            };
            passing.recipients.iter().map(|recipient| decide(recipient.id)).collect()
        })
    });
    let stage = Stage::new([part]);
    let mut clients: Vec<_> = (0..5).map(|_| stage.connect()).collect();
    for client in &mut clients {
        client.join("room:a").await;
    }
    clients[0].send(&event(2, "secret"));
    let secret = r#"[null,null,"room:a","secret",{}]"#;
    assert_eq!(clients[0].next().await, secret);
    assert_eq!(clients[1].next().await, secret);
    assert_eq!(clients[2].next().await, r#"["1",null,"room:a","last",{}]"#);
    assert_eq!(clients[2].next().await, r#"["1","1","room:a","phx_error",{"reason":"channel_crash"}]"#);
    // `handle_info` has pushed the event that it got.
    assert_eq!(clients[3].next().await, r#"["1",null,"room:a","secret",{}]"#);
    assert_eq!(clients[4].next().await, r#"["1",null,"room:a","secret",{"for":5}]"#);
}

#[tokio::test(start_paused = true)]
async fn a_fault_discards_its_call_and_ends_the_member_after_terminate() {
    let notes = Notes::default();
    let mut alice = simple_stage(&notes).connect();
    alice.join("room:a").await;
    alice.send(&event(2, "set"));
    alice.send(&event(3, "crash"));
    alice.send(&event(4, "echo"));
    let last = r#"["1",null,"room:a","last",{}]"#;
    let error = r#"["1","1","room:a","phx_error",{"reason":"channel_crash"}]"#;
    assert_eq!(alice.now(), [ok("1", 2), last.into(), error.into(), unmatched(4)]);
    assert_eq!(notes.all(), ["terminate fault trap with set"]);
    alice.send(&frame("\"5\"", "\"5\"", "room:a", "phx_join"));
    assert_eq!(alice.now(), [ok("5", 5)]);
}

#[tokio::test(start_paused = true)]
async fn a_stop_closes_before_terminate() {
    let notes = Notes::default();
    let mut alice = simple_stage(&notes).connect();
    alice.join("room:a").await;
    alice.send(&event(2, "stop"));
    let close = r#"["1","1","room:a","phx_close",{}]"#;
    let last = r#"["1",null,"room:a","last",{}]"#;
    assert_eq!(alice.now(), [close, last]);
    assert_eq!(notes.all(), ["terminate stopped enough with fresh"]);
}

#[tokio::test(start_paused = true)]
async fn the_messages_of_a_closed_connection_are_handled_before_its_end() {
    let notes = Notes::default();
    let stage = simple_stage(&notes);
    let mut alice = stage.connect();
    alice.join("room:a").await;
    alice.send(&event(2, "set"));
    alice.close();
    stage.endpoint.node.emptied().await;
    assert_eq!(notes.all(), ["terminate closed  with set"]);
    assert_eq!(stage.endpoint.node.pubsub.topic_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn timers_fire_and_can_be_cancelled_until_they_are_handled() {
    let notes = Notes::default();
    let finish = Arc::new(Notify::new());
    let (gate, noted) = (Arc::clone(&finish), notes.clone());
    let stage = Stage::new([Part::new("room:*", move |call| {
        let (gate, notes) = (Arc::clone(&gate), noted.clone());
        async move {
            if matches!(&call.callback, Callback::In { event, .. } if &**event == "cancel") {
                gate.notified().await;
            }
            simple(call, &notes)
        }
    })]);
    let mut alice = stage.connect();
    alice.join("room:a").await;
    alice.send(&event(2, "later"));
    assert_eq!(alice.next().await, ok("1", 2));
    assert_eq!(alice.next().await, r#"["1",null,"room:a","fired",{}]"#);
    alice.send(&event(3, "set_and_cancel"));
    alice.send(&event(4, "cancel"));
    // The timer fires while the call that cancels it runs, so its turn waits in the queue behind that call.
    tokio::time::sleep(Duration::from_millis(20)).await;
    finish.notify_one();
    assert_eq!(alice.next().await, ok("1", 4));
    alice.send(&event(5, "echo"));
    assert_eq!(alice.next().await, ok("1", 5));
    assert_eq!(notes.all(), ["info self fired"]);
}

#[tokio::test(start_paused = true)]
async fn a_route_with_turns_by_topic_runs_one_call_at_a_time() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (now, peak) = (Arc::clone(&running), Arc::clone(&most));
    let mut part = Part::new("room:*", move |call| {
        let (now, peak) = (Arc::clone(&now), Arc::clone(&peak));
        async move {
            peak.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(Duration::from_millis(5)).await;
            now.fetch_sub(1, Ordering::SeqCst);
            simple(call, &Notes::default())
        }
    });
    part.options = &[("turns", "topic")];
    let stage = Stage::new([part]);
    let mut clients: Vec<_> = (0..10).map(|_| stage.connect()).collect();
    for client in &mut clients {
        client.send(&event(1, "phx_join"));
        client.send(&event(2, "echo"));
    }
    for client in &mut clients {
        assert_eq!(client.next().await, ok("1", 1));
        assert_eq!(client.next().await, ok("1", 2));
    }
    assert_eq!(most.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn members_whose_route_is_removed_or_moved_to_another_plugin_get_an_error() {
    let part = |pattern, plugin| {
        let mut part = Part::new(pattern, |call| std::future::ready(simple(call, &Notes::default())));
        part.plugin = plugin;
        part
    };
    let stage = Stage::new([part("room:*", "one")]);
    let (mut alice, mut bob) = (stage.connect(), stage.connect());
    alice.join("room:a").await;
    bob.join("room:b").await;
    stage.publish([part("room:a", "two"), part("room:c*", "one")]);
    stage.endpoint.node.sweep().await;
    assert_eq!(bob.next().await, r#"["1","1","room:b","phx_error",{"reason":"channel_crash"}]"#);
    // Another plugin serves Alice's topic now. It couldn't read her assigns.
    assert_eq!(alice.next().await, r#"["1","1","room:a","phx_error",{"reason":"channel_crash"}]"#);
    bob.send(&frame("\"1\"", "\"9\"", "room:b", "phx_join"));
    assert_eq!(
        bob.next().await,
        r#"[null,"9","room:b","phx_reply",{"response":{"reason":"unmatched topic"},"status":"error"}]"#
    );
}
