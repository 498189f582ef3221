//! Who is called alive, up, silent and dead, and who is to be declared dead.

use super::*;
use crate::node::Incarnation;
use crate::settings::NodeSettings;

const LEASE: Duration = Duration::from_secs(10);

fn at(milliseconds: u64) -> Moment {
    Moment::from_nanoseconds((1_000_000 + milliseconds) * 1_000_000)
}

fn id(epoch: u64) -> NodeId {
    NodeId { epoch: Epoch(epoch), incarnation: Incarnation([1; 16]) }
}

fn row(epoch: u64, beat: u64) -> NodeRow {
    NodeRow {
        id: id(epoch),
        name: format!("n{epoch}"),
        version: "0.1.0".to_owned(),
        speaks: Speaks { from: 1, to: 1 },
        settings: NodeSettings { lease: LEASE, bus: "memory".to_owned(), secret_mark: None },
        beat,
        is_dead: false,
        is_draining: false,
    }
}

fn dead(row: NodeRow) -> NodeRow {
    NodeRow { is_dead: true, ..row }
}

fn membership() -> Membership {
    Membership::new(id(1), LEASE)
}

/// Polls each two seconds; a poll takes 10 ms.
fn poll(membership: &mut Membership, milliseconds: u64, rows: Vec<NodeRow>) -> Vec<MembershipChange> {
    membership.polled(rows, at(milliseconds), at(milliseconds + 10))
}

#[test]
fn a_node_is_up_when_it_is_alive_and_was_heard() {
    let mut membership = membership();
    assert_eq!(membership.known(id(2)), Known::Unknown);
    assert_eq!(membership.heard(Epoch(2), at(0)), None);
    assert_eq!(poll(&mut membership, 0, vec![row(1, 1), row(2, 1)]), [MembershipChange::Alive(Epoch(2))]);
    assert_eq!(membership.heard(Epoch(2), at(100)), Some(MembershipChange::Up(Epoch(2))));
    assert_eq!(membership.heard(Epoch(2), at(200)), None);
    assert_eq!((membership.known(id(1)), membership.known(id(2))), (Known::Own, Known::Alive));
    let other = NodeId { incarnation: Incarnation([2; 16]), ..id(2) };
    assert_eq!(membership.known(other), Known::OtherIncarnation);
}

#[test]
fn the_dead_stay_dead_and_are_told_once() {
    let mut membership = membership();
    poll(&mut membership, 0, vec![row(1, 1), row(2, 1), dead(row(3, 1))]);
    let rows = vec![row(1, 1), dead(row(2, 1)), dead(row(3, 1))];
    assert_eq!(poll(&mut membership, 2_000, rows.clone()), [MembershipChange::Dead(Epoch(2))]);
    assert_eq!(poll(&mut membership, 4_000, rows), []);
    // Such as a replica that is behind would answer.
    assert_eq!(poll(&mut membership, 6_000, vec![row(1, 1), row(2, 2)]), []);
    assert_eq!(membership.known(id(2)), Known::Dead);
    assert_eq!(poll(&mut membership, 8_000, vec![row(1, 1)]), []);
    assert_eq!((membership.known(id(2)), membership.known(id(3))), (Known::Dead, Known::Unknown));
}

#[test]
fn a_row_that_is_gone_or_of_another_incarnation_is_a_death() {
    let mut membership = membership();
    poll(&mut membership, 0, vec![row(1, 1), row(2, 1), row(3, 1)]);
    let other = NodeRow { id: NodeId { incarnation: Incarnation([2; 16]), ..id(3) }, ..row(3, 0) };
    let changes = poll(&mut membership, 2_000, vec![row(1, 1), other.clone()]);
    assert_eq!(
        changes,
        [MembershipChange::Dead(Epoch(3)), MembershipChange::Alive(Epoch(3)), MembershipChange::Dead(Epoch(2))]
    );
    assert_eq!((membership.known(other.id), membership.known(id(3))), (Known::Alive, Known::OtherIncarnation));
}

#[test]
fn a_node_whose_own_row_is_dead_gone_or_of_another_is_fenced() {
    let other = NodeRow { id: NodeId { incarnation: Incarnation([2; 16]), ..id(1) }, ..row(1, 0) };
    for rows in [vec![dead(row(1, 1))], vec![], vec![other]] {
        let mut membership = membership();
        assert_eq!(poll(&mut membership, 0, vec![row(1, 1)]), []);
        assert_eq!(poll(&mut membership, 2_000, rows).last(), Some(&MembershipChange::Fenced));
    }
}

/// When a node whose beat stands still from the first poll on is to be declared dead, with polls at these times.
fn declared_dead_at(polls: impl IntoIterator<Item = (u64, bool)>) -> Option<u64> {
    let mut membership = membership();
    for (at, is_answered) in polls {
        if !is_answered {
            assert!(membership.poll_failed());
        } else if poll(&mut membership, at, vec![row(1, at), row(2, 7)])
            .contains(&MembershipChange::Expired { node: Epoch(2), beat: 7 })
        {
            return Some(at);
        }
    }
    None
}

#[test]
fn a_node_is_declared_dead_after_its_beat_stood_still_for_a_lease() {
    assert_eq!(declared_dead_at((0..20).map(|n| (n * 2_000, true))), Some(12_000));
    assert_eq!(declared_dead_at((0..101).map(|n| (n * 100, true))), None);
    assert_eq!(declared_dead_at((0..200).map(|n| (n * 100, true))), Some(10_100));
}

#[test]
fn a_poll_that_failed_or_is_missing_begins_the_lease_anew() {
    assert_eq!(declared_dead_at((0..20).map(|n| (n * 2_000, n != 4))), Some(22_000));
    // From 8 s to 14 s nobody asked: this node was stopped, or the table took long.
    assert_eq!(declared_dead_at((0..20).filter(|n| *n != 5 && *n != 6).map(|n| (n * 2_000, true))), Some(26_000));
}

#[test]
fn a_slow_answer_does_not_count_as_time_in_which_a_beat_was_seen() {
    let mut membership = membership();
    let rows = || vec![row(1, 1), row(2, 7)];
    // Sent at 0 s, answered at 3 s: the beat may have been read at any time between.
    membership.polled(rows(), at(0), at(3_000));
    for second in [5, 7, 9, 11] {
        assert_eq!(membership.polled(rows(), at(second * 1_000), at(second * 1_000 + 10)), []);
    }
    assert_eq!(membership.polled(rows(), at(12_900), at(13_100)), []);
    assert_eq!(
        membership.polled(rows(), at(13_200), at(13_210)),
        [MembershipChange::Expired { node: Epoch(2), beat: 7 }]
    );
}

#[test]
fn a_node_that_beats_and_this_node_are_never_declared_dead() {
    let mut membership = membership();
    for n in 0..100 {
        let changes = poll(&mut membership, n * 2_000, vec![row(1, 7), row(2, n / 5)]);
        assert!(changes.iter().all(|change| *change == MembershipChange::Alive(Epoch(2))), "{changes:?}");
    }
}

#[test]
fn a_node_is_silent_only_while_own_heartbeats_come_back() {
    let mut membership = membership();
    poll(&mut membership, 0, vec![row(1, 1), row(2, 1)]);
    membership.heard(Epoch(2), at(0));
    // The bus is down for ten seconds.
    assert_eq!(membership.tick(at(10_000)), []);
    for second in 10..15 {
        membership.own_heartbeat(at(second * 1_000));
        assert_eq!(membership.tick(at(second * 1_000)), []);
    }
    membership.own_heartbeat(at(15_000));
    assert_eq!(membership.tick(at(15_000)), [MembershipChange::Silent(Epoch(2))]);
    assert_eq!(membership.tick(at(16_000)), []);
    assert_eq!(membership.heard(Epoch(2), at(16_000)), Some(MembershipChange::Heard(Epoch(2))));
    assert_eq!(membership.heard(Epoch(2), at(16_001)), None);
}

#[test]
fn a_node_that_was_stopped_or_lost_its_bus_calls_nobody_silent_at_once() {
    for is_down in [false, true] {
        let mut membership = membership();
        poll(&mut membership, 0, vec![row(1, 1), row(2, 1)]);
        membership.heard(Epoch(2), at(0));
        membership.own_heartbeat(at(0));
        membership.own_heartbeat(at(1_000));
        if is_down {
            membership.bus_down();
        }
        assert_eq!(membership.tick(at(30_000)), []);
        membership.own_heartbeat(at(30_000));
        assert_eq!(membership.tick(at(30_000)), []);
    }
}

#[test]
fn the_version_is_the_highest_that_all_living_nodes_understand() {
    let speaks = |from, to| Speaks { from, to };
    let mut membership = membership();
    assert_eq!(membership.version(speaks(2, 5)), Some(5));
    let older = NodeRow { speaks: speaks(1, 3), ..row(2, 1) };
    let newer = NodeRow { speaks: speaks(4, 9), ..row(3, 1) };
    let me = NodeRow { speaks: speaks(2, 5), ..row(1, 1) };
    poll(&mut membership, 0, vec![me.clone(), older.clone()]);
    assert_eq!(membership.version(speaks(2, 5)), Some(3));
    poll(&mut membership, 0, vec![me.clone(), older.clone(), newer.clone()]);
    assert_eq!(membership.version(speaks(2, 5)), None);
    poll(&mut membership, 0, vec![me, dead(older), newer]);
    assert_eq!(membership.version(speaks(2, 5)), Some(5));
}

#[test]
fn hints_bring_a_poll_sooner_and_no_more_than_five_a_second() {
    let mut polls = Polls::new(LEASE, at(0));
    assert_eq!(polls.next(), at(2_000));
    assert!(polls.hint());
    assert!(!polls.hint());
    assert_eq!(polls.next(), at(200));
    polls.sent(at(300));
    assert_eq!(polls.next(), at(2_300));
    assert_eq!(Polls::new(Duration::from_secs(1), at(0)).next(), at(200));
}

#[test]
fn a_newcomer_waits_a_lease_for_a_namesake_that_stands_still_and_is_refused_by_one_that_beats() {
    let mut namesake = Namesake::new(row(2, 7), LEASE, at(0));
    assert_eq!(namesake.next(), at(2_000));
    for second in [2, 4, 6, 8] {
        assert_eq!(namesake.polled(vec![row(2, 7)], at(second * 1_000), at(second * 1_000)), NamesakeState::Waits);
    }
    let mut beats = namesake.clone();
    assert_eq!(beats.polled(vec![row(2, 8)], at(10_000), at(10_000)), NamesakeState::Runs(row(2, 8)));
    let mut dies = namesake.clone();
    assert_eq!(dies.polled(vec![dead(row(2, 7))], at(10_000), at(10_000)), NamesakeState::Over);
    assert_eq!(namesake.polled(vec![row(2, 7)], at(10_000), at(10_000)), NamesakeState::Expired(row(2, 7)));
}

#[test]
fn a_newcomer_begins_anew_after_an_outage_and_gives_up_after_some_leases() {
    let mut namesake = Namesake::new(row(2, 7), LEASE, at(0));
    assert!(namesake.poll_failed(at(8_000)));
    assert_eq!(namesake.polled(vec![row(2, 7)], at(10_000), at(10_000)), NamesakeState::Waits);
    for second in [12, 14, 16, 18] {
        assert_eq!(namesake.polled(vec![row(2, 7)], at(second * 1_000), at(second * 1_000)), NamesakeState::Waits);
    }
    assert!(matches!(namesake.polled(vec![row(2, 7)], at(20_000), at(20_000)), NamesakeState::Expired(_)));
    assert!(!namesake.poll_failed(at(40_000)));
}

#[test]
fn the_age_of_a_beat_counts_from_the_answer_that_showed_it_first() {
    let mut membership = membership();
    let since = |membership: &Membership| -> Vec<Moment> { membership.rows().map(|node| node.beat_since).collect() };
    poll(&mut membership, 0, vec![row(1, 1), row(2, 1)]);
    poll(&mut membership, 2_000, vec![row(1, 2), row(2, 1)]);
    assert_eq!(since(&membership), [at(2_010), at(10)]);
    // Nobody knows whether the beat stood still while the table didn't answer.
    membership.poll_failed();
    poll(&mut membership, 6_000, vec![row(1, 3), row(2, 1)]);
    assert_eq!(since(&membership), [at(6_010), at(6_010)]);
}
