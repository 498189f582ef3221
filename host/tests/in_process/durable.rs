//! Durable rooms: a room is stored together with the commit that changes it, and the next host loads it.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Part, Stage, admitted, nothing, replied};
use bennu::channel::NodeLimits;
use bennu::contract::{
    Answer, Call, Callback, Effect, Fault, Outcome, Part as Of, Reply, TopicCall, TopicCallback, Upgrade,
};
use bennu::protocol::Payload;
use bennu::store::{Store, StoreLimits};
use bytes::Bytes;
use tokio::time::sleep;

const DURABLE: &[(&str, &str)] = &[("room", "durable"), ("linger-ms", "0")];

fn text(room: Option<&Bytes>) -> String {
    room.map_or_else(|| "none".to_owned(), |room| String::from_utf8_lossy(room).into_owned())
}

/// Sets the room to the name of the event, except for `tick` and `clear`.
async fn setting(call: Call) -> Result<Outcome, Fault> {
    let tick = |milliseconds| vec![Effect::Tick { milliseconds }];
    match call.callback {
        Callback::Join(_) => Ok(admitted()),
        Callback::In { event, .. } if &*event == "tick" => Ok(Outcome { effects: tick(10), ..replied("{}") }),
        Callback::In { event, .. } if &*event == "clear" => Ok(Outcome { room: Some(Bytes::new()), ..replied("{}") }),
        Callback::In { event, .. } => Ok(Outcome { room: Some(event.into_bytes()), ..replied("{}") }),
        Callback::Info(_) | Callback::Terminate(_) => Ok(nothing()),
    }
}

/// Answers a message with the room. A tick sets the room to its number.
async fn telling(call: TopicCall) -> Result<Outcome, Fault> {
    let payload = Payload::Json(format!("\"{}\"", text(call.room.as_ref())).into());
    match call.callback {
        TopicCallback::Message { .. } => {
            Ok(Outcome { answer: Answer::Reply(Reply { status: "ok".into(), payload }), ..nothing() })
        }
        TopicCallback::Info(_) | TopicCallback::Seat { .. } => Ok(nothing()),
        TopicCallback::Tick(tick) => Ok(Outcome { room: Some(tick.number.to_string().into()), ..nothing() }),
    }
}

fn part() -> Part {
    Part {
        options: DURABLE,
        on_topic_call: Some(Arc::new(|call, _| Box::pin(telling(call)))),
        ..Part::new("room:*", setting)
    }
}

fn store() -> Store {
    Store::in_memory(StoreLimits::default()).expect("a store in memory")
}

fn host(store: &Store, part: Part) -> Stage {
    Stage::over(store.clone(), [part], NodeLimits::default())
}

async fn room(stage: &Stage) -> String {
    let delivered = stage.endpoint.node.send("room:1", "look".into(), Payload::EMPTY).await;
    match delivered.expect("the message is delivered").expect("the message is answered").payload {
        Payload::Json(text) => text.trim_matches('"').to_owned(),
        Payload::Binary(_) => panic!("the room is text"),
    }
}

#[tokio::test(start_paused = true)]
async fn the_next_host_loads_a_durable_room_and_its_build_upgrades_it() {
    let store = store();
    let first = host(&store, part());
    let mut alice = first.connect();
    alice.join("room:1").await;
    alice.send(r#"["1","2","room:1","one",{}]"#);
    alice.next().await;
    // The first host ends without a shutdown.
    drop(first);

    let second = host(&store, part());
    assert_eq!(room(&second).await, "one");
    let upgrade = |old: Upgrade| -> Result<Option<Bytes>, Fault> {
        assert_eq!((old.part, old.version), (Of::Room, 0));
        Ok(Some([&old.state[..], b" of version 0"].concat().into()))
    };
    let on_upgrade: crate::support::OnUpgrade = Arc::new(move |old| {
        let new = upgrade(old);
        Box::pin(async { new })
    });
    let third = host(&store, Part { versions: (0, 1), on_upgrade, ..part() });
    assert_eq!(room(&third).await, "one of version 0");
    // The upgraded room is stored, although no callback has changed it.
    assert_eq!(room(&host(&store, Part { versions: (0, 1), ..part() })).await, "one of version 0");
}

#[tokio::test(start_paused = true)]
async fn a_room_that_is_cleared_is_deleted_from_the_store() {
    let store = store();
    let stage = host(&store, part());
    let mut alice = stage.connect();
    alice.join("room:1").await;
    for event in ["one", "clear"] {
        alice.send(&format!(r#"["1","2","room:1","{event}",{{}}]"#));
        alice.next().await;
    }
    assert_eq!(room(&stage).await, "none");
    assert_eq!(room(&host(&store, part())).await, "none");
    assert_eq!(store.usage("script").await.expect("a store in memory"), 0);
}

/// A durable room with a tick is stored at most once a second, when the room ends, and when the host stops.
#[tokio::test(start_paused = true)]
async fn a_durable_room_with_a_tick_is_stored_once_a_second_and_at_its_end() {
    let store = store();
    let stage = host(&store, part());
    let mut alice = stage.connect();
    alice.join("room:1").await;
    alice.send(r#"["1","2","room:1","tick",{}]"#);
    alice.next().await;
    let stored = async || room(&host(&store, part())).await;
    sleep(Duration::from_millis(500)).await;
    let early: u64 = stored().await.parse().expect("a number");
    sleep(Duration::from_millis(200)).await;
    assert_eq!(stored().await, early.to_string(), "not every tick is stored");
    sleep(Duration::from_millis(600)).await;
    let later: u64 = stored().await.parse().expect("a number");
    assert!(later >= early + 90, "{early}, {later}");
    stage.endpoint.node.store_rooms().await;
    assert_eq!(stored().await, room(&stage).await, "the room is stored when the host stops");
    sleep(Duration::from_millis(300)).await;
    alice.close();
    sleep(Duration::from_millis(20)).await;
    let last: u64 = stored().await.parse().expect("a number");
    assert!(last >= later + 25, "{later}, {last}");
}
