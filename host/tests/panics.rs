//! A panic of the host's own, wherever it comes, costs no more than what it concerns: no topic stands still for it.

mod support;

use std::future::ready;
use std::sync::Arc;

use bennu::contract::{Call, Callback, Decision, Effect, Fault, Outcome, Passing};
use bennu::protocol::Payload;
use bytes::Bytes;
use bytestring::ByteString;
use support::{Client, Part, Stage, admitted, nothing, replied};
use tokio::sync::Notify;

const ROOM: &[(&str, &str)] = &[("room", "memory"), ("linger-ms", "0")];

/// A text that panics when the last who has it lets go of it: in the midst of the host's own work.
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

/// Each event is what is done; a room that was armed panics when it ends.
async fn armed(call: Call) -> Result<Outcome, Fault> {
    match call.callback {
        Callback::Join(_) => Ok(admitted()),
        Callback::In { event, .. } if &*event == "arm" => {
            Ok(Outcome { room: Some(Bytes::from_owner(Bomb)), ..replied("{}") })
        }
        Callback::Terminate(_) if call.member.topic.as_str() == "room:slow" => {
            // What comes after this is done in a task.
            tokio::task::yield_now().await;
            Ok(nothing())
        }
        _ => Ok(nothing()),
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_at_the_end_of_a_room_leaves_its_topic_at_work() {
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
    Outcome { effects: vec![Effect::Broadcast { event, payload, skip_self: false }], ..nothing() }
}

async fn until(client: &mut Client, event: &str) {
    let wanted = format!("\"{event}\"");
    while !client.next().await.contains(&wanted) {}
}

#[tokio::test(start_paused = true)]
async fn a_panic_behind_an_intercepted_broadcast_leaves_its_topic_at_work() {
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
    // Nothing is left of it: what comes now is delivered at once.
    ada.send(r#"["1","2","room:a","shout",{}]"#);
    assert_eq!(ada.now(), [r#"[null,null,"room:a","shout",{}]"#]);
}
