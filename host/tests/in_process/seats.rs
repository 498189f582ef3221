//! The guarantees of seats and published states, with scripted behaviours and paused time.

use std::sync::Arc;
use std::time::Duration;

use crate::support::{Client, Notes, Part, Stage, admitted, nothing, replied};
use bennu::contract::{Answer, Call, Callback, Effect, Ending, Fault, Outcome, Stop, TopicCall, TopicCallback};
use bennu::protocol::Payload;
use tokio::sync::Notify;
use tokio::time::sleep;

const ROOM: &[(&str, &str)] = &[("room", "memory"), ("linger-ms", "0")];
const GRACE_MS: u32 = 5000;
const GRACE: Duration = Duration::from_millis(GRACE_MS as u64);

fn seat(name: &str) -> Vec<Effect> {
    vec![Effect::TakeSeat { name: name.to_owned().into(), grace_ms: GRACE_MS }]
}

fn state(text: &'static str) -> Vec<Effect> {
    vec![Effect::PublishState { state: text.into() }]
}

/// A join takes the seat that its payload names. The name of an event says what it does.
async fn playing(call: Call, notes: Notes) -> Result<Outcome, Fault> {
    match call.callback {
        Callback::Join(Payload::Json(name)) if &*name != "{}" => {
            Ok(Outcome { effects: seat(name.trim_matches('"')), ..admitted() })
        }
        Callback::Join(_) => Ok(admitted()),
        Callback::In { event, .. } => match &*event {
            "crash" => Err(Fault::failed("asked to")),
            "leave seat" => Ok(Outcome { effects: vec![Effect::LeaveSeat], ..replied("{}") }),
            "sit elsewhere" => Ok(Outcome { effects: seat("elsewhere"), ..replied("{}") }),
            "sit back" => Ok(Outcome { effects: seat("ada"), ..replied("{}") }),
            "sit everywhere" => {
                let effects = (0..1024).flat_map(|n| seat(&format!("seat {n}"))).collect();
                Ok(Outcome { effects, ..replied("{}") })
            }
            "leave seat and sit" => {
                let effects = [seat("nowhere"), vec![Effect::LeaveSeat], seat("nowhere"), seat("seat 1023")].concat();
                Ok(Outcome { effects, ..replied("{}") })
            }
            "sit and leave seat" => {
                let effects = [seat("nowhere"), vec![Effect::LeaveSeat]].concat();
                Ok(Outcome { effects, ..replied("{}") })
            }
            "stop" => Ok(Outcome { answer: Answer::Stop(Stop { reason: "over".into(), reply: None }), ..nothing() }),
            "one" => Ok(Outcome { effects: state(r#"{"a":1,"long":"unchanged"}"#), ..replied("{}") }),
            "two" => Ok(Outcome { effects: state(r#"{"a":2,"long":"unchanged"}"#), ..replied("{}") }),
            "secret" => {
                let (event, payload) = ("secret".into(), Payload::EMPTY);
                Ok(Outcome { effects: vec![Effect::Broadcast { event, payload }], ..replied("{}") })
            }
            _ => Ok(replied("{}")),
        },
        Callback::Info(_) => Ok(nothing()),
        Callback::Terminate(ending) => {
            if ending != Ending::Left {
                notes.add(format!("terminate {}", ending.cause()));
            }
            Ok(nothing())
        }
    }
}

async fn told(call: TopicCall, notes: Notes) -> Result<Outcome, Fault> {
    if let TopicCallback::Seat { name, change } = call.callback {
        notes.add(format!("{name} {change:?}"));
    }
    Ok(nothing())
}

fn stage(notes: &Notes, options: &'static [(&'static str, &'static str)]) -> Stage {
    let (on_call, on_topic) = (notes.clone(), notes.clone());
    let part = Part {
        options,
        on_topic_call: Some(Arc::new(move |call, _| Box::pin(told(call, on_topic.clone())))),
        ..Part::new("game:*", move |call| playing(call, on_call.clone()))
    };
    Stage::new([part])
}

/// Joins and checks the reply.
async fn join(stage: &Stage, name: &str) -> Client {
    let mut client = stage.connect();
    client.send(&format!(r#"["1","1","game:1","phx_join",{name}]"#));
    assert!(client.next().await.contains("\"status\":\"ok\""));
    client
}

async fn send(client: &mut Client, event: &str) {
    client.send(&format!(r#"["1","x","game:1","{event}",{{}}]"#));
    client.next().await;
}

/// Lets the waiting turns run, and returns all notes.
async fn settled(notes: &Notes) -> Vec<String> {
    sleep(Duration::from_millis(1)).await;
    notes.all()
}

#[tokio::test(start_paused = true)]
async fn a_dropped_member_can_return_to_its_seat_within_the_grace_period() {
    let notes = Notes::default();
    let stage = stage(&notes, ROOM);
    let (ada, _bo) = (join(&stage, "\"ada\"").await, join(&stage, "{}").await);
    ada.close();
    assert_eq!(settled(&notes).await, ["ada Taken", "terminate closed", "ada Dropped"]);
    sleep(GRACE - Duration::from_millis(10)).await;
    let again = join(&stage, "\"ada\"").await;
    assert_eq!(settled(&notes).await[3..], ["ada Returned"]);
    sleep(GRACE * 2).await;
    assert_eq!(notes.all().len(), 4, "the timer of the first grace period is cancelled");
    again.close();
    sleep(GRACE + Duration::from_millis(10)).await;
    assert_eq!(notes.all()[4..], ["terminate closed", "ada Dropped", "ada Gone"]);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_leaves_stops_or_gives_up_its_seat_is_gone_at_once() {
    for event in ["phx_leave", "stop", "leave seat"] {
        let notes = Notes::default();
        let stage = stage(&notes, ROOM);
        let mut ada = join(&stage, "\"ada\"").await;
        let _bo = join(&stage, "{}").await;
        send(&mut ada, event).await;
        let news: Vec<_> = settled(&notes).await.into_iter().filter(|note| note.starts_with("ada")).collect();
        assert_eq!(news, ["ada Taken", "ada Gone"], "{event}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_drops_a_member_and_a_rejoin_returns_it() {
    let notes = Notes::default();
    let stage = stage(&notes, ROOM);
    let mut ada = join(&stage, "\"ada\"").await;
    send(&mut ada, "crash").await;
    ada.send(r#"["2","2","game:1","phx_join","ada"]"#);
    ada.next().await;
    assert_eq!(settled(&notes).await, ["ada Taken", "terminate fault", "ada Dropped", "ada Returned"]);
}

/// The room has no members, but its seat keeps it. It ends when the seat is gone.
#[tokio::test(start_paused = true)]
async fn a_kept_seat_keeps_its_room() {
    let notes = Notes::default();
    let stage = stage(&notes, ROOM);
    let mut ada = join(&stage, "\"ada\"").await;
    send(&mut ada, "one").await;
    ada.next().await;
    ada.close();
    sleep(GRACE / 2).await;
    let mut bo = join(&stage, "{}").await;
    assert_eq!(bo.next().await, r#"[null,null,"game:1","room_state",{"n":1,"state":{"a":1,"long":"unchanged"}}]"#);
    bo.close();
    sleep(GRACE).await;
    let mut carol = join(&stage, "{}").await;
    assert_eq!(carol.now(), [""; 0], "the first room has ended");
    assert_eq!(notes.all().last().map(String::as_str), Some("ada Gone"));
}

#[tokio::test(start_paused = true)]
async fn several_windows_share_a_seat_and_a_member_has_one() {
    let notes = Notes::default();
    let stage = stage(&notes, ROOM);
    let (mut first, second) = (join(&stage, "\"ada\"").await, join(&stage, "\"ada\"").await);
    second.close();
    send(&mut first, "sit elsewhere").await;
    let news: Vec<_> = settled(&notes).await.into_iter().filter(|note| !note.starts_with("terminate")).collect();
    assert_eq!(news, ["ada Taken", "ada Gone", "elsewhere Taken"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_seat_effect_of_a_call_counts() {
    let notes = Notes::default();
    let stage = stage(&notes, ROOM);
    let mut ada = join(&stage, "\"ada\"").await;
    settled(&notes).await;
    send(&mut ada, "sit everywhere").await;
    assert_eq!(settled(&notes).await[1..], ["ada Gone", "seat 1023 Taken"]);
    send(&mut ada, "sit everywhere").await;
    assert_eq!(settled(&notes).await.len(), 3, "the member already has that seat");
    send(&mut ada, "leave seat and sit").await;
    assert_eq!(settled(&notes).await[3..], ["seat 1023 Gone", "seat 1023 Taken"]);
    send(&mut ada, "sit and leave seat").await;
    assert_eq!(settled(&notes).await[5..], ["seat 1023 Gone"]);
}

/// However often a seat changes while its topic is busy, only one turn waits for it, and it reports a few changes.
#[tokio::test(start_paused = true)]
async fn several_changes_of_a_seat_are_reported_in_one_turn() {
    let (notes, gate) = (Notes::default(), Arc::new(Notify::new()));
    let (noted, closed) = (notes.clone(), Arc::clone(&gate));
    let part = Part {
        options: ROOM,
        on_topic_call: Some(Arc::new(move |call, _| {
            let (notes, gate) = (noted.clone(), Arc::clone(&closed));
            Box::pin(async move {
                let is_first = notes.all().is_empty();
                told(call, notes).await?;
                if is_first {
                    gate.notified().await;
                }
                Ok(nothing())
            })
        })),
        ..Part::new("game:*", move |call| playing(call, Notes::default()))
    };
    let stage = Stage::new([part]);
    let mut ada = join(&stage, "\"ada\"").await;
    assert_eq!(settled(&notes).await, ["ada Taken"], "the first turn waits for the notification");
    for _ in 0..30 {
        ada.send(r#"["1","x","game:1","sit elsewhere",{}]"#);
        ada.send(r#"["1","x","game:1","sit back",{}]"#);
    }
    gate.notify_one();
    for _ in 0..60 {
        ada.next().await;
    }
    let told = settled(&notes).await;
    let of =
        |name: &str| -> Vec<_> { told[1..].iter().filter_map(|note| note.strip_prefix(name)).map(str::trim).collect() };
    assert_eq!(of("ada"), ["Gone", "Taken", "Gone", "Taken"]);
    assert_eq!(of("elsewhere"), ["Taken", "Gone", "Taken", "Gone"]);
}

#[tokio::test(start_paused = true)]
async fn a_published_state_is_sent_once_and_then_its_changes() {
    let stage = stage(&Notes::default(), ROOM);
    let (mut ada, mut bo) = (join(&stage, "{}").await, join(&stage, "{}").await);
    send(&mut ada, "one").await;
    let whole = r#"[null,null,"game:1","room_state",{"n":1,"state":{"a":1,"long":"unchanged"}}]"#;
    assert_eq!(bo.next().await, whole);
    ada.now();
    send(&mut ada, "one").await;
    assert_eq!(bo.now(), [""; 0], "nothing has changed");
    send(&mut ada, "two").await;
    assert_eq!(bo.next().await, r#"[null,null,"game:1","room_diff",{"n":2,"patch":{"a":2}}]"#);
    let mut carol = join(&stage, "{}").await;
    assert_eq!(carol.next().await, whole.replace("\"n\":1", "\"n\":2").replace("\"a\":1", "\"a\":2"));
    send(&mut ada, "one").await;
    for client in [&mut bo, &mut carol] {
        assert_eq!(client.next().await, r#"[null,null,"game:1","room_diff",{"n":3,"patch":{"a":1}}]"#);
    }
}

/// A slow consumer of a published state isn't closed. It misses changes, and gets the whole state when it reads again.
#[tokio::test(start_paused = true)]
async fn a_slow_consumer_gets_the_whole_state_later() {
    let stage = stage(&Notes::default(), ROOM);
    let (mut ada, mut slow) = (join(&stage, "{}").await, join(&stage, "{}").await);
    for n in 0..1000 {
        send(&mut ada, if n % 2 == 0 { "one" } else { "two" }).await;
        ada.now();
    }
    let behind = slow.now();
    assert!(behind.len() < 300 && behind.iter().all(|frame| frame.contains("room_")), "{} frames", behind.len());
    // This needs no further change of the state.
    assert_eq!(slow.next().await, r#"[null,null,"game:1","room_state",{"n":1000,"state":{"a":2,"long":"unchanged"}}]"#);
    send(&mut ada, "one").await;
    assert_eq!(slow.now(), [r#"[null,null,"game:1","room_diff",{"n":1001,"patch":{"a":1}}]"#]);
}

/// The same holds for a member whose outbox is already full when it joins, for example with replies to joins of other
/// topics.
#[tokio::test(start_paused = true)]
async fn a_member_that_joins_with_a_full_outbox_gets_the_whole_state_later() {
    let stage = stage(&Notes::default(), ROOM);
    let mut ada = join(&stage, "{}").await;
    send(&mut ada, "one").await;
    let mut slow = stage.connect();
    slow.send(r#"["2","2","game:2","phx_join",{}]"#);
    for _ in 0..300 {
        slow.send(r#"["2","x","game:2","echo",{}]"#);
    }
    slow.send(r#"["1","1","game:1","phx_join",{}]"#);
    let replies = slow.now();
    assert!(
        replies.len() == 302 && replies.iter().all(|frame| frame.contains("phx_reply")),
        "{} frames",
        replies.len()
    );
    // This needs no further change of the state.
    assert_eq!(slow.next().await, r#"[null,null,"game:1","room_state",{"n":1,"state":{"a":1,"long":"unchanged"}}]"#);
    send(&mut ada, "two").await;
    assert_eq!(slow.now(), [r#"[null,null,"game:1","room_diff",{"n":2,"patch":{"a":2}}]"#]);
}

#[tokio::test(start_paused = true)]
async fn without_a_room_there_are_no_seats_and_no_state() {
    for (params, event) in [("\"ada\"", "echo"), ("{}", "one")] {
        let stage = stage(&Notes::default(), &[]);
        let mut client = stage.connect();
        client.send(&format!(r#"["1","1","game:1","phx_join",{params}]"#));
        let mut frame = client.next().await;
        if event == "one" {
            client.send(r#"["1","x","game:1","one",{}]"#);
            frame = client.next().await;
        }
        assert!(frame.contains("join crashed") || frame.contains("phx_error"), "{frame}");
    }
}
