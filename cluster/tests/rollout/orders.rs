//! All orders in which two nodes read, act and decide while a build is rolled out, and up to two things happen. In the usual tier, all
//! orders of the first steps.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use bennu_test_tiers::rounds;

use crate::world::World;

/// From one in so many worlds, the cluster is brought to rest. All of them would take an hour.
const RESTS_EVERY: usize = 13;

/// What may happen once, at any time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Happening {
    /// A node can't load what it is about to load.
    LoadFails,
    /// Four calls fail at a node.
    Faults,
    /// The first node dies.
    Death,
    /// A third node joins.
    Join,
    /// A minute passes.
    Minute,
    /// The second node has yet another build.
    Offer,
}

const ALL: [Happening; 6] =
    [Happening::LoadFails, Happening::Faults, Happening::Death, Happening::Join, Happening::Minute, Happening::Offer];

fn hash(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}

/// The worlds that can follow if something happens.
fn happen(world: &World, happening: Happening) -> Vec<World> {
    let each_node = |change: &dyn Fn(&mut World, u64) -> bool| {
        let nodes = world.nodes.keys().map(|epoch| {
            let mut next = world.clone();
            change(&mut next, *epoch).then_some(next)
        });
        nodes.flatten().collect()
    };
    let mut next = world.clone();
    match happening {
        Happening::LoadFails => return each_node(&|next, epoch| next.load(epoch, true)),
        Happening::Faults => return each_node(&|next, epoch| next.fail(epoch, "chat", 4)),
        Happening::Death => next.die(1),
        Happening::Join => next.join(3),
        Happening::Minute => next.now += Duration::from_secs(60),
        Happening::Offer => drop(next.offer(2, "chat", 3, false)),
    }
    vec![next]
}

/// Visits all worlds that can follow, those after few steps first, up to a number of them. Returns how many there are.
fn visit(first: World, happenings: &[Happening]) -> usize {
    let mut seen = HashSet::from([(hash(&first), happenings.len())]);
    let most = rounds("cluster::orders");
    let mut left = VecDeque::from([(first, happenings.to_vec())]);
    while let Some((world, happenings)) = left.pop_front().filter(|_| seen.len() < most) {
        let mut next: Vec<(World, Vec<Happening>)> = Vec::new();
        for epoch in world.nodes.keys().copied() {
            type Act = fn(&mut World, u64) -> bool;
            // What a node does at once with what it has read is one step with the reading, because nobody else sees the difference.
            let look: Act = |world, epoch| world.look(epoch) | world.follow(epoch);
            let acts = [look, |world, epoch| world.load(epoch, false), World::decide];
            for act in acts {
                let mut after = world.clone();
                if act(&mut after, epoch) {
                    next.push((after, happenings.clone()));
                }
            }
        }
        for (at, happening) in happenings.iter().enumerate() {
            let mut rest = happenings.clone();
            rest.remove(at);
            next.extend(happen(&world, *happening).into_iter().map(|after| (after, rest.clone())));
        }
        if seen.len() % RESTS_EVERY == 0 {
            world.must_come_to_rest();
        }
        for (mut after, rest) in next {
            // They are checked when they are decided. Two worlds that differ in nothing else are one.
            after.events.clear();
            let key = (hash(&after), rest.iter().fold(0, |key, happening| key * 8 + *happening as usize + 1));
            if seen.insert(key) {
                left.push_back((after, rest));
            }
        }
    }
    seen.len()
}

/// A cluster of two nodes in which one build serves, and another one was offered.
fn begun() -> World {
    let mut world = World::of_nodes(2);
    world.offer(1, "chat", 1, false);
    assert!(world.settle());
    world.offer(1, "chat", 2, false);
    world
}

#[test]
fn in_all_orders_the_nodes_agree_and_come_to_rest() {
    let mut worlds = 0;
    for (at, one) in ALL.iter().enumerate() {
        for other in &ALL[at..] {
            let happenings = if one == other { vec![*one] } else { vec![*one, *other] };
            let visited = visit(begun(), &happenings);
            println!("{happenings:?}: {visited} worlds");
            worlds += visited;
        }
    }
    assert!(worlds > 10_000, "{worlds}");
}
