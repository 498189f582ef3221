//! A panic in the host's own code ends at most the member or the broadcast that it concerns. The topic continues to work.

use std::future::ready;
use std::sync::Arc;

use crate::support::{Client, Part, Stage, admitted, nothing, replied};
use bennu::contract::{Call, Callback, Decision, Effect, Fault, Outcome, Passing};
use bennu::protocol::Payload;
use bytes::Bytes;
use bytestring::ByteString;
use tokio::sync::Notify;

const ROOM: &[(&str, &str)] = &[("room", "memory"), ("linger-ms", "0")];

/// A text that panics when its last reference is dropped, which happens inside the host's own code.
struct Bomb;

impl AsRef<[u8]> for Bomb {
    fn as_ref(&self) -> &[u8] {
        b"{}"
    }
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(std::thread::panicking(), "a panic that a test asked for");
    }
}

/// The event `arm` gives the room a [`Bomb`], so that the host panics when the room ends.
async fn armed(call: Call) -> Result<Outcome, Fault> {
    match call.callback {
        Callback::Join(_) => Ok(admitted()),
        Callback::In { event, .. } if &*event == "arm" => {
            Ok(Outcome { room: Some(Bytes::from_owner(Bomb)), ..replied("{}") })
        }
        Callback::Terminate(_) if call.member.topic.as_str() == "room:slow" => {
            // The rest of the turn runs in a task.
            tokio::task::yield_now().await;
            Ok(nothing())
        }
        _ => Ok(nothing()),
    }
}

#[tokio::test(start_paused = true)]
async fn a_topic_works_after_a_panic_at_the_end_of_its_room() {
    for topic in ["room:a", "room:slow"] {
        let stage = Stage::new([Part { options: ROOM, ..Part::new("room:*", armed) }]);
        for _ in 0..2 {
            let mut ada = stage.connect();
            ada.join(topic).await;
            ada.send(&format!(r#"["1","2","{topic}","arm",{{}}]"#));
            assert!(ada.next().await.contains("\"status\":\"ok\""));
            ada.send(&format!(r#"["1","3","{topic}","phx_leave",{{}}]"#));
            assert!(ada.next().await.contains("\"status\":\"ok\""));
        }
    }
}

fn broadcasting(event: &str, payload: Payload) -> Outcome {
    let event = event.to_owned().into();
    Outcome { effects: vec![Effect::Broadcast { event, payload }], ..nothing() }
}

async fn until(client: &mut Client, event: &str) {
    let wanted = format!("\"{event}\"");
    while !client.next().await.contains(&wanted) {}
}

#[tokio::test(start_paused = true)]
async fn a_topic_works_after_a_panic_in_an_intercepted_broadcast() {
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    let mut part = Part::new("room:*", |call| {
        ready(Ok(match call.callback {
            Callback::Join(_) => admitted(),
            Callback::In { event, .. } if &*event == "boom" => {
                let text = ByteString::try_from(Bytes::from_owner(Bomb)).expect("a text");
                broadcasting("boom", Payload::Json(text))
            }
            Callback::In { event, .. } => broadcasting(&event, Payload::EMPTY),
            _ => nothing(),
        }))
    });
    part.intercepts = &["secret", "bad secret"];
    part.on_passing = Arc::new(move |passing: Passing| {
        let gate = Arc::clone(&opened);
        Box::pin(async move {
            gate.notified().await;
            assert!(&*passing.event == "secret", "a panic that a test asked for");
            Ok(vec![Decision::Pass; passing.recipients.len()])
        })
    });
    let mut ada = Stage::new([part]).connect();
    ada.join("room:a").await;
    for event in ["secret", "boom", "bad secret", "boom", "shout"] {
        ada.send(&format!(r#"["1","2","room:a","{event}",{{}}]"#));
    }
    gate.notify_one();
    until(&mut ada, "secret").await;
    gate.notify_one();
    until(&mut ada, "shout").await;
    // The queue of the topic is empty again: the next broadcast is delivered at once.
    ada.send(r#"["1","2","room:a","shout",{}]"#);
    assert_eq!(ada.now(), [r#"[null,null,"room:a","shout",{}]"#]);
}

/// The test drops the socket on a thread without a runtime. There the end of an idle channel panics, because it needs a
/// task. The end of the other channel needs none: a task already drains its queue, and waits in a turn.
#[tokio::test]
async fn a_panic_at_the_end_of_one_channel_does_not_keep_the_others_of_its_socket() {
    let gate = Arc::new(Notify::new());
    let opened = Arc::clone(&gate);
    let (ended, mut endings) = tokio::sync::mpsc::unbounded_channel();
    let part = Part::new("room:*", move |call| {
        let (gate, ended) = (Arc::clone(&opened), ended.clone());
        async move {
            match call.callback {
                Callback::Join(_) => return Ok(admitted()),
                Callback::In { .. } => gate.notified().await,
                Callback::Terminate(_) => ended.send(call.member.topic.to_string()).expect("the test waits"),
                _ => {}
            }
            Ok(nothing())
        }
    });
    let mut ada = Stage::new([part]).connect();
    ada.join("room:idle").await;
    ada.join("room:busy").await;
    ada.send(r#"["1","2","room:busy","wait",{}]"#);
    let socket = ada.socket;
    let dropped = std::thread::spawn(move || drop(socket)).join();
    assert!(dropped.is_ok(), "the panic is caught");
    gate.notify_one();
    assert_eq!(endings.recv().await.as_deref(), Some("room:busy"));
}
