//! The cost of the hot paths that doesn't depend on the machine: the number of allocations and their bytes.
//!
//! Each bound is the present cost. A change that exceeds a bound is a regression, or it raises the bound here on purpose.

#[path = "../benches/hot/stage.rs"]
mod stage;

use bennu::protocol::{Outbound, Payload, Ref, To};

use self::stage::{BOARD, INSTANT, MEMBERS, PASSED, PAYLOAD, ROOM, SHELF, Stage, TOPIC, decode, encode, frame, turn};

/// How often each path is run. A guest that runs into the next epoch yields, and then its turn also costs a task. So the
/// minimum of all runs counts.
const WALKS: usize = 200;

/// Runs a path [`WALKS`] times to warm up, and then as often to measure it. Returns the smallest number of allocations and
/// their bytes.
fn cost(mut walk: impl FnMut()) -> (u64, u64) {
    (0..WALKS).for_each(|_| walk());
    let costs = (0..WALKS).map(|_| {
        let cost = allocation_counter::measure(&mut walk);
        (cost.count_total, cost.bytes_total)
    });
    costs.min().unwrap_or_default()
}

fn assert_costs(what: &str, cost: (u64, u64), most: (u64, u64)) {
    let ((allocations, bytes), (most, most_bytes)) = (cost, most);
    assert!(allocations <= most, "{what}: {allocations} allocations, the bound is {most}");
    assert!(bytes <= most_bytes, "{what}: {bytes} bytes in {allocations} allocations, the bound is {most_bytes}");
}

#[test]
fn the_hot_paths_allocate_no_more_than_their_bounds() -> anyhow::Result<()> {
    let stage = Stage::new()?;
    let _inside = stage.enter();

    let message = frame(TOPIC, "echo");
    assert_costs("decode", cost(|| drop(decode(&message))), (0, 0));

    let (join_ref, reference, payload) = (Ref::from_text("1"), Ref::from_text("2"), Payload::Json(PAYLOAD.into()));
    let (to, status) = (To::Topic("echo:lobby"), "ok");
    let reply = Outbound::Reply { join_ref: &join_ref, reference: &reference, to, status, payload: &payload };
    assert_costs("encode", cost(|| drop(encode(reply))), (2, 192));

    let nothing = Stage::question("nothing");
    assert_costs("a call of `nothing`", cost(|| drop(stage.call(&nothing))), (2, 1024));
    let echo = Stage::question("echo");
    assert_costs("a call of `echo`", cost(|| drop(stage.call(&echo))), (4, 1100));

    let mut client = stage.join(TOPIC);
    assert_costs("a turn of `echo`", cost(|| turn(&mut client, &message)), (7, 2048));
    let (mut client, message) = (stage.join(INSTANT), frame(INSTANT, "set"));
    assert_costs("a turn and its commit, without a call", cost(|| turn(&mut client, &message)), (5, 1280));
    let (mut client, message) = (stage.join(ROOM), frame(ROOM, "set"));
    assert_costs("the same in a topic with a room", cost(|| turn(&mut client, &message)), (7, 1448));

    let (mut client, message) = (stage.join(SHELF), frame(SHELF, "set"));
    assert_costs("the same, with a changed entry", cost(|| turn(&mut client, &message)), (10, 2912));

    // One message for all members, and nothing for each of them. Some allocations are the text of the message and its parts.
    let (mut client, message) = (stage.join(BOARD), frame(BOARD, "set"));
    let mut others: Vec<_> = (0..MEMBERS).map(|_| stage.join(BOARD)).collect();
    let published = cost(|| {
        turn(&mut client, &message);
        others.iter_mut().for_each(|other| assert_eq!(other.receive(), 1));
    });
    assert_costs("the same, with an entry that is published for a thousand members", published, (31, 5168));

    let fan_out = |topic, shout: &dyn Fn()| {
        let mut clients: Vec<_> = (0..MEMBERS).map(|_| stage.join(topic)).collect();
        cost(|| {
            shout();
            for client in &mut clients {
                assert_eq!(client.receive(), 1);
            }
        })
    };
    assert_costs("a broadcast", fan_out(TOPIC, &|| stage.shout(TOPIC)), (5, 256));
    // One allocation for each member whose outbox has no other droppable message.
    let moved = fan_out(TOPIC, &|| stage.shout_droppable(TOPIC, "ada"));
    assert_costs("a droppable broadcast", moved, (1005, 136_256));
    let _slow: Vec<_> = (0..MEMBERS).map(|_| stage.join(TOPIC)).collect();
    let replaced = cost(|| stage.shout_droppable(TOPIC, "ada"));
    assert_costs("a droppable broadcast that replaces the one before", replaced, (5, 256));
    let (mut client, message) = (stage.join_deflating("echo:2"), frame("echo:2", "echo"));
    assert_costs("a turn of `echo` with compression", cost(|| turn(&mut client, &message)), (7, 2048));
    let mut clients: Vec<_> = (0..MEMBERS).map(|_| stage.join_deflating("echo:3")).collect();
    let mut compressed = |shout: &dyn Fn()| {
        cost(|| {
            shout();
            clients.iter_mut().for_each(|client| assert_eq!(client.receive(), 1));
        })
    };
    assert_costs("a broadcast that is too short for compression", compressed(&|| stage.shout("echo:3")), (5, 256));
    // The compressed frame, and the buffer from which it is copied, are two more.
    assert_costs("a compressed broadcast", compressed(&|| stage.shout_long("echo:3")), (9, 10_400));
    // It costs 108. Without optimized dependencies, a thousand members take about an epoch, so each run may yield once or
    // twice.
    assert_costs("an intercepted broadcast", fan_out(PASSED, &|| stage.shout(PASSED)), (112, 340_000));
    Ok(())
}
