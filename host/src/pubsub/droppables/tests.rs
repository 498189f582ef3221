//! Which droppable frames an outbox keeps, and in which places.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};

use bennu_test_tiers::Noise;

use super::super::{Broadcast, Except, Outbox, OutboxLimits, PubSub, Subscriber, Taken};
use super::*;
use crate::protocol::{CloseCode, Payload, Serializer};

fn key(name: &str) -> DropKey {
    DropKey::of(&Topic::new("board:1"), "cursor", name)
}

fn counts(counts: &DroppableCounts) -> (u64, u64, u64) {
    (counts.sent(), counts.replaced(), counts.dropped())
}

fn outbox(frames: usize, bytes: usize) -> (Outbox, Arc<DroppableCounts>) {
    (Outbox::new(OutboxLimits { frames, bytes }), Arc::default())
}

fn texts(outbox: &Outbox) -> Vec<String> {
    outbox.take_all().iter().filter_map(|frame| frame.as_text().map(str::to_owned)).collect()
}

#[test]
fn a_key_depends_on_the_topic_the_event_and_the_name() {
    let (one, two) = (Topic::new("t:1"), Topic::new("t:2"));
    let keys = [
        DropKey::of(&one, "e", "k"),
        DropKey::of(&two, "e", "k"),
        DropKey::of(&one, "f", "k"),
        DropKey::of(&one, "e", "l"),
        DropKey::of(&one, "ek", ""),
        DropKey::of(&one, "", "ek"),
    ];
    for (at, key) in keys.iter().enumerate() {
        assert!(!keys[at + 1..].contains(key), "{at}");
    }
    assert_eq!(keys[0], DropKey::of(&Topic::new("t:1"), "e", "k"));
}

#[test]
fn only_the_last_of_a_key_waits_in_the_place_of_the_first() {
    let (outbox, counts) = outbox(100, 10_000);
    let push = |name, text| outbox.push_droppable(&Frame::text(text), key(name), &counts);
    assert_eq!(push("ada", "ada 1"), Pushed::Queued);
    outbox.push(Frame::text("plain 1"));
    assert_eq!((push("bob", "bob 1"), push("ada", "ada 2")), (Pushed::Queued, Pushed::Replaced));
    outbox.push(Frame::text("plain 2"));
    assert_eq!((push("ada", "ada 3"), push("bob", "bob 2")), (Pushed::Replaced, Pushed::Replaced));
    assert_eq!(texts(&outbox), ["ada 3", "plain 1", "bob 2", "plain 2"]);
    assert_eq!(push("ada", "ada 4"), Pushed::Queued, "nothing waits any more");
    assert_eq!(texts(&outbox), ["ada 4"]);
}

/// A client leaves a topic and joins it again while its outbox isn't written.
#[test]
fn a_message_to_a_new_member_comes_after_the_reply_to_its_join() {
    let (pubsub, topic) = (PubSub::new(), Topic::new("board:1"));
    let outbox = Arc::new(Outbox::new(OutboxLimits::default()));
    let member = |id| {
        let (serializer, outbox) = (Serializer::V2, Arc::clone(&outbox));
        Subscriber { id, serializer, deflates: false, has_numbers: false, outbox, member: Arc::new(()) }
    };
    let cursor = || Broadcast {
        topic: topic.clone(),
        event: "cursor".into(),
        payload: Payload::EMPTY,
        except: Except::Nobody,
        droppable: Some(Droppable::of(&topic, "cursor", "ada")),
        number: None,
    };
    let first = pubsub.subscribe(&topic, &member(1), Some(&Frame::text("joined 1")));
    (0..2).for_each(|_| pubsub.broadcast(cursor()));
    pubsub.unsubscribe(&first);
    outbox.push(Frame::text("closed 1"));
    pubsub.subscribe(&topic, &member(2), Some(&Frame::text("joined 2")));
    (0..2).for_each(|_| pubsub.broadcast(cursor()));
    let moved = r#"[null,null,"board:1","cursor",{}]"#;
    assert_eq!(texts(&outbox), ["joined 1", moved, "closed 1", "joined 2", moved]);
    assert_eq!(counts(&pubsub.droppable), (4, 2, 0));
}

/// There are more keys than are searched one by one.
#[test]
fn each_of_many_keys_keeps_its_place() {
    let (outbox, counts) = outbox(1000, 100_000);
    let names: Vec<String> = (0..100).map(|number| format!("key {number}")).collect();
    for (round, expected) in [(1, Pushed::Queued), (2, Pushed::Replaced)] {
        for name in &names {
            assert_eq!(outbox.push_droppable(&Frame::text(&format!("{name} {round}")), key(name), &counts), expected);
        }
    }
    assert_eq!(texts(&outbox), names.iter().map(|name| format!("{name} 2")).collect::<Vec<_>>());
}

#[test]
fn past_a_quarter_the_oldest_go() {
    let (outbox, counts) = outbox(16, 10_000);
    let push = |name| outbox.push_droppable(&Frame::text(name), key(name), &counts);
    for name in ["a", "b", "c", "d", "e"] {
        assert_eq!(push(name), Pushed::Queued);
    }
    outbox.push(Frame::text("plain"));
    assert_eq!(push("a"), Pushed::Queued);
    assert_eq!(counts.dropped(), 3, "a for e, b for plain, c for a");
    assert_eq!(texts(&outbox), ["d", "e", "plain", "a"]);
    (0..4).for_each(|_| outbox.push(Frame::text("plain")));
    assert_eq!((push("a"), counts.dropped()), (Pushed::Dropped, 4), "other frames fill the quarter");
    // A published state has a higher priority too.
    assert_eq!(texts(&outbox).len(), 4);
    assert_eq!(["a", "b", "c", "d"].map(push), [Pushed::Queued; 4]);
    assert!(outbox.push_if_short(&Frame::text("state")));
    assert_eq!((texts(&outbox).join(" "), counts.dropped()), ("b c d state".to_owned(), 5));
}

#[test]
fn a_droppable_frame_of_any_size_fits_into_an_empty_outbox_only() {
    let (outbox, counts) = outbox(100, 1000);
    let push = |name, bytes| outbox.push_droppable(&Frame::text(&"x".repeat(bytes)), key(name), &counts);
    assert_eq!((push("a", 5000), push("a", 6000)), (Pushed::Queued, Pushed::Replaced));
    assert_eq!(
        (push("b", 10), counts.dropped()),
        (Pushed::Queued, 1),
        "the small frame doesn't fit with the large one"
    );
    assert_eq!((push("a", 7000), counts.dropped()), (Pushed::Queued, 2));
    outbox.push(Frame::text("plain"));
    assert_eq!((push("a", 5000), counts.dropped()), (Pushed::Dropped, 4));
    assert_eq!(texts(&outbox), ["plain"]);
    assert_eq!((push("a", 10), push("b", 10), push("a", 900)), (Pushed::Queued, Pushed::Queued, Pushed::Replaced));
    assert_eq!((texts(&outbox).len(), counts.dropped()), (1, 5), "the grown frame is the oldest");
}

/// The waker counts the requests to write this outbox soon, which raise the host's pressure.
#[derive(Default)]
struct CountedRequests(AtomicU64);

impl super::super::OutboxWaker for CountedRequests {
    fn wake(&self, _: usize) {}

    fn request_flush(&self, _: usize) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn droppable_frames_never_close_a_client_or_raise_pressure() {
    let (outbox, counts) = outbox(16, 1000);
    let requests = Arc::new(CountedRequests::default());
    outbox.set_waker(&(Arc::clone(&requests) as _), 1);
    let large = Frame::text(&"x".repeat(5000));
    for number in 0..1000 {
        let frame = if number % 10 == 0 { large.clone() } else { Frame::text(&number.to_string()) };
        outbox.push_droppable(&frame, key(&format!("{}", number % 50)), &counts);
    }
    assert_eq!((outbox.closing(), requests.0.load(Ordering::Relaxed)), (None, 0));
    // They take no space from other frames: 16 of those fit as before.
    (0..16).for_each(|_| outbox.push(Frame::text("plain")));
    assert_eq!((outbox.closing(), requests.0.load(Ordering::Relaxed)), (None, 1));
    assert_eq!(texts(&outbox), ["plain"; 16]);
    (0..17).for_each(|_| outbox.push(Frame::text("plain")));
    assert_eq!(outbox.closing(), Some(CloseCode::SlowConsumer));
    let dropped = counts.dropped();
    assert_eq!(outbox.push_droppable(&large, key("a"), &counts), Pushed::Refused);
    assert_eq!((texts(&outbox).len(), counts.dropped()), (0, dropped));
}

#[test]
fn counts_are_exact() {
    let (outbox, shared) = outbox(16, 1000);
    let mut tally = Tally::new(&shared);
    for name in ["a", "b", "a", "c", "d", "e", "a"] {
        tally.add(outbox.push_droppable(&Frame::text(name), key(name), &shared));
    }
    assert_eq!((counts(&shared), texts(&outbox).len()), ((0, 0, 2), 4), "the tally isn't added yet");
    drop(tally);
    assert_eq!(counts(&shared), (7, 1, 2));
}

/// A frame of the plain list: its number in the pool, and its key if it is droppable.
#[derive(Clone, Copy)]
struct Listed {
    frame: usize,
    key: Option<usize>,
}

/// The rules of an outbox, written as simply as possible.
struct PlainList<'a> {
    pool: &'a [Frame],
    limits: OutboxLimits,
    listed: Vec<Listed>,
    dropped: u64,
}

impl PlainList<'_> {
    fn bytes(&self, which: impl Fn(&Listed) -> bool) -> usize {
        self.listed.iter().filter(|listed| which(listed)).map(|listed| self.pool[listed.frame].len()).sum()
    }

    fn is_quarter(&self, frames: usize, bytes: usize) -> bool {
        frames <= self.limits.frames / 4 && bytes <= self.limits.bytes / 4
    }

    fn plain(&self) -> (usize, usize) {
        let is_plain = |listed: &Listed| listed.key.is_none();
        (self.listed.iter().filter(|listed| is_plain(listed)).count(), self.bytes(is_plain))
    }

    fn drop_oldest(&mut self) -> bool {
        let Some(oldest) = self.listed.iter().position(|listed| listed.key.is_some()) else { return false };
        self.listed.remove(oldest);
        self.dropped += 1;
        true
    }

    fn make_room(&mut self, frames: usize, bytes: usize) {
        while !self.is_quarter(self.listed.len() + frames, self.bytes(|_| true) + bytes) && self.drop_oldest() {}
    }

    /// Returns whether the outbox is still open.
    fn push(&mut self, frame: usize) -> bool {
        let more = self.pool[frame].len();
        self.make_room(1, more);
        let bytes = self.bytes(|_| true);
        if self.listed.len() >= self.limits.frames || (bytes > 0 && bytes + more > self.limits.bytes) {
            self.listed.clear();
            return false;
        }
        self.listed.push(Listed { frame, key: None });
        true
    }

    fn push_if_short(&mut self, frame: usize) -> bool {
        let (frames, bytes) = self.plain();
        let more = self.pool[frame].len();
        if !self.is_quarter(frames, bytes) || (bytes > 0 && bytes + more > self.limits.bytes / 2) {
            return false;
        }
        self.make_room(1, more);
        self.listed.push(Listed { frame, key: None });
        true
    }

    fn push_droppable(&mut self, frame: usize, key: usize) -> Pushed {
        if let Some(old) = self.listed.iter_mut().find(|listed| listed.key == Some(key)) {
            old.frame = frame;
            while self.listed.len() > 1
                && !self.is_quarter(self.listed.len(), self.bytes(|_| true))
                && self.drop_oldest()
            {}
            return Pushed::Replaced;
        }
        let (frames, bytes) = self.plain();
        let more = self.pool[frame].len();
        if frames > 0 && !self.is_quarter(frames + 1, bytes + more) {
            self.dropped += 1;
            return Pushed::Dropped;
        }
        self.make_room(1, more);
        self.listed.push(Listed { frame, key: Some(key) });
        Pushed::Queued
    }

    /// Takes a batch: at least one frame, and at most this number of bytes.
    fn take(&mut self, most: usize) -> Vec<usize> {
        let mut bytes = 0;
        let fits = |listed: &&Listed| {
            bytes += self.pool[listed.frame].len();
            bytes <= most
        };
        let count = self.listed.iter().take_while(fits).count().max(1).min(self.listed.len());
        self.listed.drain(..count).map(|listed| listed.frame).collect()
    }
}

#[test]
fn random_pushes_agree_with_a_plain_list() {
    const BATCH: usize = 256 << 10;
    // Short frames, and some that are longer than a batch together.
    let pool: Vec<Frame> =
        (0..96).map(|n| Frame::text(&"x".repeat(if n < 80 { n } else { (n - 60) * 2000 }))).collect();
    for seed in 0..bennu_test_tiers::rounds("pubsub::droppables") as u64 {
        let mut noise = Noise::new(seed + 1);
        let mut below = |end| noise.below(end);
        let limits = OutboxLimits { frames: 8 + below(200), bytes: 1000 + below(4_000_000) };
        let keys = 1 + below(60);
        let (outbox, counts) = (Outbox::new(limits), Arc::default());
        let mut list = PlainList { pool: &pool, limits, listed: Vec::new(), dropped: 0 };
        for _ in 0..100 {
            let frame = below(if seed % 2 == 0 { 80 } else { 96 });
            match below(16) {
                0..2 => {
                    outbox.push(pool[frame].clone());
                    let is_open = list.push(frame);
                    assert_eq!(outbox.closing().is_none(), is_open, "seed {seed}");
                    if !is_open {
                        break;
                    }
                }
                2 => assert_eq!(outbox.push_if_short(&pool[frame]), list.push_if_short(frame), "seed {seed}"),
                3 => {
                    let mut frames = VecDeque::new();
                    let taken = outbox.poll_take(&Context::from_waker(Waker::noop()), &mut frames);
                    let expected = list.take(BATCH);
                    assert_eq!(taken == Poll::Ready(Taken::Frames), !expected.is_empty(), "seed {seed}");
                    // The frames are compared by their place in memory, because there are large ones.
                    let places = frames.iter().map(|frame| frame.wire().as_ptr());
                    assert!(places.eq(expected.iter().map(|&frame| pool[frame].wire().as_ptr())), "seed {seed}");
                }
                _ => {
                    let key = below(keys);
                    let pushed = outbox.push_droppable(&pool[frame], self::key(&key.to_string()), &counts);
                    assert_eq!(pushed, list.push_droppable(frame, key), "seed {seed}");
                }
            }
            assert_eq!(counts.dropped(), list.dropped, "seed {seed}");
        }
    }
}
