//! Tests of the presence values: the diff of each operation, the laws of merges, and clients that follow.

mod client;
mod follow;
mod laws;
mod operations;
mod parts;
mod replicas;
mod tracking;

use serde_json::Value;

use super::{Change, Diff, Diffs, Replica, ShareParts, State};
use crate::protocol::{Payload, Topic};

/// A random generator that prints its seed if the test fails. `SEED=7 cargo test` runs that seed alone.
struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    /// Returns `count` generators: fixed seeds, and one fresh seed.
    fn runs(count: u64) -> impl Iterator<Item = Self> {
        let given = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
        let fresh = getrandom::u64().unwrap();
        let seeds: Vec<u64> = given.map_or_else(|| (1..count).chain([fresh]).collect(), |seed| vec![seed]);
        seeds.into_iter().map(|seed| Self { seed, state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 })
    }

    /// xorshift64*, by Vigna.
    fn below(&mut self, end: usize) -> usize {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        (self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % end
    }

    fn one_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn pick<T: Clone>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())].clone()
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the seed was {}", self.seed);
        }
    }
}

fn replica(name: &str) -> Replica {
    Replica::new(name, 0, 1)
}

fn topic() -> Topic {
    Topic::new("room:a")
}

fn text(payload: Payload) -> String {
    match payload {
        Payload::Json(text) => text.to_string(),
        Payload::Binary(_) => panic!("presence is text"),
    }
}

/// The entries of a topic, as a client sees them: key and ref.
fn seen(state: &State, topic: &Topic) -> Vec<String> {
    state.list(topic).map(|entry| format!("{} {}", entry.key, entry.phx_ref())).collect()
}

/// Diffs as text: `+key` and `-key`, each with its meta.
fn told(diffs: &Diffs) -> String {
    let one = |diff: &Diff| {
        let joins = diff.joins().map(|entry| format!("+{}{}", entry.key, entry.meta));
        joins.chain(diff.leaves().map(|entry| format!("-{}{}", entry.key, entry.meta))).collect::<Vec<_>>().join(" ")
    };
    diffs.values().map(one).collect::<Vec<_>>().join(" | ")
}

/// Does a random operation. There are few members and keys, so that operations collide.
fn operate(state: &mut State, random: &mut Random) -> Change {
    let topic = Topic::new(random.pick(&["room:a", "room:b"]));
    let member = random.below(4) as u64;
    let key = random.pick(&["ann", "bob", "cy"]);
    let meta = format!("{{\"n\":{}}}", random.below(1000));
    match random.below(8) {
        0 => state.leave(&topic, member),
        1..3 => state.leave_key(&topic, member, key),
        3..5 => state.update(&topic, member, key, &meta).unwrap_or_default(),
        _ => state.join(&topic, member, key, &meta).unwrap_or_default(),
    }
}

fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error} in {text}"))
}
