//! Tasks that write without end, and the check of their data after a crash.

use super::*;
use crate::store::CommitError;

/// The number of tasks that write at once.
pub(super) const TASKS: usize = 6;

/// The number of keys that a task writes or deletes in each round.
const KEYS: usize = 3;

/// The last round that a task began, and the last one that was acknowledged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Progress {
    pub(super) begun: u64,
    pub(super) done: u64,
}

/// Whether a round deletes its keys instead of writing them. Every seventh round does.
fn is_deletion(round: u64) -> bool {
    round.is_multiple_of(7)
}

fn key(task: usize, at: usize) -> Vec<u8> {
    format!("slot/{task}/{at}").into_bytes()
}

/// Returns the value for a key: the round, and a tail whose length depends on the round. It is sometimes longer than a page.
fn stamp(task: usize, at: usize, round: u64) -> Bytes {
    let length = (round as usize * 997 + task * 131 + at * 17) % 5000;
    [&round.to_be_bytes()[..], &vec![round as u8; length]].concat().into()
}

fn log_key(task: usize, round: u64) -> Vec<u8> {
    format!("log/{task}/{round:08}").into_bytes()
}

/// Makes the writes of one round: the task's slots, a row in its log, its room, and a count that all tasks share.
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

/// Writes until the store fails or `goes_on` returns false. Calls `tell` with each round: with `false` before its commit,
/// and with `true` once the commit is acknowledged.
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

/// Checks that all acknowledged rounds are there, that no round is there in part, and that the counted usage is right.
/// Returns each task's latest round.
pub(super) async fn check(store: &Store, progress: &[Progress; TASKS]) -> [u64; TASKS] {
    let owner = owner("load");
    let mut draft = store.begin(&owner);
    let mut latest = [0; TASKS];
    for (task, progress) in progress.iter().enumerate() {
        let room = draft.room(&format!("room:{task}")).await.unwrap();
        let round = room.map_or(0, |room| u64::from_be_bytes(room[..].try_into().unwrap()));
        assert!(
            (progress.done..=progress.begun).contains(&round),
            "task {task} is at round {round}, but had {progress:?}"
        );
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
    assert_eq!(rows, count, "rounds in the logs");
    let rooms: usize = (0..TASKS).filter(|task| latest[*task] > 0).map(|task| format!("room:{task}").len() + 8).sum();
    assert_eq!(store.usage("load").await.unwrap(), (bytes + rooms) as u64);
    latest
}
