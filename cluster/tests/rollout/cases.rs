//! Single cases.

use std::time::Duration;

use bennu_cluster::rollout::{
    BuildPhase, DecisionEvent, OfferResult, OutcomeResult, PluginRecord, RollbackResult, roll_back, unload,
};

use crate::world::{World, digest};

/// A cluster in which a first build serves, and has passed.
fn serving(nodes: u64) -> World {
    let mut world = World::of_nodes(nodes);
    assert_eq!(world.offer(1, "chat", 1, false), OfferResult::Begun(1));
    assert!(world.settle());
    let record = record(&world);
    // It has passed with its first answered call.
    assert_eq!((record.generation(), &record.serving.as_ref().expect("a build").phase), (Some(1), &BuildPhase::Passed));
    world
}

fn record(world: &World) -> &PluginRecord {
    &world.records["chat"]
}

fn outcome(world: &World, number: u32) -> &OutcomeResult {
    record(world).outcome(number).expect("the rollout has ended")
}

#[test]
fn a_build_serves_at_all_nodes_or_at_none() {
    let mut world = serving(3);
    assert_eq!(world.offer(2, "chat", 2, false), OfferResult::Begun(2));
    for epoch in [1, 2, 3] {
        world.look(epoch);
    }
    world.step(1, false);
    world.step(2, false);
    for epoch in [1, 2, 3] {
        world.look(epoch);
        assert!(!world.decide(epoch), "one node isn't ready");
    }
    world.step(3, true);
    world.look(1);
    assert!(world.decide(1));
    let OutcomeResult::Refused(why) = outcome(&world, 2) else { panic!("{:?}", record(&world)) };
    assert_eq!(why, "the node host-3 can't load it: no such import");
    assert_eq!(record(&world).generation(), Some(1));
    world.must_come_to_rest();
}

#[test]
fn a_node_that_is_not_ready_in_time_is_named() {
    let mut world = serving(5);
    world.offer(1, "chat", 2, false);
    for epoch in [1, 2, 3, 4, 5] {
        world.look(epoch);
    }
    world.step(1, false);
    world.now += Duration::from_millis(59_999);
    world.look(1);
    assert!(!world.decide(1));
    world.now += Duration::from_millis(1);
    assert!(world.decide(1));
    let expected = OutcomeResult::Refused("after 60 s, it isn't prepared at host-2, host-3, host-4 and 1 more".into());
    assert_eq!(outcome(&world, 2), &expected);
    // The same file is offered again, for example by a node that starts.
    assert_eq!(world.offer(2, "chat", 2, false), OfferResult::Begun(3));
    assert!(world.settle());
    assert_eq!(record(&world).generation(), Some(3));
}

#[test]
fn a_node_that_has_begun_a_rollout_and_dies_leaves_it_to_the_others() {
    let mut world = serving(3);
    world.offer(1, "chat", 2, false);
    world.look(1);
    world.step(1, false);
    world.die(1);
    assert!(world.settle());
    assert_eq!((record(&world).generation(), outcome(&world, 2)), (Some(2), &OutcomeResult::Switched));
}

#[test]
fn faults_of_all_nodes_are_one_sum_and_those_of_a_dead_node_count() {
    let mut world = serving(3);
    world.offer(1, "chat", 2, false);
    assert!(world.settle());
    assert!(record(&world).probation().is_some());
    assert!(world.fail(1, "chat", 2) && world.fail(2, "chat", 1) && world.settle());
    assert_eq!(record(&world).generation(), Some(2), "three faults are tolerated");
    world.die(1);
    assert!(world.fail(3, "chat", 1) && world.settle());
    let rolled_back = DecisionEvent::RolledBack { generation: 2, instead: 1, faults: 4 };
    assert_eq!(world.events.iter().filter(|event| **event == rolled_back).count(), 1);
    assert_eq!((record(&world).generation(), record(&world).is_rolled_back(2)), (Some(1), true));
    // The build stays refused, also at a node that comes later, until somebody asks for it.
    world.join(4);
    assert!(matches!(world.offer(4, "chat", 2, false), OfferResult::Rejected(rejection) if rejection.faults == 4));
    assert_eq!(world.offer(4, "chat", 2, true), OfferResult::Begun(3));
    assert!(world.settle());
    assert_eq!((record(&world).generation(), record(&world).rejection(digest(2))), (Some(3), None));
    world.must_come_to_rest();
}

#[test]
fn a_build_passes_after_its_time_and_its_calls() {
    let mut world = serving(2);
    world.offer(1, "chat", 2, false);
    assert!(world.settle());
    world.now += Duration::from_secs(59);
    assert!(world.settle() && record(&world).probation().is_some());
    world.now += Duration::from_secs(1);
    assert!(world.settle() && record(&world).probation().is_none());
    let previous = record(&world).previous.as_ref().map(|previous| previous.generation);
    assert_eq!((record(&world).generation(), previous), (Some(2), Some(1)));
    // It is known: a file with the former build is no offer any more.
    assert_eq!(world.offer(2, "chat", 1, false), OfferResult::Outdated);
    assert_eq!(world.offer(2, "chat", 2, false), OfferResult::Serves);
    // An operator rolls back, at all nodes again.
    let mut records = world.records.clone();
    assert_eq!(roll_back(&mut records, "chat", "host-2"), Ok(RollbackResult::Begun(3)));
    world.write(&records);
    assert!(world.settle());
    assert_eq!((record(&world).generation(), record(&world).previous.is_none()), (Some(1), true));
    assert!(roll_back(&mut world.records.clone(), "chat", "host-2").is_err());
}

#[test]
fn another_build_continues_a_probation_and_a_rollback_leads_to_the_build_before_it() {
    let mut world = serving(2);
    world.offer(1, "chat", 2, false);
    assert!(world.settle());
    world.now += Duration::from_secs(50);
    world.offer(2, "chat", 3, false);
    assert!(world.settle());
    assert_eq!(record(&world).probation().map(|probation| (probation.id, probation.against.generation)), Some((2, 1)));
    world.now += Duration::from_secs(50);
    assert!(world.settle() && record(&world).probation().is_some(), "its time has begun again");
    let mut records = world.records.clone();
    assert_eq!(roll_back(&mut records, "chat", "host-1"), Ok(RollbackResult::Done));
    world.write(&records);
    assert!(world.settle());
    assert_eq!((record(&world).generation(), record(&world).is_rolled_back(2)), (Some(1), true));
}

#[test]
fn a_node_that_joins_serves_what_the_cluster_serves() {
    let mut world = serving(2);
    world.offer(1, "chat", 2, false);
    assert!(world.settle());
    world.join(3);
    while world.step(3, false) {}
    let serving = world.nodes[&3].plugins["chat"].serving.clone();
    let record = record(&world).serving.clone().expect("a build");
    assert_eq!(serving, Some((record.build.generation, record.phase)));
    assert!(world.nodes[&3].plugins["chat"].loads.contains_key(&1), "it has the build before, for the probation");
    // It can't be rolled out past a node that has only just joined.
    world.join(4);
    world.offer(1, "chat", 3, false);
    for epoch in [1, 2, 3] {
        world.look(epoch);
        world.step(epoch, false);
    }
    world.look(1);
    assert!(!world.decide(1));
    world.must_come_to_rest();
}

#[test]
fn two_plugins_may_exchange_topics_and_may_not_share_one() {
    let mut world = World::of_nodes(2);
    for (build, topic) in [(1, "a:*"), (2, "b:*"), (3, "b:*"), (4, "a:*"), (5, "b:*")] {
        world.topics.insert(digest(build), vec![topic.to_owned()]);
    }
    world.offer(1, "first", 1, false);
    world.offer(1, "second", 2, false);
    assert!(world.settle());
    world.offer(1, "first", 3, false);
    world.offer(2, "second", 4, false);
    assert!(world.settle());
    let topics =
        |world: &World, name: &str| world.records[name].serving.as_ref().expect("a build").build.topics.clone();
    assert_eq!((topics(&world, "first"), topics(&world, "second")), (vec!["b:*".into()], vec!["a:*".into()]));
    world.offer(1, "third", 5, false);
    assert!(world.settle());
    let Some(OutcomeResult::Refused(why)) = world.records["third"].outcome(1) else { panic!("{:?}", world.records) };
    assert!(why.contains("`b:*` already belongs to the plugin `first`"), "{why}");
    world.must_come_to_rest();
}

/// A record that can't be read may have the topics that a build adds. So a node that can read it decides, and after a minute none does.
#[test]
fn a_plugin_gains_no_topics_while_a_record_can_not_be_read() {
    let mut world = World::of_nodes(2);
    let (room, hall) = ("room:*".to_owned(), "hall:*".to_owned());
    for (build, topics) in [(1, vec![room.clone()]), (2, vec![room.clone(), hall]), (3, vec![room])] {
        world.topics.insert(digest(build), topics);
    }
    world.offer(1, "chat", 1, false);
    assert!(world.settle());
    // All nodes prepare a build, and the first one can't read the record of another plugin.
    let prepare = |world: &mut World, build: u8, number: u32| {
        assert_eq!(world.offer(2, "chat", build, false), OfferResult::Begun(number));
        for epoch in [1, 2] {
            world.look(epoch);
            world.step(epoch, false);
        }
        world.look(1);
        world.look(2);
        let view = world.nodes.get_mut(&1).and_then(|node| node.view.as_mut()).expect("it has looked");
        view.unread.insert("later".to_owned(), "it is odd".to_owned());
    };
    prepare(&mut world, 2, 2);
    assert!(!world.decide(1));
    world.now += Duration::from_secs(60);
    assert!(world.decide(1));
    let OutcomeResult::Refused(why) = outcome(&world, 2) else { panic!("{:?}", record(&world)) };
    assert!(why.contains("nobody knows whether that one has the topics"), "{why}");
    // A build that adds none isn't held up.
    prepare(&mut world, 3, 3);
    assert!(world.decide(1));
    assert_eq!(record(&world).generation(), Some(3));
    prepare(&mut world, 2, 4);
    assert!(!world.decide(1) && world.decide(2));
    assert_eq!(record(&world).generation(), Some(4));
}

/// The build before may have topics that the plugin has given up, and that a plugin has taken whose record can't be read.
#[test]
fn a_rollback_brings_no_topics_back_while_a_record_can_not_be_read() {
    let mut world = World::of_nodes(2);
    let (room, hall) = ("room:*".to_owned(), "hall:*".to_owned());
    let topics = [(1, vec![room.clone(), hall.clone()]), (2, vec![room.clone()]), (3, vec![hall]), (4, vec![room])];
    world.topics.extend(topics.map(|(build, topics)| (digest(build), topics)));
    for (plugin, build) in [("chat", 1), ("chat", 2), ("other", 3)] {
        world.offer(1, plugin, build, false);
        assert!(world.settle());
    }
    // Four calls of a node fail, which can't read the record of the other plugin.
    let fail = |world: &mut World| {
        assert!(world.fail(1, "chat", 4));
        world.look(1);
        world.look(2);
        let view = world.nodes.get_mut(&1).and_then(|node| node.view.as_mut()).expect("it has looked");
        view.records.as_mut().and_then(|records| records.remove("other")).expect("a record");
        view.unread.insert("other".to_owned(), "it is odd".to_owned());
    };
    // The generation has served for long when its faults are seen: the minute begins then.
    world.now += Duration::from_secs(59);
    fail(&mut world);
    world.now += Duration::from_secs(59);
    assert!(!world.decide(1));
    let mut late = world.clone();
    late.now += Duration::from_secs(1);
    let decision = late.decision(1).expect("nobody has decided for a minute");
    let [(_, DecisionEvent::NotRolledBack { generation: 2, why }), (_, DecisionEvent::Passed(2))] =
        &decision.events[..]
    else {
        panic!("{decision:?}")
    };
    assert!(why.contains("nobody knows whether that one has the topics"), "{why}");
    // A node that reads the record knows it at once.
    assert!(world.decide(2));
    let [.., DecisionEvent::NotRolledBack { generation: 2, why }, DecisionEvent::Passed(2)] = &world.events[..] else {
        panic!("{:?}", world.events)
    };
    assert!(why.contains("`hall:*` already belongs to the plugin `other`"), "{why}");
    // A rollback that brings no topics back isn't held up.
    world.offer(1, "chat", 4, false);
    assert!(world.settle());
    fail(&mut world);
    let decision = world.decision(1).expect("it is rolled back");
    let rolled_back = DecisionEvent::RolledBack { generation: 3, instead: 2, faults: 4 };
    assert_eq!(decision.events, [("chat".to_owned(), rolled_back)]);
    assert_eq!(decision.records["chat"].generation(), Some(2));
}

#[test]
fn an_unloaded_plugin_stays_so_until_an_operator_wants_it() {
    let mut world = serving(2);
    let mut records = world.records.clone();
    unload(records.get_mut("chat").expect("a record"));
    world.write(&records);
    assert!(world.settle());
    assert!(world.writes.is_empty() && world.nodes.values().all(|node| node.plugins["chat"].serving.is_none()));
    assert_eq!(world.offer(1, "chat", 9, false), OfferResult::Unloaded);
    assert_eq!(world.offer(1, "chat", 9, true), OfferResult::Begun(2));
    assert!(world.settle());
    assert_eq!(record(&world).generation(), Some(2));
}

#[test]
fn a_node_that_has_missed_a_rollback_restores_its_states_before_the_next_build() {
    let mut world = serving(2);
    world.offer(1, "chat", 2, false);
    assert!(world.settle());
    // Host 2 sees nothing of what follows.
    world.fail(1, "chat", 4);
    world.look(1);
    assert!(world.decide(1));
    let absent = world.nodes.remove(&2).expect("a node");
    world.offer(1, "chat", 3, false);
    assert!(world.settle());
    world.nodes.insert(2, absent);
    world.look(2);
    let mut ends = None;
    while let Some((_, step)) = world.next(2) {
        if let bennu_cluster::rollout::LocalStep::Serve(step) = &step {
            ends = Some(step.ends);
        }
        world.step(2, false);
    }
    assert_eq!(ends, Some(Some(true)), "the probation of generation 2 has ended with a rollback");
    world.must_come_to_rest();
}

/// A gatekeeper has no probation, and mounts depend on it.
#[test]
fn a_gatekeeper_is_replaced_by_gatekeepers_only() {
    let mut world = World::of_nodes(2);
    world.gatekeepers.extend([digest(1), digest(2)]);
    for build in [1, 2] {
        world.offer(1, "gate", build, false);
        assert!(world.settle());
        let serving = world.records["gate"].serving.clone().expect("a build");
        assert_eq!((serving.build.digest, serving.phase), (digest(build), BuildPhase::Passed));
    }
    // Also after it was unloaded: its mounts are closed.
    for is_unloaded in [false, true] {
        let mut records = world.records.clone();
        if is_unloaded {
            unload(records.get_mut("gate").expect("a record"));
        }
        world.write(&records);
        let OfferResult::Begun(number) = world.offer(2, "gate", 3, true) else { panic!("{:?}", world.records) };
        assert!(world.settle());
        let Some(OutcomeResult::Refused(why)) = world.records["gate"].outcome(number) else {
            panic!("{:?}", world.records)
        };
        assert!(why.contains("not a gatekeeper, but `gate` was one"), "{why}");
    }
}
