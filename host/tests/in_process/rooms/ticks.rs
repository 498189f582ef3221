//! The ticks of a room.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_tick_is_regular_and_ends_with_its_room_or_on_request() {
    let (notes, began) = (Notes::default(), Instant::now());
    let part = ticking(&notes, move |call, notes| async move {
        notes.add(noted(&call, began));
        Ok(nothing())
    });
    let stage = Stage::new([part]);
    let mut alice = stage.connect();
    alice.join("count:1").await;
    let joined = began.elapsed().as_millis();
    send(&mut alice, "tick");
    // Setting the same interval again changes nothing.
    send(&mut alice, "tick");
    sleep(Duration::from_millis(350)).await;
    let at = |n: u128| format!("{} ms: tick {n}, missed 0", joined + n * 100);
    assert_eq!(notes.all(), [at(1), at(2), at(3)]);
    send(&mut alice, "rest");
    sleep(Duration::from_millis(500)).await;
    assert_eq!(notes.all().len(), 3);
    send(&mut alice, "tick");
    alice.close();
    // The tick continues during the room's linger time.
    sleep(Duration::from_secs(30)).await;
    let ticks = notes.all().iter().filter(|note| note.contains("tick")).count();
    assert!((12..=13).contains(&ticks), "{ticks} ticks");
}

/// A part whose calls take 240 ms each, and are noted without their times.
fn slow(notes: &Notes) -> Part {
    let began = Instant::now();
    ticking(notes, move |call, notes| async move {
        notes.add(noted(&call, began).split(": ").nth(1).unwrap_or_default());
        sleep(Duration::from_millis(240)).await;
        Ok(nothing())
    })
}

#[tokio::test(start_paused = true)]
async fn missed_ticks_of_a_busy_topic_are_counted_and_dont_queue_up() {
    let notes = Notes::default();
    let stage = Stage::new([slow(&notes)]);
    let mut alice = stage.connect();
    alice.join("count:1").await;
    send(&mut alice, "tick");
    sleep(Duration::from_millis(1050)).await;
    // The second tick waits behind the first. Further ticks are missed until the second one has run.
    assert_eq!(notes.all(), ["tick 1, missed 0", "tick 2, missed 0", "tick 4, missed 1", "tick 6, missed 1"]);
    let (due, missed) = stage.endpoint.node.tick_counts();
    assert_eq!((due, missed), (10, 5));
}

/// Under pressure ticks are missed, but only for a limited time.
#[tokio::test(start_paused = true)]
async fn ticks_are_missed_under_pressure() {
    let notes = Notes::default();
    let began = Instant::now();
    let stage = Stage::new([ticking(&notes, move |call, notes| async move {
        notes.add(noted(&call, began));
        Ok(nothing())
    })]);
    let mut alice = stage.connect();
    alice.join("count:1").await;
    send(&mut alice, "tick");
    alice.next().await;
    let node = &stage.endpoint.node;
    sleep(Duration::from_millis(150)).await;
    node.pubsub.pressure.raise();
    sleep(Duration::from_millis(100)).await;
    node.pubsub.pressure.lower();
    sleep(Duration::from_millis(100)).await;
    node.pubsub.pressure.raise();
    sleep(Duration::from_millis(300)).await;
    let ticks: Vec<_> = notes.all().iter().filter_map(|note| note.split_once(": ")).map(|it| it.1.to_owned()).collect();
    assert_eq!(ticks, ["tick 1, missed 0", "tick 3, missed 1", "tick 5, missed 1"]);
    assert_eq!(node.tick_counts(), (6, 3));
}

#[tokio::test(start_paused = true)]
async fn a_fault_in_a_tick_is_tolerated_and_three_in_a_row_close_the_topic() {
    let (notes, began) = (Notes::default(), Instant::now());
    let part = ticking(&notes, move |call, notes| async move {
        notes.add(noted(&call, began));
        let TopicCallback::Tick(tick) = call.callback else { return Ok(nothing()) };
        // Two faults in a row, then a success, and then only faults.
        if tick.number == 3 { Ok(nothing()) } else { Err(Fault::new(FaultKind::Trap, "the world ended")) }
    });
    let stage = Stage::new([part]);
    let (mut alice, mut bob) = (stage.connect(), stage.connect());
    alice.join("count:1").await;
    bob.join("count:1").await;
    send(&mut alice, "add");
    send(&mut alice, "tick");
    alice.next().await;
    alice.next().await;
    for client in [&mut alice, &mut bob] {
        assert_eq!(client.next().await, ERROR);
    }
    let (ticks, ends): (Vec<_>, Vec<_>) = notes.all().into_iter().partition(|note| note.contains("tick"));
    assert_eq!((ticks.len(), ends.len()), (6, 2), "{ticks:?} {ends:?}");
    // The room has ended.
    alice.send(r#"["2","2","count:1","phx_join",{}]"#);
    alice.next().await;
    alice.send(r#"["2","look","count:1","get",{}]"#);
    assert!(alice.next().await.contains("none"));
    advance(Duration::from_secs(10)).await;
    assert_eq!(notes.all().len(), 8);
}

#[tokio::test(start_paused = true)]
async fn a_tick_ends_with_the_plugin_that_set_it() {
    let (notes, others) = (Notes::default(), Notes::default());
    let on_tick = |call: TopicCall, notes: Notes| async move {
        notes.add(noted(&call, Instant::now()));
        Ok(nothing())
    };
    let stage = Stage::new([ticking(&notes, on_tick)]);
    let (mut alice, mut bob) = (stage.connect(), stage.connect());
    alice.join("count:1").await;
    send(&mut alice, "tick");
    alice.next().await;
    stage.publish([Part { plugin: "other", ..ticking(&others, on_tick) }]);
    bob.join("count:1").await;
    stage.endpoint.node.sweep().await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(others.all(), [""; 0]);
    send(&mut bob, "tick");
    sleep(Duration::from_millis(150)).await;
    assert_eq!(others.all().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_waiting_tick_is_cancelled_when_ticks_end() {
    let notes = Notes::default();
    let stage = Stage::new([slow(&notes)]);
    let mut alice = stage.connect();
    alice.join("count:1").await;
    send(&mut alice, "tick");
    // The second tick is running, and the next one waits behind this event.
    sleep(Duration::from_millis(360)).await;
    send(&mut alice, "rest");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(notes.all(), ["tick 1, missed 0", "tick 2, missed 0"]);
}
