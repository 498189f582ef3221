//! The two halves of the link with one another, and with a bus that loses what a test says.

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::bus::{BusError, Lane};
use crate::cluster::{ClusterLimits, SendError};
use crate::moment::Moment;
use crate::node::{Epoch, Incarnation, NodeId, Speaks};
use crate::wire::{Content, Flush, MESSAGES_MAX, Seal};

const ME: NodeId = NodeId { epoch: Epoch(1), incarnation: Incarnation([1; 16]) };
const OTHER: NodeId = NodeId { epoch: Epoch(2), incarnation: Incarnation([2; 16]) };
const SPEAKS: Speaks = Speaks { from: 1, to: 1 };
const PAUSE: Duration = Duration::from_millis(5);

/// A sender and a receiver, and the time.
struct Pair {
    outgoing: Outgoing,
    incoming: Incoming,
    now: Moment,
}

impl Pair {
    fn new(limits: ClusterLimits) -> Self {
        let mut outgoing = Outgoing::new(ME, 1, Seal::new(None), limits, (100, PAUSE));
        assert!(outgoing.add(OTHER.epoch));
        let incoming = Incoming::new(OTHER, limits.ring_bytes);
        let mut pair = Self { outgoing, incoming, now: Moment::from_nanoseconds(1_000_000_000_000) };
        // The first heartbeat, from which on everything is heard.
        assert!(matches!(pair.flush(), Some(Content::Heartbeat(heads)) if heads.is_empty()));
        assert_eq!(pair.incoming.heartbeat(ME.epoch, &[], pair.now), []);
        pair
    }

    fn push(&mut self, lane: Lane, message: &'static str) {
        self.outgoing.push(lane, Bytes::from_static(message.as_bytes())).expect("there is room");
    }

    fn next(&mut self) -> Option<Content> {
        self.now = self.now + PAUSE;
        match self.outgoing.next(self.now) {
            Next::Send(_, bytes) => {
                Some(Flush::decode(bytes, &Seal::new(None), SPEAKS).expect("it is a flush").content)
            }
            Next::Wait(_) | Next::End => None,
        }
    }

    /// The next flush, which the bus takes.
    fn flush(&mut self) -> Option<Content> {
        let content = self.next();
        self.outgoing.done(Ok(()), self.now);
        content
    }

    fn receive(&mut self, content: Content) -> Vec<String> {
        let told = match content {
            Content::Batch(batch) => self.incoming.batch(ME.epoch, batch, self.now),
            Content::Repeat(repeat) => self.incoming.repeat(ME.epoch, repeat, self.now),
            Content::Heartbeat(heads) => self.incoming.heartbeat(ME.epoch, &heads, self.now),
            Content::Nack { .. } | Content::NodesChanged => Vec::new(),
        };
        shown(told)
    }

    /// Sends and receives all that there is.
    fn run(&mut self) -> Vec<String> {
        let mut told = Vec::new();
        while let Some(content) = self.flush() {
            told.extend(self.receive(content));
            self.ask();
        }
        told
    }

    fn ask(&mut self) -> usize {
        let asks = self.incoming.asks(self.now);
        for ask in &asks {
            assert_eq!(ask.whom, ME.epoch);
            self.outgoing.asked(ask.lane, &ask.ranges, self.now);
        }
        asks.len()
    }

    fn wait(&mut self, time: Duration) {
        self.now = self.now + time;
    }
}

fn shown(told: Vec<IncomingEvent>) -> Vec<String> {
    let each = |told| match told {
        IncomingEvent::Messages(messages) => {
            messages.map(|message| String::from_utf8_lossy(&message).into_owned()).collect()
        }
        IncomingEvent::Lost => vec!["lost".to_owned()],
    };
    told.into_iter().flat_map(each).collect()
}

fn range(from: u64, to: u64) -> [Range<u64>; 1] {
    let range = from..to;
    [range]
}

fn small() -> ClusterLimits {
    ClusterLimits { queue_bytes: 2_000, ring_bytes: 1_000, message_bytes: 500, ..ClusterLimits::default() }
}

#[test]
fn messages_that_wait_are_sent_together_and_in_order() {
    let mut pair = Pair::new(ClusterLimits::default());
    for message in ["one", "two", "three"] {
        pair.push(Lane::All, message);
    }
    pair.push(Lane::Node(OTHER.epoch), "four");
    pair.push(Lane::All, "five");
    let first = pair.flush().expect("something waits");
    assert_eq!(pair.receive(first), ["one", "two", "three", "five"]);
    assert_eq!(pair.run(), ["four"]);
    assert!(pair.outgoing.is_idle());
    assert_eq!((pair.outgoing.counts().flushes, pair.outgoing.counts().messages), (2, 5));
}

#[test]
fn the_bus_is_paused_between_two_flushes() {
    let mut pair = Pair::new(ClusterLimits::default());
    pair.push(Lane::All, "one");
    assert!(pair.flush().is_some());
    pair.push(Lane::All, "two");
    let until = pair.now + PAUSE;
    assert_eq!(pair.outgoing.next(pair.now + Duration::from_millis(1)), Next::Wait(until));
    assert!(matches!(pair.outgoing.next(until), Next::Send(Lane::All, _)));
}

#[test]
fn a_flush_is_as_large_as_the_bus_likes_unless_one_message_is_larger() {
    let mut pair = Pair::new(ClusterLimits::default());
    let large = Bytes::from(vec![b'x'; 300]);
    for _ in 0..2 {
        pair.outgoing.push(Lane::All, large.clone()).expect("there is room");
    }
    for _ in 0..20 {
        pair.push(Lane::All, "0123456789");
    }
    let counts: Vec<usize> = std::iter::from_fn(|| pair.flush())
        .map(|content| match content {
            Content::Batch(batch) => batch.messages.number(),
            _ => 0,
        })
        .collect();
    assert_eq!(counts, [1, 1, 7, 7, 6]);
}

#[test]
fn a_full_queue_refuses_and_counts() {
    let mut pair = Pair::new(small());
    let message = Bytes::from(vec![0; 436]);
    assert_eq!((0..4).filter(|_| pair.outgoing.push(Lane::All, message.clone()).is_ok()).count(), 4);
    assert_eq!(pair.outgoing.push(Lane::Node(OTHER.epoch), Bytes::new()), Err(SendError::Full));
    assert_eq!(pair.outgoing.push(Lane::All, Bytes::from(vec![0; 501])), Err(SendError::TooLarge));
    assert_eq!(pair.outgoing.push(Lane::Node(Epoch(9)), Bytes::new()), Err(SendError::NoSuchNode));
    assert_eq!(pair.outgoing.counts().full, 1);
    assert!(pair.flush().is_some());
    assert_eq!(pair.outgoing.push(Lane::Node(OTHER.epoch), Bytes::new()), Ok(()));
}

#[test]
fn messages_without_bytes_are_bounded_too() {
    let mut pair = Pair::new(ClusterLimits { queue_bytes: 16 << 20, ..ClusterLimits::default() });
    let pushed = (0..1_000_000).take_while(|_| pair.outgoing.push(Lane::All, Bytes::new()).is_ok()).count();
    assert_eq!(pushed, (16 << 20) / 64);
    let mut outgoing = Outgoing::new(ME, 1, Seal::new(None), ClusterLimits::default(), (usize::MAX, PAUSE));
    for _ in 0..=MESSAGES_MAX {
        outgoing.push(Lane::All, Bytes::new()).expect("there is room");
    }
    pair.outgoing = outgoing;
    pair.wait(HEARTBEAT);
    assert!(matches!(pair.flush(), Some(Content::Heartbeat(_))));
    assert!(matches!(pair.flush(), Some(Content::Batch(batch)) if batch.messages.number() == MESSAGES_MAX));
    assert!(matches!(pair.flush(), Some(Content::Batch(batch)) if batch.messages.number() == 1));
}

#[test]
fn a_gap_is_asked_for_and_what_is_behind_it_waits() {
    let mut pair = Pair::new(ClusterLimits::default());
    for message in ["one", "two", "three", "four"] {
        pair.push(Lane::All, message);
        let content = pair.flush().expect("something waits");
        if message != "two" && message != "three" {
            let told = pair.receive(content);
            assert_eq!(told.len(), usize::from(message == "one"));
        }
    }
    assert_eq!(pair.incoming.lag(ME.epoch), (2, 1, 0));
    assert_eq!(pair.ask(), 1);
    let Some(Content::Repeat(repeat)) = pair.flush() else { panic!("nothing is repeated") };
    assert_eq!((repeat.first, repeat.batches.len()), (2, 2));
    assert_eq!(pair.receive(Content::Repeat(repeat.clone())), ["two", "three", "four"]);
    assert_eq!(pair.receive(Content::Repeat(repeat)), [""; 0]);
    assert_eq!((pair.incoming.counts().1, pair.incoming.held_bytes()), (2, 0));
    assert_eq!(pair.incoming.ask_at(), None);
}

#[test]
fn a_heartbeat_tells_of_a_missing_end() {
    let mut pair = Pair::new(ClusterLimits::default());
    pair.push(Lane::Node(OTHER.epoch), "one");
    assert!(pair.flush().is_some());
    assert_eq!(pair.incoming.ask_at(), None);
    pair.wait(HEARTBEAT);
    assert_eq!(pair.run(), ["one"]);
}

#[test]
fn a_request_is_repeated_with_growing_pauses() {
    let mut pair = Pair::new(ClusterLimits::default());
    pair.push(Lane::All, "one");
    pair.flush();
    pair.push(Lane::All, "two");
    let content = pair.flush().expect("something waits");
    pair.receive(content);
    let begin = pair.now;
    let mut asked = Vec::new();
    while asked.len() < 8 {
        let at = pair.incoming.ask_at().expect("something is missing");
        pair.now = at;
        assert_eq!(pair.incoming.asks(at).len(), 1);
        asked.push(at.since(begin).as_millis());
    }
    assert_eq!(asked, [0, 100, 300, 700, 1_500, 3_100, 5_100, 7_100]);
}

#[test]
fn several_nodes_that_miss_the_same_get_one_repeat() {
    let mut pair = Pair::new(ClusterLimits::default());
    pair.push(Lane::All, "one");
    pair.flush();
    let ranges = range(1, 2);
    pair.outgoing.asked(Lane::All, &ranges, pair.now);
    pair.outgoing.asked(Lane::All, &ranges, pair.now);
    assert!(matches!(pair.flush(), Some(Content::Repeat(_))));
    pair.outgoing.asked(Lane::All, &ranges, pair.now);
    assert_eq!(pair.flush(), None);
    pair.wait(Duration::from_millis(100));
    pair.outgoing.asked(Lane::All, &ranges, pair.now);
    assert!(matches!(pair.flush(), Some(Content::Repeat(_))));
}

#[test]
fn what_has_left_the_ring_by_its_age_is_told_as_lost_before_anything_later() {
    let mut pair = Pair::new(ClusterLimits::default());
    pair.push(Lane::All, "one");
    pair.flush();
    pair.push(Lane::All, "two");
    let two = pair.flush().expect("something waits");
    assert_eq!(pair.receive(two), [""; 0]);
    pair.wait(Duration::from_secs(11));
    pair.ask();
    assert_eq!(pair.run(), ["lost", "two"]);
    assert_eq!(pair.outgoing.bytes(), (0, 0));
    assert_eq!(pair.incoming.lag(ME.epoch), (0, 1, 1));
}

#[test]
fn what_has_left_the_ring_by_its_bytes_is_told_as_soon_as_somebody_asks() {
    let mut pair = Pair::new(small());
    let large = Bytes::from(vec![b'x'; 400]);
    for _ in 0..4 {
        pair.outgoing.push(Lane::All, large.clone()).expect("there is room");
        pair.flush();
    }
    assert!(pair.outgoing.bytes().1 <= 1_000 + 468);
    pair.push(Lane::All, "end");
    let end = pair.flush().expect("something waits");
    pair.receive(end);
    pair.wait(Duration::from_millis(100));
    assert_eq!(pair.ask(), 1);
    let told = pair.run();
    assert_eq!((told.len(), told[0].as_str(), told[2].as_str()), (3, "lost", "end"), "{told:?}");
}

#[test]
fn a_receiver_holds_no_more_than_the_ring_of_a_sender() {
    let mut pair = Pair::new(small());
    pair.push(Lane::All, "one");
    pair.flush();
    let mut told = Vec::new();
    for _ in 0..20 {
        pair.outgoing.push(Lane::All, Bytes::from_static(&[b'x'; 96])).expect("there is room");
        let content = pair.flush().expect("something waits");
        told.extend(pair.receive(content));
        assert!(pair.incoming.held_bytes() <= 1_000);
    }
    assert_eq!(told[0], "lost");
    assert_eq!(told.len(), 21);
}

#[test]
fn a_flush_that_failed_is_sent_again_with_its_number_until_it_is_taken() {
    let mut pair = Pair::new(ClusterLimits::default());
    pair.push(Lane::All, "one");
    let first = pair.next();
    pair.outgoing.done(Err(BusError::Down("cut".to_owned())), pair.now);
    assert!(!pair.outgoing.is_idle());
    assert_eq!(pair.next(), None);
    pair.wait(Duration::from_millis(50));
    let again = pair.next();
    assert_eq!((&first, again.is_some()), (&again, true));
    pair.outgoing.done(Ok(()), pair.now);
    // The first one was heard nevertheless.
    assert_eq!(
        [first, again].into_iter().flatten().flat_map(|content| pair.receive(content)).collect::<Vec<_>>(),
        ["one"]
    );
    assert_eq!((pair.outgoing.counts().flushes, pair.outgoing.counts().failures), (1, 1));
}

#[test]
fn a_flush_that_is_refused_twice_is_a_loss() {
    let mut pair = Pair::new(ClusterLimits::default());
    pair.push(Lane::All, "bad");
    for _ in 0..2 {
        assert!(matches!(pair.next(), Some(Content::Batch(batch)) if !batch.messages.is_empty()));
        pair.outgoing.done(Err(BusError::Refused("no".to_owned())), pair.now);
        pair.wait(Duration::from_millis(200));
    }
    pair.push(Lane::All, "good");
    assert_eq!(pair.run(), ["lost", "good"]);
    assert_eq!((pair.outgoing.counts().refused, pair.outgoing.counts().messages), (1, 1));
}

#[test]
fn a_fenced_node_sends_nothing_any_more() {
    let mut pair = Pair::new(ClusterLimits::default());
    pair.push(Lane::All, "one");
    assert!(pair.next().is_some());
    pair.outgoing.done(Err(BusError::Fenced), pair.now);
    assert_eq!(pair.outgoing.next(pair.now), Next::End);
    assert_eq!(pair.outgoing.push(Lane::All, Bytes::new()), Err(SendError::Fenced));
    assert_eq!(pair.outgoing.bytes(), (0, 0));
}

#[test]
fn a_dead_node_leaves_nothing_behind() {
    let mut pair = Pair::new(ClusterLimits::default());
    let lane = Lane::Node(OTHER.epoch);
    pair.push(lane, "one");
    pair.flush();
    pair.push(lane, "two");
    assert!(pair.next().is_some());
    pair.outgoing.done(Err(BusError::Down("cut".to_owned())), pair.now);
    pair.push(lane, "three");
    pair.outgoing.ask(OTHER.epoch, Lane::All, range(1, 2).to_vec());
    pair.outgoing.forget(OTHER.epoch);
    assert_eq!(pair.outgoing.bytes(), (0, 0));
    pair.wait(Duration::from_millis(200));
    assert_eq!(pair.next(), None);
    assert_eq!(pair.outgoing.push(lane, Bytes::new()), Err(SendError::NoSuchNode));
}

#[test]
fn repeats_and_new_messages_take_turns() {
    let mut pair = Pair::new(ClusterLimits::default());
    for _ in 0..8 {
        pair.outgoing.push(Lane::All, Bytes::from_static(&[b'x'; 90])).expect("there is room");
        pair.flush();
    }
    pair.outgoing.asked(Lane::All, &range(1, 9), pair.now);
    for _ in 0..4 {
        pair.outgoing.push(Lane::All, Bytes::from_static(&[b'y'; 90])).expect("there is room");
    }
    let kinds: Vec<bool> = (0..8).filter_map(|_| Some(matches!(pair.flush()?, Content::Repeat(_)))).collect();
    assert_eq!(kinds.iter().filter(|is_repeat| **is_repeat).count(), 4, "{kinds:?}");
    assert!(kinds.windows(2).all(|two| two[0] != two[1]), "{kinds:?}");
}

#[test]
fn a_lane_to_all_begins_with_what_is_heard_first() {
    let mut pair = Pair::new(ClusterLimits::default());
    pair.push(Lane::All, "one");
    pair.flush();
    pair.push(Lane::All, "two");
    pair.incoming = Incoming::new(OTHER, 1_000);
    let two = pair.flush().expect("something waits");
    assert_eq!(pair.receive(two), ["two"]);
    assert_eq!(pair.incoming.lag(ME.epoch), (0, 0, 0));
    // Not so a lane to one node.
    pair.push(Lane::Node(OTHER.epoch), "three");
    pair.flush();
    pair.push(Lane::Node(OTHER.epoch), "four");
    assert_eq!(pair.run(), ["three", "four"]);
}
