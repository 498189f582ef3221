//! Messages to some members of a topic, and kicks: by effects, and from outside of the channels.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Client, Notes, Part, Stage, admitted, nothing, replied};
use bennu::channel::{MemberSelector, NodeLimits};
use bennu::contract::{Call, Callback, Effect, Fault, Identity, Outcome};
use bennu::protocol::{Payload, Topic};
use tokio::sync::Notify;

fn send_member(topic: &str, member: u64) -> Effect {
    Effect::SendMember { topic: Topic::new(topic), member, event: "hello".into(), payload: Payload::EMPTY }
}

fn push_to_socket(topic: &str, id: &str) -> Effect {
    let (topic, socket_id) = (Topic::new(topic), id.into());
    Effect::PushToSocket { topic, socket_id, event: "news".into(), payload: Payload::EMPTY }
}

fn socket(id: &str) -> MemberSelector {
    MemberSelector::Socket(id.into())
}

/// Handles an event: `two` and `three` send so many messages to the member 1, `both` pushes to two topics, and `slow` waits.
async fn handle(call: Call, notes: Notes, gate: Arc<Notify>) -> Result<Outcome, Fault> {
    let with = |effects| Ok(Outcome { effects, ..replied("{}") });
    match call.callback {
        Callback::Join(_) => Ok(admitted()),
        Callback::In { event, .. } => match &*event {
            "two" => with(vec![send_member("room:b", 1); 2]),
            "three" => with(vec![send_member("room:b", 1); 3]),
            "both" => with(vec![push_to_socket("room:a", "user:1"), push_to_socket("room:b", "user:1")]),
            "slow" => {
                gate.notified().await;
                Ok(replied("{}"))
            }
            _ => Ok(replied("{}")),
        },
        Callback::Info(message) => {
            notes.add(format!("{} {} {}", message.source.as_str(), message.topic, message.event));
            Ok(nothing())
        }
        Callback::Terminate(ending) => {
            notes.add(format!("{} {}", ending.cause(), ending.detail()));
            Ok(nothing())
        }
    }
}

fn part(notes: &Notes, gate: &Arc<Notify>) -> Part {
    let (notes, gate) = (notes.clone(), Arc::clone(gate));
    Part::new("room:*", move |call| handle(call, notes.clone(), Arc::clone(&gate)))
}

fn named(id: &str) -> Identity {
    Identity { socket_id: Some(id.into()), ..Identity::default() }
}

fn message(topic: &str, event: &str) -> String {
    format!(r#"["1","2","{topic}","{event}",{{}}]"#)
}

fn ok(topic: &str) -> String {
    format!(r#"["1","2","{topic}","phx_reply",{{"response":{{}},"status":"ok"}}]"#)
}

fn close(topic: &str) -> String {
    format!(r#"["1","1","{topic}","phx_close",{{}}]"#)
}

async fn settle() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn a_message_to_a_member_needs_room_in_its_mailbox() {
    let (notes, gate) = (Notes::default(), Arc::default());
    let limits = NodeLimits { from_elsewhere: 2, ..NodeLimits::default() };
    let stage = Stage::with_limits([part(&notes, &gate)], limits);
    let (mut bob, mut alice) = (stage.connect(), stage.connect());
    bob.join("room:b").await;
    alice.join("room:a").await;
    alice.send(&message("room:a", "two"));
    assert_eq!(alice.next().await, ok("room:a"));
    settle().await;
    assert_eq!(notes.all(), ["member room:a hello"; 2]);
    // Nothing of a call with one message too many happens.
    alice.send(&message("room:a", "three"));
    assert!(alice.next().await.contains("phx_error"));
    settle().await;
    assert_eq!(notes.all()[2..], ["fault overflow"]);

    // While the member is busy, its mailbox fills. Then the API sends nothing, and the member stays.
    bob.send(&message("room:b", "slow"));
    let node = &stage.endpoint.node;
    let send = || node.send_members("room:b", &MemberSelector::Member(1), &"hi".into(), &Payload::EMPTY);
    assert_eq!([send(), send(), send()], [Some(1), Some(1), None]);
    gate.notify_one();
    assert_eq!(bob.next().await, ok("room:b"));
    settle().await;
    assert_eq!(notes.all()[3..], ["member room:b hi"; 2]);
    assert_eq!(send(), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_push_reaches_each_socket_of_an_id_in_the_named_topic() {
    let (notes, gate) = (Notes::default(), Arc::default());
    let stage = Stage::new([part(&notes, &gate)]);
    let mut clients = ["user:1", "user:1", "user:2"].map(|id| stage.connect_as(named(id)));
    for client in &mut clients {
        client.join("room:a").await;
    }
    let [one, two, other] = &mut clients;
    other.send(&message("room:a", "both"));
    assert_eq!(other.now(), [ok("room:a")]);
    let news = r#"["1",null,"room:a","news",{}]"#;
    assert_eq!((one.now(), two.now()), (vec![news.to_owned()], vec![news.to_owned()]));
    let node = &stage.endpoint.node;
    let push = |topic: &str, selector| node.push_members(topic, &selector, "news", &Payload::EMPTY);
    assert_eq!(push("room:a", socket("user:1")), Some(2));
    assert_eq!(push("room:a", MemberSelector::Member(2)), Some(1));
    assert_eq!(push("room:b", socket("user:1")), Some(0));
    assert_eq!(push("room:a", socket("user:3")), Some(0));
    assert_eq!((one.now().len(), two.now().len(), other.now().len()), (1, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn a_kicked_member_is_closed_after_what_waits_for_it() {
    let (notes, gate) = (Notes::default(), Arc::default());
    let stage = Stage::new([part(&notes, &gate)]);
    let mut alice: Client = stage.connect_as(named("user:1"));
    for topic in ["room:a", "room:b", "room:c"] {
        alice.join(topic).await;
    }
    let mut other = stage.connect_as(named("user:2"));
    other.join("room:b").await;
    let node = &stage.endpoint.node;
    assert_eq!(node.kick(Some("room:a"), &MemberSelector::Member(2), "").await, 0, "it is in another topic");
    assert_eq!(node.kick(Some("room:a"), &MemberSelector::Member(1), "spam").await, 1);
    assert_eq!(alice.next().await, close("room:a"));
    settle().await;
    assert_eq!(notes.all(), ["kicked spam"]);
    alice.send(&message("room:a", "any"));
    assert!(alice.next().await.contains("unmatched topic"));

    // A kick waits for the running call. Several kicks end the member once.
    alice.send(&message("room:b", "slow"));
    assert_eq!(node.kick(None, &socket("user:1"), "").await, 2, "in all topics");
    assert_eq!(node.kick(Some("room:b"), &socket("user:1"), "").await, 1, "it is still there");
    assert_eq!(alice.next().await, close("room:c"));
    gate.notify_one();
    assert_eq!([alice.next().await, alice.next().await], [ok("room:b"), close("room:b")]);
    settle().await;
    assert_eq!(notes.all()[1..], ["kicked "; 2]);
    assert_eq!(node.kick(None, &socket("user:1"), "").await, 0);
    assert!(other.now().is_empty());

    // A kick forbids nothing.
    alice.join("room:a").await;
}
