//! Four nodes and three plugins, with everything at random.

use std::time::Duration;

use bennu_cluster::rollout::{roll_back, unload};
use bennu_test_tiers::{Noise, rounds};

use crate::world::{World, digest};

const PLUGINS: [&str; 3] = ["chat", "game", "news"];

fn run(seed: u64) -> usize {
    let mut noise = Noise::new(seed);
    let mut world = World::of_nodes(3);
    let mut last = 3;
    for build in 0..24 {
        let topics = ["a:*", "b:*", "c:*", "d:*"].map(str::to_owned);
        world.topics.insert(digest(build), topics.into_iter().filter(|_| noise.below(4) == 0).collect());
    }
    for _ in 0..400 {
        let nodes: Vec<u64> = world.nodes.keys().copied().collect();
        let (epoch, plugin) = (nodes[noise.below(nodes.len())], PLUGINS[noise.below(3)]);
        match noise.below(100) {
            0..30 => drop(world.look(epoch)),
            30..60 => drop(world.step(epoch, noise.below(12) == 0)),
            60..80 => drop(world.decide(epoch)),
            80..86 => drop(world.fail(epoch, plugin, 1 + noise.below(2) as u32)),
            86..91 => drop(world.offer(epoch, plugin, noise.below(24) as u8, noise.below(4) == 0)),
            91..94 => world.now += Duration::from_secs(noise.below(70) as u64),
            94 | 95 if nodes.len() > 1 => world.die(epoch),
            96 | 97 if nodes.len() < 4 => {
                last += 1;
                world.join(last);
            }
            98 => {
                let mut records = world.records.clone();
                if roll_back(&mut records, plugin, "host").is_ok() {
                    world.write(&records);
                }
            }
            99 => {
                let mut records = world.records.clone();
                records.get_mut(plugin).into_iter().for_each(unload);
                world.write(&records);
            }
            _ => {}
        }
    }
    let events = world.events.len();
    world.must_come_to_rest();
    events
}

#[test]
fn whatever_happens_the_nodes_agree_and_come_to_rest() {
    let events: usize = (0..rounds("cluster::rollouts") as u64).map(run).sum();
    assert!(events > 100, "too little has happened: {events}");
}
