//! The guarantees of rooms: one state for all members, turns one after another, a regular tick. Scripted, with paused time.

mod stored;
mod ticks;

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Client, Notes, Part, Stage, admitted, nothing, replied};
use bennu::contract::{Answer, Call, Callback, Effect, Fault, FaultKind, Outcome, Reply, TopicCall, TopicCallback};
use bennu::protocol::Payload;
use bytes::Bytes;
use tokio::time::{Instant, advance, sleep};

const ROOM: &[(&str, &str)] = &[("room", "memory"), ("linger-ms", "1000"), ("tick-faults", "3")];

fn text(room: Option<&Bytes>) -> String {
    room.map_or_else(|| "none".to_owned(), |room| String::from_utf8_lossy(room).into_owned())
}

fn number(room: Option<&Bytes>) -> u64 {
    text(room).parse().unwrap_or(0)
}

/// The room is a number. The name of an event says what it does to the room.
async fn counting(call: Call, notes: Notes) -> Result<Outcome, Fault> {
    let sum = number(call.room.as_ref());
    match call.callback {
        Callback::Join(params) if format!("{params:?}").contains("refused") => {
            Ok(Outcome { answer: Answer::Refuse(Payload::EMPTY), ..nothing() })
        }
        Callback::Join(_) => Ok(admitted()),
        Callback::In { event, .. } => match &*event {
            "add" => {
                // If turns could overlap, this would lose another turn's change.
                tokio::task::yield_now().await;
                Ok(Outcome { room: Some((sum + 1).to_string().into()), ..replied("{}") })
            }
            "get" => Ok(replied(&text(call.room.as_ref()))),
            "add_and_crash" => Err(Fault::new(FaultKind::Trap, "asked to")),
            "tick" => Ok(Outcome { effects: vec![Effect::Tick { milliseconds: 100 }], ..replied("{}") }),
            "rest" => Ok(Outcome { effects: vec![Effect::Tick { milliseconds: 0 }], ..replied("{}") }),
            _ => Err(Fault::failed("no such event")),
        },
        Callback::Info(_) => Ok(nothing()),
        Callback::Terminate(ending) => {
            notes.add(format!("terminate {} with {}", ending.cause(), text(call.room.as_ref())));
            Ok(Outcome { room: Some((sum + 100).to_string().into()), ..nothing() })
        }
    }
}

fn counter(notes: &Notes) -> Part {
    let notes = notes.clone();
    Part { options: ROOM, ..Part::new("count:*", move |call| counting(call, notes.clone())) }
}

/// A counter with a handler for ticks and topic messages.
fn ticking<F>(notes: &Notes, on_tick: impl Fn(TopicCall, Notes) -> F + Send + Sync + 'static) -> Part
where
    F: Future<Output = Result<Outcome, Fault>> + Send + 'static,
{
    let on_topic = {
        let notes = notes.clone();
        move |call| on_tick(call, notes.clone())
    };
    Part { on_topic_call: Some(Arc::new(move |call, _| Box::pin(on_topic(call)))), ..counter(notes) }
}

fn noted(call: &TopicCall, began: Instant) -> String {
    match &call.callback {
        TopicCallback::Tick(tick) => {
            format!("{} ms: tick {}, missed {}", began.elapsed().as_millis(), tick.number, tick.missed)
        }
        TopicCallback::Message { event, .. } => format!("{event} on {}", text(call.room.as_ref())),
        TopicCallback::Info(info) => info.message.event.to_string(),
        TopicCallback::Seat { name, change } => format!("{name} {change:?}"),
    }
}

const ERROR: &str = r#"["1","1","count:1","phx_error",{"reason":"channel_crash"}]"#;

/// Asks for the room and returns it.
async fn look(client: &mut Client) -> String {
    client.send(r#"["1","look","count:1","get",{}]"#);
    let reply = client.next().await;
    let response = reply.split("\"response\":").nth(1).unwrap_or_default();
    response.split(',').next().unwrap_or_default().to_owned()
}

fn send(client: &mut Client, event: &str) {
    client.send(&format!(r#"["1","x","count:1","{event}",{{}}]"#));
}

#[tokio::test(start_paused = true)]
async fn all_members_of_a_topic_share_one_state_and_no_change_is_lost() {
    let stage = Stage::new([counter(&Notes::default())]);
    let mut clients = [stage.connect(), stage.connect(), stage.connect()];
    for client in &mut clients {
        client.join("count:1").await;
    }
    for _ in 0..20 {
        clients.iter_mut().for_each(|client| send(client, "add"));
    }
    for client in &mut clients {
        for _ in 0..20 {
            client.next().await;
        }
    }
    assert_eq!(look(&mut clients[0]).await, "60");
    let mut other = stage.connect();
    other.join("count:2").await;
    other.send(r#"["1","look","count:2","get",{}]"#);
    assert!(other.next().await.contains("none"), "another topic has another room");
}

#[tokio::test(start_paused = true)]
async fn a_fault_leaves_the_room_as_it_was() {
    let stage = Stage::new([counter(&Notes::default())]);
    let (mut alice, mut bob) = (stage.connect(), stage.connect());
    alice.join("count:1").await;
    bob.join("count:1").await;
    send(&mut alice, "add");
    alice.next().await;
    send(&mut bob, "add_and_crash");
    assert!(bob.next().await.contains("phx_error"));
    // `terminate` has seen the committed room, and its own change is committed too.
    assert_eq!(look(&mut alice).await, "101");
}

#[tokio::test(start_paused = true)]
async fn a_room_outlives_its_last_member_for_its_linger_time() {
    let stage = Stage::new([counter(&Notes::default())]);
    let mut alice = stage.connect();
    alice.join("count:1").await;
    send(&mut alice, "add");
    alice.next().await;
    alice.close();
    sleep(Duration::from_millis(900)).await;
    let mut bob = stage.connect();
    bob.join("count:1").await;
    assert_eq!(look(&mut bob).await, "101");
    // The room has a member again. The linger time starts again when that member has left.
    sleep(Duration::from_millis(5000)).await;
    assert_eq!(look(&mut bob).await, "101");
    bob.close();
    sleep(Duration::from_millis(1001)).await;
    let mut carol = stage.connect();
    carol.join("count:1").await;
    assert_eq!(look(&mut carol).await, "none");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_is_replaced_leaves_its_room() {
    let notes = Notes::default();
    let stage = Stage::new([counter(&notes)]);
    let mut alice = stage.connect();
    alice.join("count:1").await;
    send(&mut alice, "add");
    alice.next().await;
    alice.send(r#"["2","2","count:1","phx_join",{}]"#);
    assert!(alice.next().await.contains(r#"["2","2","count:1","phx_reply""#));
    assert_eq!(alice.next().await, r#"["1","1","count:1","phx_close",{}]"#);
    assert_eq!(notes.all(), ["terminate replaced with 1"]);
    alice.send(r#"["2","look","count:1","get",{}]"#);
    assert!(alice.next().await.contains("101"));
}

#[tokio::test(start_paused = true)]
async fn a_topic_message_uses_the_room_also_without_members() {
    let notes = Notes::default();
    let part = ticking(&notes, |call, notes| async move {
        notes.add(noted(&call, Instant::now()));
        let reply = Reply { status: "ok".into(), payload: Payload::EMPTY };
        Ok(Outcome { room: Some("7".into()), answer: Answer::Reply(reply), ..nothing() })
    });
    let stage = Stage::new([part]);
    let send = || stage.endpoint.node.send("count:1", "poke".into(), Payload::EMPTY);
    assert!(send().await.is_ok() && send().await.is_ok());
    sleep(Duration::from_millis(1001)).await;
    assert!(send().await.is_ok());
    assert_eq!(notes.all(), ["poke on none", "poke on 7", "poke on none"]);
}

#[tokio::test(start_paused = true)]
async fn without_a_room_there_is_neither_state_nor_tick() {
    let notes = Notes::default();
    let stage = Stage::new([Part { options: &[("turns", "topic")], ..counter(&notes) }]);
    for event in ["add", "tick"] {
        let mut client = stage.connect();
        client.join("count:1").await;
        send(&mut client, event);
        assert!(client.next().await.contains("phx_error"), "{event}");
    }
}

#[tokio::test(start_paused = true)]
async fn another_plugin_gets_a_new_room() {
    let notes = Notes::default();
    for is_swept in [false, true] {
        let stage = Stage::new([counter(&notes)]);
        let mut alice = stage.connect();
        alice.join("count:1").await;
        send(&mut alice, "add");
        alice.next().await;
        stage.publish([Part { plugin: "other", ..counter(&notes) }]);
        if is_swept {
            stage.endpoint.node.sweep().await;
            assert!(alice.next().await.contains("phx_error"));
        }
        let mut bob = stage.connect();
        bob.join("count:1").await;
        assert_eq!(look(&mut bob).await, "none");
        // Members of the first plugin's room don't count in this one.
        stage.endpoint.node.sweep().await;
        send(&mut bob, "add");
        bob.next().await;
        sleep(Duration::from_secs(5)).await;
        assert_eq!(look(&mut bob).await, "1");
    }
}

#[tokio::test(start_paused = true)]
async fn members_that_joined_before_their_route_had_a_room_are_in_it() {
    let notes = Notes::default();
    let stage = Stage::new([Part { options: &[("turns", "topic")], ..counter(&notes) }]);
    let (mut alice, mut bob) = (stage.connect(), stage.connect());
    alice.join("count:1").await;
    bob.join("count:1").await;
    stage.publish([counter(&notes)]);
    send(&mut alice, "add");
    alice.next().await;
    alice.close();
    sleep(Duration::from_secs(5)).await;
    assert_eq!(look(&mut bob).await, "101");
}

#[tokio::test(start_paused = true)]
async fn a_join_while_a_topic_closes_gets_a_new_room() {
    let notes = Notes::default();
    let part = ticking(&notes, |_, notes| async move {
        notes.add("tick");
        sleep(Duration::from_millis(50)).await;
        Err(Fault::new(FaultKind::Trap, "the world ended"))
    });
    let stage = Stage::new([part]);
    let (mut alice, mut bob) = (stage.connect(), stage.connect());
    alice.join("count:1").await;
    send(&mut alice, "add");
    send(&mut alice, "tick");
    // The third tick is running. Its fault closes the topic.
    sleep(Duration::from_millis(330)).await;
    assert_eq!(notes.all().len(), 3);
    bob.join("count:1").await;
    assert_eq!(alice.now().last().map(String::as_str), Some(ERROR));
    assert_eq!(look(&mut bob).await, "none");
    sleep(Duration::from_secs(1)).await;
    let ticks = |notes: &Notes| notes.all().iter().filter(|note| *note == "tick").count();
    assert_eq!(ticks(&notes), 3);
    send(&mut bob, "tick");
    sleep(Duration::from_millis(110)).await;
    assert_eq!(ticks(&notes), 4);
}

#[tokio::test(start_paused = true)]
async fn a_room_without_state_ends_at_once() {
    let stage = Stage::new([counter(&Notes::default())]);
    let mut alice = stage.connect();
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    for n in 0..100 {
        alice.send(&format!(r#"["{n}","{n}","count:{n}","phx_join",{{"refused":true}}]"#));
        assert!(alice.next().await.contains("error"));
    }
    assert_eq!(tasks(), before);
}
