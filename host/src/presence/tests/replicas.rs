//! Several replicas: up, down, removed and restarted, and which of two concurrent operations wins.

use super::*;
use crate::presence::Delta;

/// Two replicas that know each other.
fn pair() -> (State, State) {
    let (mut a, mut b) = (State::new(replica("a")), State::new(replica("b")));
    a.up(&replica("b"));
    b.up(&replica("a"));
    (a, b)
}

fn join(state: &mut State, key: &str) -> Delta {
    state.join(&topic(), 1, key, "{}").unwrap().delta
}

#[test]
fn a_change_of_another_replica_makes_the_same_diff() {
    let (mut a, mut b) = pair();
    assert_eq!(told(&b.merge(&join(&mut a, "ann"))), "+ann{}");
    let update = a.update(&topic(), 1, "ann", "{\"n\":1}").unwrap();
    let diffs = b.merge(&update.delta);
    assert_eq!(diffs, update.diffs);
    assert_eq!(b.payload(&topic()), a.payload(&topic()));
    assert_eq!(told(&b.merge(&a.leave(&topic(), 1).delta)), "-ann{\"n\":1}");
    // A member's number has a meaning only for its own replica.
    b.merge(&join(&mut a, "ann"));
    assert!(b.leave(&topic(), 1).diffs.is_empty());
}

#[test]
fn a_netsplit_makes_one_diff_for_each_topic() {
    let (mut a, mut b) = pair();
    for (key, topic) in [("ann", "room:a"), ("bob", "room:a"), ("cy", "room:b")] {
        a.join(&Topic::new(topic), 1, key, "{}").unwrap();
    }
    assert_eq!(told(&b.merge(&a.full())), "+ann{} +bob{} | +cy{}");
    let before = seen(&b, &topic());
    assert_eq!(told(&b.down(&replica("a"))), "-ann{} -bob{} | -cy{}");
    assert_eq!((b.count(&topic()), told(&b.down(&replica("a")))), (0, String::new()));
    // While a replica is down, its deltas are merged but not visible.
    let lost = a.leave_key(&topic(), 1, "bob").delta;
    assert!(b.merge(&lost).is_empty() && b.merge(&join(&mut a, "dan")).is_empty());
    assert_eq!(told(&b.up(&replica("a"))), "+ann{} +dan{} | +cy{}");
    assert_eq!(seen(&b, &topic())[0], before[0], "the ref is the same as before");
    assert!(b.up(&replica("a")).is_empty());
}

#[test]
fn an_entry_added_concurrently_with_a_removal_stays() {
    let (mut a, mut b) = pair();
    let first = join(&mut a, "ann");
    let full_before = {
        a.leave(&topic(), 1);
        a.full()
    };
    let removal = {
        let mut again = pair().0;
        join(&mut again, "ann");
        again.leave(&topic(), 1).delta
    };
    let second = join(&mut a, "ann");
    // The removal applies only to the entry that it saw, which was the first.
    b.merge(&second);
    for late in [&first, &removal, &full_before, &first] {
        b.merge(late);
        assert!(seen(&b, &topic()).contains(&seen(&a, &topic())[0]));
    }
    assert_eq!(seen(&b, &topic()), seen(&a, &topic()));
    // A removal that arrives before its entry still removes it.
    let (_, mut c) = pair();
    assert!(c.merge(&removal).is_empty() && c.merge(&first).is_empty());
}

#[test]
fn a_restarted_replica_replaces_the_old_one() {
    let (mut a, mut b) = pair();
    let old = join(&mut a, "ann");
    b.merge(&old);
    let restarted = Replica::new("a", 0, 2);
    let mut again = State::new(restarted.clone());
    let new = join(&mut again, "bob");
    // A delta of a replica that isn't known to be up is ignored.
    assert!(b.merge(&new).is_empty());
    assert_eq!(told(&b.up(&restarted)), "-ann{}");
    assert_eq!(told(&b.merge(&new)), "+bob{}");
    // Deltas of the old incarnation are ignored, whoever sends them.
    assert!(b.merge(&old).is_empty() && b.up(&replica("a")).is_empty() && b.merge(&a.full()).is_empty());
    assert_eq!(b.full().shares().len(), 2);
}

#[test]
fn a_removed_replica_leaves_no_entries_and_can_return() {
    let (mut a, mut b) = pair();
    b.merge(&join(&mut a, "ann"));
    let before = b.payload(&topic());
    assert_eq!(told(&b.forget(&replica("a"))), "-ann{}");
    // Replicas that haven't removed it don't bring it back.
    assert!(b.merge(&a.full()).is_empty());
    assert_eq!((b.full().shares().len(), b.views()), (1, 0));
    assert!(b.up(&replica("a")).is_empty());
    assert_eq!(told(&b.merge(&a.full())), "+ann{}");
    assert_eq!(b.payload(&topic()), before, "under the same ref");
}

#[test]
fn the_own_share_is_never_changed_by_others() {
    let (mut a, mut b) = pair();
    let mut impostor = State::new(replica("a"));
    join(&mut impostor, "eve");
    assert!(a.merge(&impostor.full()).is_empty());
    b.merge(&join(&mut a, "ann"));
    a.leave(&topic(), 1);
    assert!(a.merge(&b.full()).is_empty());
    for own in [replica("a"), Replica::new("a", 0, 9), Replica::new("c", 1, 1)] {
        assert!(a.up(&own).is_empty() && a.down(&own).is_empty() && a.forget(&own).is_empty());
    }
    assert_eq!(a.full().shares().len(), 2, "the own replica and b, and no replica of another shard");
}
