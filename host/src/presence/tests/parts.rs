//! A whole share in parts, for a replica that has missed writes.

use super::*;

fn two() -> (State, State) {
    let (mut a, mut b) = (State::new(replica("a")), State::new(replica("b")));
    a.up(&replica("b"));
    b.up(&replica("a"));
    (a, b)
}

/// Joins and leaves of the first replica that the second one misses.
fn missed(a: &mut State, keys: usize) {
    for key in 0..keys {
        a.join(&topic(), 1, &format!("k{key}"), "{}").unwrap();
    }
    a.leave_key(&topic(), 1, "k0");
    a.update(&topic(), 1, "k1", "{\"n\":1}").unwrap();
}

#[test]
fn a_replica_that_gets_all_parts_in_any_order_lacks_nothing() {
    for bytes_max in [0, 700, usize::MAX] {
        let (mut a, mut b) = two();
        b.merge(&a.join(&topic(), 1, "k0", "{}").unwrap().delta);
        a.leave_key(&topic(), 1, "k0");
        missed(&mut a, 5);
        assert!(b.lacks(&replica("a"), a.clock()));
        let ShareParts { parts, end } = a.own_parts(bytes_max);
        assert_eq!(
            parts.len(),
            if bytes_max == 0 {
                4
            } else if bytes_max == 700 {
                2
            } else {
                1
            }
        );
        for part in parts.iter().rev() {
            b.merge(part);
        }
        assert!(b.lacks(&replica("a"), a.clock()), "only the end says that nothing is missing");
        b.merge_end(&replica("a"), &end).unwrap();
        assert!(!b.lacks(&replica("a"), a.clock()));
        assert_eq!((seen(&b, &topic()), text(b.payload(&topic()))), (seen(&a, &topic()), text(a.payload(&topic()))));
    }
}

#[test]
fn an_end_without_one_of_its_parts_changes_nothing() {
    let (mut a, mut b) = two();
    missed(&mut a, 5);
    let ShareParts { parts, end } = a.own_parts(0);
    parts[1..].iter().for_each(|part| drop(b.merge(part)));
    let before = seen(&b, &topic());
    assert!(b.merge_end(&replica("a"), &end).is_none());
    assert!(b.lacks(&replica("a"), a.clock()) && seen(&b, &topic()) == before);
    b.merge(&parts[0]);
    assert!(b.merge_end(&replica("a"), &end).is_some());
    assert_eq!(seen(&b, &topic()), seen(&a, &topic()));
}

#[test]
fn a_lost_write_is_lacking_although_a_later_one_removes_its_entry() {
    let (mut a, mut b) = two();
    b.merge(&a.join(&topic(), 1, "k", "{}").unwrap().delta);
    // The lost update has removed the first entry.
    a.update(&topic(), 1, "k", "{\"n\":1}").unwrap();
    b.merge(&a.leave_key(&topic(), 1, "k").delta);
    assert!(b.lacks(&replica("a"), a.clock()));
    let end = a.own_parts(0).end;
    assert!(b.merge_end(&replica("a"), &end).is_some());
    assert!(seen(&b, &topic()).is_empty() && !b.lacks(&replica("a"), a.clock()));
}

#[test]
fn a_write_whose_entry_is_in_a_part_is_lacking_until_the_end() {
    let (mut a, mut b) = two();
    b.merge(&a.join(&topic(), 1, "k", "{}").unwrap().delta);
    a.update(&topic(), 1, "k", "{\"n\":1}").unwrap();
    let ShareParts { parts, end } = a.own_parts(0);
    parts.iter().for_each(|part| drop(b.merge(part)));
    assert!(b.lacks(&replica("a"), a.clock()), "the part doesn't say that the first entry was removed");
    b.merge_end(&replica("a"), &end);
    assert_eq!((seen(&b, &topic()), b.lacks(&replica("a"), a.clock())), (seen(&a, &topic()), false));
}

#[test]
fn writes_that_overtake_the_parts_stay() {
    let (mut a, mut b) = two();
    missed(&mut a, 5);
    let ShareParts { parts, end } = a.own_parts(0);
    let left = a.leave_key(&topic(), 1, "k2").delta;
    let joined = a.join(&topic(), 1, "late", "{}").unwrap().delta;
    b.merge(&left);
    b.merge(&joined);
    parts.iter().for_each(|part| drop(b.merge(part)));
    assert!(b.merge_end(&replica("a"), &end).is_some());
    assert_eq!(seen(&b, &topic()), seen(&a, &topic()));
    assert!(!b.lacks(&replica("a"), a.clock()));
}

#[test]
fn nothing_of_a_replica_that_is_not_up_is_applied() {
    let (mut a, mut b) = (State::new(replica("a")), State::new(replica("b")));
    missed(&mut a, 2);
    let ShareParts { parts, end } = a.own_parts(usize::MAX);
    b.merge(&parts[0]);
    assert!(b.merge_end(&replica("a"), &end).is_none() && b.count(&topic()) == 0);
    assert!(!b.lacks(&replica("a"), a.clock()), "nothing is asked of a replica that isn't up");
}
