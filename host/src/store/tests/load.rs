//! Tasks that write without end, and what must be there of it after a crash.

use super::*;
use crate::store::CommitError;

/// How many tasks write at once.
pub(super) const TASKS: usize = 6;

/// The keys that a task writes in each round, all with the same stamp, or deletes.
const KEYS: usize = 3;

/// What a task has asked for and been told: the rounds that it began and those that were acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) begun: u64,
    pub(super) done: u64,
}

/// Which keys a round writes, and what into them. Every seventh deletes them instead.
fn is_deletion(round: u64) -> bool {
    round.is_multiple_of(7)
}

fn key(task: usize, at: usize) -> Vec<u8> {
    format!("slot/{task}/{at}").into_bytes()
}

/// The round, and a tail whose length is the round's too, over more than a page at times.
fn stamp(task: usize, at: usize, round: u64) -> Bytes {
    let length = (round as usize * 997 + task * 131 + at * 17) % 5000;
    [&round.to_be_bytes()[..], &vec![round as u8; length]].concat().into()
}

fn log_key(task: usize, round: u64) -> Vec<u8> {
    format!("log/{task}/{round:08}").into_bytes()
}

/// One round of a task: its slots, a line in its log that stays, its room, and a count that all tasks share.
fn round(draft: &mut Draft, task: usize, number: u64, count: Option<Bytes>) {
    for at in 0..KEYS {
        if is_deletion(number) {
            draft.delete(&key(task, at)).unwrap();
        } else {
            draft.put(&key(task, at), stamp(task, at, number)).unwrap();
        }
    }
    draft.put(&log_key(task, number), Bytes::new()).unwrap();
    draft.set_room(&format!("room:{task}"), Some(number.to_be_bytes().to_vec().into())).unwrap();
    let count = count.map_or(0, |count| u64::from_be_bytes(count[..].try_into().unwrap()));
    draft.put(b"count", (count + 1).to_be_bytes().to_vec().into()).unwrap();
}

/// Writes until the store fails, or `goes_on` says no; `tell` hears of each round before it is asked for (`false`) and once
/// it is acknowledged (`true`).
pub(super) async fn write(
    store: &Store,
    task: usize,
    first: u64,
    mut tell: impl FnMut(u64, bool),
    mut goes_on: impl FnMut() -> bool,
) {
    let owner = owner("load");
    let mut number = first;
    while goes_on() {
        let mut draft = store.begin(&owner);
        let Ok(count) = draft.get(b"count").await else { return };
        round(&mut draft, task, number, count);
        tell(number, false);
        match store.commit(draft).await {
            Ok(_) => {
                tell(number, true);
                number += 1;
            }
            Err(CommitError::Conflict) => {}
            Err(_) => return,
        }
    }
}

/// Checks that all that was acknowledged is there, that no round is half there, and that the books are right. Gives each
/// task's latest round, and how many there were that nobody had been told of.
pub(super) async fn check(store: &Store, told: &[Told; TASKS]) -> [u64; TASKS] {
    let owner = owner("load");
    let mut draft = store.begin(&owner);
    let mut latest = [0; TASKS];
    for (task, told) in told.iter().enumerate() {
        let room = draft.room(&format!("room:{task}")).await.unwrap();
        let round = room.map_or(0, |room| u64::from_be_bytes(room[..].try_into().unwrap()));
        assert!((told.done..=told.begun).contains(&round), "task {task} is at {round}, and was told {told:?}");
        for at in 0..KEYS {
            let found = draft.get(&key(task, at)).await.unwrap();
            let expected = Some(stamp(task, at, round)).filter(|_| !is_deletion(round));
            assert!(found == expected, "slot {at} of task {task} isn't of round {round}");
        }
        latest[task] = round;
    }
    let count = draft.get(b"count").await.unwrap();
    let count = count.map_or(0, |count| u64::from_be_bytes(count[..].try_into().unwrap()));
    assert_eq!(count, latest.iter().sum::<u64>());
    let (mut rows, mut bytes, mut rest) = (0, 0, Some(Scan::all(Direction::Forward)));
    while let Some(scan) = rest {
        let page = draft.scan(&scan).await.unwrap();
        rows += page.rows.iter().filter(|(key, _)| key.starts_with(b"log/")).count() as u64;
        bytes += page.rows.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
        rest = page.rest;
    }
    assert_eq!(rows, count, "rounds that are in the logs");
    let rooms: usize = (0..TASKS).filter(|task| latest[*task] > 0).map(|task| format!("room:{task}").len() + 8).sum();
    assert_eq!(store.usage("load").await.unwrap(), (bytes + rooms) as u64);
    latest
}
